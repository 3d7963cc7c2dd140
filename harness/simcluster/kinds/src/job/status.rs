//! What a job's status may say, whoever writes it: since jobs may be looked after by others than the
//! built-in controller, the server holds them to what its own does.
//!
//! Most rules are asked only of what an update changes, so that a status that is wrong already can
//! still be written.

use serde_json::{Value, json};
use simcluster_machinery::field::{Error, Path};

use super::indexes;
use crate::checks::non_negative;
use crate::read::Read;

/// What the rules ask about one job.
struct State<'a> {
    job: &'a Value,
}

impl<'a> State<'a> {
    fn has(&self, kind: &str) -> bool {
        let mut conditions = self.job.list("status.conditions").iter();
        conditions.any(|one| one.text("type") == kind && one.text("status") == "True")
    }

    fn finished(&self) -> bool {
        self.has("Complete") || self.has("Failed")
    }

    fn field(&self, name: &str) -> Option<&'a Value> {
        self.job.at(&format!("status.{name}"))
    }

    fn count(&self, name: &str) -> i64 {
        self.field(name).and_then(Value::as_i64).unwrap_or(0)
    }

    fn text(&self, name: &str) -> &'a str {
        self.field(name).and_then(Value::as_str).unwrap_or_default()
    }
}

/// What is wrong with an update of a job's status.
pub(super) fn update(new: &Value, old: &Value) -> Vec<Error> {
    let mut errors = Vec::new();
    let (after, before) = (State { job: new }, State { job: old });
    let path = Path::new("status");
    let status = new.get("status").unwrap_or(&Value::Null);
    let counts = ["active", "succeeded", "failed", "ready", "terminating"];
    non_negative(status, &counts, &path, &mut errors);
    uncounted(status, &path, &mut errors);
    ends(&after, &before, &path, &mut errors);
    what_is_left(&after, &before, &path, &mut errors);
    indexes_of(&after, &before, &path, &mut errors);
    conditions(&after, &path, &mut errors);
    what_stays(&after, &before, &path, &mut errors);
    errors
}

/// Pods that ended and are not counted yet are named, each once.
fn uncounted(status: &Value, path: &Path, errors: &mut Vec<Error>) {
    let mut seen: Vec<&str> = Vec::new();
    for list in ["succeeded", "failed"] {
        let uids = status.texts(&format!("uncountedTerminatedPods.{list}"));
        for (index, uid) in uids.into_iter().enumerate() {
            let place = path
                .child("uncountedTerminatedPods")
                .child(list)
                .index(index);
            if uid.is_empty() {
                errors.push(Error::invalid(&place, "", "must not be empty"));
            } else if seen.contains(&uid) {
                errors.push(Error::duplicate(&place, uid));
            } else {
                seen.push(uid);
            }
        }
    }
}

/// How a job ends, and when.
fn ends(after: &State, before: &State, path: &Path, errors: &mut Vec<Error>) {
    let changed = |kind: &str| after.has(kind) != before.has(kind);
    let field_changed = |name: &str| after.field(name) != before.field(name);
    let (complete, failed) = (after.has("Complete"), after.has("Failed"));
    let mut refuse = |detail: &str| {
        errors.push(Error::invalid_omitted(&path.child("conditions"), detail));
    };
    if (changed("Complete") || changed("Failed")) && complete && failed {
        refuse("cannot set Complete=True and Failed=true conditions");
    }
    if (changed("Complete") || changed("FailureTarget")) && complete && after.has("FailureTarget") {
        refuse("cannot set Complete=True and FailureTarget=true conditions");
    }
    let place = path.child("completionTime");
    let time = after.field("completionTime");
    if changed("Complete") || field_changed("completionTime") {
        match time {
            Some(time) if !complete => errors.push(Error::invalid(
                &place,
                time.clone(),
                "cannot set completionTime when there is no Complete=True condition",
            )),
            None if complete => errors.push(Error::required(
                &place,
                "completionTime is required for Complete jobs",
            )),
            _ => {}
        }
    }
    if (field_changed("startTime") || field_changed("completionTime"))
        && let (Some(start), Some(end)) = (after.field("startTime"), time)
        && instant(end) < instant(start)
    {
        let detail = "completionTime cannot be set before startTime";
        errors.push(Error::invalid(&place, end.clone(), detail));
    }
    let mut refuse = |detail: &str| {
        errors.push(Error::invalid_omitted(&path.child("conditions"), detail));
    };
    if (changed("Failed") || changed("FailureTarget")) && failed && !after.has("FailureTarget") {
        refuse("cannot set Failed=True condition without the FailureTarget=true condition");
    }
    if (changed("Complete") || changed("SuccessCriteriaMet"))
        && complete
        && !after.has("SuccessCriteriaMet")
    {
        refuse("cannot set Complete=True condition without the SuccessCriteriaMet=true condition");
    }
}

fn instant(time: &Value) -> Option<jiff::Timestamp> {
    time.as_str()?.parse().ok()
}

/// What a job that has ended has no more.
fn what_is_left(after: &State, before: &State, path: &Path, errors: &mut Vec<Error>) {
    let field_changed = |name: &str| after.field(name) != before.field(name);
    let finished = after.finished();
    let ended = finished != before.finished();
    let mut more_than_none = |field: &str| {
        let count = after.count(field);
        if (ended || field_changed(field)) && count > 0 && finished {
            let detail = format!("{field}>0 is invalid for finished job");
            errors.push(Error::invalid(&path.child(field), count, detail));
        }
    };
    more_than_none("active");
    more_than_none("terminating");
    if (ended || field_changed("startTime")) && finished && after.field("startTime").is_none() {
        let detail = "startTime is required for finished job";
        errors.push(Error::required(&path.child("startTime"), detail));
    }
    let uncounted = "uncountedTerminatedPods";
    let left = after.field(uncounted).unwrap_or(&Value::Null);
    let some = !left.lacks("succeeded") || !left.lacks("failed");
    if (ended || field_changed(uncounted)) && finished && some {
        let shown = format!(
            "{{\"Succeeded\":{},\"Failed\":{}}}",
            left["succeeded"], left["failed"]
        );
        errors.push(Error::invalid_shown(
            &path.child(uncounted),
            shown,
            "uncountedTerminatedPods needs to be empty for finished job",
        ));
    }
    if (field_changed("ready") || field_changed("active"))
        && after.count("ready") > after.count("active")
    {
        let detail = "cannot set more ready pods than active";
        errors.push(Error::invalid(
            &path.child("ready"),
            after.count("ready"),
            detail,
        ));
    }
}

/// Indexes that have succeeded and failed.
fn indexes_of(after: &State, before: &State, path: &Path, errors: &mut Vec<Error>) {
    let field_changed = |name: &str| after.field(name) != before.field(name);
    let (completed, failed) = (after.text("completedIndexes"), after.text("failedIndexes"));
    let completions = after.job.integer("spec.completions");
    let per_index = after.job.at("spec.backoffLimitPerIndex").is_some();
    let mut refuse = |field: &str, value: &str, detail: String| {
        errors.push(Error::invalid(&path.child(field), value, detail));
    };
    if field_changed("completedIndexes") {
        if let Some(Err(why)) = completions.map(|count| indexes::count(completed, count)) {
            let detail = format!("error parsing completedIndexes: {why}");
            refuse("completedIndexes", completed, detail);
        }
        if !completed.is_empty() && after.job.text("spec.completionMode") != "Indexed" {
            let detail = "cannot set non-empty completedIndexes when non-indexed completion mode";
            refuse("completedIndexes", completed, detail.to_owned());
        }
    }
    if after.field("failedIndexes").is_none() {
        return;
    }
    if field_changed("failedIndexes") {
        if !per_index {
            let detail = "cannot set non-null failedIndexes when backoffLimitPerIndex is null";
            refuse("failedIndexes", failed, detail.to_owned());
        } else if let Some(Err(why)) = completions.map(|count| indexes::count(failed, count)) {
            let detail = format!("error parsing failedIndexes: {why}");
            refuse("failedIndexes", failed, detail);
        }
    }
    if (field_changed("failedIndexes") || field_changed("completedIndexes"))
        && let Some(count) = completions
        && let Some(why) = indexes::overlap(completed, failed, count)
    {
        refuse("failedIndexes", failed, why);
    }
}

/// Conditions that do not go together, whatever the update changes.
fn conditions(after: &State, path: &Path, errors: &mut Vec<Error>) {
    let mut refuse = |detail: &str| {
        errors.push(Error::invalid_omitted(&path.child("conditions"), detail));
    };
    let met = after.has("SuccessCriteriaMet");
    if met && after.has("Failed") {
        refuse("cannot set SuccessCriteriaMet=True and Failed=true conditions");
    }
    if met && after.has("FailureTarget") {
        refuse("cannot set SuccessCriteriaMet=True and FailureTarget=true conditions");
    }
    if after.job.at("spec.successPolicy").is_some() && !met && after.has("Complete") {
        refuse(
            "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True",
        );
    }
}

/// What no update takes back.
fn what_stays(after: &State, before: &State, path: &Path, errors: &mut Vec<Error>) {
    for kind in ["Failed", "Complete", "FailureTarget"] {
        if before.has(kind) && !after.has(kind) {
            errors.push(Error::invalid_omitted(
                &path.child("conditions"),
                format!("cannot disable the terminal {kind}=True condition"),
            ));
        }
    }
    let spec = after.job.get("spec").unwrap_or(&Value::Null);
    // An indexed job may be made smaller.
    let shrinks = spec.text("completionMode") == "Indexed"
        && spec.at("completions") == spec.at("parallelism");
    for (field, may) in [("failed", false), ("succeeded", shrinks)] {
        if !may && after.count(field) < before.count(field) {
            let detail = format!("cannot decrease the {field} counter");
            errors.push(Error::invalid(
                &path.child(field),
                after.count(field),
                detail,
            ));
        }
    }
    let time = "completionTime";
    if let (Some(now), Some(then)) = (after.field(time), before.field(time))
        && now != then
    {
        let detail = "completionTime cannot be mutated";
        errors.push(Error::invalid(&path.child(time), json!(now), detail));
    }
    let start = before.field("startTime");
    if start.is_some() && start != after.field("startTime") && !spec.flag("suspend") {
        let detail = "startTime cannot be removed for unsuspended job";
        errors.push(Error::required(&path.child("startTime"), detail));
    }
    let met = "SuccessCriteriaMet";
    let mut refuse = |detail: &str| {
        errors.push(Error::invalid_omitted(&path.child("conditions"), detail));
    };
    if before.has(met) && !after.has(met) {
        refuse("cannot disable the SuccessCriteriaMet=True condition");
    }
    if before.has("Complete") && !before.has(met) && after.has(met) {
        refuse("cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions");
    }
}
