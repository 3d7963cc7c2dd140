//! On which nodes a DaemonSet's pods should be. Pure.

use k8s_openapi::api::{
    apps::v1::DaemonSet,
    core::v1::{Node, Pod, PodSpec, Taint, Toleration},
};
use simcluster_placement::{selection::is_selected, taints::tolerates};

/// What a node is for a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A pod should be there.
    Wanted,
    /// A pod that is there may stay, but none is made.
    Tolerated,
    /// No pod should be there.
    Refused,
}

/// Whether a node's change can change where pods should be.
pub(super) fn matters(old: &Node, new: &Node) -> bool {
    old.spec != new.spec || old.metadata.labels != new.metadata.labels
}

pub(super) fn place(set: &DaemonSet, node: &Node) -> Place {
    let Some(mut spec) = set
        .spec
        .as_ref()
        .and_then(|spec| spec.template.spec.clone())
    else {
        return Place::Refused;
    };
    add_tolerations(&mut spec);
    let by_name = spec
        .node_name
        .as_ref()
        .is_none_or(|name| name.is_empty() || Some(name) == node.metadata.name.as_ref());
    let tolerations = spec.tolerations.clone().unwrap_or_default();
    let pod = Pod {
        spec: Some(spec),
        ..Pod::default()
    };
    if !by_name || !is_selected(&pod, node) {
        return Place::Refused;
    }
    let bears = |taint: &Taint| {
        tolerations
            .iter()
            .any(|toleration| tolerates(toleration, taint))
    };
    let taints = node
        .spec
        .as_ref()
        .and_then(|spec| spec.taints.as_deref())
        .unwrap_or_default();
    let bears_all = |effect: &str| {
        taints
            .iter()
            .filter(|taint| taint.effect == effect)
            .all(bears)
    };
    match (bears_all("NoExecute"), bears_all("NoSchedule")) {
        (true, true) => Place::Wanted,
        (true, false) => Place::Tolerated,
        (false, _) => Place::Refused,
    }
}

/// Daemons run also where other pods would not.
pub(super) fn add_tolerations(spec: &mut PodSpec) {
    let mut all = vec![
        ("node.kubernetes.io/not-ready", "NoExecute"),
        ("node.kubernetes.io/unreachable", "NoExecute"),
        ("node.kubernetes.io/disk-pressure", "NoSchedule"),
        ("node.kubernetes.io/memory-pressure", "NoSchedule"),
        ("node.kubernetes.io/pid-pressure", "NoSchedule"),
        ("node.kubernetes.io/unschedulable", "NoSchedule"),
    ];
    if spec.host_network == Some(true) {
        all.push(("node.kubernetes.io/network-unavailable", "NoSchedule"));
    }
    let tolerations = spec.tolerations.get_or_insert_default();
    for (key, effect) in all {
        let toleration = Toleration {
            key: Some(key.to_owned()),
            operator: Some("Exists".to_owned()),
            effect: Some(effect.to_owned()),
            ..Toleration::default()
        };
        if !tolerations.contains(&toleration) {
            tolerations.push(toleration);
        }
    }
}

/// The node that a daemon pod is for, whether or not it is there yet.
pub(super) fn node_of(pod: &Pod) -> Option<&str> {
    let spec = pod.spec.as_ref()?;
    if let Some(name) = spec.node_name.as_deref().filter(|name| !name.is_empty()) {
        return Some(name);
    }
    let required = spec
        .affinity
        .as_ref()?
        .node_affinity
        .as_ref()?
        .required_during_scheduling_ignored_during_execution
        .as_ref()?;
    required
        .node_selector_terms
        .iter()
        .flat_map(|term| term.match_fields.iter().flatten())
        .find(|field| field.key == "metadata.name")
        .and_then(|field| field.values.as_ref()?.first().map(String::as_str))
}
