//! What pods are told to use, by the metrics of the API and by the node's own pages.

use std::time::{Duration, Instant};

use futures::TryStreamExt as _;
use serde_json::{Value, json};

use crate::support::{Cluster, NODE, shell};

const LIMIT: Duration = Duration::from_secs(120);

async fn get(cluster: &Cluster, path: &str) -> Option<Value> {
    let request = http::Request::get(path).body(Vec::new()).unwrap();
    match cluster.client.request::<Value>(request).await {
        Ok(value) => Some(value),
        Err(kube::Error::Api(status)) if status.code == 404 => None,
        Err(error) => panic!("{path}: {error}"),
    }
}

/// What is there once `enough` holds of it.
async fn until(cluster: &Cluster, path: &str, enough: impl Fn(&Value) -> bool) -> Value {
    let begun = Instant::now();
    loop {
        let seen = get(cluster, path).await;
        match seen {
            Some(seen) if enough(&seen) => return seen,
            seen => assert!(begun.elapsed() < LIMIT, "{path}: last seen: {seen:?}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Thousandths of a processor, or KiB.
fn amount(quantity: &Value) -> f64 {
    let text = quantity.as_str().unwrap();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: f64 = digits.parse().unwrap();
    match &text[digits.len()..] {
        "n" => number / 1e6,
        "u" => number / 1e3,
        "m" | "Ki" => number,
        "" => number * 1e3,
        "Mi" => number * 1024.0,
        "Gi" => number * 1024.0 * 1024.0,
        unit => panic!("{unit} of {text}"),
    }
}

#[tokio::test]
async fn what_a_pod_uses_is_told_by_its_metrics_and_by_its_node() {
    let cluster = Cluster::start().await;
    let mut busy = shell("while :; do :; done");
    busy["name"] = json!("busy");
    let mut idle = shell("sleep 1000");
    idle["name"] = json!("idle");
    let spec = json!({"containers": [busy, idle], "terminationGracePeriodSeconds": 0});
    let pod = cluster.pod("p", spec).await;
    cluster.wait_ready("p").await;
    let path = "/apis/metrics.k8s.io/v1beta1/namespaces/default/pods/p";
    let metrics = until(&cluster, path, |seen| {
        seen["containers"]
            .as_array()
            .is_some_and(|all| all.len() == 2)
    })
    .await;
    let (busy, idle) = (&metrics["containers"][0], &metrics["containers"][1]);
    assert_eq!(
        (&busy["name"], &idle["name"]),
        (&json!("busy"), &json!("idle"))
    );
    let (much, little) = (amount(&busy["usage"]["cpu"]), amount(&idle["usage"]["cpu"]));
    assert!(much > little && much > 20.0, "{metrics}");
    assert!(amount(&idle["usage"]["memory"]) > 0.0, "{metrics}");
    assert!(
        metrics["window"].as_str().unwrap().ends_with('s'),
        "{metrics}"
    );

    let nodes = until(&cluster, "/apis/metrics.k8s.io/v1beta1/nodes", |seen| {
        seen["items"][0].is_object()
    })
    .await;
    assert_eq!(nodes["items"][0]["metadata"]["name"], NODE);
    assert!(amount(&nodes["items"][0]["usage"]["cpu"]) > 20.0, "{nodes}");

    let proxy = format!("/api/v1/nodes/{NODE}/proxy");
    let summary = until(&cluster, &format!("{proxy}/stats/summary"), |_| true).await;
    assert_eq!(summary["node"]["nodeName"], NODE);
    let own = &summary["pods"][0];
    assert_eq!(own["podRef"]["name"], "p");
    assert_eq!(own["podRef"]["uid"].as_str(), pod.metadata.uid.as_deref());
    assert!(
        own["containers"][0]["cpu"]["usageCoreNanoSeconds"]
            .as_u64()
            .unwrap()
            > 0
    );
    assert!(own["memory"]["workingSetBytes"].as_u64().unwrap() > 0);

    let text = page(&cluster, "/metrics/resource").await;
    let line =
        "container_cpu_usage_seconds_total{container=\"busy\",namespace=\"default\",pod=\"p\"}";
    assert!(text.contains(line), "{text}");
    assert_eq!(page(&cluster, "/healthz").await, "ok");
    let pods = until(&cluster, &format!("{proxy}/pods"), |_| true).await;
    assert_eq!(pods["items"][0]["status"]["phase"], "Running");
    cluster.end().await;
}

#[tokio::test]
async fn a_node_shows_the_log_of_a_container_at_its_own_page() {
    let cluster = Cluster::start().await;
    cluster
        .run("said", json!({"containers": [shell("echo one; echo two")]}))
        .await;
    let last = page(&cluster, "/containerLogs/default/said/c?tailLines=1");
    assert_eq!(last.await, "two\n");
    let none = cluster
        .kubelet
        .page("/containerLogs/default/x/c".into(), String::new());
    assert_eq!(none.await.unwrap().code, 404);
    cluster.end().await;
}

async fn page(cluster: &Cluster, path: &str) -> String {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let page = cluster.kubelet.page(path.to_owned(), query.to_owned());
    let chunks: Vec<_> = page.await.unwrap().body.try_collect().await.unwrap();
    String::from_utf8(chunks.concat()).unwrap()
}
