//! A cluster for one test: API server, controllers, one node, a namespace, and waiting without sleeping.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use http::Request;
use kube::{Client, core::WatchEvent};
use serde_json::{Value, json};
use simcluster_apiserver::{ApiServer, Config, Identity};
use simcluster_controllers::{Controller, Settings};
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::kubelet;

/// Longer than anything takes that works.
const LIMIT: Duration = Duration::from_secs(120);

pub(crate) struct World {
    pub(crate) client: Client,
    /// Controllers and kubelet, for as long as the test runs.
    _tasks: JoinSet<()>,
    _server: ApiServer,
    _stop: DropGuard,
}

/// `/api/v1/namespaces/default/<plural>`.
pub(crate) fn core(plural: &str) -> String {
    format!("/api/v1/namespaces/default/{plural}")
}

/// `/apis/apps/v1/namespaces/default/<plural>`.
pub(crate) fn apps(plural: &str) -> String {
    format!("/apis/apps/v1/namespaces/default/{plural}")
}

/// `/apis/batch/v1/namespaces/default/<plural>`.
pub(crate) fn batch(plural: &str) -> String {
    format!("/apis/batch/v1/namespaces/default/{plural}")
}

impl World {
    /// All controllers and one node.
    pub(crate) async fn start() -> Self {
        let world = Self::with(Settings::default());
        world.add_node("node-1", &json!({})).await;
        world
    }

    /// These settings, and no node.
    pub(crate) fn with(settings: Settings) -> Self {
        let _ = tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .with_test_writer()
            .try_init();
        let server = ApiServer::start(Config::default());
        let client = server.client(&Identity::admin());
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(simcluster_controllers::run(
            client.clone(),
            settings,
            stop.clone(),
        ));
        tasks.spawn(kubelet::run(client.clone()));
        Self {
            client,
            _tasks: tasks,
            _server: server,
            _stop: stop.drop_guard(),
        }
    }

    /// Only these controllers, and no node.
    pub(crate) fn only(controllers: impl IntoIterator<Item = Controller>) -> Self {
        Self::with(Settings::only(controllers))
    }

    /// A node that is well.
    pub(crate) async fn add_node(&self, name: &str, extra: &Value) {
        let mut node = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        });
        merge(&mut node, extra);
        self.post("/api/v1/nodes", &node).await;
        let status = json!({"status": {
            "allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"},
            "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady",
                            "lastHeartbeatTime": jiff::Timestamp::now()}],
        }});
        self.patch(&format!("/api/v1/nodes/{name}/status"), &status)
            .await;
    }

    async fn send(&self, method: &str, path: &str, content: &str, body: &Value) -> Value {
        let body = if body.is_null() {
            Vec::new()
        } else {
            body.to_string().into_bytes()
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("Content-Type", content)
            .body(body)
            .expect("the request is well formed");
        match self.client.request(request).await {
            Ok(answer) => answer,
            Err(kube::Error::Api(status)) => {
                serde_json::to_value(&status).expect("a status is JSON")
            }
            Err(error) => panic!("{method} {path}: {error}"),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        self.send("GET", path, "application/json", &Value::Null)
            .await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Value {
        let made = self.send("POST", path, "application/json", body).await;
        assert_ne!(made["status"], "Failure", "POST {path}: {made}");
        made
    }

    /// A JSON merge patch, with whatever answer.
    pub(crate) async fn try_patch(&self, path: &str, body: &Value) -> Value {
        let content = "application/merge-patch+json";
        self.send("PATCH", path, content, body).await
    }

    /// A JSON merge patch.
    pub(crate) async fn patch(&self, path: &str, body: &Value) -> Value {
        let written = self.try_patch(path, body).await;
        assert_ne!(written["status"], "Failure", "PATCH {path}: {written}");
        written
    }

    pub(crate) async fn delete(&self, path: &str, options: &Value) -> Value {
        let gone = self.send("DELETE", path, "application/json", options).await;
        assert_ne!(gone["status"], "Failure", "DELETE {path}: {gone}");
        gone
    }

    /// Waits until the items of a collection are as wanted, and returns them.
    pub(crate) async fn until(&self, path: &str, wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let mut seen = Vec::new();
        let waiting = async {
            loop {
                let list = self.get(path).await;
                seen = list["items"].as_array().cloned().unwrap_or_default();
                if wanted(&seen) {
                    return;
                }
                let revision = list["metadata"]["resourceVersion"].as_str().unwrap_or("0");
                let joint = if path.contains('?') { '&' } else { '?' };
                let watch = format!("{path}{joint}watch=true&resourceVersion={revision}");
                let request = Request::get(watch).body(Vec::new()).expect("well formed");
                let events = self.client.request_events::<Value>(request).await;
                let mut events = events.expect("the collection can be watched").boxed();
                while let Ok(Some(event)) = events.try_next().await {
                    let WatchEvent::Bookmark(_) = event else {
                        break;
                    };
                }
            }
        };
        let in_time = tokio::time::timeout(LIMIT, waiting).await.is_ok();
        assert!(
            in_time,
            "{path} did not become what was wanted; it was last\n{}",
            serde_json::to_string_pretty(&seen).unwrap_or_default()
        );
        seen
    }

    /// Waits until one object of a collection is as wanted.
    pub(crate) async fn until_one(
        &self,
        path: &str,
        name: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Value {
        let path = format!("{path}?fieldSelector=metadata.name={name}");
        let mut found = self
            .until(&path, |items| items.first().is_some_and(&wanted))
            .await;
        found.remove(0)
    }

    /// Waits until an object is gone.
    pub(crate) async fn until_gone(&self, path: &str, name: &str) {
        let path = format!("{path}?fieldSelector=metadata.name={name}");
        self.until(&path, <[Value]>::is_empty).await;
    }

    /// Waits until something has been told about an object, and returns the Event.
    pub(crate) async fn event(&self, about: &str, reason: &str) -> Value {
        let is_it =
            |event: &Value| event["involvedObject"]["name"] == about && event["reason"] == reason;
        let events = self
            .until("/api/v1/events", |events| events.iter().any(is_it))
            .await;
        events.into_iter().find(is_it).expect("it was just seen")
    }
}

/// Lays one value over another.
pub(crate) fn merge(target: &mut Value, patch: &Value) {
    if let (Value::Object(target), Value::Object(patch)) = (&mut *target, patch) {
        for (key, value) in patch {
            merge(target.entry(key.clone()).or_insert(Value::Null), value);
        }
    } else {
        *target = patch.clone();
    }
}

/// The value of a condition's field, if there is such a condition.
pub(crate) fn condition<'a>(object: &'a Value, type_: &str) -> &'a Value {
    object["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == type_)
        .unwrap_or(&Value::Null)
}

/// A pod template with one container and these labels.
pub(crate) fn template(labels: &Value) -> Value {
    json!({
        "metadata": {"labels": labels},
        "spec": {"terminationGracePeriodSeconds": 0,
                 "containers": [{"name": "c", "image": "busybox:1.36"}]},
    })
}
