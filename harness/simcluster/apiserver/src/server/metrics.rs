//! The resources of `metrics.k8s.io/v1beta1`, which another server would serve behind this one: what nodes and pods
//! use, as the nodes tell at the moment of asking.
//!
//! Nothing of it is stored, so nothing of it can be watched. It is served once there is a node that can be asked.

use std::sync::{Arc, LazyLock};

use futures::future::join_all;
use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};
use simcluster_kubelet_api::{Kubelet, NodeStats, UsageStats};
use simcluster_machinery::{
    go,
    kind::{GroupResource, GroupVersionKind},
    quantity::{Format, Quantity},
    schema::{Schema, SchemaRef},
    status::Status,
};

use super::{
    Failure, Inner,
    call::Call,
    clock,
    form::{Former, ListMeta},
    negotiate::{self, Offer},
    registry::{Group, Resource, collection},
    reply::{self, Reply},
    select::Selection,
};
use crate::store::Object;

/// The API group.
pub(crate) const GROUP: &str = "metrics.k8s.io";
const VERSION: &str = "v1beta1";

/// The group as it is served.
pub(crate) static SERVED: LazyLock<Group> =
    LazyLock::new(|| Group::of(GROUP, VERSION, [resource("nodes"), resource("pods")]));

fn resource(name: &str) -> Arc<Resource> {
    let kind = if name == "pods" {
        "PodMetrics"
    } else {
        "NodeMetrics"
    };
    Arc::new(Resource {
        name: GroupResource::new(GROUP, name),
        kind: GroupVersionKind::new(GROUP, VERSION, kind),
        list_kind: format!("{kind}List"),
        singular: String::new(),
        namespaced: name == "pods",
        short_names: Vec::new(),
        categories: Vec::new(),
        verbs: vec!["get".to_owned(), "list".to_owned()],
        subresources: Vec::new(),
        collection: collection(GROUP, name),
        stored_as: format!("{GROUP}/{VERSION}"),
        schema: SchemaRef::new(Schema::default()),
        custom: None,
    })
}

/// Answers a request for the group.
pub(crate) async fn answer(call: &Call, verb: &str) -> Result<Reply, Failure> {
    let of_pods = call.resource.namespaced;
    match verb {
        "get" if !call.route.name.is_empty() => {
            let wanted = negotiate::object(&call.headers, &call.query, Offer::Forms, false)?;
            let former = Former::new(call, wanted)?;
            let object = if of_pods {
                pod(call).await?
            } else {
                node(call).await?
            };
            let object = Object::without_revision(object);
            let text = former.object(&object);
            Ok(reply::json_text(StatusCode::OK, text, &former.wanted))
        }
        "list" => {
            let wanted = negotiate::object(&call.headers, &call.query, Offer::Forms, true)?;
            let former = Former::new(call, wanted)?;
            let selection = Selection::of(call)?;
            let all = if of_pods {
                pods(&call.server, &call.route.namespace).await
            } else {
                nodes(&call.server).await
            };
            let all = all.into_iter().map(Object::without_revision).map(Arc::new);
            let selected: Vec<_> = all
                .filter(|object| selection.matches(&call.resource, object))
                .collect();
            let text = former.list(&selected, &ListMeta::default());
            Ok(reply::json_text(StatusCode::OK, text, &former.wanted))
        }
        "watch" => Err(Box::new(Status::method_not_supported(
            &called(call),
            "watch",
        ))),
        _ => Err(Box::new(Status::method_not_allowed())),
    }
}

/// The name that errors have for what is asked.
fn called(call: &Call) -> GroupResource {
    let name = if call.resource.namespaced {
        "podmetrics"
    } else {
        "nodemetrics"
    };
    GroupResource::new(GROUP, name)
}

async fn pod(call: &Call) -> Result<Value, Failure> {
    let (namespace, name) = (&call.route.namespace, &call.route.name);
    let stored = find(&call.server, "pods", &format!("{namespace}/{name}"));
    let Some(stored) = stored else {
        let missing = Status::not_found(&GroupResource::new("", "pods"), name);
        return Err(Box::new(missing));
    };
    let kubelet = stored.value()["spec"]["nodeName"]
        .as_str()
        .and_then(|node| call.server.kubelet(node));
    let stats = asked(kubelet).await;
    let found = stats.and_then(|stats| {
        let now = call.server.config.clock.now();
        let all = of_pods(&call.server, &stats, now);
        all.into_iter().find(|metrics| {
            metrics["metadata"]["name"] == **name && metrics["metadata"]["namespace"] == **namespace
        })
    });
    found.ok_or_else(|| {
        let name = format!("{namespace}/{name}");
        Box::new(Status::not_found(&called(call), &name))
    })
}

async fn node(call: &Call) -> Result<Value, Failure> {
    let name = &call.route.name;
    let Some(stored) = find(&call.server, "nodes", name) else {
        let missing = Status::not_found(&GroupResource::new("", "node"), name);
        return Err(Box::new(missing));
    };
    let stats = asked(call.server.kubelet(name)).await;
    let metrics = stats.and_then(|stats| of_node(&stored, &stats.usage));
    metrics.ok_or_else(|| Box::new(Status::not_found(&called(call), name)))
}

fn find(server: &Inner, resource: &str, key: &str) -> Option<Arc<Object>> {
    server.store.read().get(&collection("", resource), key)
}

/// What a node tells, if it does.
async fn asked(kubelet: Option<Arc<dyn Kubelet>>) -> Option<NodeStats> {
    let stats = kubelet?.stats().await;
    stats
        .inspect_err(|error| tracing::debug!(%error, "a node does not tell what it uses"))
        .ok()
}

async fn nodes(server: &Inner) -> Vec<Value> {
    let stored = server.store.read().snapshot(&collection("", "nodes"));
    let all = join_all(stored.objects.values().map(async |node| {
        let stats = asked(server.kubelet(node.name())).await?;
        of_node(node, &stats.usage)
    }));
    all.await.into_iter().flatten().collect()
}

async fn pods(server: &Inner, namespace: &str) -> Vec<Value> {
    let now = server.config.clock.now();
    let told = join_all(server.kubelets().into_iter().map(|one| asked(Some(one)))).await;
    let all = told.iter().flatten();
    let mut all: Vec<Value> = all.flat_map(|stats| of_pods(server, stats, now)).collect();
    let text = |object: &Value, field: &str| {
        let value = object["metadata"][field].as_str();
        value.unwrap_or_default().to_owned()
    };
    all.retain(|object| namespace.is_empty() || object["metadata"]["namespace"] == namespace);
    all.sort_by_key(|object| (text(object, "namespace"), text(object, "name")));
    all
}

fn of_node(node: &Object, usage: &UsageStats) -> Option<Value> {
    let metadata = &node.value()["metadata"];
    let mut metrics = json!({
        "kind": "NodeMetrics",
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "metadata": {"name": metadata["name"], "creationTimestamp": time(usage)?},
        "timestamp": time(usage)?,
        "window": window(usage),
        "usage": amounts(usage),
    });
    label(&mut metrics, metadata);
    Some(metrics)
}

/// The metrics of the pods that run and are still the ones that were measured.
fn of_pods(server: &Inner, stats: &NodeStats, now: Timestamp) -> Vec<Value> {
    let measured = stats.pods.iter().filter_map(|pod| {
        let first = pod.containers.first()?;
        let key = format!("{}/{}", pod.pod.namespace, pod.pod.name);
        let stored = find(server, "pods", &key)?;
        let same = stored.uid() == pod.pod.uid;
        if !same || stored.value()["status"]["phase"] != "Running" {
            return None;
        }
        let containers: Vec<Value> = pod
            .containers
            .iter()
            .map(|container| json!({"name": container.name, "usage": amounts(&container.usage)}))
            .collect();
        // The youngest container's window, as it was scraped last.
        let youngest = pod.containers.iter().min_by_key(|one| one.usage.window);
        let usage = youngest.map_or(&first.usage, |container| &container.usage);
        let metadata = &stored.value()["metadata"];
        let mut metrics = json!({
            "kind": "PodMetrics",
            "apiVersion": format!("{GROUP}/{VERSION}"),
            "metadata": {
                "name": metadata["name"], "namespace": metadata["namespace"],
                "creationTimestamp": clock::rfc3339(now),
            },
            "timestamp": time(usage)?,
            "window": window(usage),
            "containers": containers,
        });
        label(&mut metrics, metadata);
        Some(metrics)
    });
    measured.collect()
}

/// Metrics have the labels of what they are of.
fn label(metrics: &mut Value, metadata: &Value) {
    if let Some(labels) = metadata.get("labels").filter(|labels| labels.is_object()) {
        metrics["metadata"]["labels"] = labels.clone();
    }
}

fn time(usage: &UsageStats) -> Option<String> {
    let at = Timestamp::from_nanosecond(usage.at_unix_nanos).ok()?;
    Some(clock::rfc3339(at))
}

fn window(usage: &UsageStats) -> String {
    // Milliseconds are as exact as scraping is.
    let millis = i64::try_from(usage.window.as_millis()).unwrap_or(i64::MAX / 1_000_000);
    go::format_duration(millis.saturating_mul(1_000_000))
}

fn amounts(usage: &UsageStats) -> Value {
    let cpu = format!("{}n", usage.cpu_nano_cores).parse::<Quantity>();
    let cpu = cpu.map_or_else(|_| "0".to_owned(), |cpu| cpu.to_string());
    let memory = i64::try_from(usage.working_set).unwrap_or(i64::MAX);
    let memory = Quantity::from_integer(memory, Format::BinarySi).to_string();
    json!({"cpu": cpu, "memory": memory})
}

/// Columns and rows, as `kubectl get --raw` and `kubectl get` show metrics.
pub(crate) fn table(objects: &[&Object]) -> (Value, Vec<Value>) {
    if objects.is_empty() {
        return (Value::Null, Vec::new());
    }
    let column = |name: &str, format: &str, description: &str| {
        json!({"name": name, "type": "string", "format": format,
               "description": description, "priority": 0})
    };
    let columns = json!([
        column("Name", "name", "Name of the resource"),
        column("cpu", "quantity", ""),
        column("memory", "quantity", ""),
        column("Window", "duration", ""),
    ]);
    let rows = objects.iter().map(|object| {
        let value = object.value();
        let sum = |resource: &str| {
            let own = value["usage"][resource].as_str();
            let containers = value["containers"].as_array().into_iter().flatten();
            let of_containers = containers.filter_map(|one| one["usage"][resource].as_str());
            let all = own.into_iter().chain(of_containers);
            let parsed = all.filter_map(|text| text.parse::<Quantity>().ok());
            parsed.reduce(Quantity::add).map(|sum| sum.to_string())
        };
        json!({"cells": [value["metadata"]["name"], sum("cpu"), sum("memory"), value["window"]]})
    });
    (columns, rows.collect())
}
