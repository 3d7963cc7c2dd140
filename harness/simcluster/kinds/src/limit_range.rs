//! LimitRange.

use serde_json::{Value, json};
use simcluster_machinery::field::{Error, Path};

use crate::checks::required;
use crate::read::{Fill, Read};
use crate::resources;
use crate::rules::KindRules;

pub(crate) struct LimitRange;

impl KindRules for LimitRange {
    /// A limit of containers that names a maximum means it as the default limit too, and a limit is
    /// the request of those who ask for none.
    fn default(&self, range: &mut Value) {
        for item in range.items("spec.limits") {
            if item.text("type") != "Container" {
                continue;
            }
            for (target, source) in [
                ("default", "max"),
                ("defaultRequest", "default"),
                ("defaultRequest", "min"),
            ] {
                let entries = item.at(source).and_then(Value::as_object).cloned();
                for (name, quantity) in entries.into_iter().flatten() {
                    let list = item.object(target);
                    if let Some(list) = list {
                        list.entry(name).or_insert(quantity);
                    }
                }
            }
        }
    }

    fn validate_create(&self, range: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        let mut kinds: Vec<&str> = Vec::new();
        for (index, item) in range.list("spec.limits").iter().enumerate() {
            let path = Path::new("spec").child("limits").index(index);
            required(item, "type", &path, &mut errors);
            let kind = item.text("type");
            if kinds.contains(&kind) {
                errors.push(Error::duplicate(&path.child("type"), kind));
            }
            kinds.push(kind);
            if kind == "Pod" {
                for field in ["default", "defaultRequest"] {
                    if !item.lacks(field) {
                        let detail = "may not be specified when `type` is 'Pod'";
                        errors.push(Error::forbidden(&path.child(field), detail));
                    }
                }
            }
            if kind == "PersistentVolumeClaim"
                && item.at("min.storage").is_none()
                && item.at("max.storage").is_none()
            {
                let detail =
                    "either minimum or maximum storage value is required, but neither was provided";
                errors.push(Error::required(&path.child("limits"), detail));
            }
            validate_order(item, &path, &mut errors);
        }
        errors
    }
}

/// No bound is above the one that must not be below it.
fn validate_order(item: &Value, path: &Path, errors: &mut Vec<Error>) {
    let pairs = [
        ("min", "max", "min", "max"),
        ("min", "defaultRequest", "min", "default request"),
        ("defaultRequest", "max", "default request", "max"),
        (
            "defaultRequest",
            "default",
            "default request",
            "default limit",
        ),
        ("min", "default", "min", "default"),
        ("default", "max", "default", "max"),
    ];
    for (lower, upper, lower_words, upper_words) in pairs {
        let upper_list = resources::quantities(item, upper);
        for (name, low) in resources::quantities(item, lower) {
            let Some(high) = upper_list.get(&name).filter(|high| low > **high) else {
                continue;
            };
            errors.push(Error::invalid(
                &path.child(lower).key(&name),
                json!(low.to_string()),
                format!("{lower_words} value {low} is greater than {upper_words} value {high}"),
            ));
        }
    }
}
