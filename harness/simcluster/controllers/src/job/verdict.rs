//! Whether a job is over, and why. Pure.

use std::{collections::BTreeSet, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};

use super::{
    conditions::{FAILURE_TARGET, SUCCESS_CRITERIA_MET, holding},
    failure_policy::{Meaning, meaning},
    indexes, spec, tally,
};
use crate::pods;

/// What a job has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Complete { reason: String, message: String },
    Failed { reason: String, message: String },
}

impl Verdict {
    fn failed(reason: &str, message: impl Into<String>) -> Self {
        Self::Failed {
            reason: reason.to_owned(),
            message: message.into(),
        }
    }
}

/// A verdict that was reported stays; otherwise failures are judged before success.
pub(super) fn verdict(job: &Job, pods: &[Arc<Pod>], now: Timestamp) -> Option<Verdict> {
    standing(job)
        .or_else(|| failure(job, pods, now))
        .or_else(|| success(job, pods))
}

fn standing(job: &Job) -> Option<Verdict> {
    let words = |type_| {
        let condition = holding(job, type_)?;
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        Some((text(&condition.reason), text(&condition.message)))
    };
    if let Some((reason, message)) = words(FAILURE_TARGET) {
        return Some(Verdict::Failed { reason, message });
    }
    words(SUCCESS_CRITERIA_MET).map(|(reason, message)| Verdict::Complete { reason, message })
}

fn failure(job: &Job, pods: &[Arc<Pod>], now: Timestamp) -> Option<Verdict> {
    if let Some(message) = failed_by_policy(job, pods) {
        return Some(Verdict::failed("PodFailurePolicy", message));
    }
    let (_, failed) = tally::totals(job, pods);
    if failed > spec::backoff_limit(job) || restarted_too_often(job, pods) {
        let message = "Job has reached the specified backoff limit";
        return Some(Verdict::failed("BackoffLimitExceeded", message));
    }
    if spec::deadline(job).is_some_and(|deadline| deadline <= now) {
        let message = "Job was active longer than specified deadline";
        return Some(Verdict::failed("DeadlineExceeded", message));
    }
    if spec::backoff_limit_per_index(job).is_some() {
        let given_up = given_up(job, pods);
        let many = i32::try_from(given_up.len()).unwrap_or(i32::MAX);
        if spec::max_failed_indexes(job).is_some_and(|most| many > most) {
            let message = "Job has exceeded the specified maximal number of failed indexes";
            return Some(Verdict::failed("MaxFailedIndexesExceeded", message));
        }
        let done = indexes::succeeded(job, pods).len() + given_up.len();
        let all = usize::try_from(spec::completions(job).unwrap_or_default()).unwrap_or_default();
        if many > 0 && done >= all {
            return Some(Verdict::failed("FailedIndexes", "Job has failed indexes"));
        }
    }
    None
}

fn failed_by_policy(job: &Job, pods: &[Arc<Pod>]) -> Option<String> {
    spec::failure_policy(job)?;
    pods.iter()
        .filter(|pod| tally::is_failed(job, pod))
        .find_map(|pod| match meaning(job, pod) {
            Meaning::FailsJob(message) => Some(message),
            _ => None,
        })
}

/// Where containers are restarted in place, restarts count against the limit.
fn restarted_too_often(job: &Job, pods: &[Arc<Pod>]) -> bool {
    if !spec::restarts_in_place(job) {
        return false;
    }
    let restarts: i32 = pods
        .iter()
        .filter(|pod| matches!(pods::phase(pod), "Running" | "Pending"))
        .filter_map(|pod| pod.status.as_ref())
        .flat_map(|status| {
            status
                .container_statuses
                .iter()
                .chain(&status.init_container_statuses)
                .flatten()
        })
        .map(|container| container.restart_count)
        .sum();
    let limit = spec::backoff_limit(job);
    if limit == 0 {
        restarts > 0
    } else {
        restarts >= limit
    }
}

/// The indexes that are not tried again.
pub(super) fn given_up(job: &Job, pods: &[Arc<Pod>]) -> BTreeSet<i32> {
    let Some(limit) = spec::backoff_limit_per_index(job) else {
        return BTreeSet::new();
    };
    let known = job
        .status
        .as_ref()
        .and_then(|status| status.failed_indexes.as_deref());
    let mut given_up = indexes::read(known);
    for pod in pods.iter().filter(|pod| pods::phase(pod) == "Failed") {
        let Some(index) = indexes::of(job, pod) else {
            continue;
        };
        let over = match meaning(job, pod) {
            Meaning::FailsIndex => true,
            Meaning::Ignored => false,
            _ => indexes::failures(job, pods, index) > limit,
        };
        if over {
            given_up.insert(index);
        }
    }
    given_up
}

fn success(job: &Job, pods: &[Arc<Pod>]) -> Option<Verdict> {
    let complete = |reason: &str, message: String| Verdict::Complete {
        reason: reason.to_owned(),
        message,
    };
    if let Some(rule) = matched_success_rule(job, pods) {
        return Some(complete(
            "SuccessPolicy",
            format!("Matched rules at index {rule}"),
        ));
    }
    let (succeeded, _) = tally::totals(job, pods);
    let reached = match spec::completions(job) {
        Some(completions) => {
            succeeded >= completions && (completions > 0 || !spec::is_suspended(job))
        }
        // Any success says that the work is done; the pods at work may finish it.
        None => succeeded > 0 && !pods.iter().any(|pod| pods::is_active(pod)),
    };
    reached.then(|| {
        complete(
            "CompletionsReached",
            "Reached expected number of succeeded pods".to_owned(),
        )
    })
}

fn matched_success_rule(job: &Job, pods: &[Arc<Pod>]) -> Option<usize> {
    let policy = job.spec.as_ref()?.success_policy.as_ref()?;
    let done = indexes::succeeded(job, pods);
    policy.rules.iter().position(|rule| {
        let counted = match &rule.succeeded_indexes {
            Some(text) => {
                let wanted = indexes::read(Some(text));
                let hits = wanted.intersection(&done).count();
                if rule.succeeded_count.is_none() {
                    return hits == wanted.len();
                }
                hits
            }
            None => done.len(),
        };
        rule.succeeded_count
            .and_then(|least| usize::try_from(least).ok())
            .is_some_and(|least| counted >= least)
    })
}
