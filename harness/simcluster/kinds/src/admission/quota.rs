//! What an object counts against ResourceQuotas, and what a quota says to it.

use std::collections::BTreeMap;

use serde_json::Value;
use simcluster_machinery::quantity::{Format, Quantity};

use super::limit_ranges::pod_total;
use crate::persistent_volume_claim::class;
use crate::read::Read;
use crate::resources::quantities;

/// Amounts by the name that quotas give them: `pods`, `requests.cpu`, `count/deployments.apps`.
pub type Usage = BTreeMap<String, Quantity>;

fn one() -> Quantity {
    Quantity::from_integer(1, Format::DecimalSi)
}

/// What an object uses. `resource` is its plural name, `group` its API group. A pod that has ended
/// uses nothing but its place in `count/pods`.
pub fn usage(group: &str, resource: &str, object: &Value) -> Usage {
    let mut usage = Usage::new();
    let dot = if group.is_empty() { "" } else { "." };
    usage.insert(format!("count/{resource}{dot}{group}"), one());
    let counted_by_name = [
        "configmaps",
        "persistentvolumeclaims",
        "replicationcontrollers",
        "resourcequotas",
        "secrets",
        "services",
    ];
    if group.is_empty() && counted_by_name.contains(&resource) {
        usage.insert(resource.to_owned(), one());
    }
    match (group, resource) {
        ("", "pods") => pod(object, &mut usage),
        ("", "persistentvolumeclaims") => claim(object, &mut usage),
        ("", "services") => service(object, &mut usage),
        _ => {}
    }
    usage
}

fn pod(pod: &Value, usage: &mut Usage) {
    if matches!(pod.text("status.phase"), "Failed" | "Succeeded") {
        return;
    }
    usage.insert("pods".to_owned(), one());
    for (name, quantity) in pod_total(pod, "resources.requests") {
        if matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage") {
            usage.insert(name.clone(), quantity);
        }
        usage.insert(format!("requests.{name}"), quantity);
    }
    for (name, quantity) in pod_total(pod, "resources.limits") {
        usage.insert(format!("limits.{name}"), quantity);
    }
}

fn claim(claim: &Value, usage: &mut Usage) {
    let size = quantities(claim, "spec.resources.requests").remove("storage");
    if let Some(size) = size {
        usage.insert("requests.storage".to_owned(), size);
    }
    if let Some(class) = class(claim).filter(|class| !class.is_empty()) {
        let prefix = format!("{class}.storageclass.storage.k8s.io");
        usage.insert(format!("{prefix}/persistentvolumeclaims"), one());
        if let Some(size) = size {
            usage.insert(format!("{prefix}/requests.storage"), size);
        }
    }
}

fn service(service: &Value, usage: &mut Usage) {
    let ports = i64::try_from(service.list("spec.ports").len()).unwrap_or(i64::MAX);
    let kind = service.text("spec.type");
    if kind == "LoadBalancer" {
        usage.insert("services.loadbalancers".to_owned(), one());
    }
    if matches!(kind, "NodePort" | "LoadBalancer") {
        let ports = Quantity::from_integer(ports, Format::DecimalSi);
        usage.insert("services.nodeports".to_owned(), ports);
    }
}

/// Whether a quota's scopes cover the object. A quota without scopes covers everything.
pub fn quota_covers(quota: &Value, resource: &str, object: &Value) -> bool {
    let scopes = quota.texts("spec.scopes");
    if scopes.is_empty() {
        return true;
    }
    let best_effort = object.text("status.qosClass") == "BestEffort"
        || pod_total(object, "resources.requests").is_empty()
            && pod_total(object, "resources.limits").is_empty();
    let terminating = object.at("spec.activeDeadlineSeconds").is_some();
    resource == "pods"
        && scopes.into_iter().all(|scope| match scope {
            "BestEffort" => best_effort,
            "NotBestEffort" => !best_effort,
            "Terminating" => terminating,
            "NotTerminating" => !terminating,
            _ => false,
        })
}

/// Why `quota` refuses an object that uses `added` more than before, if it does.
pub fn exceeded_quota(
    quota: &Value,
    used: &Usage,
    added: &Usage,
    pod: Option<&Value>,
) -> Option<String> {
    let name = quota.text("metadata.name");
    let hard = quantities(quota, "spec.hard");
    if let Some(missing) = pod.and_then(|pod| unspecified(&hard, pod)) {
        return Some(format!("failed quota: {name}: must specify {missing}"));
    }
    let zero = Quantity::from_integer(0, Format::DecimalSi);
    let broken: Vec<(&String, Quantity, Quantity, Quantity)> = hard
        .iter()
        .filter_map(|(resource, limit)| {
            let added = *added.get(resource)?;
            let used = used.get(resource).copied().unwrap_or(zero);
            (used.add(added) > *limit).then_some((resource, added, used, *limit))
        })
        .collect();
    if broken.is_empty() {
        return None;
    }
    let list = |of: fn(&(&String, Quantity, Quantity, Quantity)) -> Quantity| {
        let texts = broken
            .iter()
            .map(|entry| format!("{}={}", entry.0, of(entry)));
        texts.collect::<Vec<_>>().join(",")
    };
    Some(format!(
        "exceeded quota: {name}, requested: {}, used: {}, limited: {}",
        list(|entry| entry.1),
        list(|entry| entry.2),
        list(|entry| entry.3),
    ))
}

/// A quota on a resource of pods wants every container to say how much of it it takes.
fn unspecified(hard: &Usage, pod: &Value) -> Option<String> {
    let mut missing = Vec::new();
    for resource in hard.keys() {
        let (list, name) = match resource.split_once('.') {
            Some(("limits", name)) => ("resources.limits", name),
            Some(("requests", name)) => ("resources.requests", name),
            _ => ("resources.requests", resource.as_str()),
        };
        if !matches!(name, "cpu" | "memory") {
            continue;
        }
        let without: Vec<&str> = ["spec.initContainers", "spec.containers"]
            .iter()
            .flat_map(|containers| pod.list(containers))
            .filter(|container| !quantities(container, list).contains_key(name))
            .map(|container| container.text("name"))
            .collect();
        if !without.is_empty() {
            missing.push(format!("{resource} for: {}", without.join(",")));
        }
    }
    (!missing.is_empty()).then(|| missing.join("; "))
}
