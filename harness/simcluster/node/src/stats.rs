//! What the node's pods use: measured now and then, so that a rate can be told at any moment.
//!
//! What is measured is the runtime's matter; what a rate is, [`history`]'s; how a kubelet writes it down, that of
//! [`crate::pages`].

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use simcluster_kubelet_api::{
    ContainerStats, KubeletError, NodeStats, PodRef, PodStats, UsageStats,
};
use simcluster_runtime::spec::{NodeUsage, Usage};

use crate::{agent::Pods, context::Context, handle::PodHandle};

mod history;

use history::{History, Rate};

/// How often it is measured when nobody asks.
const PERIOD: Duration = Duration::from_secs(10);

/// What has been measured so far; shared by those who ask.
#[derive(Debug, Default)]
pub(crate) struct Stats(Mutex<History>);

impl Stats {
    fn with<T>(&self, act: impl FnOnce(&mut History) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Measures until the task is dropped.
pub(crate) async fn keep(context: Arc<Context>) {
    loop {
        tokio::time::sleep(PERIOD).await;
        if let Err(error) = measure(&context).await {
            tracing::debug!(%error, "what containers use is not measured");
        }
    }
}

async fn measure(context: &Context) -> Result<(Timestamp, NodeUsage), KubeletError> {
    let usage = context.runtime.usage().await;
    let usage = usage.map_err(|error| KubeletError::Internal(error.to_string()))?;
    let at = context.clock.now();
    context.stats.with(|history| history.add(at, &usage));
    Ok((at, usage))
}

/// What the pods use now.
pub(crate) async fn now(context: &Context, pods: &Pods) -> Result<NodeStats, KubeletError> {
    let (at, usage) = measure(context).await?;
    let pods = pods.all();
    Ok(context.stats.with(|history| {
        let of_pods = pods.iter().map(|handle| PodStats {
            pod: reference(handle),
            containers: containers(handle, at, &usage, history),
        });
        let of_pods = of_pods.filter(|pod| !pod.containers.is_empty()).collect();
        let total = total(&usage);
        let rate = history.of_node(context.clock.beginning());
        NodeStats {
            usage: rate.map_or_else(UsageStats::default, |rate| stats(at, rate, total)),
            pods: of_pods,
        }
    }))
}

fn reference(handle: &PodHandle) -> PodRef {
    let meta = handle.pod().metadata.clone();
    PodRef {
        namespace: meta.namespace.unwrap_or_default(),
        name: meta.name.unwrap_or_default(),
        uid: handle.uid.clone(),
    }
}

fn containers(
    handle: &PodHandle,
    at: Timestamp,
    usage: &NodeUsage,
    history: &History,
) -> Vec<ContainerStats> {
    let pod = handle.pod();
    let spec = pod.spec.as_ref();
    let inits = spec
        .iter()
        .flat_map(|spec| spec.init_containers.iter().flatten());
    let mains = spec.iter().flat_map(|spec| &spec.containers);
    let running = mains.chain(inits).filter_map(|container| {
        let run = handle.runs(&container.name).current?;
        let used = usage.containers.get(&run.id)?;
        let rate = history.of_container(&run.id, run.started)?;
        Some(ContainerStats {
            name: container.name.clone(),
            started_unix_nanos: run.started.as_nanosecond(),
            usage: stats(at, rate, *used),
        })
    });
    running.collect()
}

fn stats(at: Timestamp, rate: Rate, used: Usage) -> UsageStats {
    UsageStats {
        at_unix_nanos: at.as_nanosecond(),
        window: rate.window,
        cpu_nano_cores: rate.nano_cores,
        cpu_nanos: rate.cpu_nanos,
        working_set: used.working_set,
        rss: used.rss,
        processes: used.processes,
    }
}

/// All of a node together.
fn total(usage: &NodeUsage) -> Usage {
    let mut total = usage.rest;
    for own in usage.containers.values() {
        total.cpu_nanos += own.cpu_nanos;
        total.working_set += own.working_set;
        total.rss += own.rss;
        total.processes += own.processes;
    }
    total
}
