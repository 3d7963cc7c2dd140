//! Whether a CronJob's Job is due, what it looks like, and which old ones go. Pure.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use k8s_openapi::{
    api::batch::v1::{CronJob, Job},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::ResourceExt;
use simcluster_machinery::cron::Schedule;

use crate::{job::finished_at, ownership::controller_reference};

const SCHEDULED: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";
/// Beyond so many missed times nobody counts.
const MOST_MISSED: u32 = 10_000;

/// Whether a Job is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    /// It was, but its deadline has passed.
    TooLate(Timestamp),
    Job {
        at: Timestamp,
        missed: u32,
    },
}

/// What is due, and when to look again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decision {
    pub(super) due: Due,
    pub(super) next: Option<Timestamp>,
}

/// Why nothing can be decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Complaint {
    pub(super) reason: &'static str,
    pub(super) message: String,
}

pub(super) fn is_suspended(cron_job: &CronJob) -> bool {
    cron_job.spec.suspend.unwrap_or_default()
}

pub(super) fn concurrency(cron_job: &CronJob) -> &str {
    cron_job
        .spec
        .concurrency_policy
        .as_deref()
        .unwrap_or("Allow")
}

/// Only the latest of several missed times counts.
pub(super) fn decide(cron_job: &CronJob, now: Timestamp) -> Result<Decision, Complaint> {
    let spec = &cron_job.spec;
    let schedule = Schedule::parse(&spec.schedule).map_err(|why| Complaint {
        reason: "UnparseableSchedule",
        message: format!("unparseable schedule: {:?} : {why}", spec.schedule),
    })?;
    let zone = match &spec.time_zone {
        None => TimeZone::UTC,
        Some(name) => TimeZone::get(name).map_err(|why| Complaint {
            reason: "UnknownTimeZone",
            message: format!("invalid timezone: {name:?} : {why}"),
        })?,
    };
    let made = cron_job
        .metadata
        .creation_timestamp
        .as_ref()
        .map(|time| time.0);
    let last = cron_job
        .status
        .as_ref()
        .and_then(|status| status.last_schedule_time.as_ref())
        .map(|time| time.0);
    let mut from = last.or(made).unwrap_or(now);
    let deadline = spec
        .starting_deadline_seconds
        .map(SignedDuration::from_secs);
    if let Some(earliest) = deadline.and_then(|deadline| now.checked_sub(deadline).ok()) {
        from = from.max(earliest);
    }
    let (mut latest, mut missed) = (None, 0);
    let mut at = schedule.after(from, &zone);
    while let Some(due) = at.filter(|due| *due <= now && missed < MOST_MISSED) {
        latest = Some(due);
        missed += 1;
        at = schedule.after(due, &zone);
    }
    if missed == MOST_MISSED {
        // So many have passed that the way here is longer than worth: the next is counted from now.
        at = schedule.after(now, &zone);
    }
    let due = match latest {
        None => Due::Nothing,
        Some(due) if deadline.is_some_and(|deadline| now.duration_since(due) > deadline) => {
            Due::TooLate(due)
        }
        Some(due) => Due::Job { at: due, missed },
    };
    Ok(Decision { due, next: at })
}

/// The same time always has the same name, so that no time has two Jobs.
pub(super) fn job_name(cron_job: &CronJob, at: Timestamp) -> String {
    format!("{}-{}", cron_job.name_any(), at.as_second() / 60)
}

/// The Job of a time.
pub(super) fn job(cron_job: &CronJob, at: Timestamp) -> Job {
    let template = cron_job.spec.job_template.clone();
    let metadata = template.metadata.unwrap_or_default();
    let mut annotations = metadata.annotations.unwrap_or_default();
    annotations.insert(
        SCHEDULED.to_owned(),
        at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    );
    Job {
        metadata: ObjectMeta {
            name: Some(job_name(cron_job, at)),
            namespace: cron_job.metadata.namespace.clone(),
            labels: metadata.labels,
            annotations: Some(annotations),
            owner_references: Some(vec![controller_reference(cron_job)]),
            ..ObjectMeta::default()
        },
        spec: template.spec,
        status: None,
    }
}

/// A time as Events have it: `Thu, 01 Jan 2026 00:10:00 +0000`.
pub(super) fn in_words(at: Timestamp) -> String {
    at.strftime("%a, %d %b %Y %H:%M:%S +0000").to_string()
}

/// `Complete` or `Failed`.
pub(super) fn finished_condition(job: &Job) -> &'static str {
    let failed = job
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref())
        .into_iter()
        .flatten()
        .any(|condition| condition.type_ == "Failed" && condition.status == "True");
    if failed { "Failed" } else { "Complete" }
}

/// Finished Jobs beyond those that are kept, oldest first.
pub(super) fn too_old(cron_job: &CronJob, jobs: &[Arc<Job>]) -> Vec<Arc<Job>> {
    let spec = &cron_job.spec;
    let mut surplus = Vec::new();
    for (condition, limit) in [
        ("Complete", spec.successful_jobs_history_limit.unwrap_or(3)),
        ("Failed", spec.failed_jobs_history_limit.unwrap_or(1)),
    ] {
        let mut finished: Vec<_> = jobs
            .iter()
            .filter(|job| {
                finished_at(job).is_some()
                    && finished_condition(job) == condition
                    && job.metadata.deletion_timestamp.is_none()
            })
            .cloned()
            .collect();
        finished.sort_by_key(|job| {
            let start = job
                .status
                .as_ref()
                .and_then(|status| status.start_time.clone());
            (start.map(|time| time.0), job.name_any())
        });
        let keep = usize::try_from(limit).unwrap_or_default();
        finished.truncate(finished.len().saturating_sub(keep));
        surplus.extend(finished);
    }
    surplus
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn cron_job(spec: &Value, last: Option<&str>) -> CronJob {
        let mut whole =
            json!({"schedule": "*/10 * * * *", "jobTemplate": {"spec": {"template": {}}}});
        for (key, value) in spec.as_object().unwrap() {
            whole[key] = value.clone();
        }
        serde_json::from_value(json!({
            "metadata": {"name": "c", "creationTimestamp": "2026-01-01T00:05:00Z"},
            "spec": whole, "status": {"lastScheduleTime": last},
        }))
        .unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_job_is_due_once_its_time_has_come_and_the_next_is_waited_for() {
        let plain = json!({});
        for (spec, last, now, due, next) in [
            (
                &plain,
                None,
                "2026-01-01T00:09:59Z",
                Due::Nothing,
                "2026-01-01T00:10:00Z",
            ),
            (
                &plain,
                None,
                "2026-01-01T00:10:00Z",
                Due::Job {
                    at: at("2026-01-01T00:10:00Z"),
                    missed: 1,
                },
                "2026-01-01T00:20:00Z",
            ),
            (
                &plain,
                Some("2026-01-01T00:10:00Z"),
                "2026-01-01T00:10:05Z",
                Due::Nothing,
                "2026-01-01T00:20:00Z",
            ),
            (
                &plain,
                Some("2026-01-01T00:10:00Z"),
                "2026-01-01T00:41:00Z",
                Due::Job {
                    at: at("2026-01-01T00:40:00Z"),
                    missed: 3,
                },
                "2026-01-01T00:50:00Z",
            ),
            (
                &json!({"startingDeadlineSeconds": 30}),
                Some("2026-01-01T00:10:00Z"),
                "2026-01-01T00:21:00Z",
                Due::Nothing,
                "2026-01-01T00:30:00Z",
            ),
        ] {
            let decision = decide(&cron_job(spec, last), at(now)).unwrap();
            assert_eq!(
                decision,
                Decision {
                    due,
                    next: Some(at(next))
                },
                "{spec} {last:?} {now}"
            );
        }
    }

    #[test]
    fn a_time_is_told_as_events_have_it() {
        let words = in_words(at("2026-01-01T00:10:00Z"));
        assert_eq!(words, "Thu, 01 Jan 2026 00:10:00 +0000");
    }

    #[test]
    fn a_job_is_named_by_its_minute() {
        let job = job(&cron_job(&json!({}), None), at("2026-01-01T00:10:00Z"));
        assert_eq!(job.metadata.name.as_deref(), Some("c-29453770"));
        assert_eq!(job.annotations()[SCHEDULED], "2026-01-01T00:10:00Z");
    }

    #[test]
    fn only_the_latest_finished_jobs_are_kept() {
        let finished = |number: i32, type_: &str| -> Arc<Job> {
            Arc::new(
                serde_json::from_value(json!({
                    "metadata": {"name": format!("{type_}{number}")},
                    "status": {
                        "startTime": format!("2026-01-01T00:{number:02}:00Z"),
                        "conditions": [{"type": type_, "status": "True"}],
                    },
                }))
                .unwrap(),
            )
        };
        let jobs: Vec<_> = (0..5)
            .map(|number| finished(number, "Complete"))
            .chain((0..2).map(|number| finished(number, "Failed")))
            .collect();
        let names: Vec<_> = too_old(&cron_job(&json!({}), None), &jobs)
            .iter()
            .map(|job| job.name_any())
            .collect();
        assert_eq!(names, ["Complete0", "Complete1", "Failed0"]);
    }
}
