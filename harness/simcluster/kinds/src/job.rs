//! Job.

mod indexes;
mod policies;
mod status;
mod update;
mod validation;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use simcluster_machinery::field::{Error, Path};

use crate::meta;
use crate::pod::{defaults, warnings};
use crate::read::{Fill, Read};
use crate::replica_set::same_generation;
use crate::rules::KindRules;
use crate::table::{self, AGE, Column, NAME, Row};
use crate::warnings::name_of_pods;

pub(crate) use validation::{spec_of_template as validate_template_spec, time_zone_name};

/// Labels that bind pods to their job, the old ones without a domain too.
const UID_LABELS: [&str; 2] = ["batch.kubernetes.io/controller-uid", "controller-uid"];
const NAME_LABELS: [&str; 2] = ["batch.kubernetes.io/job-name", "job-name"];
const BACKOFF_LIMIT: i64 = 6;
const SOFT_COMPLETIONS: i64 = 100_000;
const SOFT_PARALLELISM: i64 = 10_000;
const NO_LIMIT: i64 = 2_147_483_647;

pub(crate) struct Job;

impl KindRules for Job {
    fn default(&self, job: &mut Value) {
        if job.at("spec.completions").is_none() && job.at("spec.parallelism").is_none() {
            job.fill("spec.completions", 1);
        }
        job.fill("spec.parallelism", 1);
        let per_index = job.at("spec.backoffLimitPerIndex").is_some();
        job.fill(
            "spec.backoffLimit",
            if per_index { NO_LIMIT } else { BACKOFF_LIMIT },
        );
        job.fill("spec.completionMode", "NonIndexed");
        job.fill("spec.suspend", false);
        let has_policy = job.at("spec.podFailurePolicy").is_some();
        let replacement = if has_policy {
            "Failed"
        } else {
            "TerminatingOrFailed"
        };
        job.fill("spec.podReplacementPolicy", replacement);
        job.fill("spec.manualSelector", false);
        for rule in job.items("spec.podFailurePolicy.rules") {
            for pattern in rule.items("onPodConditions") {
                pattern.fill("status", "True");
            }
        }
        defaults::template(&mut job["spec"]["template"]);
        let labels = &job["spec"]["template"]["metadata"]["labels"];
        if labels.get(UID_LABELS[0]).is_some() {
            labels_from_template(job);
        }
    }

    fn prepare_create(&self, job: &mut Value) {
        generate_selector(job);
        labels_from_template(job);
        meta::begin_generation(job, true);
        job["status"] = json!({});
    }

    fn validate_create(&self, job: &Value) -> Vec<Error> {
        validation::job(job)
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<Error> {
        let mut errors = validation::job(new);
        errors.extend(update::check(new, old));
        errors
    }

    fn validate_status_update(&self, new: &Value, old: &Value) -> Vec<Error> {
        status::update(new, old)
    }

    fn update_validates_whole_metadata(&self) -> bool {
        false
    }

    fn warnings(&self, new: &Value, old: Option<&Value>) -> Vec<String> {
        if old.is_some_and(|old| same_generation(new, old)) {
            return Vec::new();
        }
        let mut warnings = if old.is_none() {
            name_of_pods(new)
        } else {
            Vec::new()
        };
        warnings.extend(spec_warnings(&new["spec"], &Path::new("spec")));
        warnings
    }

    fn has_status(&self) -> bool {
        true
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn selectable_fields(&self, job: &Value) -> Vec<(&'static str, String)> {
        let succeeded = job.integer("status.succeeded").unwrap_or(0);
        vec![("status.successful", succeeded.to_string())]
    }

    fn columns(&self) -> &'static [Column] {
        const {
            &[
                NAME,
                Column::text("Status"),
                Column::text("Completions"),
                Column::text("Duration"),
                AGE,
                Column::wide("Containers"),
                Column::wide("Images"),
                Column::wide("Selector"),
            ]
        }
    }

    fn row(&self, job: &Value, now: Timestamp) -> Row {
        let [names, images] = table::containers(&job["spec"]["template"]["spec"]);
        Row::new(vec![
            table::name(job),
            json!(status(job)),
            json!(completions(job)),
            json!(
                duration(job, now)
                    .map(table::human_duration)
                    .unwrap_or_default()
            ),
            table::age(job, now),
            names,
            images,
            table::selector(job.at("spec.selector")),
        ])
    }
}

/// Warnings about the spec of a job, or of a job's template (at `path`).
pub(crate) fn spec_warnings(spec: &Value, path: &Path) -> Vec<String> {
    let mut warnings = Vec::new();
    let count = |field: &str| spec.integer(field).unwrap_or(0);
    if spec.text("completionMode") == "Indexed"
        && count("completions") > SOFT_COMPLETIONS
        && count("parallelism") > SOFT_PARALLELISM
    {
        warnings.push(format!(
            "{path}: In Indexed Jobs with a number of completions higher than 10^5 and a \
             parallelism higher than 10^4, Kubernetes might not be able to track \
             completedIndexes when a big number of indexes fail"
        ));
    }
    if let Some(template) = spec.at("template") {
        warnings.extend(warnings::of_template(template, &path.child("template")));
    }
    warnings
}

/// Labels of the template and a selector that name this job and no other, unless the client takes
/// care of them. What the client set stays, and validation judges it.
fn generate_selector(job: &mut Value) {
    if job.flag("spec.manualSelector") {
        return;
    }
    let uid = job.text("metadata.uid").to_owned();
    let name = job.text("metadata.name").to_owned();
    if let Some(labels) = job.object("spec.template.metadata.labels") {
        for (keys, value) in [(NAME_LABELS, &name), (UID_LABELS, &uid)] {
            for key in keys {
                labels.entry(key).or_insert_with(|| json!(value));
            }
        }
    }
    if let Some(labels) = job.object("spec.selector.matchLabels") {
        labels.entry(UID_LABELS[0]).or_insert_with(|| json!(uid));
    }
}

/// A job without labels has those of its template.
fn labels_from_template(job: &mut Value) {
    if job.lacks("metadata.labels")
        && let Some(labels) = job.at("spec.template.metadata.labels").cloned()
    {
        job.put("metadata.labels", labels);
    }
}

fn status(job: &Value) -> &'static str {
    let has = |kind: &str| {
        job.list("status.conditions")
            .iter()
            .any(|condition| condition.text("type") == kind && condition.text("status") == "True")
    };
    match () {
        () if has("Complete") => "Complete",
        () if has("Failed") => "Failed",
        () if job.at("metadata.deletionTimestamp").is_some() => "Terminating",
        () if has("Suspended") => "Suspended",
        () if has("FailureTarget") => "FailureTarget",
        () if has("SuccessCriteriaMet") => "SuccessCriteriaMet",
        () => "Running",
    }
}

fn completions(job: &Value) -> String {
    let succeeded = job.integer("status.succeeded").unwrap_or(0);
    match (
        job.integer("spec.completions"),
        job.integer("spec.parallelism").unwrap_or(0),
    ) {
        (Some(wanted), _) => format!("{succeeded}/{wanted}"),
        (None, parallelism) if parallelism > 1 => format!("{succeeded}/1 of {parallelism}"),
        (None, _) => format!("{succeeded}/1"),
    }
}

fn duration(job: &Value, now: Timestamp) -> Option<SignedDuration> {
    let start: Timestamp = job.text("status.startTime").parse().ok()?;
    let end = job.text("status.completionTime").parse().unwrap_or(now);
    Some(end.duration_since(start))
}
