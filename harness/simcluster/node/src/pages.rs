//! The pages of a kubelet's own HTTP server that others read: health, pods, logs, what is used.
//!
//! `/stats/summary` has processors and memory; networks and file systems are not in it. What is not here is 404.

use std::fmt::Write as _;

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use jiff::Timestamp;
use serde_json::{Value, json};
use simcluster_kubelet_api::{
    ContainerStats, KubeletError, LogOptions, NodeStats, Page, PodRef, UsageStats,
};

use crate::{
    agent::Pods, context::Context, handle::PodHandle, kubelet::log_of, logs,
    pod::conditions::whole_seconds, stats,
};

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";
/// Prometheus' text form.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Answers a `GET`.
pub(crate) async fn answer(
    context: &Context,
    pods: &Pods,
    path: &str,
    query: &str,
) -> Result<Page, KubeletError> {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    Ok(match parts.as_slice() {
        ["healthz"] | ["healthz", "ping" | "log" | "syncloop"] => page(200, TEXT, "ok"),
        ["stats", "summary"] | ["stats"] => {
            let stats = stats::now(context, pods).await?;
            page(200, JSON, summary(context, &pods.all(), &stats).to_string())
        }
        ["metrics", "resource"] => {
            let stats = stats::now(context, pods).await?;
            page(200, METRICS, metrics(&stats))
        }
        ["pods"] => page(200, JSON, pod_list(&pods.all(), false).to_string()),
        ["runningpods"] => page(200, JSON, pod_list(&pods.all(), true).to_string()),
        ["configz"] => page(200, JSON, configuration(context).to_string()),
        ["containerLogs", namespace, pod, container] => {
            container_log(pods, (namespace, pod, container), query)?
        }
        _ => page(404, TEXT, "404 page not found\n"),
    })
}

fn page(code: u16, media_type: &'static str, text: impl Into<Bytes>) -> Page {
    let text: Bytes = text.into();
    Page {
        code,
        media_type,
        body: stream::once(std::future::ready(Ok(text))).boxed(),
    }
}

fn container_log(
    pods: &Pods,
    (namespace, pod, container): (&str, &str, &str),
    query: &str,
) -> Result<Page, KubeletError> {
    let handle = pods.all().into_iter().find(|handle| {
        let object = handle.pod();
        let meta = &object.metadata;
        meta.namespace.as_deref() == Some(namespace) && meta.name.as_deref() == Some(pod)
    });
    let Some(handle) = handle else {
        let text = format!("pod {pod:?} does not exist\n");
        return Ok(page(404, TEXT, text));
    };
    let given = |name: &str| {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs
            .into_iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value)
    };
    let flag = |name: &str| matches!(given(name), Some("true" | "1"));
    let number = |name: &str| given(name).and_then(|text| text.parse().ok());
    let options = LogOptions {
        container: container.to_owned(),
        follow: flag("follow"),
        previous: flag("previous"),
        timestamps: flag("timestamps"),
        tail_lines: number("tailLines"),
        limit_bytes: number("limitBytes"),
        since_unix_nanos: None,
    };
    let reference = PodRef {
        namespace: namespace.to_owned(),
        name: pod.to_owned(),
        uid: handle.uid.clone(),
    };
    let log = log_of(&reference, &handle, &options)?;
    let body = logs::read::stream(&log.log, &options).map_err(|error| {
        KubeletError::Internal(format!("failed to open the log of {pod}: {error}"))
    })?;
    Ok(Page {
        code: 200,
        media_type: TEXT,
        body,
    })
}

/// What the kubelet is set to, as far as it has settings here.
fn configuration(context: &Context) -> Value {
    json!({"kubeletconfig": {
        "clusterDomain": context.domain,
        "clusterDNS": [context.dns_ip.to_string()],
        "maxPods": crate::registration::MOST_PODS,
        "nodeLeaseDurationSeconds": 40,
        "failSwapOn": false,
        "cgroupsPerQOS": false,
        "kind": "KubeletConfiguration",
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
    }})
}

/// The pods with what the API is told of them.
fn pod_list(pods: &[std::sync::Arc<PodHandle>], running: bool) -> Value {
    let items = pods
        .iter()
        .filter(|handle| !running || handle.occupant().is_some());
    let items: Vec<Value> = items
        .filter_map(|handle| {
            let mut pod = (*handle.pod()).clone();
            pod.status = Some(handle.status());
            let mut value = serde_json::to_value(pod).ok()?;
            let object = value.as_object_mut()?;
            // Items of a list do not repeat their type.
            object.remove("kind");
            object.remove("apiVersion");
            Some(value)
        })
        .collect();
    json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items})
}

fn time(unix_nanos: i128) -> Option<String> {
    let at = Timestamp::from_nanosecond(unix_nanos).ok()?;
    Some(whole_seconds(at).to_string())
}

fn processor(usage: &UsageStats) -> Value {
    json!({
        "time": time(usage.at_unix_nanos),
        "usageNanoCores": usage.cpu_nano_cores,
        "usageCoreNanoSeconds": usage.cpu_nanos,
    })
}

fn memory(usage: &UsageStats) -> Value {
    json!({
        "time": time(usage.at_unix_nanos),
        "usageBytes": usage.working_set,
        "workingSetBytes": usage.working_set,
        "rssBytes": usage.rss,
    })
}

/// The sum of a pod's containers.
fn together(containers: &[ContainerStats]) -> UsageStats {
    let mut sum = UsageStats::default();
    for ContainerStats { usage, .. } in containers {
        sum.at_unix_nanos = usage.at_unix_nanos;
        sum.window = sum.window.max(usage.window);
        sum.cpu_nano_cores += usage.cpu_nano_cores;
        sum.cpu_nanos += usage.cpu_nanos;
        sum.working_set += usage.working_set;
        sum.rss += usage.rss;
        sum.processes += usage.processes;
    }
    sum
}

fn summary(context: &Context, pods: &[std::sync::Arc<PodHandle>], stats: &NodeStats) -> Value {
    let of_pods: Vec<Value> = stats
        .pods
        .iter()
        .map(|pod| {
            let sum = together(&pod.containers);
            let handle = pods.iter().find(|handle| handle.uid == pod.pod.uid);
            let began = handle.and_then(|handle| handle.status().start_time);
            let containers: Vec<Value> = pod
                .containers
                .iter()
                .map(|container| {
                    json!({
                        "name": container.name,
                        "startTime": time(container.started_unix_nanos),
                        "cpu": processor(&container.usage),
                        "memory": memory(&container.usage),
                    })
                })
                .collect();
            json!({
                "podRef": {
                    "name": pod.pod.name, "namespace": pod.pod.namespace, "uid": pod.pod.uid,
                },
                "startTime": began,
                "containers": containers,
                "cpu": processor(&sum),
                "memory": memory(&sum),
                "process_stats": {"process_count": sum.processes},
            })
        })
        .collect();
    json!({
        "node": {
            "nodeName": context.node,
            "startTime": whole_seconds(context.clock.beginning()).to_string(),
            "cpu": processor(&stats.usage),
            "memory": memory(&stats.usage),
        },
        "pods": of_pods,
    })
}

/// What metrics-server scrapes.
fn metrics(stats: &NodeStats) -> String {
    let mut text = String::new();
    let seconds = |nanos: u64| format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000);
    let millis = |usage: &UsageStats| usage.at_unix_nanos / 1_000_000;
    let mut family = |name: &str, kind: &str, help: &str, lines: Vec<String>| {
        let _ = write!(
            text,
            "# HELP {name} [STABLE] {help}\n# TYPE {name} {kind}\n"
        );
        for line in lines {
            let _ = writeln!(text, "{name}{line}");
        }
    };
    let containers = || {
        let all = stats.pods.iter();
        all.flat_map(|pod| {
            pod.containers
                .iter()
                .map(move |container| (&pod.pod, container))
        })
    };
    let of_containers = |value: &dyn Fn(&ContainerStats) -> String| {
        let line = |(pod, container): (&PodRef, &ContainerStats)| {
            format!(
                "{{container=\"{}\",namespace=\"{}\",pod=\"{}\"}} {}",
                container.name,
                pod.namespace,
                pod.name,
                value(container)
            )
        };
        containers().map(line).collect()
    };
    family(
        "container_cpu_usage_seconds_total",
        "counter",
        "Cumulative cpu time consumed by the container in core-seconds",
        of_containers(&|c| format!("{} {}", seconds(c.usage.cpu_nanos), millis(&c.usage))),
    );
    family(
        "container_memory_working_set_bytes",
        "gauge",
        "Current working set of the container in bytes",
        of_containers(&|c| format!("{} {}", c.usage.working_set, millis(&c.usage))),
    );
    family(
        "container_start_time_seconds",
        "gauge",
        "Start time of the container since unix epoch in seconds",
        of_containers(&|c| {
            let began = u64::try_from(c.started_unix_nanos).unwrap_or_default();
            seconds(began)
        }),
    );
    let of_pods = |value: &dyn Fn(&UsageStats) -> String| {
        let all = stats.pods.iter();
        let line = |pod: &simcluster_kubelet_api::PodStats| {
            format!(
                "{{namespace=\"{}\",pod=\"{}\"}} {}",
                pod.pod.namespace,
                pod.pod.name,
                value(&together(&pod.containers))
            )
        };
        all.map(line).collect()
    };
    family(
        "pod_cpu_usage_seconds_total",
        "counter",
        "Cumulative cpu time consumed by the pod in core-seconds",
        of_pods(&|usage| format!("{} {}", seconds(usage.cpu_nanos), millis(usage))),
    );
    family(
        "pod_memory_working_set_bytes",
        "gauge",
        "Current working set of the pod in bytes",
        of_pods(&|usage| format!("{} {}", usage.working_set, millis(usage))),
    );
    let node = &stats.usage;
    family(
        "node_cpu_usage_seconds_total",
        "counter",
        "Cumulative cpu time consumed by the node in core-seconds",
        vec![format!(" {} {}", seconds(node.cpu_nanos), millis(node))],
    );
    family(
        "node_memory_working_set_bytes",
        "gauge",
        "Current working set of the node in bytes",
        vec![format!(" {} {}", node.working_set, millis(node))],
    );
    family(
        "resource_scrape_error",
        "gauge",
        "1 if there was an error while getting container metrics, 0 otherwise",
        vec![" 0".to_owned()],
    );
    text
}
