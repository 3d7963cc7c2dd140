//! Counts the ends of a job's pods, each exactly once. Pure.

use std::{collections::HashSet, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::api::{
    batch::v1::{Job, JobStatus, UncountedTerminatedPods},
    core::v1::Pod,
};

use super::{
    conditions::{
        self, COMPLETE, FAILED, FAILURE_TARGET, SUCCESS_CRITERIA_MET, set, set_suspended,
    },
    failure_policy::{Meaning, meaning},
    indexes, spec,
    verdict::{self, Verdict},
};
use crate::{
    clock::whole_seconds,
    pods::{self, count, nonzero},
};

/// Keeps a pod until its end is counted.
pub(super) const FINALIZER: &str = "batch.kubernetes.io/job-tracking";

pub(super) fn has_finalizer(pod: &Pod) -> bool {
    pod.metadata
        .finalizers
        .iter()
        .flatten()
        .any(|finalizer| finalizer == FINALIZER)
}

/// Whether a pod counts as failed: it has failed, or it goes without having succeeded.
pub(super) fn is_failed(job: &Job, pod: &Pod) -> bool {
    match pods::phase(pod) {
        "Failed" => true,
        "Succeeded" => false,
        _ if !pods::is_terminating(pod) => false,
        // A pod that no node has runs to no end: there is nothing to wait for.
        _ => !spec::replaces_only_ended(job) || pods::node_name(pod).is_none(),
    }
}

fn uncounted(job: &Job) -> UncountedTerminatedPods {
    job.status
        .as_ref()
        .and_then(|status| status.uncounted_terminated_pods.clone())
        .unwrap_or_default()
}

fn uid(pod: &Pod) -> String {
    pod.metadata.uid.clone().unwrap_or_default()
}

/// Pods that have ended and are neither counted nor noted: the succeeded, and the failed that matter.
pub(super) fn new_ends(job: &Job, pods: &[Arc<Pod>]) -> (Vec<Arc<Pod>>, Vec<Arc<Pod>>) {
    let noted = uncounted(job);
    let noted: HashSet<&String> = noted
        .succeeded
        .iter()
        .chain(&noted.failed)
        .flatten()
        .collect();
    let fresh = || {
        pods.iter()
            .filter(|pod| has_finalizer(pod) && !noted.contains(&uid(pod)))
    };
    let known_index = |pod: &Pod| !spec::is_indexed(job) || indexes::of(job, pod).is_some();
    let succeeded = fresh()
        .filter(|pod| pods::phase(pod) == "Succeeded" && known_index(pod))
        .cloned()
        .collect();
    let failed = fresh()
        .filter(|pod| is_failed(job, pod) && known_index(pod))
        .filter(|pod| meaning(job, pod) != Meaning::Ignored)
        .cloned()
        .collect();
    (succeeded, failed)
}

/// How many pods have succeeded and failed: counted, noted, and new.
pub(super) fn totals(job: &Job, pods: &[Arc<Pod>]) -> (i32, i32) {
    let status = job.status.clone().unwrap_or_default();
    let noted = uncounted(job);
    let (succeeded, failed) = new_ends(job, pods);
    let of = |counted: Option<i32>, noted: Option<Vec<String>>, new: &[Arc<Pod>]| {
        counted.unwrap_or_default() + count(noted.into_iter().flatten()) + count(new)
    };
    let failed = of(status.failed, noted.failed, &failed);
    if spec::is_indexed(job) {
        return (count(indexes::succeeded(job, pods)), failed);
    }
    (of(status.succeeded, noted.succeeded, &succeeded), failed)
}

/// The first of two reports: what runs, and what has ended but is not counted yet. Also returns the pods that may go
/// once this is written.
pub(super) fn note(
    job: &Job,
    pods: &[Arc<Pod>],
    verdict: Option<&Verdict>,
    now: Timestamp,
) -> (JobStatus, Vec<Arc<Pod>>) {
    let mut status = job.status.clone().unwrap_or_default();
    let active: Vec<_> = pods.iter().filter(|pod| pods::is_active(pod)).collect();
    status.active = nonzero(count(&active));
    status.ready = Some(count(active.iter().filter(|pod| pods::is_ready(pod))));
    let terminating = |pod: &&Arc<Pod>| pods::is_terminating(pod) && !pods::is_finished(pod);
    status.terminating = Some(count(pods.iter().filter(terminating)));
    let mut conditions = status.conditions.take().unwrap_or_default();
    let suspended = spec::is_suspended(job);
    if verdict.is_none() && set_suspended(&mut conditions, suspended, now) {
        status.start_time = None;
    }
    if status.start_time.is_none() && !suspended {
        status.start_time = Some(whole_seconds(now));
    }
    match verdict {
        Some(Verdict::Complete { reason, message }) => {
            set(
                &mut conditions,
                SUCCESS_CRITERIA_MET,
                "True",
                reason,
                message,
                now,
            );
        }
        Some(Verdict::Failed { reason, message }) => {
            set(
                &mut conditions,
                FAILURE_TARGET,
                "True",
                reason,
                message,
                now,
            );
        }
        None => {}
    }
    status.conditions = (!conditions.is_empty()).then_some(conditions);
    let (succeeded, mut failed) = new_ends(job, pods);
    if matches!(verdict, Some(Verdict::Complete { .. })) {
        // What is stopped because the job has succeeded has not failed.
        failed.retain(|pod| pods::phase(pod) == "Failed");
    }
    let mut noted = uncounted(job);
    if spec::is_indexed(job) {
        let done = indexes::succeeded(job, pods);
        status.succeeded = nonzero(count(&done));
        status.completed_indexes = (!done.is_empty()).then(|| indexes::write(&done));
    } else if !succeeded.is_empty() {
        noted
            .succeeded
            .get_or_insert_default()
            .extend(succeeded.iter().map(|pod| uid(pod)));
    }
    if spec::backoff_limit_per_index(job).is_some() {
        status.failed_indexes = Some(indexes::write(&verdict::given_up(job, pods)));
    }
    if !failed.is_empty() {
        noted
            .failed
            .get_or_insert_default()
            .extend(failed.iter().map(|pod| uid(pod)));
    }
    status.uncounted_terminated_pods = Some(noted);
    let leaving = job.metadata.deletion_timestamp.is_some();
    let ended = pods
        .iter()
        .filter(|pod| has_finalizer(pod))
        .filter(|pod| leaving || pods::phase(pod) == "Succeeded" || is_failed(job, pod))
        .cloned()
        .collect();
    (status, ended)
}

/// The second report: pods that were noted and have gone are counted; a job that is over and has no pod left says so.
pub(super) fn settle(
    job: &Job,
    pods: &[Arc<Pod>],
    verdict: Option<&Verdict>,
    now: Timestamp,
) -> JobStatus {
    let mut status = job.status.clone().unwrap_or_default();
    let held: HashSet<String> = pods
        .iter()
        .filter(|pod| has_finalizer(pod))
        .map(|pod| uid(pod))
        .collect();
    let mut noted = status.uncounted_terminated_pods.take().unwrap_or_default();
    let settled = |list: &mut Option<Vec<String>>| {
        let before = list.as_ref().map_or(0, Vec::len);
        if let Some(list) = list {
            list.retain(|uid| held.contains(uid));
        }
        let after = list.as_ref().map_or(0, Vec::len);
        if after == 0 {
            *list = None;
        }
        i32::try_from(before - after).unwrap_or(i32::MAX)
    };
    let succeeded = settled(&mut noted.succeeded);
    let failed = settled(&mut noted.failed);
    status.succeeded = nonzero(status.succeeded.unwrap_or_default() + succeeded);
    status.failed = nonzero(status.failed.unwrap_or_default() + failed);
    let all_counted = noted.succeeded.is_none() && noted.failed.is_none();
    status.uncounted_terminated_pods = Some(noted);
    let still_running = pods.iter().any(|pod| !pods::is_finished(pod));
    if let Some(verdict) = verdict.filter(|_| all_counted && !still_running) {
        let mut conditions = status.conditions.take().unwrap_or_default();
        match verdict {
            Verdict::Complete { reason, message } => {
                set(&mut conditions, COMPLETE, "True", reason, message, now);
                status.completion_time = Some(whole_seconds(now));
            }
            Verdict::Failed { reason, message } => {
                set(&mut conditions, FAILED, "True", reason, message, now);
            }
        }
        conditions.retain(|known| known.type_ != conditions::SUSPENDED || known.status != "True");
        status.conditions = Some(conditions);
        status.active = None;
        status.ready = Some(0);
        status.terminating = Some(0);
    }
    status
}
