//! What a job's policies may say: which failures of pods count, and when the job has succeeded.

use serde_json::{Value, json};
use simcluster_machinery::field::{Error, Path};
use simcluster_machinery::name;

use crate::checks::{non_negative, one_of};
use crate::meta::complain;
use crate::read::Read;

/// How many rules a policy may have, and how many conditions a rule.
const RULES: usize = 20;
const EXIT_CODES: usize = 255;
const SUCCEEDED_INDEXES_LIMIT: usize = 64 * 1024;

/// The policy for failures of pods (at `path`).
pub(super) fn failure(spec: &Value, policy: &Value, path: &Path, errors: &mut Vec<Error>) {
    let actions = ["Count", "FailIndex", "FailJob", "Ignore"];
    let rules = policy.list("rules");
    at_most(rules, RULES, &path.child("rules"), errors);
    for (index, rule) in rules.iter().enumerate() {
        let path = path.child("rules").index(index);
        match rule.text("action") {
            "" => {
                let detail = "valid values: [\"Count\" \"FailIndex\" \"FailJob\" \"Ignore\"]";
                errors.push(Error::required(&path.child("action"), detail));
            }
            "FailIndex" if spec.at("backoffLimitPerIndex").is_none() => {
                errors.push(Error::invalid(
                    &path.child("action"),
                    "FailIndex",
                    "requires the backoffLimitPerIndex to be set",
                ));
            }
            _ => one_of(rule, "action", &actions, &path, errors),
        }
        let conditions = rule.list("onPodConditions");
        let codes = rule.at("onExitCodes");
        if let Some(codes) = codes {
            exit_codes(spec, codes, &path.child("onExitCodes"), errors);
        }
        pod_conditions(conditions, &path.child("onPodConditions"), errors);
        let wrong = match (codes.is_some(), conditions.is_empty()) {
            (true, false) => "specifying both OnExitCodes and OnPodConditions is not supported",
            (false, true) => "specifying one of OnExitCodes and OnPodConditions is required",
            _ => continue,
        };
        errors.push(Error::invalid_omitted(&path, wrong));
    }
}

fn at_most(list: &[Value], limit: usize, path: &Path, errors: &mut Vec<Error>) {
    if list.len() > limit {
        errors.push(Error::too_many(path, list.len(), limit));
    }
}

fn pod_conditions(conditions: &[Value], path: &Path, errors: &mut Vec<Error>) {
    at_most(conditions, RULES, path, errors);
    for (index, pattern) in conditions.iter().enumerate() {
        let path = path.index(index);
        let kind = pattern.text("type");
        complain(
            errors,
            &path.child("type"),
            kind,
            name::qualified_name(kind),
        );
        let known = ["False", "True", "Unknown"];
        one_of(pattern, "status", &known, &path, errors);
    }
}

fn exit_codes(spec: &Value, codes: &Value, path: &Path, errors: &mut Vec<Error>) {
    match codes.text("operator") {
        "" => {
            let detail = "valid values: [\"In\" \"NotIn\"]";
            errors.push(Error::required(&path.child("operator"), detail));
        }
        _ => one_of(codes, "operator", &["In", "NotIn"], path, errors),
    }
    if let Some(name) = codes.at("containerName").and_then(Value::as_str) {
        let known = ["containers", "initContainers"]
            .iter()
            .flat_map(|list| spec.list(&format!("template.spec.{list}")))
            .any(|container| container.text("name") == name);
        if !known {
            let detail = "must be one of the container or initContainer names in the pod template";
            errors.push(Error::invalid(&path.child("containerName"), name, detail));
        }
    }
    let values = codes.list("values");
    let place = path.child("values");
    at_most(values, EXIT_CODES, &place, errors);
    if values.is_empty() {
        errors.push(Error::invalid(
            &place,
            json!([]),
            "at least one value is required",
        ));
    }
    let (mut previous, mut unordered) = (None, false);
    for (index, value) in values.iter().enumerate() {
        let code = value.as_i64().unwrap_or(0);
        if code == 0 && codes.text("operator") == "In" {
            let detail = "must not be 0 for the In operator";
            errors.push(Error::invalid(&place.index(index), 0, detail));
        }
        unordered |= previous.is_some_and(|previous| previous > code);
        if values[..index].contains(value) {
            errors.push(Error::duplicate(&place.index(index), code));
        }
        previous = Some(code);
    }
    if unordered {
        errors.push(Error::invalid(&place, values.to_vec(), "must be ordered"));
    }
}

/// The policy for success (at `path`) of a job with `completions` indexes.
pub(super) fn success(policy: &Value, completions: i64, path: &Path, errors: &mut Vec<Error>) {
    let rules = policy.list("rules");
    let path = path.child("rules");
    if rules.is_empty() {
        let detail = "at least one rules must be specified when the successPolicy is specified";
        errors.push(Error::required(&path, detail));
    }
    at_most(rules, RULES, &path, errors);
    for (index, rule) in rules.iter().enumerate() {
        success_rule(rule, completions, &path.index(index), errors);
    }
}

fn success_rule(rule: &Value, completions: i64, path: &Path, errors: &mut Vec<Error>) {
    let (indexes, count) = (rule.at("succeededIndexes"), rule.integer("succeededCount"));
    if count.is_none() && indexes.is_none() {
        errors.push(Error::required(
            path,
            "at least one of succeededCount or succeededIndexes must be specified",
        ));
    }
    let mut total = 0;
    if let Some(text) = indexes.and_then(Value::as_str) {
        let place = path.child("succeededIndexes");
        if text.len() > SUCCEEDED_INDEXES_LIMIT {
            errors.push(Error::too_long(&place, SUCCEEDED_INDEXES_LIMIT));
        }
        match super::indexes::count(text, completions) {
            Ok(count) => total = count,
            Err(why) => {
                let detail = format!("error parsing succeededIndexes: {why}");
                errors.push(Error::invalid(&place, text, detail));
            }
        }
    }
    let Some(count) = count else { return };
    let place = path.child("succeededCount");
    non_negative(rule, &["succeededCount"], path, errors);
    if count > completions {
        let detail = format!(
            "must be less than or equal to {completions} (the number of specified completions)"
        );
        errors.push(Error::invalid(&place, count, detail));
    }
    if indexes.is_some() && count > total {
        let detail = format!(
            "must be less than or equal to {total} (the number of indexes in the specified \
             succeededIndexes field)"
        );
        errors.push(Error::invalid(&place, count, detail));
    }
}

/// A success policy as the API shows it.
pub(super) fn shown_success(policy: &Value) -> String {
    let rules: Vec<String> = policy
        .list("rules")
        .iter()
        .map(|rule| {
            let (indexes, count) = (&rule["succeededIndexes"], &rule["succeededCount"]);
            format!("{{\"SucceededIndexes\":{indexes},\"SucceededCount\":{count}}}")
        })
        .collect();
    format!("{{\"Rules\":[{}]}}", rules.join(","))
}
