//! `/api`, `/apis`, `/apis/GROUP` and `/apis/GROUP/VERSION`.

use serde_json::{Map, Value, json};
use simcluster_machinery::schema::builtin::{ResourceInfo, SubresourceInfo};

use crate::{group_version, groups_of, versions_of};

/// `/api`; `address` is where clients reach the server.
pub fn versions(address: &str) -> Value {
    json!({
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
    })
}

/// `/apis`.
pub fn group_list(resources: &[ResourceInfo]) -> Value {
    let groups: Vec<Value> = groups_of(resources)
        .into_iter()
        .map(|name| entry(resources, name))
        .collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// `/apis/GROUP`; `None` when nothing of it is served.
pub fn group(resources: &[ResourceInfo], name: &str) -> Option<Value> {
    if versions_of(resources, name).is_empty() {
        return None;
    }
    let mut group = entry(resources, name);
    group["kind"] = "APIGroup".into();
    group["apiVersion"] = "v1".into();
    Some(group)
}

fn entry(resources: &[ResourceInfo], name: &str) -> Value {
    let versions: Vec<Value> = versions_of(resources, name)
        .into_iter()
        .map(|version| json!({"groupVersion": group_version(name, version), "version": version}))
        .collect();
    let preferred = versions.first().cloned().unwrap_or_default();
    json!({"name": name, "versions": versions, "preferredVersion": preferred})
}

/// `/api/v1` or `/apis/GROUP/VERSION`; `None` when nothing of it is served.
pub fn resource_list(resources: &[ResourceInfo], group: &str, version: &str) -> Option<Value> {
    let served: Vec<&ResourceInfo> = resources
        .iter()
        .filter(|resource| resource.group == group && resource.version == version)
        .collect();
    if served.is_empty() {
        return None;
    }
    let mut entries = Vec::new();
    for resource in served {
        entries.push(whole(resource));
        for subresource in &resource.subresources {
            entries.push(part(resource, subresource));
        }
    }
    let mut list = json!({
        "kind": "APIResourceList",
        "groupVersion": group_version(group, version),
        "resources": entries,
    });
    if !group.is_empty() {
        list["apiVersion"] = "v1".into();
    }
    Some(list)
}

fn whole(resource: &ResourceInfo) -> Value {
    let mut entry = json!({
        "name": resource.resource,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": resource.verbs,
    });
    if !resource.short_names.is_empty() {
        entry["shortNames"] = resource.short_names.clone().into();
    }
    if !resource.categories.is_empty() {
        entry["categories"] = resource.categories.clone().into();
    }
    if resource.verbs.iter().any(|verb| verb == "watch") {
        entry["storageVersionHash"] = storage_version_hash(resource).into();
    }
    entry
}

fn part(resource: &ResourceInfo, subresource: &SubresourceInfo) -> Value {
    let mut entry = Map::new();
    entry.insert(
        "name".into(),
        format!("{}/{}", resource.resource, subresource.name).into(),
    );
    entry.insert("singularName".into(), "".into());
    entry.insert("namespaced".into(), resource.namespaced.into());
    if (&subresource.group, &subresource.version) != (&resource.group, &resource.version) {
        entry.insert("group".into(), subresource.group.clone().into());
        entry.insert("version".into(), subresource.version.clone().into());
    }
    entry.insert("kind".into(), subresource.kind.clone().into());
    entry.insert("verbs".into(), subresource.verbs.clone().into());
    entry.into()
}

/// A stable text that changes with the stored form, as clients use it; not the real server's digest.
fn storage_version_hash(resource: &ResourceInfo) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let name = format!("{}/{}/{}", resource.group, resource.version, resource.kind);
    // FNV-1a: eight bytes are eleven characters of base64 and one of padding.
    let mut hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut text = String::with_capacity(12);
    for _ in 0..11 {
        let index = usize::try_from(hash & 63).expect("six bits");
        text.push(char::from(ALPHABET[index]));
        hash >>= 6;
    }
    text.push('=');
    text
}
