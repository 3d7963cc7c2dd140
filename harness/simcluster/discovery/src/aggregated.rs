//! The aggregated form (`apidiscovery.k8s.io/v2`): all groups, versions and resources in one document.

use serde_json::{Map, Value, json};
use simcluster_machinery::schema::builtin::ResourceInfo;

use crate::{groups_of, versions_of};

/// `/api`, aggregated.
pub fn aggregated_core(resources: &[ResourceInfo]) -> Value {
    list(&[group(resources, "")])
}

/// `/apis`, aggregated.
pub fn aggregated_groups(resources: &[ResourceInfo]) -> Value {
    list(
        &groups_of(resources)
            .into_iter()
            .map(|name| group(resources, name))
            .collect::<Vec<_>>(),
    )
}

fn list(items: &[Value]) -> Value {
    json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    })
}

fn group(resources: &[ResourceInfo], name: &str) -> Value {
    let metadata = if name.is_empty() {
        json!({})
    } else {
        json!({"name": name})
    };
    let versions: Vec<Value> = versions_of(resources, name)
        .into_iter()
        .map(|version| {
            let entries: Vec<Value> = resources
                .iter()
                .filter(|resource| resource.group == name && resource.version == version)
                .map(entry)
                .collect();
            json!({"version": version, "resources": entries, "freshness": "Current"})
        })
        .collect();
    json!({"metadata": metadata, "versions": versions})
}

fn entry(resource: &ResourceInfo) -> Value {
    // Within its own group and version a kind is named alone.
    let kind = |group: &str, version: &str, kind: &str| {
        if group == resource.group && version == resource.version {
            json!({"group": "", "version": "", "kind": kind})
        } else {
            json!({"group": group, "version": version, "kind": kind})
        }
    };
    let mut entry = Map::new();
    entry.insert("resource".into(), resource.resource.clone().into());
    entry.insert(
        "responseKind".into(),
        kind(&resource.group, &resource.version, &resource.kind),
    );
    let scope = if resource.namespaced {
        "Namespaced"
    } else {
        "Cluster"
    };
    entry.insert("scope".into(), scope.into());
    entry.insert("singularResource".into(), resource.singular.clone().into());
    entry.insert("verbs".into(), resource.verbs.clone().into());
    if !resource.short_names.is_empty() {
        entry.insert("shortNames".into(), resource.short_names.clone().into());
    }
    if !resource.categories.is_empty() {
        entry.insert("categories".into(), resource.categories.clone().into());
    }
    if !resource.subresources.is_empty() {
        let parts: Vec<Value> = resource
            .subresources
            .iter()
            .map(|part| {
                json!({
                    "subresource": part.name,
                    "responseKind": kind(&part.group, &part.version, &part.kind),
                    "verbs": part.verbs,
                })
            })
            .collect();
        entry.insert("subresources".into(), parts.into());
    }
    entry.into()
}
