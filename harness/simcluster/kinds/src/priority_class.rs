//! PriorityClass.

use jiff::Timestamp;
use serde_json::{Value, json};
use simcluster_machinery::field::{Error, Path};

use crate::checks::one_of;
use crate::read::{Fill, Read};
use crate::rules::KindRules;
use crate::table::{self, AGE, Column, NAME, Row};

const LARGEST_OF_USERS: i64 = 1_000_000_000;
const SYSTEM: [(&str, i64); 2] = [
    ("system-cluster-critical", 2_000_000_000),
    ("system-node-critical", 2_000_001_000),
];

pub(crate) struct PriorityClass;

impl KindRules for PriorityClass {
    fn default(&self, class: &mut Value) {
        class.fill("preemptionPolicy", "PreemptLowerPriority");
    }

    fn prepare_create(&self, class: &mut Value) {
        class.put("metadata.generation", 1);
    }

    fn validate_create(&self, class: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        let (own_name, value) = (
            class.text("metadata.name"),
            class.integer("value").unwrap_or(0),
        );
        if own_name.starts_with("system-") {
            let default = class.flag("globalDefault");
            if !SYSTEM.contains(&(own_name, value)) || default {
                let place = Path::new("metadata").child("name");
                let why = match SYSTEM.iter().find(|(name, _)| *name == own_name) {
                    Some((name, known)) if *known != value => {
                        format!("value of {name} PriorityClass must be {known}")
                    }
                    Some((name, _)) => {
                        format!("globalDefault of {name} PriorityClass must be false")
                    }
                    None => format!("{own_name} is not a known system priority class"),
                };
                let detail = format!(
                    "priority class names with 'system-' prefix are reserved for system use \
                     only. error: {why}"
                );
                errors.push(Error::forbidden(&place, detail));
            }
        } else if value > LARGEST_OF_USERS {
            let detail =
                format!("maximum allowed value of a user defined priority is {LARGEST_OF_USERS}");
            errors.push(Error::forbidden(&Path::new("value"), detail));
        }
        let policies = ["PreemptLowerPriority", "Never"];
        one_of(
            class,
            "preemptionPolicy",
            &policies,
            &Path::root(),
            &mut errors,
        );
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        if new.at("value") != old.at("value") {
            let detail = "may not be changed in an update.";
            errors.push(Error::forbidden(&Path::new("value"), detail));
        }
        if new.at("preemptionPolicy") != old.at("preemptionPolicy") {
            let given = new.at("preemptionPolicy").cloned().unwrap_or(Value::Null);
            let place = Path::new("preemptionPolicy");
            errors.push(Error::invalid(&place, given, "field is immutable"));
        }
        errors
    }

    fn update_validates_whole_metadata(&self) -> bool {
        false
    }

    fn columns(&self) -> &'static [Column] {
        const {
            &[
                NAME,
                Column::integer("Value"),
                Column::text("Global-Default").of("boolean"),
                AGE,
                Column {
                    priority: 1,
                    ..Column::text("PreemptionPolicy")
                },
            ]
        }
    }

    fn row(&self, class: &Value, now: Timestamp) -> Row {
        Row::new(vec![
            table::name(class),
            json!(class.integer("value").unwrap_or(0)),
            json!(class.flag("globalDefault")),
            table::age(class, now),
            json!(class.text("preemptionPolicy")),
        ])
    }
}
