//! LimitRange.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use simcluster_machinery::field::{Error, Path};
use simcluster_machinery::name;

use crate::meta::complain;
use crate::read::{Fill, Read};
use crate::resources;
use crate::rules::KindRules;

const LISTS: [&str; 5] = [
    "max",
    "min",
    "default",
    "defaultRequest",
    "maxLimitRequestRatio",
];

pub(crate) struct LimitRange;

impl KindRules for LimitRange {
    /// A limit of containers that names a maximum means it as the default limit too, and a limit is
    /// the request of those who ask for none.
    fn default(&self, range: &mut Value) {
        for item in range.items("spec.limits") {
            for list in LISTS {
                resources::round_list(item, list);
            }
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

    /// One without a name gets one that nothing else has.
    fn prepare_create(&self, range: &mut Value) {
        let uid = range.text("metadata.uid").to_owned();
        range.fill("metadata.name", uid);
    }

    fn validate_create(&self, range: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        let mut kinds: Vec<&str> = Vec::new();
        for (index, item) in range.list("spec.limits").iter().enumerate() {
            let path = Path::new("spec").child("limits").index(index);
            let kind = item.text("type");
            validate_type(kind, &path.child("type"), &mut errors);
            if kinds.contains(&kind) {
                errors.push(Error::duplicate(&path.child("type"), kind));
            }
            kinds.push(kind);
            validate_names(item, &["max", "min"], &path, &mut errors);
            if kind == "Pod" {
                for field in ["default", "defaultRequest"] {
                    if !item.lacks(field) {
                        let detail = "may not be specified when `type` is 'Pod'";
                        errors.push(Error::forbidden(&path.child(field), detail));
                    }
                }
            } else {
                validate_names(item, &["default", "defaultRequest"], &path, &mut errors);
            }
            if kind == "PersistentVolumeClaim"
                && item.at("min.storage").is_none()
                && item.at("max.storage").is_none()
            {
                let detail =
                    "either minimum or maximum storage value is required, but neither was provided";
                errors.push(Error::required(&path.child("limits"), detail));
            }
            validate_names(item, &["maxLimitRequestRatio"], &path, &mut errors);
            validate_order(item, &path, &mut errors);
        }
        errors
    }
}

fn validate_type(kind: &str, path: &Path, errors: &mut Vec<Error>) {
    let complaints = name::qualified_name(kind);
    let known = matches!(kind, "Pod" | "Container" | "PersistentVolumeClaim");
    if complaints.is_empty() && !kind.contains('/') && !known {
        let detail = "must be a standard limit type or fully qualified";
        errors.push(Error::invalid(path, kind, detail));
    }
    complain(errors, path, kind, complaints);
}

fn validate_names(item: &Value, fields: &[&str], path: &Path, errors: &mut Vec<Error>) {
    for field in fields {
        for name in resources::quantities(item, field).into_keys() {
            let place = path.child(field).key(&name);
            if matches!(item.text("type"), "Pod" | "Container") {
                resources::validate_name(&name, &place, errors);
            } else {
                resources::validate_any_name(&name, &place, errors);
            }
        }
    }
}

/// One bound that must not be above another, and how the API says so: where, and showing what.
struct Order {
    lower: (&'static str, &'static str),
    upper: (&'static str, &'static str),
    place: &'static str,
    shows_lower: bool,
}

const ORDERS: [Order; 6] = {
    const MIN: (&str, &str) = ("min", "min");
    const MAX: (&str, &str) = ("max", "max");
    const REQUEST: (&str, &str) = ("defaultRequest", "default request");
    const fn order(
        lower: (&'static str, &'static str),
        upper: (&'static str, &'static str),
        place: &'static str,
        shows_lower: bool,
    ) -> Order {
        Order {
            lower,
            upper,
            place,
            shows_lower,
        }
    }
    [
        order(MIN, MAX, "min", true),
        order(MIN, REQUEST, "defaultRequest", false),
        order(REQUEST, MAX, "defaultRequest", true),
        order(
            REQUEST,
            ("default", "default limit"),
            "defaultRequest",
            true,
        ),
        order(MIN, ("default", "default"), "default", true),
        order(("default", "default"), MAX, "default", false),
    ]
};

/// No bound is above the one that must not be below it.
fn validate_order(item: &Value, path: &Path, errors: &mut Vec<Error>) {
    let list = |field: &str| {
        let of_pods = item.text("type") == "Pod" && field.starts_with("default");
        // What a pod may not have at all is not compared either.
        if of_pods {
            return BTreeMap::new();
        }
        resources::quantities(item, field)
    };
    let names: BTreeSet<String> = LISTS
        .into_iter()
        .flat_map(|field| list(field).into_keys())
        .collect();
    for name in names {
        for order in &ORDERS {
            let (low, high) = (list(order.lower.0), list(order.upper.0));
            let (Some(low), Some(high)) = (low.get(&name), high.get(&name)) else {
                continue;
            };
            if low > high {
                let shown = if order.shows_lower { low } else { high };
                let (lower, upper) = (order.lower.1, order.upper.1);
                errors.push(Error::invalid(
                    &path.child(order.place).key(&name),
                    shown.to_string(),
                    format!("{lower} value {low} is greater than {upper} value {high}"),
                ));
            }
        }
        let ratios = list("maxLimitRequestRatio");
        if let Some(ratio) = ratios.get(&name).filter(|ratio| ratio.milli_value() < 1000) {
            errors.push(Error::invalid(
                &path.child("maxLimitRequestRatio").key(&name),
                ratio.to_string(),
                format!("ratio {ratio} is less than 1"),
            ));
        }
        let (min, max) = (list("min"), list("max"));
        if let (Some(ratio), Some(min), Some(max)) =
            (ratios.get(&name), min.get(&name), max.get(&name))
        {
            let most = max.as_f64() / min.as_f64();
            if ratio.as_f64() > most {
                errors.push(Error::invalid(
                    &path.child("maxLimitRequestRatio").key(&name),
                    ratio.to_string(),
                    format!("ratio {ratio} is greater than max/min = {}", decimal(most)),
                ));
            }
        }
        let (limit, request) = (list("default"), list("defaultRequest"));
        if let (Some(limit), Some(request)) = (limit.get(&name), request.get(&name))
            && limit != request
            && !resources::is_overcommit_allowed(&name)
        {
            errors.push(Error::invalid(
                &path.child("defaultRequest").key(&name),
                request.to_string(),
                format!(
                    "default value {limit} must equal to defaultRequest value {request} in {name}"
                ),
            ));
        }
    }
}

/// A number as Go's `%f` writes it.
fn decimal(number: f64) -> String {
    if number.is_infinite() {
        "+Inf".to_owned()
    } else {
        format!("{number:.6}")
    }
}
