//! Topology spread: equal pods are to be shared evenly among nodes, zones and the like. Pure.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Node, Pod, TopologySpreadConstraint};
use simcluster_placement::{selection::is_selected, taints::tolerates};

use super::filter::{Refusal, World};
use crate::{
    pods,
    selector::{self, Labels},
};

/// One hard constraint, with the pods counted.
struct Rule {
    key: String,
    max_skew: i64,
    itself: i64,
    /// Pods in each domain that counts.
    counts: BTreeMap<String, i64>,
    /// The fewest pods in a domain.
    least: i64,
}

/// The hard constraints of a pod.
pub(super) struct Rules(Vec<Rule>);

impl Rules {
    pub(super) fn of(pod: &Pod, world: &World<'_>) -> Self {
        let constraints = pod
            .spec
            .as_ref()
            .and_then(|spec| spec.topology_spread_constraints.as_deref());
        let hard: Vec<_> = constraints
            .unwrap_or_default()
            .iter()
            .filter(|constraint| constraint.when_unsatisfiable == "DoNotSchedule")
            .collect();
        let keys: BTreeSet<_> = hard
            .iter()
            .map(|constraint| &constraint.topology_key)
            .collect();
        Self(
            hard.iter()
                .map(|constraint| rule(constraint, &keys, pod, world))
                .collect(),
        )
    }

    pub(super) fn refuse(&self, node: &Node) -> Option<Refusal> {
        let labels = node.metadata.labels.as_ref();
        for rule in &self.0 {
            let Some(domain) = labels.and_then(|labels| labels.get(&rule.key)) else {
                return Some(Refusal::for_good(
                    "node(s) didn't match pod topology spread constraints (missing required label)",
                ));
            };
            let here = rule.counts.get(domain).copied().unwrap_or_default();
            if here + rule.itself - rule.least > rule.max_skew {
                return Some(Refusal::for_now(
                    "node(s) didn't match pod topology spread constraints",
                ));
            }
        }
        None
    }
}

fn rule(
    constraint: &TopologySpreadConstraint,
    keys: &BTreeSet<&String>,
    pod: &Pod,
    world: &World<'_>,
) -> Rule {
    let labels = pod.metadata.labels.as_ref();
    let mut counts: BTreeMap<String, i64> = BTreeMap::new();
    for (_, node, on_node) in world.state.nodes() {
        let node_labels = node.metadata.labels.as_ref();
        let has = |key: &String| node_labels.is_some_and(|labels| labels.contains_key(key));
        if !keys.iter().all(|key| has(key)) || !counts_node(constraint, pod, node) {
            continue;
        }
        let Some(domain) = node_labels.and_then(|labels| labels.get(&constraint.topology_key))
        else {
            continue;
        };
        let equals = on_node
            .pods
            .values()
            .filter(|other| {
                other.metadata.namespace == pod.metadata.namespace
                    && !pods::is_terminating(other)
                    && is_meant(constraint, labels, other.metadata.labels.as_ref())
            })
            .count();
        *counts.entry(domain.clone()).or_default() += i64::try_from(equals).unwrap_or(i64::MAX);
    }
    let too_few = constraint
        .min_domains
        .is_some_and(|least| counts.len() < usize::try_from(least).unwrap_or_default());
    let least = if too_few {
        0
    } else {
        counts.values().min().copied().unwrap_or_default()
    };
    Rule {
        key: constraint.topology_key.clone(),
        max_skew: i64::from(constraint.max_skew),
        itself: i64::from(is_meant(constraint, labels, labels)),
        counts,
        least,
    }
}

/// Whether the pods of a node count.
fn counts_node(constraint: &TopologySpreadConstraint, pod: &Pod, node: &Node) -> bool {
    let by_affinity = constraint
        .node_affinity_policy
        .as_deref()
        .unwrap_or("Honor")
        == "Honor";
    let by_taints = constraint.node_taints_policy.as_deref() == Some("Honor");
    let tolerations = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.tolerations.as_deref());
    let tolerated = || {
        let taints = node
            .spec
            .as_ref()
            .and_then(|spec| spec.taints.as_deref())
            .unwrap_or_default();
        taints
            .iter()
            .filter(|taint| taint.effect != "PreferNoSchedule")
            .all(|taint| {
                tolerations
                    .unwrap_or_default()
                    .iter()
                    .any(|toleration| tolerates(toleration, taint))
            })
    };
    (!by_affinity || is_selected(pod, node)) && (!by_taints || tolerated())
}

/// Whether a pod with these labels is one of those that are spread.
fn is_meant(
    constraint: &TopologySpreadConstraint,
    own: Option<&Labels>,
    other: Option<&Labels>,
) -> bool {
    let Some(wanted) = &constraint.label_selector else {
        return false;
    };
    let same = |key: &String| {
        own.and_then(|labels| labels.get(key)) == other.and_then(|labels| labels.get(key))
    };
    selector::matches(wanted, other) && constraint.match_label_keys.iter().flatten().all(same)
}
