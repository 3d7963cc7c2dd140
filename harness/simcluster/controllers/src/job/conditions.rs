//! The conditions of a job: on its way out, over, suspended. Pure.

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobCondition, JobStatus};

use crate::clock::whole_seconds;

pub(super) const COMPLETE: &str = "Complete";
pub(super) const FAILED: &str = "Failed";
pub(super) const SUCCESS_CRITERIA_MET: &str = "SuccessCriteriaMet";
pub(super) const FAILURE_TARGET: &str = "FailureTarget";
pub(super) const SUSPENDED: &str = "Suspended";

fn find<'a>(status: Option<&'a JobStatus>, type_: &str) -> Option<&'a JobCondition> {
    status?
        .conditions
        .as_ref()?
        .iter()
        .find(|condition| condition.type_ == type_)
}

/// The condition of this type, if it holds.
pub(super) fn holding<'a>(job: &'a Job, type_: &str) -> Option<&'a JobCondition> {
    find(job.status.as_ref(), type_).filter(|condition| condition.status == "True")
}

pub(super) fn is_finished(job: &Job) -> bool {
    finished_at(job).is_some()
}

/// When the job was over, if it is.
pub(crate) fn finished_at(job: &Job) -> Option<Timestamp> {
    let condition = holding(job, COMPLETE).or_else(|| holding(job, FAILED))?;
    Some(
        condition
            .last_transition_time
            .as_ref()
            .map_or(Timestamp::UNIX_EPOCH, |time| time.0),
    )
}

/// Sets a condition; the same status and reason stay as they are.
pub(super) fn set(
    conditions: &mut Vec<JobCondition>,
    type_: &str,
    status: &str,
    reason: &str,
    message: &str,
    now: Timestamp,
) {
    let time = Some(whole_seconds(now));
    let new = JobCondition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_probe_time: time.clone(),
        last_transition_time: time,
    };
    match conditions.iter_mut().find(|known| known.type_ == type_) {
        Some(known)
            if known.status == new.status
                && known.reason == new.reason
                && known.message == new.message => {}
        Some(known) => *known = new,
        None => conditions.push(new),
    }
}

/// Says that a job is, or is not any more, suspended. Nothing is said of a job that never was.
pub(super) fn set_suspended(
    conditions: &mut Vec<JobCondition>,
    suspended: bool,
    now: Timestamp,
) -> bool {
    let known = conditions.iter().find(|known| known.type_ == SUSPENDED);
    let was = known.is_some_and(|known| known.status == "True");
    if was == suspended {
        return false;
    }
    if suspended {
        set(
            conditions,
            SUSPENDED,
            "True",
            "JobSuspended",
            "Job suspended",
            now,
        );
    } else {
        set(
            conditions,
            SUSPENDED,
            "False",
            "JobResumed",
            "Job resumed",
            now,
        );
    }
    true
}

/// The Event that a change of the suspension brings.
pub(super) fn suspension_change(
    before: Option<&JobStatus>,
    after: &JobStatus,
) -> Option<(&'static str, &'static str)> {
    let was = find(before, SUSPENDED).is_some_and(|known| known.status == "True");
    let is = find(Some(after), SUSPENDED).is_some_and(|known| known.status == "True");
    match (was, is) {
        (false, true) => Some(("Suspended", "Job suspended")),
        (true, false) => Some(("Resumed", "Job resumed")),
        _ => None,
    }
}
