//! ServiceAccount.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::read::Read;
use crate::rules::KindRules;
use crate::table::{self, AGE, Column, NAME, Row};

pub(crate) struct ServiceAccount;

impl KindRules for ServiceAccount {
    fn columns(&self) -> &'static [Column] {
        const { &[NAME, Column::text("Secrets"), AGE] }
    }

    fn row(&self, account: &Value, now: Timestamp) -> Row {
        Row::new(vec![
            table::name(account),
            json!(account.list("secrets").len()),
            table::age(account, now),
        ])
    }
}
