//! ServiceAccount.

use jiff::Timestamp;
use serde_json::Value;

use crate::read::Read;
use crate::rules::KindRules;
use crate::table::{self, AGE, Column, NAME, Row};
use crate::warnings::annotation;

/// Once limited an account's pods to the Secrets that the account names.
const MOUNTABLE: &str = "kubernetes.io/enforce-mountable-secrets";

pub(crate) struct ServiceAccount;

impl KindRules for ServiceAccount {
    fn warnings(&self, new: &Value, old: Option<&Value>) -> Vec<String> {
        let mut warnings = Vec::new();
        let had = old.is_some_and(|old| {
            let mut all = old.map("metadata.annotations");
            all.any(|(key, _)| key == MOUNTABLE)
        });
        if !had {
            let why = "deprecated in v1.32+; prefer separate namespaces to isolate access to \
                       mounted secrets";
            annotation(new, MOUNTABLE, why, &mut warnings);
        }
        warnings
    }

    fn columns(&self) -> &'static [Column] {
        const { &[NAME, AGE] }
    }

    fn row(&self, account: &Value, now: Timestamp) -> Row {
        Row::new(vec![table::name(account), table::age(account, now)])
    }
}
