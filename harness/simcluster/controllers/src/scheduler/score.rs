//! Which of several nodes is best for a pod. Pure, and the same each time: no chance decides.

use std::cmp::Reverse;

use k8s_openapi::api::core::v1::{Node, Pod};
use simcluster_placement::{amount::Amount, resources, selection::matches_term, taints::tolerates};

use super::{filter::World, state::OnNode};
use crate::ownership::controller_of;

/// Containers that ask for nothing count as asking for this.
const LEAST_CPU: &str = "100m";
const LEAST_MEMORY: &str = "200Mi";

/// The best of the nodes; of equals the one with the fewest pods, then the first by name.
pub(super) fn best(pod: &Pod, world: &World<'_>, fitting: &[String]) -> String {
    let scored = fitting.iter().filter_map(|name| {
        let on_node = world.state.get(name)?;
        let node = on_node.node.as_ref()?;
        Some((
            score(pod, node, on_node),
            Reverse(on_node.pods.len()),
            Reverse(name),
        ))
    });
    let best = scored.max_by(|left, right| {
        left.0
            .total_cmp(&right.0)
            .then_with(|| (left.1, left.2).cmp(&(right.1, right.2)))
    });
    best.map(|(_, _, Reverse(name))| name.clone())
        .unwrap_or_default()
}

fn score(pod: &Pod, node: &Node, on_node: &OnNode) -> f64 {
    let siblings = siblings(pod, on_node);
    2.0 * f64::from(preferred(pod, node)) - 3.0 * f64::from(disliked(pod, node))
        + free(pod, on_node)
        - 2.0 * f64::from(siblings)
}

/// The share of processor and memory that stays free, from 0 to 100.
fn free(pod: &Pod, on_node: &OnNode) -> f64 {
    let asked = resources::of_pod(pod);
    let parts = [("cpu", LEAST_CPU), ("memory", LEAST_MEMORY)].map(|(name, least)| {
        let least = Amount::of(&k8s_openapi::apimachinery::pkg::api::resource::Quantity(
            least.to_owned(),
        ));
        let used = on_node
            .used
            .get(name)
            .saturating_add(asked.get(name).max(least));
        100.0 * (1.0 - used.share_of(on_node.allocatable.get(name))).max(0.0)
    });
    f64::midpoint(parts[0], parts[1])
}

/// How many pods of the same owner are there.
fn siblings(pod: &Pod, on_node: &OnNode) -> u32 {
    let Some(owner) = controller_of(&pod.metadata) else {
        return 0;
    };
    let same = on_node
        .pods
        .values()
        .filter(|other| controller_of(&other.metadata).is_some_and(|known| known.uid == owner.uid));
    u32::try_from(same.count()).unwrap_or(u32::MAX)
}

/// The weights of the pod's wishes that the node meets.
fn preferred(pod: &Pod, node: &Node) -> i32 {
    let wishes = pod.spec.as_ref().and_then(|spec| {
        spec.affinity
            .as_ref()?
            .node_affinity
            .as_ref()?
            .preferred_during_scheduling_ignored_during_execution
            .as_ref()
    });
    wishes
        .into_iter()
        .flatten()
        .filter(|wish| matches_term(&wish.preference, node))
        .map(|wish| wish.weight)
        .sum()
}

/// How many of the node's soft taints the pod does not tolerate.
fn disliked(pod: &Pod, node: &Node) -> u32 {
    let taints = node
        .spec
        .as_ref()
        .and_then(|spec| spec.taints.as_deref())
        .unwrap_or_default();
    let tolerations = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.tolerations.as_deref());
    let disliked = taints
        .iter()
        .filter(|taint| taint.effect == "PreferNoSchedule")
        .filter(|taint| {
            !tolerations
                .unwrap_or_default()
                .iter()
                .any(|toleration| tolerates(toleration, taint))
        });
    u32::try_from(disliked.count()).unwrap_or(u32::MAX)
}
