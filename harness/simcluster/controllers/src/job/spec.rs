//! What a job's spec says, with Kubernetes' defaults. Pure.

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        batch::v1::{Job, JobSpec, PodFailurePolicy},
        core::v1::PodTemplateSpec,
    },
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};

use crate::clock::seconds_after;

fn of<T>(job: &Job, field: impl FnOnce(&JobSpec) -> Option<T>) -> Option<T> {
    job.spec.as_ref().and_then(field)
}

pub(super) fn selector(job: &Job) -> Option<&LabelSelector> {
    job.spec.as_ref()?.selector.as_ref()
}

pub(super) fn template(job: &Job) -> Option<&PodTemplateSpec> {
    job.spec.as_ref().map(|spec| &spec.template)
}

pub(super) fn is_managed_elsewhere(job: &Job) -> bool {
    of(job, |spec| {
        spec.managed_by
            .as_deref()
            .map(|who| who != "kubernetes.io/job-controller")
    })
    .unwrap_or_default()
}

pub(super) fn completions(job: &Job) -> Option<i32> {
    of(job, |spec| spec.completions)
}

pub(super) fn parallelism(job: &Job) -> i32 {
    of(job, |spec| spec.parallelism).unwrap_or(1)
}

pub(super) fn is_suspended(job: &Job) -> bool {
    of(job, |spec| spec.suspend).unwrap_or_default()
}

pub(super) fn is_indexed(job: &Job) -> bool {
    of(job, |spec| {
        spec.completion_mode
            .as_deref()
            .map(|mode| mode == "Indexed")
    })
    .unwrap_or_default()
}

pub(super) fn backoff_limit(job: &Job) -> i32 {
    of(job, |spec| spec.backoff_limit).unwrap_or(6)
}

pub(super) fn backoff_limit_per_index(job: &Job) -> Option<i32> {
    of(job, |spec| spec.backoff_limit_per_index)
}

pub(super) fn max_failed_indexes(job: &Job) -> Option<i32> {
    of(job, |spec| spec.max_failed_indexes)
}

pub(super) fn failure_policy(job: &Job) -> Option<&PodFailurePolicy> {
    job.spec.as_ref()?.pod_failure_policy.as_ref()
}

pub(super) fn restarts_in_place(job: &Job) -> bool {
    template(job)
        .and_then(|template| template.spec.as_ref()?.restart_policy.as_deref())
        .is_some_and(|policy| policy == "OnFailure")
}

/// Whether a pod that is going is replaced only when it has ended.
pub(super) fn replaces_only_ended(job: &Job) -> bool {
    failure_policy(job).is_some()
        || of(job, |spec| {
            spec.pod_replacement_policy
                .as_deref()
                .map(|policy| policy == "Failed")
        })
        .unwrap_or_default()
}

/// When the job has been active for too long; nobody counts while it is suspended.
pub(super) fn deadline(job: &Job) -> Option<Timestamp> {
    if is_suspended(job) {
        return None;
    }
    let seconds = of(job, |spec| spec.active_deadline_seconds)?;
    let start = job.status.as_ref()?.start_time.as_ref()?;
    Some(seconds_after(start.0, seconds))
}
