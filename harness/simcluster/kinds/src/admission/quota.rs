//! What an object counts against ResourceQuotas, and what a quota says to it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use simcluster_machinery::quantity::{Format, Quantity};

use super::limit_ranges::pod_total;
use crate::persistent_volume_claim::class;
use crate::read::Read;
use crate::resources::{self, quantities};

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

const MEASURED: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];

fn pod(pod: &Value, usage: &mut Usage) {
    if matches!(pod.text("status.phase"), "Failed" | "Succeeded") {
        return;
    }
    usage.insert("pods".to_owned(), one());
    for (name, quantity) in pod_total(pod, "resources.requests") {
        let bare = MEASURED.contains(&name.as_str()) || name.starts_with("hugepages-");
        if bare || resources::is_extended(&name) {
            usage.insert(format!("requests.{name}"), quantity);
        }
        if bare {
            usage.insert(name, quantity);
        }
    }
    for (name, quantity) in pod_total(pod, "resources.limits") {
        if MEASURED.contains(&name.as_str()) {
            usage.insert(format!("limits.{name}"), quantity);
        }
    }
}

fn claim(claim: &Value, usage: &mut Usage) {
    let size = quantities(claim, "spec.resources.requests").remove("storage");
    let allocated = quantities(claim, "status.allocatedResources").remove("storage");
    let size = size.map(|size| allocated.map_or(size, |allocated| allocated.max(size)));
    usage.insert("persistentvolumeclaims".to_owned(), one());
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
    let kind = service.text("spec.type");
    if kind == "LoadBalancer" {
        usage.insert("services.loadbalancers".to_owned(), one());
    }
    if matches!(kind, "NodePort" | "LoadBalancer") {
        let only_given = kind == "LoadBalancer"
            && service.at("spec.allocateLoadBalancerNodePorts") == Some(&Value::Bool(false));
        let ports = service.list("spec.ports").iter();
        let ports = ports
            .filter(|port| !only_given || port.integer("nodePort").unwrap_or(0) != 0)
            .count();
        let ports = i64::try_from(ports).unwrap_or(i64::MAX);
        let ports = Quantity::from_integer(ports, Format::DecimalSi);
        usage.insert("services.nodeports".to_owned(), ports);
    }
}

/// Whether a quota's scopes cover the object. A quota without scopes covers everything.
pub fn quota_covers(quota: &Value, resource: &str, object: &Value) -> bool {
    let is_in = |scope: &str, operator: &str, values: &[&str]| match resource {
        "pods" => pod_is_in(object, scope, operator, values),
        "persistentvolumeclaims" => claim_is_in(object, scope, operator, values),
        _ => false,
    };
    let scopes = quota.texts("spec.scopes").into_iter();
    let selectors = quota.list("spec.scopeSelector.matchExpressions").iter();
    scopes.into_iter().all(|scope| is_in(scope, "Exists", &[]))
        && selectors.into_iter().all(|one| {
            let values = one.texts("values");
            is_in(one.text("scopeName"), one.text("operator"), &values)
        })
}

fn pod_is_in(pod: &Value, scope: &str, operator: &str, values: &[&str]) -> bool {
    let best_effort = || {
        pod.text("status.qosClass") == "BestEffort"
            || pod_total(pod, "resources.requests").is_empty()
                && pod_total(pod, "resources.limits").is_empty()
    };
    let terminating = pod
        .integer("spec.activeDeadlineSeconds")
        .is_some_and(|seconds| seconds >= 0);
    match scope {
        "BestEffort" => best_effort(),
        "NotBestEffort" => !best_effort(),
        "Terminating" => terminating,
        "NotTerminating" => !terminating,
        "PriorityClass" => {
            let class = pod.text("spec.priorityClassName");
            selects(operator, values, (!class.is_empty()).then_some(class))
        }
        "CrossNamespacePodAffinity" => reaches_other_namespaces(pod),
        _ => false,
    }
}

fn claim_is_in(claim: &Value, scope: &str, operator: &str, values: &[&str]) -> bool {
    let names = [
        "spec.volumeAttributesClassName",
        "status.currentVolumeAttributesClassName",
        "status.modifyVolumeStatus.targetVolumeAttributesClassName",
    ];
    let mut classes = names
        .iter()
        .map(|path| claim.text(path))
        .filter(|one| !one.is_empty());
    if scope != "VolumeAttributesClass" {
        return false;
    }
    match classes.next() {
        None => selects(operator, values, None),
        Some(first) => {
            selects(operator, values, Some(first))
                || classes.any(|class| selects(operator, values, Some(class)))
        }
    }
}

/// Whether a scope that has values takes one (or none) in.
fn selects(operator: &str, values: &[&str], given: Option<&str>) -> bool {
    let among = given.is_some_and(|given| values.contains(&given));
    match operator {
        "Exists" => given.is_some(),
        "DoesNotExist" => given.is_none(),
        "In" => among,
        "NotIn" => !among,
        _ => false,
    }
}

/// Whether a pod says how near to pods of other namespaces it wants to be.
fn reaches_other_namespaces(pod: &Value) -> bool {
    let affinities = ["spec.affinity.podAffinity", "spec.affinity.podAntiAffinity"];
    let reaches =
        |term: &Value| !term.lacks("namespaces") || term.at("namespaceSelector").is_some();
    affinities
        .iter()
        .filter_map(|path| pod.at(path))
        .any(|affinity| {
            let required = affinity.list("requiredDuringSchedulingIgnoredDuringExecution");
            let preferred = affinity.list("preferredDuringSchedulingIgnoredDuringExecution");
            required.iter().any(reaches)
                || preferred
                    .iter()
                    .filter_map(|one| one.at("podAffinityTerm"))
                    .any(reaches)
        })
}

/// What an update uses more than the object did before; nothing where it uses less.
pub fn more(new: &Usage, old: &Usage) -> Usage {
    let zero = Quantity::ZERO;
    let grown = new.iter().filter_map(|(name, amount)| {
        let before = old.get(name).copied().unwrap_or(zero);
        (*amount > before).then(|| (name.clone(), amount.sub(before)))
    });
    grown.collect()
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
    // Where the pod as a whole says it, containers need not.
    let of_pod = ["requests", "limits"]
        .iter()
        .flat_map(|list| quantities(&pod["spec"]["resources"], list).into_keys());
    if of_pod
        .into_iter()
        .any(|name| matches!(name.as_str(), "cpu" | "memory") || name.starts_with("hugepages-"))
    {
        return None;
    }
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
        let without: BTreeSet<&str> = ["spec.initContainers", "spec.containers"]
            .iter()
            .flat_map(|containers| pod.list(containers))
            .filter(|container| !quantities(container, list).contains_key(name))
            .map(|container| container.text("name"))
            .collect();
        if !without.is_empty() {
            let without: Vec<&str> = without.into_iter().collect();
            missing.push(format!("{resource} for: {}", without.join(",")));
        }
    }
    (!missing.is_empty()).then(|| missing.join("; "))
}
