//! What is wrong with a job. What it may not change, and what its policies may say, stand apart.

use serde_json::{Value, json};
use simcluster_machinery::field::{Error, Path};
use simcluster_machinery::name;
use simcluster_machinery::selector::LabelSelector;

use super::{NAME_LABELS, UID_LABELS, policies};
use crate::checks::{label_selector, non_negative, one_of, selector_json, selector_matches};
use crate::meta::complain;
use crate::pod::validation;
use crate::read::Read;

const MAX_PARALLELISM_INDEXED: i64 = 100_000;
const LONGEST_MANAGER: usize = 63;
const LONGEST_ZONE_PART: usize = 14;
/// What the server can keep account of.
const MAX_FAILED_INDEXES: i64 = 100_000;
const MANY_COMPLETIONS: i64 = 100_000;
const LIMIT_OF_MANY: i64 = 10_000;
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

pub(super) fn spec(spec: &Value, path: &Path, errors: &mut Vec<Error>) {
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
        failed_indexes(spec, path, errors);
    } else {
        for field in ["backoffLimitPerIndex", "maxFailedIndexes", "successPolicy"] {
            let Some(value) = spec.at(field) else {
                continue;
            };
            let place = path.child(field);
            errors.push(if field == "successPolicy" {
                Error::invalid_shown(&place, policies::shown_success(value), INDEXED_ONLY)
            } else {
                Error::invalid(&place, value.clone(), INDEXED_ONLY)
            });
        }
    }
    let has_failure_policy = spec.at("podFailurePolicy").is_some();
    if let Some(policy) = spec.at("podFailurePolicy") {
        policies::failure(spec, policy, &path.child("podFailurePolicy"), errors);
    }
    if let Some(policy) = spec.at("successPolicy")
        && let Some(completions) = spec.integer("completions")
        && spec.text("completionMode") == "Indexed"
    {
        policies::success(policy, completions, &path.child("successPolicy"), errors);
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

/// How many indexes of an indexed job may fail, which grows dear with their number.
fn failed_indexes(spec: &Value, path: &Path, errors: &mut Vec<Error>) {
    let place = path.child("maxFailedIndexes");
    let completions = spec.integer("completions");
    let limit = spec.integer("maxFailedIndexes");
    if let (Some(limit), Some(all)) = (limit, completions)
        && limit > all
    {
        let detail = "must be less than or equal to completions";
        errors.push(Error::invalid(&place, limit, detail));
    }
    if let Some(limit) = limit.filter(|limit| *limit > MAX_FAILED_INDEXES) {
        let detail = format!("must be less than or equal to {MAX_FAILED_INDEXES}");
        errors.push(Error::invalid(&place, limit, detail));
    }
    let per_index = spec.at("backoffLimitPerIndex").is_some();
    if !per_index || completions.is_none_or(|all| all <= MANY_COMPLETIONS) {
        return;
    }
    let detail = format!(
        "must be less than or equal to {LIMIT_OF_MANY} when completions are above \
         {MANY_COMPLETIONS} and used with backoff limit per index"
    );
    if limit.is_none() {
        let detail = format!("must be specified when completions is above {MANY_COMPLETIONS}");
        errors.push(Error::required(&place, detail));
    }
    for field in ["parallelism", "maxFailedIndexes"] {
        if let Some(count) = spec.integer(field).filter(|count| *count > LIMIT_OF_MANY) {
            errors.push(Error::invalid(&path.child(field), count, detail.as_str()));
        }
    }
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
    let is_part = |part: &str| {
        let fits = part.len() <= LONGEST_ZONE_PART && !part.is_empty();
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_+".contains(&byte);
        fits && !matches!(part, "." | "..") && !part.starts_with('-') && part.bytes().all(plain)
    };
    let known =
        name.split('/').all(is_part) && (name == "UTC" || jiff::tz::TimeZone::get(name).is_ok());
    (!known).then(|| format!("unknown time zone {name}"))
}
