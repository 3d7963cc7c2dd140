//! What is legal in a pod and yet likely a mistake: `kubectl` shows these as warnings.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use simcluster_machinery::field::Path;
use simcluster_machinery::name;

use crate::read::Read;
use crate::resources::quantities;

/// Warnings about a pod's name.
pub(super) fn of_name(pod: &Value) -> Vec<String> {
    let complaints = name::dns1123_label(pod.text("metadata.name"));
    if complaints.is_empty() {
        return Vec::new();
    }
    vec![format!(
        "metadata.name: this is used in the Pod's hostname, which can result in surprising \
         behavior; a DNS label is recommended: [{}]",
        complaints.join(" ")
    )]
}

/// Warnings about the spec of a pod or of a template (at `path`).
pub(crate) fn of_spec(spec: &Value, path: &Path) -> Vec<String> {
    let mut warnings = Vec::new();
    for (key, replacement) in [
        ("beta.kubernetes.io/arch", "kubernetes.io/arch"),
        ("beta.kubernetes.io/os", "kubernetes.io/os"),
        (
            "beta.kubernetes.io/instance-type",
            "node.kubernetes.io/instance-type",
        ),
    ] {
        if spec.map("nodeSelector").any(|(label, _)| label == key) {
            let place = path.child("nodeSelector").key(key);
            warnings.push(format!(
                "{place}: deprecated since v1.14; use {replacement:?} instead"
            ));
        }
    }
    for (index, secret) in spec.list("imagePullSecrets").iter().enumerate() {
        if secret.text("name").is_empty() {
            let place = path.child("imagePullSecrets").index(index).child("name");
            warnings.push(format!("{place}: invalid empty name \"\""));
        }
    }
    if spec
        .integer("terminationGracePeriodSeconds")
        .is_some_and(|seconds| seconds < 0)
    {
        let place = path.child("terminationGracePeriodSeconds");
        warnings.push(format!(
            "{place}: must be >= 0; negative values are invalid and will be treated as 1"
        ));
    }
    for (index, volume) in spec.list("volumes").iter().enumerate() {
        if volume.at("gitRepo").is_some() {
            let place = path.child("volumes").index(index).child("gitRepo");
            warnings.push(format!("{place}: deprecated in v1.11"));
        }
    }
    for list in ["initContainers", "containers"] {
        for (index, container) in spec.list(list).iter().enumerate() {
            of_container(container, &path.child(list).index(index), &mut warnings);
        }
    }
    warnings
}

fn of_container(container: &Value, path: &Path, warnings: &mut Vec<String>) {
    let mut seen = BTreeSet::new();
    for (index, variable) in container.list("env").iter().enumerate() {
        let own_name = variable.text("name");
        // A value that builds on the one before hides nothing.
        let builds_on = format!("$({own_name})");
        let value = variable.text("value");
        let extends = value != builds_on && value.contains(&builds_on);
        if !seen.insert(own_name) && !extends {
            let place = path.child("env").index(index);
            warnings.push(format!(
                "{place}: hides previous definition of {own_name:?}, \
                 which may be dropped when using apply"
            ));
        }
    }
    let mut ports = BTreeMap::new();
    for (index, port) in container.list("ports").iter().enumerate() {
        let key = (
            port.integer("containerPort"),
            port.text("protocol"),
            port.integer("hostPort"),
        );
        let place = path.child("ports").index(index);
        if let Some(first) = ports.insert(key, index) {
            let first = path.child("ports").index(first);
            warnings.push(format!("{place}: duplicate port definition with {first}"));
        }
    }
    for list in ["limits", "requests"] {
        let amounts = quantities(container, &format!("resources.{list}"));
        for name in ["memory", "ephemeral-storage"] {
            if let Some(amount) = amounts.get(name).filter(|amount| !amount.is_integer()) {
                let place = path.child("resources").child(list).key(name);
                warnings.push(format!(
                    "{place}: fractional byte value {:?} is invalid, must be an integer",
                    amount.to_string()
                ));
            }
        }
    }
}
