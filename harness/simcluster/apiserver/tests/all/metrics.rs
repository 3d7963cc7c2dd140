//! What nodes and pods use, and the pages of nodes.

use std::{sync::Arc, time::Duration};

use futures::{FutureExt as _, StreamExt as _, stream};
use serde_json::json;
use simcluster_kubelet_api::{
    Answer, ContainerStats, Duplex, Kubelet, KubeletError, LogOptions, LogStream, NodeStats, Page,
    PodRef, PodStats, Session, StreamOptions, UsageStats,
};

use crate::support::{World, names};

const METRICS: &str = "/apis/metrics.k8s.io/v1beta1";
const PODS: &str = "/api/v1/namespaces/default/pods";
/// 2026-01-02T03:04:05.5Z
const AT: i128 = 1_767_323_045_500_000_000;

/// A node on which the pods `p` and `gone` are measured.
struct Measured {
    uid: String,
}

fn nothing<T: Send + 'static>() -> Answer<T> {
    async { Err(KubeletError::BadRequest("only metrics are here".to_owned())) }.boxed()
}

fn usage(cpu_nano_cores: u64, working_set: u64) -> UsageStats {
    UsageStats {
        at_unix_nanos: AT,
        window: Duration::from_millis(15_041),
        cpu_nano_cores,
        working_set,
        ..UsageStats::default()
    }
}

impl Kubelet for Measured {
    fn logs(&self, _: PodRef, _: LogOptions) -> Answer<LogStream> {
        nothing()
    }

    fn exec(&self, _: PodRef, _: StreamOptions) -> Answer<Session> {
        nothing()
    }

    fn attach(&self, _: PodRef, _: StreamOptions) -> Answer<Session> {
        nothing()
    }

    fn port_forward(&self, _: PodRef, _: u16) -> Answer<Box<dyn Duplex>> {
        nothing()
    }

    fn stats(&self) -> Answer<NodeStats> {
        let pod = |name: &str, uid: &str| PodStats {
            pod: PodRef {
                namespace: "default".to_owned(),
                name: name.to_owned(),
                uid: uid.to_owned(),
            },
            containers: [("a", 1_234_567), ("b", 2_500_000)]
                .map(|(name, cpu)| ContainerStats {
                    name: name.to_owned(),
                    started_unix_nanos: AT,
                    usage: usage(cpu, 1_500 << 10),
                })
                .to_vec(),
        };
        let stats = NodeStats {
            usage: usage(7_000_000, 3 << 20),
            pods: vec![pod("p", &self.uid), pod("gone", "1")],
        };
        async move { Ok(stats) }.boxed()
    }

    fn page(&self, path: String, query: String) -> Answer<Page> {
        async move {
            let said = format!("{path} {query}").into();
            Ok(Page {
                code: 200,
                media_type: "text/plain",
                body: stream::iter([Ok(said)]).boxed(),
            })
        }
        .boxed()
    }
}

/// A cluster with a node `n1` that measures, one that nobody can ask, and a pod on each.
async fn world() -> World {
    let world = World::start();
    for name in ["n1", "silent"] {
        let node = json!({"metadata": {"name": name, "labels": {"disk": "ssd"}}});
        world.post("/api/v1/nodes", &node).await.ok();
    }
    let status = json!({"status": {"addresses": [{"type": "InternalIP", "address": "10.0.0.1"}]}});
    world
        .patch("merge", "/api/v1/nodes/n1/status", &status)
        .await
        .ok();
    let mut uid = String::new();
    for (name, node) in [("p", "n1"), ("q", "silent")] {
        let pod = json!({
            "metadata": {"name": name, "labels": {"app": name}},
            "spec": {"nodeName": node, "containers": [
                {"name": "a", "image": "i"}, {"name": "b", "image": "i"},
            ]},
        });
        let made = world.post(PODS, &pod).await.ok();
        if name == "p" {
            made["metadata"]["uid"]
                .as_str()
                .unwrap_or_default()
                .clone_into(&mut uid);
        }
        let running = json!({"status": {"phase": "Running"}});
        world
            .patch("merge", &format!("{PODS}/{name}/status"), &running)
            .await
            .ok();
    }
    world
        .server
        .register_kubelet("n1", Arc::new(Measured { uid }));
    world
}

#[tokio::test]
async fn what_pods_use_is_told_container_by_container() {
    let world = world().await;
    let path = format!("{METRICS}/namespaces/default/pods/p");
    let mut pod = world.get(&path).await.ok();
    assert!(pod["metadata"]["creationTimestamp"].is_string(), "{pod}");
    pod["metadata"]["creationTimestamp"].take();
    assert_eq!(
        pod,
        json!({
            "kind": "PodMetrics", "apiVersion": "metrics.k8s.io/v1beta1",
            "metadata": {"name": "p", "namespace": "default", "labels": {"app": "p"},
                         "creationTimestamp": null},
            "timestamp": "2026-01-02T03:04:05Z", "window": "15.041s",
            "containers": [
                {"name": "a", "usage": {"cpu": "1234567n", "memory": "1500Ki"}},
                {"name": "b", "usage": {"cpu": "2500u", "memory": "1500Ki"}},
            ],
        })
    );
    let list = world.get(&format!("{METRICS}/pods")).await.ok();
    assert_eq!(names(&list), ["p"]);
    assert_eq!(
        (&list["kind"], &list["metadata"], &list["items"][0]["kind"]),
        (&json!("PodMetricsList"), &json!({}), &json!(null))
    );
    for (query, found) in [("labelSelector=app%3Dp", 1), ("labelSelector=app%3Dx", 0)] {
        let list = world.get(&format!("{METRICS}/pods?{query}")).await.ok();
        assert_eq!(names(&list).len(), found, "{query}");
    }
    let path = format!("{METRICS}/namespaces/kube-system/pods");
    let elsewhere = world.get(&path).await.ok();
    assert_eq!(names(&elsewhere), Vec::<&str>::new());
}

#[tokio::test]
async fn what_nodes_use_is_told_and_shown_as_a_table() {
    let world = world().await;
    let node = world.get(&format!("{METRICS}/nodes/n1")).await.ok();
    assert_eq!(
        (&node["kind"], &node["usage"], &node["metadata"]["labels"]),
        (
            &json!("NodeMetrics"),
            &json!({"cpu": "7m", "memory": "3Mi"}),
            &json!({"disk": "ssd"})
        )
    );
    let list = world.get(&format!("{METRICS}/nodes")).await.ok();
    assert_eq!(names(&list), ["n1"], "nobody knows of the other");
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let shown = world.get_as(&format!("{METRICS}/pods"), table).await.ok();
    assert_eq!(
        shown["rows"][0]["cells"],
        json!(["p", "3734567n", "3000Ki", "15.041s"])
    );
}

#[tokio::test]
async fn what_is_not_measured_is_not_found_in_these_words() {
    let world = world().await;
    let missing = [
        ("nodes/absent", "node \"absent\" not found"),
        (
            "nodes/silent",
            "nodemetrics.metrics.k8s.io \"silent\" not found",
        ),
        (
            "namespaces/default/pods/absent",
            "pods \"absent\" not found",
        ),
        (
            "namespaces/default/pods/q",
            "podmetrics.metrics.k8s.io \"default/q\" not found",
        ),
    ];
    for (path, message) in missing {
        world
            .get(&format!("{METRICS}/{path}"))
            .await
            .fails(404, message);
    }
    let made = world.post(&format!("{METRICS}/nodes"), &json!({})).await;
    assert_eq!(made.code, 405, "{}", made.text);
    let watched = world.get(&format!("{METRICS}/nodes?watch=1")).await;
    assert_eq!(watched.code, 405, "{}", watched.text);
}

#[tokio::test]
async fn metrics_are_discovered_once_a_node_can_be_asked() {
    let without = World::start();
    let path = "/apis/metrics.k8s.io/v1beta1";
    assert_eq!(without.get(path).await.code, 404);
    assert_eq!(without.get(&format!("{path}/pods")).await.code, 404);
    let world = world().await;
    let list = world.get(path).await.ok();
    let found: Vec<_> = list["resources"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|one| {
            (
                &one["name"],
                &one["kind"],
                &one["verbs"],
                &one["namespaced"],
            )
        })
        .collect();
    let verbs = json!(["get", "list"]);
    assert_eq!(
        found,
        [
            (
                &json!("nodes"),
                &json!("NodeMetrics"),
                &verbs,
                &json!(false)
            ),
            (&json!("pods"), &json!("PodMetrics"), &verbs, &json!(true)),
        ]
    );
    let groups = world.get("/apis").await.ok();
    let newest = groups["groups"].as_array().and_then(|all| all.last());
    assert_eq!(
        newest.map(|one| &one["name"]),
        Some(&json!("metrics.k8s.io"))
    );
    let aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let all = world.get_as("/apis", aggregated).await.ok();
    let newest = all["items"].as_array().and_then(|all| all.last());
    assert_eq!(
        newest.map(|one| &one["metadata"]["name"]),
        Some(&json!("metrics.k8s.io"))
    );
    // It stays when definitions come and go.
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "xs.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced",
                 "names": {"plural": "xs", "kind": "X"},
                 "versions": [{"name": "v1", "served": true, "storage": true,
                               "schema": {"openAPIV3Schema": {"type": "object"}}}]},
    });
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    world.post(definitions, &definition).await.ok();
    world.get(path).await.ok();
}

#[tokio::test]
async fn a_request_goes_on_to_a_nodes_own_server() {
    let world = world().await;
    for name in ["n1", "n1:10250", "https:n1:10250"] {
        let path = format!("/api/v1/nodes/{name}/proxy/stats/summary?only=cpu");
        let seen = world.get(&path).await;
        assert_eq!((seen.code, &*seen.text), (200, "/stats/summary only=cpu"));
    }
    let refused = world.get("/api/v1/nodes/n1:9100/proxy/").await;
    refused.fails(
        503,
        "error trying to reach service: dial tcp 10.0.0.1:9100: connect: connection refused",
    );
    let absent = world.get("/api/v1/nodes/absent/proxy/healthz").await;
    absent.fails(404, "nodes \"absent\" not found");
}
