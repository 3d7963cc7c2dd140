//! Which pods of a job come and go, and what a new one looks like. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{Container, EnvVar, EnvVarSource, ObjectFieldSelector, Pod},
};
use kube::ResourceExt;

use super::{
    backoff::{self, Backoff},
    indexes, spec,
    tally::{self, FINALIZER},
    verdict,
};
use crate::{
    ownership::controller_reference,
    pods::{self, rank},
};

/// So many pods are made in one go.
const BURST: usize = 500;
const INDEX_VARIABLE: &str = "JOB_COMPLETION_INDEX";

/// Which pods come and go.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) stop: Vec<Arc<Pod>>,
    /// One entry for each new pod: its index, if the job is Indexed.
    pub(super) start: Vec<Option<i32>>,
    /// When to look again: a deadline passes, or a pause after a failure ends.
    pub(super) recheck: Option<Timestamp>,
}

impl Plan {
    fn look_again(&mut self, at: Timestamp) {
        self.recheck = Some(self.recheck.map_or(at, |known| known.min(at)));
    }
}

/// Compares the pods at work with those wanted.
pub(super) fn plan(job: &Job, pods: &[Arc<Pod>], backoff: &Backoff, now: Timestamp) -> Plan {
    let mut plan = Plan::default();
    if let Some(deadline) = spec::deadline(job) {
        plan.look_again(deadline);
    }
    let active: Vec<_> = pods
        .iter()
        .filter(|pod| pods::is_active(pod))
        .cloned()
        .collect();
    if spec::is_suspended(job) {
        plan.stop = active;
        return plan;
    }
    let wanted = wanted(job, pods, active.len());
    if active.len() > wanted {
        plan.stop = rank::to_delete(&active, &active, active.len() - wanted);
        return plan;
    }
    let mut missing = wanted - active.len();
    if spec::replaces_only_ended(job) {
        let ending = pods
            .iter()
            .filter(|pod| pods::is_terminating(pod) && !pods::is_finished(pod))
            .count();
        missing = missing.saturating_sub(ending);
    }
    let missing = missing.min(BURST);
    if missing == 0 {
        return plan;
    }
    if spec::is_indexed(job) {
        start_indexes(job, pods, &active, missing, now, &mut plan);
        if spec::backoff_limit_per_index(job).is_some() {
            return plan;
        }
    } else {
        plan.start = vec![None; missing];
    }
    if let Some(until) = backoff.until().filter(|until| *until > now) {
        plan.start.clear();
        plan.look_again(until);
    }
    plan
}

fn wanted(job: &Job, pods: &[Arc<Pod>], active: usize) -> usize {
    let (succeeded, _) = tally::totals(job, pods);
    let parallel = spec::parallelism(job);
    let wanted = match spec::completions(job) {
        // Once one pod of a work queue has succeeded, no others are started.
        None if succeeded > 0 => return active.min(usize::try_from(parallel).unwrap_or_default()),
        None => parallel,
        Some(completions) => {
            let given_up = pods::count(verdict::given_up(job, pods));
            parallel.min(completions - succeeded - given_up)
        }
    };
    usize::try_from(wanted).unwrap_or_default()
}

fn start_indexes(
    job: &Job,
    pods: &[Arc<Pod>],
    active: &[Arc<Pod>],
    missing: usize,
    now: Timestamp,
    plan: &mut Plan,
) {
    let done = indexes::succeeded(job, pods);
    let given_up = verdict::given_up(job, pods);
    let mut in_work: BTreeSet<i32> = active
        .iter()
        .filter_map(|pod| indexes::of(job, pod))
        .collect();
    if spec::backoff_limit_per_index(job).is_some() {
        // Each index has a pause of its own.
        for pod in pods.iter().filter(|pod| pods::phase(pod) == "Failed") {
            let Some(index) = indexes::of(job, pod) else {
                continue;
            };
            let failures = u32::try_from(indexes::failures(job, pods, index)).unwrap_or_default();
            let until =
                backoff::ended_at(pod).and_then(|last| backoff::pause_after(last, failures));
            if let Some(until) = until.filter(|until| *until > now) {
                in_work.insert(index);
                plan.look_again(until);
            }
        }
    }
    plan.start = indexes::pending(job, &done, &given_up, &in_work, missing)
        .into_iter()
        .map(Some)
        .collect();
}

/// Pods as the job's template wants them, one for each entry.
pub(super) fn new_pods(job: &Job, pods: &[Arc<Pod>], start: &[Option<i32>]) -> Vec<Pod> {
    let Some(template) = spec::template(job) else {
        return Vec::new();
    };
    let namespace = job.metadata.namespace.as_deref().unwrap_or_default();
    let name = job.name_any();
    let mut plain = pods::from_template(template, namespace, controller_reference(job));
    plain
        .metadata
        .finalizers
        .get_or_insert_default()
        .push(FINALIZER.to_owned());
    start
        .iter()
        .map(|index| {
            let mut pod = plain.clone();
            match index {
                None => pod.metadata.generate_name = Some(format!("{name}-")),
                Some(index) => give_index(job, pods, &mut pod, &name, *index),
            }
            pod
        })
        .collect()
}

fn give_index(job: &Job, pods: &[Arc<Pod>], pod: &mut Pod, name: &str, index: i32) {
    pod.metadata.generate_name = Some(format!("{name}-{index}-"));
    let mark = (indexes::INDEX.to_owned(), index.to_string());
    pod.metadata
        .labels
        .get_or_insert_default()
        .extend([mark.clone()]);
    let annotations = pod.metadata.annotations.get_or_insert_with(BTreeMap::new);
    annotations.extend([mark]);
    if spec::backoff_limit_per_index(job).is_some() {
        let failures = indexes::failures(job, pods, index);
        annotations.insert(indexes::FAILURES.to_owned(), failures.to_string());
    }
    let Some(spec) = &mut pod.spec else { return };
    spec.hostname = Some(format!("{name}-{index}"));
    for container in spec
        .containers
        .iter_mut()
        .chain(spec.init_containers.iter_mut().flatten())
    {
        tell_index(container);
    }
}

fn tell_index(container: &mut Container) {
    let variables = container.env.get_or_insert_default();
    if variables
        .iter()
        .any(|variable| variable.name == INDEX_VARIABLE)
    {
        return;
    }
    variables.push(EnvVar {
        name: INDEX_VARIABLE.to_owned(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                api_version: None,
                field_path: format!("metadata.labels['{}']", indexes::INDEX),
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    });
}
