//! Lease.

use jiff::Timestamp;
use serde_json::{Value, json};
use simcluster_machinery::field::{Error, Path};

use crate::checks::{NOT_POSITIVE, non_negative};
use crate::read::Read;
use crate::rules::KindRules;
use crate::table::{self, AGE, Column, NAME, Row};

pub(crate) struct Lease;

impl KindRules for Lease {
    fn validate_create(&self, lease: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        let (spec, path) = (lease.get("spec").unwrap_or(&Value::Null), Path::new("spec"));
        if let Some(seconds) = spec.integer("leaseDurationSeconds").filter(|one| *one <= 0) {
            errors.push(Error::invalid(
                &path.child("leaseDurationSeconds"),
                seconds,
                NOT_POSITIVE,
            ));
        }
        non_negative(spec, &["leaseTransitions"], &path, &mut errors);
        if spec.at("holderIdentity").is_some_and(|holder| holder == "") {
            errors.push(Error::invalid(
                &path.child("holderIdentity"),
                "",
                "must not be empty",
            ));
        }
        errors
    }

    fn update_validates_whole_metadata(&self) -> bool {
        false
    }

    fn columns(&self) -> &'static [Column] {
        const { &[NAME, Column::text("Holder"), AGE] }
    }

    fn row(&self, lease: &Value, now: Timestamp) -> Row {
        Row::new(vec![
            table::name(lease),
            json!(lease.text("spec.holderIdentity")),
            table::age(lease, now),
        ])
    }
}
