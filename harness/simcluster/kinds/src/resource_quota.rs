//! ResourceQuota.

use jiff::Timestamp;
use serde_json::{Value, json};
use simcluster_machinery::field::{Error, Path};

use crate::checks::{IMMUTABLE, NEGATIVE};
use crate::read::{Fill, Read};
use crate::resources;
use crate::rules::KindRules;
use crate::table::{self, AGE, Column, NAME, Row};

pub(crate) struct ResourceQuota;

impl KindRules for ResourceQuota {
    fn default(&self, quota: &mut Value) {
        if quota.inner("spec.hard").is_some() {
            resources::round_list(quota, "spec.hard");
        }
    }

    fn validate_create(&self, quota: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        let path = Path::new("spec").child("hard");
        for (name, amount) in resources::quantities(quota, "spec.hard") {
            if amount.is_negative() {
                errors.push(Error::invalid(
                    &path.key(&name),
                    amount.to_string(),
                    NEGATIVE,
                ));
            }
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<Error> {
        let mut errors = self.validate_create(new);
        if new.at("spec.scopes") != old.at("spec.scopes") {
            let given = new.at("spec.scopes").cloned().unwrap_or(Value::Null);
            errors.push(Error::invalid(
                &Path::new("spec").child("scopes"),
                given,
                IMMUTABLE,
            ));
        }
        errors
    }

    fn has_status(&self) -> bool {
        true
    }

    fn columns(&self) -> &'static [Column] {
        const { &[NAME, Column::text("Request"), Column::text("Limit"), AGE] }
    }

    fn row(&self, quota: &Value, now: Timestamp) -> Row {
        let used = resources::quantities(quota, "status.used");
        let hard = resources::quantities(quota, "status.hard");
        let (mut requests, mut limits) = (Vec::new(), Vec::new());
        for (name, hard) in &hard {
            let used = used
                .get(name)
                .map_or_else(|| "0".to_owned(), ToString::to_string);
            let text = format!("{name}: {used}/{hard}");
            if name.starts_with("limits.") {
                limits.push(text);
            } else {
                requests.push(text);
            }
        }
        Row::new(vec![
            table::name(quota),
            json!(requests.join(", ")),
            json!(limits.join(", ")),
            table::age(quota, now),
        ])
    }
}
