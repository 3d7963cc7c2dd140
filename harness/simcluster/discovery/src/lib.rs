//! Discovery and OpenAPI documents from a list of resources. Pure.
//!
//! Kubernetes tells clients what it serves in three forms: the legacy lists of `/api` and `/apis`, the
//! aggregated form that `Accept` asks for, and OpenAPI. All are functions of the resources served; this
//! crate does not know where those come from, nor HTTP.

mod aggregated;
mod legacy;
mod openapi;

use simcluster_machinery::schema::builtin::ResourceInfo;

pub use aggregated::{aggregated_core, aggregated_groups};
pub use legacy::{group, group_list, resource_list, versions};
pub use openapi::{KindSchema, v2, v2_protobuf, v3, v3_index};

/// The versions of a group in the order in which the resources name them: the first is preferred.
fn versions_of<'a>(resources: &'a [ResourceInfo], group: &str) -> Vec<&'a str> {
    let mut found: Vec<&str> = Vec::new();
    for resource in resources.iter().filter(|resource| resource.group == group) {
        if !found.contains(&resource.version.as_str()) {
            found.push(&resource.version);
        }
    }
    found
}

/// The named groups in the order in which the resources name them; without the core group.
fn groups_of(resources: &[ResourceInfo]) -> Vec<&str> {
    let mut found: Vec<&str> = Vec::new();
    for resource in resources {
        if !resource.group.is_empty() && !found.contains(&resource.group.as_str()) {
            found.push(&resource.group);
        }
    }
    found
}

/// `group/version`, or only the version for the core group.
fn group_version(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    }
}
