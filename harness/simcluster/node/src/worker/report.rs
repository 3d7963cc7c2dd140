//! Writes a pod's status to the API, always the newest, and removes the object at its end.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, Preconditions},
};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use crate::written;

/// What the API is to be told.
pub(super) enum Report {
    /// The pod's status.
    Status(Box<PodStatus>),
    /// That nothing of the pod runs any more: its object can go.
    Delete,
}

/// Writes until the pod's object is gone.
pub(super) async fn write(client: Client, pod: Pod, mut reports: mpsc::UnboundedReceiver<Report>) {
    let meta = pod.metadata;
    let (name, uid) = (meta.name.unwrap_or_default(), meta.uid.unwrap_or_default());
    let api: Api<Pod> = Api::namespaced(client.clone(), &meta.namespace.unwrap_or_default());
    let mut written = serde_json::to_value(pod.status.unwrap_or_default()).unwrap_or_default();
    while let Some(first) = reports.recv().await {
        // While one status was being written, others may have come: only the last one counts.
        let mut status = None;
        let mut delete = false;
        let mut next = Some(first);
        while let Some(report) = next {
            match report {
                Report::Status(newest) => status = Some(newest),
                Report::Delete => delete = true,
            }
            next = reports.try_recv().ok();
        }
        if let Some(status) = status {
            let wanted = serde_json::to_value(&*status).unwrap_or_default();
            let patch = json!({
                "metadata": {"uid": uid},
                "status": difference(&written, &wanted),
            });
            let patch = Patch::Strategic(patch);
            let write = || written::patch_status(&client, &api, &name, &patch);
            let gone = persist(&api, &name, &uid, "status", write).await;
            if gone {
                return;
            }
            written = wanted;
        }
        if delete {
            let params = DeleteParams {
                grace_period_seconds: Some(0),
                preconditions: Some(Preconditions {
                    uid: Some(uid.clone()),
                    resource_version: None,
                }),
                ..DeleteParams::default()
            };
            let remove = || api.delete(&name, &params);
            if persist(&api, &name, &uid, "deletion", remove).await {
                return;
            }
        }
    }
}

/// Tries until the API has taken it. Answers whether the object is gone instead.
async fn persist<T, F: Future<Output = Result<T, kube::Error>>>(
    api: &Api<Pod>,
    name: &str,
    uid: &str,
    what: &str,
    request: impl Fn() -> F,
) -> bool {
    let mut pause = Duration::from_millis(50);
    loop {
        match request().await {
            Ok(_) => return false,
            Err(kube::Error::Api(status)) if status.code == 404 => return true,
            // A conflict may be the uid, then the name has a new owner; or bad luck among writers.
            Err(kube::Error::Api(status))
                if status.code == 409 && replaced(api, name, uid).await =>
            {
                return true;
            }
            Err(error) => {
                tracing::warn!(%error, "a pod's {what} was not taken, trying again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(5));
            }
        }
    }
}

/// Whether the name now belongs to another pod, or to none.
async fn replaced(api: &Api<Pod>, name: &str, uid: &str) -> bool {
    match api.get_metadata_opt(name).await {
        Ok(found) => found.and_then(|pod| pod.metadata.uid).as_deref() != Some(uid),
        Err(_) => false,
    }
}

/// The strategic merge patch from one status to another. Conditions are merged by their type, so that
/// those of others stay; other lists are replaced.
fn difference(old: &Value, new: &Value) -> Value {
    let empty = Map::new();
    let old = old.as_object().unwrap_or(&empty);
    let new = new.as_object().unwrap_or(&empty);
    let mut patch = Map::new();
    for (key, value) in new {
        let before = old.get(key);
        if before == Some(value) {
            continue;
        }
        let change = if key == "conditions" {
            conditions(before.unwrap_or(&Value::Null), value)
        } else {
            value.clone()
        };
        patch.insert(key.clone(), change);
    }
    for key in old.keys().filter(|key| !new.contains_key(*key)) {
        // What the node does not write is not the node's to remove.
        if OWN_FIELDS.contains(&key.as_str()) {
            patch.insert(key.clone(), Value::Null);
        }
    }
    Value::Object(patch)
}

const OWN_FIELDS: [&str; 2] = ["reason", "message"];

fn conditions(old: &Value, new: &Value) -> Value {
    let find = |kind: &Value| {
        old.as_array()?
            .iter()
            .find(|c| &c["type"] == kind)?
            .as_object()
    };
    let changed = new
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|condition| {
            let condition = condition.as_object()?;
            let Some(before) = find(&condition["type"]) else {
                return Some(Value::Object(condition.clone()));
            };
            if before == condition {
                return None;
            }
            let mut change = condition.clone();
            for key in before.keys().filter(|key| !condition.contains_key(*key)) {
                change.insert(key.clone(), Value::Null);
            }
            Some(Value::Object(change))
        });
    let gone = old.as_array().into_iter().flatten().filter(|condition| {
        let of_node = |kind: &str| OWN_CONDITIONS.contains(&kind);
        let is_said = |kind: &Value| {
            new.as_array()
                .is_some_and(|new| new.iter().any(|c| &c["type"] == kind))
        };
        condition["type"].as_str().is_some_and(of_node) && !is_said(&condition["type"])
    });
    let gone = gone.map(|condition| json!({"$patch": "delete", "type": condition["type"]}));
    Value::Array(changed.chain(gone).collect())
}

/// The conditions that are the node's to take back.
const OWN_CONDITIONS: [&str; 7] = [
    "PodResizePending",
    "PodResizeInProgress",
    "PodReadyToStartContainers",
    "Initialized",
    "Ready",
    "ContainersReady",
    "PodScheduled",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_changes_are_sent_and_what_vanished_is_removed() {
        let old = json!({
            "phase": "Pending",
            "podIP": "1.2.3.4",
            "conditions": [
                {"type": "Ready", "status": "False", "reason": "ContainersNotReady"},
                {"type": "Initialized", "status": "True"},
                {"type": "example.com/gate", "status": "True"},
            ],
        });
        let new = json!({
            "phase": "Running",
            "podIP": "1.2.3.4",
            "conditions": [
                {"type": "Ready", "status": "True"},
                {"type": "Initialized", "status": "True"},
            ],
        });
        assert_eq!(
            difference(&old, &new),
            json!({
                "phase": "Running",
                "conditions": [{"type": "Ready", "status": "True", "reason": null}],
            })
        );
    }
}
