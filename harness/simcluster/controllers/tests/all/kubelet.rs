//! A stand-in for nodes: pods that have a node run, or end as their annotations say, and go when they are deleted.
//!
//! `test/exit: CODE` ends a pod at once with this code; `test/ready: "false"` keeps it from becoming ready.

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, WatchEvent, WatchParams},
};
use serde_json::{Value, json};

pub(crate) async fn run(client: Client) {
    let all: Api<Pod> = Api::all(client.clone());
    let list = all
        .list(&ListParams::default())
        .await
        .expect("pods can be listed");
    let mut next_address = 1_u16;
    for pod in list.items {
        handle(&client, &pod, &mut next_address).await;
    }
    let mut revision = list.metadata.resource_version.unwrap_or_default();
    loop {
        let events = all.watch(&WatchParams::default(), &revision).await;
        let mut events = events.expect("pods can be watched").boxed();
        while let Ok(Some(event)) = events.try_next().await {
            let (WatchEvent::Added(pod) | WatchEvent::Modified(pod)) = event else {
                continue;
            };
            revision = pod.resource_version().unwrap_or(revision);
            handle(&client, &pod, &mut next_address).await;
        }
    }
}

async fn handle(client: &Client, pod: &Pod, next_address: &mut u16) {
    let Some(spec) = pod.spec.as_ref().filter(|spec| spec.node_name.is_some()) else {
        return;
    };
    let api: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
    let name = pod.name_any();
    if pod.metadata.deletion_timestamp.is_some() {
        if pod.metadata.finalizers.as_ref().is_none_or(Vec::is_empty) || !has_ended(pod) {
            if !has_ended(pod) && phase(pod) == "Running" {
                let status = json!({"phase": "Failed", "conditions": [ready(false)]});
                write(&api, &name, status).await;
            }
            // Somebody else may have been faster.
            let _ = api
                .delete(&name, &DeleteParams::default().grace_period(0))
                .await;
        }
        return;
    }
    if phase(pod) != "Pending" {
        return;
    }
    *next_address += 1;
    let address = format!("10.244.{}.{}", *next_address / 250, *next_address % 250 + 1);
    let exit = pod
        .annotations()
        .get("test/exit")
        .and_then(|code| code.parse::<i32>().ok());
    let is_ready = pod
        .annotations()
        .get("test/ready")
        .is_none_or(|ready| ready == "true");
    let state = match exit {
        Some(code) => json!({"terminated": {"exitCode": code, "reason": "Error"}}),
        None => json!({"running": {}}),
    };
    let containers: Vec<_> = spec
        .containers
        .iter()
        .map(|container| {
            json!({"name": container.name, "image": "x", "imageID": "x", "restartCount": 0,
                   "ready": exit.is_none() && is_ready, "state": state})
        })
        .collect();
    let phase = match exit {
        Some(0) => "Succeeded",
        Some(_) => "Failed",
        None => "Running",
    };
    let status = json!({
        "phase": phase,
        "podIP": address,
        "podIPs": [{"ip": address}],
        "conditions": [ready(exit.is_none() && is_ready)],
        "containerStatuses": containers,
    });
    write(&api, &name, status).await;
}

fn phase(pod: &Pod) -> &str {
    pod.status
        .as_ref()
        .and_then(|status| status.phase.as_deref())
        .unwrap_or("Pending")
}

fn has_ended(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

fn ready(ready: bool) -> Value {
    json!({"type": "Ready", "status": if ready { "True" } else { "False" },
           "lastTransitionTime": jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()})
}

async fn write(api: &Api<Pod>, name: &str, status: Value) {
    let patch = Patch::Strategic(json!({"status": status}));
    // The pod may be gone by now.
    let _ = api
        .patch_status(name, &PatchParams::default(), &patch)
        .await;
}
