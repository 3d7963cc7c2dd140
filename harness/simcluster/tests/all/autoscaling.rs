//! Deployments that are as large as what their pods use asks for, in virtual time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use k8s_openapi::api::{
    apps::v1::Deployment, autoscaling::v2::HorizontalPodAutoscaler, core::v1::Event,
};
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use simcluster::{
    Cluster,
    model::{ModelContainer, Programs},
};

use crate::{
    model::start,
    support::{create, within},
};

/// A cluster with the image `worker:1`, each pod of which uses as many thousandths of a processor as the load is.
async fn with_load(load: &Arc<AtomicU64>) -> Cluster {
    let load = Arc::clone(load);
    let worker = move |mut container: ModelContainer| {
        let load = Arc::clone(&load);
        async move {
            loop {
                container.uses(load.load(Ordering::Relaxed), 32 << 20);
                tokio::select! {
                    _ = container.signal() => return 0,
                    () = tokio::time::sleep(Duration::from_secs(1)) => {}
                }
            }
        }
    };
    start(1, Programs::default().image("worker:1", worker)).await
}

async fn deploy(cluster: &Cluster, resources: Value) {
    let deployment = json!({
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [
                    {"name": "c", "image": "worker:1", "resources": resources},
                ]},
            },
        },
    });
    create(&within::<Deployment>(cluster, "default"), deployment).await;
}

async fn autoscale(cluster: &Cluster, spec: Value) {
    let mut whole = json!({
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        "minReplicas": 1, "maxReplicas": 4,
        "metrics": [{"type": "Resource", "resource": {
            "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50},
        }}],
    });
    for (key, value) in spec.as_object().into_iter().flatten() {
        whole[key] = value.clone();
    }
    let autoscaler = json!({"metadata": {"name": "web"}, "spec": whole});
    let all = within::<HorizontalPodAutoscaler>(cluster, "default");
    create(&all, autoscaler).await;
}

async fn seen(cluster: &Cluster) -> Value {
    let all = within::<HorizontalPodAutoscaler>(cluster, "default");
    serde_json::to_value(all.get("web").await.unwrap()).unwrap()
}

/// Waits, in virtual time, until the autoscaler's status is as `enough` wants it.
async fn until(cluster: &Cluster, enough: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    for _ in 0..2000 {
        last = seen(cluster).await["status"].clone();
        if enough(&last) {
            return last;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    panic!("last seen: {last:#}\nevents: {:#?}", events(cluster).await);
}

async fn events(cluster: &Cluster) -> Vec<(String, String)> {
    let about = ListParams::default().fields("involvedObject.kind=HorizontalPodAutoscaler");
    let list = within::<Event>(cluster, "default").list(&about).await;
    let list = list.unwrap().items.into_iter();
    list.map(|one| {
        (
            one.reason.unwrap_or_default(),
            one.message.unwrap_or_default(),
        )
    })
    .collect()
}

/// Status and reason of a condition.
fn condition<'s>(status: &'s Value, kind: &str) -> (&'s str, &'s str) {
    let all = status["conditions"].as_array().into_iter().flatten();
    let found = all.into_iter().find(|one| one["type"] == kind);
    found.map_or(("", ""), |one| {
        (
            one["status"].as_str().unwrap(),
            one["reason"].as_str().unwrap(),
        )
    })
}

fn requests() -> Value {
    json!({"requests": {"cpu": "100m", "memory": "64Mi"}})
}

#[tokio::test(start_paused = true)]
async fn a_deployment_grows_with_what_its_pods_use_and_shrinks_after_a_while() {
    let load = Arc::new(AtomicU64::new(100));
    let cluster = with_load(&load).await;
    deploy(&cluster, requests()).await;
    autoscale(&cluster, json!({})).await;
    let full = until(&cluster, |status| {
        status["currentReplicas"] == 4 && condition(status, "ScalingLimited").0 == "True"
    })
    .await;
    assert_eq!(
        condition(&full, "ScalingLimited"),
        ("True", "TooManyReplicas")
    );
    assert_eq!(
        condition(&full, "ScalingActive"),
        ("True", "ValidMetricFound")
    );
    assert_eq!(
        condition(&full, "AbleToScale"),
        ("True", "ReadyForNewScale")
    );
    let current = &full["currentMetrics"][0]["resource"]["current"];
    assert_eq!(current["averageUtilization"], 100, "{full:#}");
    assert_eq!(current["averageValue"], "100m", "{full:#}");
    let said = events(&cluster).await;
    let grown =
        "New size: 2; reason: cpu resource utilization (percentage of request) above target";
    assert!(
        said.contains(&("SuccessfulRescale".into(), grown.into())),
        "{said:#?}"
    );

    load.store(10, Ordering::Relaxed);
    let begun = tokio::time::Instant::now();
    let stays = until(&cluster, |status| {
        condition(status, "AbleToScale").1 == "ScaleDownStabilized"
    })
    .await;
    assert_eq!(stays["currentReplicas"], 4);
    until(&cluster, |status| status["currentReplicas"] == 1).await;
    let took = begun.elapsed();
    assert!(took > Duration::from_secs(290), "{took:?}");
    let said = events(&cluster).await;
    let shrunk = "New size: 1; reason: All metrics below target";
    assert!(
        said.contains(&("SuccessfulRescale".into(), shrunk.into())),
        "{said:#?}"
    );
    cluster.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn memory_of_one_container_and_rates_of_change_can_be_said() {
    let load = Arc::new(AtomicU64::new(1));
    let cluster = with_load(&load).await;
    deploy(&cluster, json!({})).await;
    autoscale(
        &cluster,
        json!({
            "metrics": [{"type": "ContainerResource", "containerResource": {
                "name": "memory", "container": "c",
                "target": {"type": "AverageValue", "averageValue": "8Mi"},
            }}],
            "behavior": {"scaleUp": {"policies": [
                {"type": "Pods", "value": 1, "periodSeconds": 60},
            ]}},
        }),
    )
    .await;
    let first = until(&cluster, |status| status["desiredReplicas"] == 2).await;
    assert_eq!(
        condition(&first, "ScalingLimited"),
        ("True", "ScaleUpLimit")
    );
    assert_eq!(
        condition(&first, "AbleToScale"),
        ("True", "SucceededRescale")
    );
    let begun = tokio::time::Instant::now();
    let last = until(&cluster, |status| status["currentReplicas"] == 4).await;
    let took = begun.elapsed();
    assert!(took >= Duration::from_secs(100), "one a minute: {took:?}");
    let current = &last["currentMetrics"][0]["containerResource"];
    assert_eq!(current["container"], "c");
    assert_eq!(current["current"]["averageValue"], "33554432");
    cluster.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_scaled_says_why() {
    let load = Arc::new(AtomicU64::new(100));
    let cluster = with_load(&load).await;
    autoscale(&cluster, json!({})).await;
    let absent = until(&cluster, |status| {
        !condition(status, "AbleToScale").0.is_empty()
    })
    .await;
    assert_eq!(
        condition(&absent, "AbleToScale"),
        ("False", "FailedGetScale")
    );
    let why = "the HPA controller was unable to get the target's current scale: \
               deployments.apps \"web\" not found";
    assert_eq!(absent["conditions"][0]["message"], why);

    // Percent of nothing cannot be reckoned.
    deploy(&cluster, json!({})).await;
    let blind = until(&cluster, |status| {
        let all = status["conditions"].as_array().into_iter().flatten();
        all.into_iter().any(|one| {
            let message = one["message"].as_str().unwrap_or_default();
            message.contains("missing request for cpu in container c of Pod web-")
        })
    })
    .await;
    assert_eq!(
        condition(&blind, "AbleToScale"),
        ("True", "SucceededGetScale")
    );
    assert_eq!(
        condition(&blind, "ScalingActive"),
        ("False", "FailedGetResourceMetric")
    );
    let said = events(&cluster).await;
    for reason in [
        "FailedGetScale",
        "FailedGetResourceMetric",
        "FailedComputeMetricsReplicas",
    ] {
        assert!(
            said.iter().any(|(own, _)| own == reason),
            "{reason}: {said:#?}"
        );
    }

    let none = Patch::Merge(json!({"spec": {"replicas": 0}}));
    let deployments = within::<Deployment>(&cluster, "default");
    deployments
        .patch("web", &PatchParams::default(), &none)
        .await
        .unwrap();
    let off = until(&cluster, |status| {
        condition(status, "ScalingActive").1 == "ScalingDisabled"
    })
    .await;
    assert_eq!(off["desiredReplicas"], 0);
    cluster.shutdown().await;
}
