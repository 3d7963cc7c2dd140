//! Lists of resources (`cpu`, `memory`, …): rounding, sums, and what may stand in requests and
//! limits of a container.

use std::collections::BTreeMap;

use serde_json::Value;
use simcluster_machinery::field::{Error, Path};
use simcluster_machinery::name;
use simcluster_machinery::quantity::Quantity;

use crate::read::{Fill, Read};

const NEGATIVE: &str = "must be greater than or equal to 0";

/// The quantities of a resource list by name; what is no quantity is left out.
pub(crate) fn quantities(value: &Value, path: &str) -> BTreeMap<String, Quantity> {
    let entries = value.map(path);
    entries
        .filter_map(|(name, text)| Some((name.clone(), parse(text)?)))
        .collect()
}

/// A quantity, which JSON may hold as a number too.
pub(crate) fn parse(value: &Value) -> Option<Quantity> {
    match value {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => number.to_string().parse().ok(),
        _ => None,
    }
}

/// Rounds quantities up to thousandths, the finest that resources are counted in.
pub(crate) fn round_list(value: &mut Value, path: &str) {
    let Some(Value::Object(list)) = value.inner(path) else {
        return;
    };
    for quantity in list.values_mut() {
        let Some(parsed) = parse(quantity) else {
            continue;
        };
        let rounded = Quantity::from_millis(parsed.milli_value());
        if rounded != parsed {
            *quantity = Value::from(rounded.to_string());
        }
    }
}

fn is_standard(name: &str) -> bool {
    matches!(name, "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-")
}

/// Resources that are counted and not measured.
pub(crate) const WHOLE: [&str; 9] = [
    "configmaps",
    "persistentvolumeclaims",
    "pods",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "services",
    "services.loadbalancers",
    "services.nodeports",
];

/// Whether there is only a whole number of it.
pub(crate) fn is_integer_resource(name: &str) -> bool {
    WHOLE.contains(&name) || is_extended(name)
}

/// Whether it is Kubernetes' own resource.
fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

/// Whether a container may ask for more of it at times than it is promised.
pub(crate) fn is_overcommit_allowed(name: &str) -> bool {
    is_native(name) && !name.starts_with("hugepages-")
}

/// Resources that the API knows, though not every object has them.
fn is_known(name: &str) -> bool {
    const KNOWN: [&str; 16] = [
        "configmaps",
        "limits.cpu",
        "limits.ephemeral-storage",
        "limits.memory",
        "persistentvolumeclaims",
        "pods",
        "replicationcontrollers",
        "requests.cpu",
        "requests.ephemeral-storage",
        "requests.memory",
        "requests.storage",
        "resourcequotas",
        "secrets",
        "services",
        "services.loadbalancers",
        "services.nodeports",
    ];
    is_standard(name)
        || name == "storage"
        || name.starts_with("requests.hugepages-")
        || KNOWN.contains(&name)
}

/// Whether it may be a resource that somebody adds to nodes.
pub(crate) fn is_extended(name: &str) -> bool {
    !is_native(name)
        && !name.starts_with("requests.")
        && name::qualified_name(&format!("requests.{name}")).is_empty()
}

/// A name of a resource, whoever has it.
pub(crate) fn validate_any_name(name: &str, path: &Path, errors: &mut Vec<Error>) {
    let complaints = name::qualified_name(name);
    if complaints.is_empty() && !name.contains('/') && !is_known(name) {
        let detail = "must be a standard resource type or fully qualified";
        errors.push(Error::invalid(path, name, detail));
    }
    crate::meta::complain(errors, path, name, complaints);
}

/// A name of a resource of containers.
pub(crate) fn validate_name(name: &str, path: &Path, errors: &mut Vec<Error>) {
    validate_any_name(name, path, errors);
    if !name.contains('/') {
        if !is_standard(name) {
            let detail = "must be a standard resource for containers";
            errors.push(Error::invalid(path, name, detail));
        }
    } else if !is_native(name) && !is_extended(name) {
        let detail = "doesn't follow extended resource name standard";
        errors.push(Error::invalid(path, name, detail));
    }
}

/// What is wrong with a quantity of the resource `name`.
pub(crate) fn validate_quantity(
    name: &str,
    quantity: Quantity,
    path: &Path,
    errors: &mut Vec<Error>,
) {
    if quantity.is_negative() {
        errors.push(Error::invalid(path, quantity.to_string(), NEGATIVE));
    }
    if is_integer_resource(name) && !quantity.is_integer() {
        errors.push(Error::invalid(
            path,
            quantity.to_string(),
            "must be an integer",
        ));
    }
}

/// What is wrong with the `resources` of a container (at `path`).
pub(crate) fn validate_requirements(resources: &Value, path: &Path) -> Vec<Error> {
    let mut errors = Vec::new();
    let limits = quantities(resources, "limits");
    let requests = quantities(resources, "requests");
    let limits_path = path.child("limits");
    for (name, quantity) in &limits {
        validate_name(name, &limits_path.key(name), &mut errors);
        validate_quantity(name, *quantity, &limits_path.key(name), &mut errors);
    }
    let requests_path = path.child("requests");
    for (name, quantity) in &requests {
        validate_name(name, &requests_path.key(name), &mut errors);
        validate_quantity(name, *quantity, &requests_path.key(name), &mut errors);
        match limits.get(name) {
            Some(limit) if quantity != limit && !is_overcommit_allowed(name) => {
                errors.push(Error::invalid(
                    &requests_path,
                    quantity.to_string(),
                    format!("must be equal to {name} limit of {limit}"),
                ));
            }
            Some(limit) if quantity > limit => errors.push(Error::invalid(
                &requests_path,
                quantity.to_string(),
                format!("must be less than or equal to {name} limit of {limit}"),
            )),
            None if !is_overcommit_allowed(name) => {
                let detail = "Limit must be set for non overcommitable resources";
                errors.push(Error::required(&limits_path, detail));
            }
            _ => {}
        }
    }
    errors
}
