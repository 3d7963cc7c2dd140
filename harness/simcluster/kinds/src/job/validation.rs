//! What is wrong with a job, and what it may not change.

use serde_json::{Value, json};
use simcluster_machinery::field::{Error, Path};
use simcluster_machinery::name;
use simcluster_machinery::selector::LabelSelector;

use super::{NAME_LABELS, UID_LABELS};
use crate::checks::{
    IMMUTABLE, immutable, label_selector, non_negative, one_of, required, selector_json,
    selector_matches,
};
use crate::meta::complain;
use crate::pod::validation;
use crate::read::{Fill, Read};

const MAX_PARALLELISM_INDEXED: i64 = 100_000;
const LONGEST_MANAGER: usize = 63;
const INDEXED_ONLY: &str = "requires indexed completion mode";

/// A whole job, with its selector.
pub(super) fn job(job: &Value) -> Vec<Error> {
    let mut errors = Vec::new();
    generated_selector(job, &mut errors);
    spec(&job["spec"], &Path::new("spec"), &mut errors);
    errors
}

fn generated_selector(job: &Value, errors: &mut Vec<Error>) {
    let selector = job.at("spec.selector");
    if job.flag("spec.manualSelector") || selector.is_none() {
        return;
    }
    let (uid, name) = (job.text("metadata.uid"), job.text("metadata.name"));
    let labels = job
        .at("spec.template.metadata.labels")
        .cloned()
        .unwrap_or(json!({}));
    let path = Path::new("spec")
        .child("template")
        .child("metadata")
        .child("labels");
    let expected = [
        (UID_LABELS[1], uid),
        (UID_LABELS[0], uid),
        (NAME_LABELS[1], name),
        (NAME_LABELS[0], name),
    ];
    for (key, value) in expected {
        match labels.get(key).and_then(Value::as_str) {
            None => errors.push(Error::required(
                &path.key(key),
                format!("must be '{value}'"),
            )),
            Some(given) if given != value => errors.push(Error::invalid(
                &path.key(key),
                labels.clone(),
                format!("must be '{value}'"),
            )),
            Some(_) => {}
        }
    }
    let own = |key: &str| {
        expected
            .into_iter()
            .find(|(name, _)| *name == key)
            .map(|(_, value)| value)
    };
    let parsed = LabelSelector::from_object(selector);
    if parsed.is_ok_and(|selector| !selector.matches_with(own)) {
        errors.push(Error::invalid_shown(
            &Path::new("spec").child("selector"),
            selector_json(selector),
            "`selector` not auto-generated",
        ));
    }
}

fn spec(spec: &Value, path: &Path, errors: &mut Vec<Error>) {
    spec_of_template(spec, path, errors);
    let selector = spec.at("selector");
    if selector.is_none() {
        errors.push(Error::required(&path.child("selector"), ""));
    } else {
        label_selector(selector, &path.child("selector"), errors);
    }
    let template = &spec["template"];
    if selector.is_some() && !selector_matches(selector, template) {
        errors.push(Error::invalid(
            &path.child("template").child("metadata").child("labels"),
            template
                .at("metadata.labels")
                .cloned()
                .unwrap_or(Value::Null),
            "`selector` does not match template `labels`",
        ));
    }
}

/// The spec of a job without its selector (at `path`), as in a CronJob.
pub(crate) fn spec_of_template(spec: &Value, path: &Path, errors: &mut Vec<Error>) {
    let counts = [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ];
    non_negative(spec, &counts, path, errors);
    managed_by(spec, path, errors);
    if spec.at("maxFailedIndexes").is_some() && spec.at("backoffLimitPerIndex").is_none() {
        let detail = "when maxFailedIndexes is specified";
        errors.push(Error::required(&path.child("backoffLimitPerIndex"), detail));
    }
    one_of(
        spec,
        "completionMode",
        &["NonIndexed", "Indexed"],
        path,
        errors,
    );
    if spec.text("completionMode") == "Indexed" {
        if spec.at("completions").is_none() {
            let detail = "when completion mode is Indexed";
            errors.push(Error::required(&path.child("completions"), detail));
        }
        if let Some(count) = spec
            .integer("parallelism")
            .filter(|count| *count > MAX_PARALLELISM_INDEXED)
        {
            let detail = format!(
                "must be less than or equal to {MAX_PARALLELISM_INDEXED} when completion mode is Indexed"
            );
            errors.push(Error::invalid(&path.child("parallelism"), count, detail));
        }
    } else {
        for field in ["backoffLimitPerIndex", "maxFailedIndexes", "successPolicy"] {
            let Some(value) = spec.at(field) else {
                continue;
            };
            let place = path.child(field);
            errors.push(if field == "successPolicy" {
                Error::invalid_shown(&place, shown_success_policy(value), INDEXED_ONLY)
            } else {
                Error::invalid(&place, value.clone(), INDEXED_ONLY)
            });
        }
    }
    let has_failure_policy = spec.at("podFailurePolicy").is_some();
    if let Some(policy) = spec.at("podFailurePolicy") {
        failure_policy(spec, policy, &path.child("podFailurePolicy"), errors);
    }
    if let Some(policy) = spec.at("successPolicy") {
        success_policy(policy, &path.child("successPolicy"), errors);
    }
    let replacements: &[&str] = if has_failure_policy {
        &["Failed"]
    } else {
        &["Failed", "TerminatingOrFailed"]
    };
    one_of(spec, "podReplacementPolicy", replacements, path, errors);
    let template_path = path.child("template");
    validation::template(&spec["template"], &template_path, errors);
    restart_policy(
        spec,
        &template_path.child("spec").child("restartPolicy"),
        errors,
    );
}

fn restart_policy(spec: &Value, path: &Path, errors: &mut Vec<Error>) {
    // `Always` is a default that the client may never have seen.
    match spec.text("template.spec.restartPolicy") {
        "Always" => {
            let detail = "valid values: \"OnFailure\", \"Never\"";
            errors.push(Error::required(path, detail));
        }
        "OnFailure" if spec.at("podFailurePolicy").is_some() => errors.push(Error::invalid(
            path,
            "OnFailure",
            "only \"Never\" is supported when podFailurePolicy is specified",
        )),
        "OnFailure" | "Never" => {}
        other => errors.push(Error::not_supported(path, other, &["OnFailure", "Never"])),
    }
}

fn failure_policy(spec: &Value, policy: &Value, path: &Path, errors: &mut Vec<Error>) {
    let actions = ["Count", "FailIndex", "FailJob", "Ignore"];
    for (index, rule) in policy.list("rules").iter().enumerate() {
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
        match (rule.at("onExitCodes"), conditions.is_empty()) {
            (Some(_), false) => errors.push(Error::invalid_omitted(
                &path,
                "specifying both OnExitCodes and OnPodConditions is not supported",
            )),
            (None, true) => errors.push(Error::invalid_omitted(
                &path,
                "specifying one of OnExitCodes and OnPodConditions is required",
            )),
            (Some(codes), true) => exit_codes(spec, codes, &path.child("onExitCodes"), errors),
            (None, false) => {
                for (index, pattern) in conditions.iter().enumerate() {
                    let path = path.child("onPodConditions").index(index);
                    required(pattern, "type", &path, errors);
                    one_of(
                        pattern,
                        "status",
                        &["False", "True", "Unknown"],
                        &path,
                        errors,
                    );
                }
            }
        }
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
    if values.is_empty() {
        errors.push(Error::invalid(
            &place,
            json!([]),
            "at least one value is required",
        ));
    }
    let mut previous = None;
    for (index, value) in values.iter().enumerate() {
        let code = value.as_i64().unwrap_or(0);
        if code == 0 && codes.text("operator") == "In" {
            let detail = "must not be 0 for the In operator";
            errors.push(Error::invalid(&place.index(index), 0, detail));
        }
        if previous.is_some_and(|previous| previous > code) {
            errors.push(Error::invalid(&place, values.to_vec(), "must be ordered"));
        }
        if values[..index].contains(value) {
            errors.push(Error::duplicate(&place.index(index), code));
        }
        previous = Some(code);
    }
}

fn success_policy(policy: &Value, path: &Path, errors: &mut Vec<Error>) {
    let rules = policy.list("rules");
    let path = path.child("rules");
    if rules.is_empty() {
        let detail = "at least one rules must be specified when the successPolicy is specified";
        errors.push(Error::required(&path, detail));
    }
    for (index, rule) in rules.iter().enumerate() {
        let path = path.index(index);
        if rule.at("succeededCount").is_none() && rule.at("succeededIndexes").is_none() {
            errors.push(Error::required(
                &path,
                "at least one of succeededCount or succeededIndexes must be specified",
            ));
        }
        non_negative(rule, &["succeededCount"], &path, errors);
    }
}

/// A success policy as the API shows it.
fn shown_success_policy(policy: &Value) -> String {
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

/// Who looks after a job, instead of the built-in controller.
fn managed_by(spec: &Value, path: &Path, errors: &mut Vec<Error>) {
    let Some(manager) = spec.at("managedBy").and_then(Value::as_str) else {
        return;
    };
    let path = path.child("managedBy");
    match manager.split_once('/') {
        _ if manager.is_empty() => errors.push(Error::required(&path, "")),
        Some((host, rest)) if !host.is_empty() && !rest.is_empty() => {
            complain(errors, &path, host, name::dns1123_subdomain(host));
        }
        _ => {
            let detail = "must be a domain-prefixed path (such as \"acme.io/foo\")";
            errors.push(Error::invalid(&path, manager, detail));
        }
    }
    if manager.len() > LONGEST_MANAGER {
        errors.push(Error::too_long(&path, LONGEST_MANAGER));
    }
}

/// What a job may not change. The whole spec is looked at once more, as the API does.
pub(super) fn update(new: &Value, old: &Value) -> Vec<Error> {
    let mut errors = Vec::new();
    let path = Path::new("spec");
    let (new_spec, old_spec) = (&new["spec"], &old["spec"]);
    spec(new_spec, &path, &mut errors);
    completions(new_spec, old_spec, &path, &mut errors);
    if new_spec.at("selector") != old_spec.at("selector") {
        let shown = selector_json(new_spec.at("selector"));
        errors.push(Error::invalid_shown(
            &path.child("selector"),
            shown,
            IMMUTABLE,
        ));
    }
    template(new, old, &path.child("template"), &mut errors);
    let fixed = [
        "completionMode",
        "podFailurePolicy",
        "backoffLimitPerIndex",
        "managedBy",
        "successPolicy",
    ];
    immutable(new_spec, old_spec, &fixed, &path, &mut errors);
    errors
}

fn completions(new: &Value, old: &Value, path: &Path, errors: &mut Vec<Error>) {
    let path = path.child("completions");
    if new.at("completions") == old.at("completions") {
        return;
    }
    let given = new.at("completions").cloned().unwrap_or(Value::Null);
    if new.text("completionMode") != "Indexed" || given.is_null() {
        errors.push(Error::invalid(&path, given, IMMUTABLE));
    } else if old.at("completions") != old.at("parallelism")
        || new.at("completions") != new.at("parallelism")
    {
        let detail = "can only be modified in tandem with spec.parallelism";
        errors.push(Error::invalid(&path, given, detail));
    }
}

/// A job that is suspended and never started may still be told where its pods run.
fn template(new: &Value, old: &Value, path: &Path, errors: &mut Vec<Error>) {
    let before = &old["spec"]["template"];
    let mut after = new["spec"]["template"].clone();
    if old.flag("spec.suspend") && old.at("status.startTime").is_none() {
        let directives = [
            "metadata.annotations",
            "metadata.labels",
            "spec.nodeSelector",
            "spec.affinity",
            "spec.tolerations",
            "spec.schedulingGates",
        ];
        for field in directives {
            match before.at(field) {
                Some(value) => after.put(field, value.clone()),
                None => drop(after.take_field(field)),
            }
        }
    }
    if after != *before {
        errors.push(Error::invalid(
            path,
            new["spec"]["template"].clone(),
            IMMUTABLE,
        ));
    }
}

/// What is wrong with the name of a time zone. Which zones exist is what the machine knows.
pub(crate) fn time_zone_name(name: &str) -> Option<String> {
    if name.is_empty() {
        return Some("timeZone must be nil or non-empty string".to_owned());
    }
    if name.eq_ignore_ascii_case("local") {
        let detail = "timeZone must be an explicit time zone as defined in \
                      https://www.iana.org/time-zones";
        return Some(detail.to_owned());
    }
    let known = name == "UTC" || jiff::tz::TimeZone::get(name).is_ok();
    (!known).then(|| format!("unknown time zone {name}"))
}
