//! The downward API: fields and resources of a pod as text, for environments and volumes. Pure.

use k8s_openapi::api::core::v1::{Container, ObjectFieldSelector, Pod, ResourceFieldSelector};

use crate::quantity;

/// What a pod may learn of itself beyond its object.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    /// The pod's address, once it has one.
    pub(crate) pod_ip: Option<String>,
    /// The node's address.
    pub(crate) host_ip: String,
    /// The node's allocatable amounts: what a container without a limit may use.
    pub(crate) allocatable_cpu: String,
    /// The same for memory.
    pub(crate) allocatable_memory: String,
}

/// The value of a `fieldRef`.
pub(crate) fn field(
    pod: &Pod,
    facts: &Facts,
    selector: &ObjectFieldSelector,
) -> Result<String, String> {
    let path = selector.field_path.as_str();
    let meta = &pod.metadata;
    let spec = pod.spec.as_ref();
    if let Some(key) = subscript(path, "metadata.labels") {
        return Ok(meta
            .labels
            .as_ref()
            .and_then(|l| l.get(key))
            .cloned()
            .unwrap_or_default());
    }
    if let Some(key) = subscript(path, "metadata.annotations") {
        return Ok(meta
            .annotations
            .as_ref()
            .and_then(|l| l.get(key))
            .cloned()
            .unwrap_or_default());
    }
    let value = match path {
        "metadata.name" => meta.name.clone(),
        "metadata.namespace" => meta.namespace.clone(),
        "metadata.uid" => meta.uid.clone(),
        "metadata.labels" => meta.labels.as_ref().map(lines),
        "metadata.annotations" => meta.annotations.as_ref().map(lines),
        "spec.nodeName" => spec.and_then(|s| s.node_name.clone()),
        "spec.serviceAccountName" => spec.and_then(|s| s.service_account_name.clone()),
        "status.hostIP" | "status.hostIPs" => Some(facts.host_ip.clone()),
        "status.podIP" | "status.podIPs" => facts.pod_ip.clone(),
        _ => return Err(format!("unsupported fieldPath: {path}")),
    };
    Ok(value.unwrap_or_default())
}

/// `key` of `prefix['key']`.
fn subscript<'a>(path: &'a str, prefix: &str) -> Option<&'a str> {
    path.strip_prefix(prefix)?
        .strip_prefix("['")?
        .strip_suffix("']")
}

/// Labels or annotations as `key="value"` lines.
fn lines(map: &std::collections::BTreeMap<String, String>) -> String {
    map.iter()
        .map(|(key, value)| format!("{key}={value:?}"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// The value of a `resourceFieldRef`; `own` is the container that asks.
pub(crate) fn resource(
    pod: &Pod,
    facts: &Facts,
    own: Option<&Container>,
    selector: &ResourceFieldSelector,
) -> Result<String, String> {
    let spec = pod.spec.as_ref();
    let container = match selector.container_name.as_deref().filter(|n| !n.is_empty()) {
        None => own,
        Some(name) => spec.and_then(|s| {
            s.init_containers
                .iter()
                .flatten()
                .chain(&s.containers)
                .find(|c| c.name == name)
        }),
    };
    let container = container.ok_or_else(|| {
        let name = selector.container_name.as_deref().unwrap_or_default();
        format!("container {name} not found")
    })?;
    let resources = container.resources.clone().unwrap_or_default();
    let (kind, name) = selector.resource.split_once('.').unwrap_or(("", ""));
    let amounts = match kind {
        "limits" => resources.limits,
        "requests" => resources.requests,
        _ => {
            return Err(format!(
                "unsupported container resource : {}",
                selector.resource
            ));
        }
    };
    let found = amounts.and_then(|a| a.get(name).map(|q| q.0.clone()));
    let amount = found.unwrap_or_else(|| match (kind, name) {
        // No limit means: as much as the node has.
        ("limits", "cpu") => facts.allocatable_cpu.clone(),
        ("limits", "memory") => facts.allocatable_memory.clone(),
        _ => "0".into(),
    });
    let divisor = selector.divisor.as_ref().map_or("1", |q| q.0.as_str());
    let divisor = if divisor == "0" || divisor.is_empty() {
        "1"
    } else {
        divisor
    };
    quantity::divide(&amount, divisor)
        .map(|value| value.to_string())
        .ok_or_else(|| {
            format!(
                "cannot read the quantity {amount:?} of {}",
                selector.resource
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod() -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "p", "labels": {"a": "1", "b/c": "say \"hi\""}},
            "spec": {"nodeName": "n", "containers": [
                {"name": "c", "resources": {"requests": {"cpu": "5m"}}},
            ]},
        }))
        .unwrap()
    }

    fn facts() -> Facts {
        Facts {
            allocatable_cpu: "2".into(),
            host_ip: "10.0.0.1".into(),
            ..Facts::default()
        }
    }

    fn read(path: &str) -> Result<String, String> {
        let selector = ObjectFieldSelector {
            field_path: path.into(),
            api_version: None,
        };
        field(&pod(), &facts(), &selector)
    }

    #[test]
    fn fields_are_read_by_path() {
        assert_eq!(read("metadata.name").unwrap(), "p");
        assert_eq!(read("metadata.labels['b/c']").unwrap(), "say \"hi\"");
        assert_eq!(
            read("metadata.labels").unwrap(),
            "a=\"1\"\nb/c=\"say \\\"hi\\\"\""
        );
        assert_eq!(read("metadata.annotations['x']").unwrap(), "");
        assert_eq!(read("status.hostIP").unwrap(), "10.0.0.1");
        assert!(read("spec.containers").is_err());
    }

    #[test]
    fn a_missing_limit_is_what_the_node_has() {
        let pod = pod();
        let own = pod.spec.as_ref().map(|s| &s.containers[0]);
        let get = |resource_name: &str, divisor: &str| {
            let selector = ResourceFieldSelector {
                resource: resource_name.into(),
                divisor: Some(k8s_openapi::apimachinery::pkg::api::resource::Quantity(
                    divisor.into(),
                )),
                container_name: None,
            };
            resource(&pod, &facts(), own, &selector).unwrap()
        };
        assert_eq!(get("requests.cpu", "1m"), "5");
        assert_eq!(get("limits.cpu", "0"), "2");
        assert_eq!(get("requests.memory", "1Mi"), "0");
    }
}
