//! Which nodes a pod can run on, and why not on the others. Pure.
//!
//! Each node gives the reasons of the first test that it fails, as Kubernetes' filters do in the same order.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::api::core::v1::{Namespace, Node, Pod, Taint, Toleration};
use simcluster_placement::{
    amount::Amount, ports, resources, selection::is_selected, taints::tolerates,
};

use super::{
    affinity, spread,
    state::{OnNode, State},
    storage::Storage,
};

/// What a decision depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct World<'a> {
    pub(super) state: &'a State,
    pub(super) storage: &'a Storage,
    pub(super) namespaces: &'a [Arc<Namespace>],
}

/// Why a node does not take a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) reasons: Vec<String>,
    /// Whether it might, if other pods went.
    pub(super) others_in_the_way: bool,
}

impl Refusal {
    pub(super) fn for_good(reason: impl Into<String>) -> Self {
        Self {
            reasons: vec![reason.into()],
            others_in_the_way: false,
        }
    }

    pub(super) fn for_now(reason: impl Into<String>) -> Self {
        Self {
            reasons: vec![reason.into()],
            others_in_the_way: true,
        }
    }
}

/// The names of the nodes that take the pod, and the refusals of the others.
pub(super) fn split(pod: &Pod, world: &World<'_>) -> (Vec<String>, BTreeMap<String, Refusal>) {
    let mut fitting = Vec::new();
    let mut refusals = BTreeMap::new();
    let spread = spread::Rules::of(pod, world);
    let affinity = affinity::Rules::of(pod, world);
    for (name, node, on_node) in world.state.nodes() {
        let refusal = refuse(pod, node, on_node, world)
            .or_else(|| spread.refuse(node))
            .or_else(|| affinity.refuse(node));
        match refusal {
            None => fitting.push(name.clone()),
            Some(refusal) => {
                refusals.insert(name.clone(), refusal);
            }
        }
    }
    (fitting, refusals)
}

/// The tests that look at one node only.
pub(super) fn refuse(
    pod: &Pod,
    node: &Node,
    on_node: &OnNode,
    world: &World<'_>,
) -> Option<Refusal> {
    unschedulable(pod, node)
        .or_else(|| untolerated(pod, node))
        .or_else(|| not_selected(pod, node))
        .or_else(|| ports_taken(pod, on_node))
        .or_else(|| too_little(pod, on_node))
        .or_else(|| world.storage.refuse(node))
}

fn tolerations(pod: &Pod) -> &[Toleration] {
    pod.spec
        .as_ref()
        .and_then(|spec| spec.tolerations.as_deref())
        .unwrap_or_default()
}

fn unschedulable(pod: &Pod, node: &Node) -> Option<Refusal> {
    let closed = node
        .spec
        .as_ref()
        .and_then(|spec| spec.unschedulable)
        .unwrap_or_default();
    let taint = Taint {
        key: "node.kubernetes.io/unschedulable".to_owned(),
        effect: "NoSchedule".to_owned(),
        ..Taint::default()
    };
    let tolerated = tolerations(pod)
        .iter()
        .any(|toleration| tolerates(toleration, &taint));
    (closed && !tolerated).then(|| Refusal::for_good("node(s) were unschedulable"))
}

fn untolerated(pod: &Pod, node: &Node) -> Option<Refusal> {
    let taints = node
        .spec
        .as_ref()
        .and_then(|spec| spec.taints.as_deref())
        .unwrap_or_default();
    taints
        .iter()
        .filter(|taint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute"))
        .any(|taint| {
            !tolerations(pod)
                .iter()
                .any(|toleration| tolerates(toleration, taint))
        })
        .then(|| Refusal::for_good("node(s) had untolerated taint(s)"))
}

fn not_selected(pod: &Pod, node: &Node) -> Option<Refusal> {
    (!is_selected(pod, node))
        .then(|| Refusal::for_good("node(s) didn't match Pod's node affinity/selector"))
}

fn ports_taken(pod: &Pod, on_node: &OnNode) -> Option<Refusal> {
    ports::of_pod(pod)
        .iter()
        .any(|port| {
            on_node
                .ports
                .iter()
                .any(|taken| ports::collide(port, taken))
        })
        .then(|| Refusal::for_now("node(s) didn't have free ports for the requested pod ports"))
}

fn too_little(pod: &Pod, on_node: &OnNode) -> Option<Refusal> {
    let mut reasons = Vec::new();
    let mut never = false;
    let running = i64::try_from(on_node.pods.len()).unwrap_or(i64::MAX);
    let most = on_node.allocatable.get("pods");
    if most < Amount::whole(running.saturating_add(1)) {
        reasons.push("Too many pods".to_owned());
        never |= most < Amount::whole(1);
    }
    for (name, wanted) in resources::of_pod(pod).iter() {
        if wanted == Amount::ZERO {
            continue;
        }
        let all = on_node.allocatable.get(name);
        if on_node.used.get(name).saturating_add(wanted) > all {
            reasons.push(format!("Insufficient {name}"));
            never |= wanted > all;
        }
    }
    (!reasons.is_empty()).then_some(Refusal {
        reasons,
        others_in_the_way: !never,
    })
}
