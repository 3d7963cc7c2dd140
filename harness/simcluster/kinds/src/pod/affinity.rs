//! What is wrong with where a pod wants to run: affinity, tolerations, spread constraints.

use serde_json::Value;
use simcluster_machinery::field::{Error, Path};
use simcluster_machinery::name;

use crate::checks::{label_selector, one_of, required, required_one_of};
use crate::meta::complain;
use crate::read::Read;

const NO_TOPOLOGY: &str = "can not be empty";
const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

/// The affinity of a pod's spec (at `path`).
pub(super) fn validate(spec: &Value, path: &Path, errors: &mut Vec<Error>) {
    let affinity = path.child("affinity");
    if let Some(node) = spec.at("affinity.nodeAffinity") {
        validate_node_affinity(node, &affinity.child("nodeAffinity"), errors);
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        if let Some(pods) = spec.at(&format!("affinity.{kind}")) {
            validate_pod_affinity(pods, &affinity.child(kind), errors);
        }
    }
}

/// The tolerations of a pod's spec (at `path`).
pub(crate) fn validate_tolerations(spec: &Value, path: &Path, errors: &mut Vec<Error>) {
    for (index, toleration) in spec.list("tolerations").iter().enumerate() {
        validate_toleration(toleration, &path.child("tolerations").index(index), errors);
    }
}

/// The topology spread constraints of a pod's spec (at `path`).
pub(super) fn validate_spread(spec: &Value, path: &Path, errors: &mut Vec<Error>) {
    for (index, constraint) in spec.list("topologySpreadConstraints").iter().enumerate() {
        let path = path.child("topologySpreadConstraints").index(index);
        let skew = constraint.integer("maxSkew").unwrap_or(0);
        if skew <= 0 {
            let detail = "must be greater than zero";
            errors.push(Error::invalid(&path.child("maxSkew"), skew, detail));
        }
        if constraint.lacks("topologyKey") {
            errors.push(Error::required(&path.child("topologyKey"), NO_TOPOLOGY));
        }
        let actions = ["DoNotSchedule", "ScheduleAnyway"];
        required_one_of(constraint, "whenUnsatisfiable", &actions, &path, errors);
        label_selector(
            constraint.at("labelSelector"),
            &path.child("labelSelector"),
            errors,
        );
    }
}

fn validate_weight(term: &Value, path: &Path, errors: &mut Vec<Error>) {
    let weight = term.integer("weight").unwrap_or(0);
    if !(1..=100).contains(&weight) {
        let detail = "must be in the range 1-100";
        errors.push(Error::invalid(&path.child("weight"), weight, detail));
    }
}

fn validate_node_affinity(affinity: &Value, path: &Path, errors: &mut Vec<Error>) {
    if let Some(selector) = affinity.at(REQUIRED) {
        validate_node_selector(selector, &path.child(REQUIRED), errors);
    }
    for (index, term) in affinity.list(PREFERRED).iter().enumerate() {
        let path = path.child(PREFERRED).index(index);
        validate_weight(term, &path, errors);
        validate_node_term(&term["preference"], &path.child("preference"), errors);
    }
}

/// A `NodeSelector` (at `path`).
pub(crate) fn validate_node_selector(selector: &Value, path: &Path, errors: &mut Vec<Error>) {
    let terms = selector.list("nodeSelectorTerms");
    let place = path.child("nodeSelectorTerms");
    if terms.is_empty() {
        errors.push(Error::required(
            &place,
            "must have at least one node selector term",
        ));
    }
    for (index, term) in terms.iter().enumerate() {
        validate_node_term(term, &place.index(index), errors);
    }
}

fn validate_node_term(term: &Value, path: &Path, errors: &mut Vec<Error>) {
    for (index, expression) in term.list("matchExpressions").iter().enumerate() {
        let path = path.child("matchExpressions").index(index);
        let operator = expression.text("operator");
        let count = expression.list("values").len();
        match operator {
            "In" | "NotIn" if count == 0 => errors.push(Error::required(
                &path.child("values"),
                "must be specified when `operator` is 'In' or 'NotIn'",
            )),
            "Exists" | "DoesNotExist" if count > 0 => errors.push(Error::forbidden(
                &path.child("values"),
                "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            )),
            "Gt" | "Lt" if count != 1 => errors.push(Error::required(
                &path.child("values"),
                "must be specified single value when `operator` is 'Lt' or 'Gt'",
            )),
            "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
            _ => errors.push(Error::invalid(
                &path.child("operator"),
                operator,
                "not a valid selector operator",
            )),
        }
        let key = expression.text("key");
        complain(errors, &path.child("key"), key, name::qualified_name(key));
    }
}

fn validate_pod_affinity(affinity: &Value, path: &Path, errors: &mut Vec<Error>) {
    for (index, term) in affinity.list(REQUIRED).iter().enumerate() {
        validate_pod_term(term, &path.child(REQUIRED).index(index), errors);
    }
    for (index, term) in affinity.list(PREFERRED).iter().enumerate() {
        let path = path.child(PREFERRED).index(index);
        validate_weight(term, &path, errors);
        validate_pod_term(
            &term["podAffinityTerm"],
            &path.child("podAffinityTerm"),
            errors,
        );
    }
}

fn validate_pod_term(term: &Value, path: &Path, errors: &mut Vec<Error>) {
    for selector in ["labelSelector", "namespaceSelector"] {
        label_selector(term.at(selector), &path.child(selector), errors);
    }
    for namespace in term.texts("namespaces") {
        // The API leaves out the index and the plural.
        let place = path.child("namespace");
        complain(errors, &place, namespace, name::dns1123_label(namespace));
    }
    let place = path.child("topologyKey");
    if term.lacks("topologyKey") {
        errors.push(Error::required(&place, NO_TOPOLOGY));
    }
    let key = term.text("topologyKey");
    complain(errors, &place, key, name::qualified_name(key));
}

fn validate_toleration(toleration: &Value, path: &Path, errors: &mut Vec<Error>) {
    let (key, operator) = (toleration.text("key"), toleration.text("operator"));
    let (value, effect) = (toleration.text("value"), toleration.text("effect"));
    if !key.is_empty() {
        complain(errors, &path.child("key"), key, name::qualified_name(key));
    } else if operator != "Exists" {
        errors.push(Error::invalid(
            &path.child("operator"),
            operator,
            "operator must be Exists when `key` is empty, \
             which means \"match all values and all keys\"",
        ));
    }
    if toleration.at("tolerationSeconds").is_some() && effect != "NoExecute" {
        errors.push(Error::invalid(
            &path.child("effect"),
            effect,
            "effect must be 'NoExecute' when `tolerationSeconds` is set",
        ));
    }
    match operator {
        "" | "Equal" => {
            let complaints = name::label_value(value);
            if !complaints.is_empty() {
                let detail = complaints.join(";");
                errors.push(Error::invalid(&path.child("operator"), value, detail));
            }
        }
        "Exists" if !value.is_empty() => errors.push(Error::invalid(
            &path.child("operator"),
            value,
            "value must be empty when `operator` is 'Exists'",
        )),
        "Exists" => {}
        "Gt" | "Lt" => required(toleration, "value", path, errors),
        _ => errors.push(Error::not_supported(
            &path.child("operator"),
            operator,
            &["Equal", "Exists"],
        )),
    }
    let effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
    one_of(toleration, "effect", &effects, path, errors);
}
