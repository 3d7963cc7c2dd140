//! Lease.

use jiff::Timestamp;
use serde_json::{Value, json};
use simcluster_machinery::field::{Error, Path};

use crate::checks::{NOT_POSITIVE, non_negative};
use crate::read::{Fill, Read};
use crate::rules::KindRules;
use crate::table::{self, AGE, Column, NAME, Row};

pub(crate) struct Lease;

/// How the holder is found is not for users to say where that is not switched on.
const OF_COORDINATION: [&str; 2] = ["spec.strategy", "spec.preferredHolder"];

impl KindRules for Lease {
    fn prepare_create(&self, lease: &mut Value) {
        for field in OF_COORDINATION {
            lease.take_field(field);
        }
    }

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        for field in OF_COORDINATION {
            if old.at(field).is_none() {
                new.take_field(field);
            }
        }
    }

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
