//! Which pods of a DaemonSet come and go. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        apps::v1::DaemonSet,
        core::v1::{Node, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Pod},
    },
    apimachinery::pkg::util::intstr::IntOrString,
};
use kube::ResourceExt;

use super::nodes::{self, Place, node_of};
use crate::{
    ownership::controller_reference,
    pods::{self, Availability},
};

pub(super) const HASH_LABEL: &str = "controller-revision-hash";
const GENERATION_LABEL: &str = "pod-template-generation";
const GENERATION: &str = "deprecated.daemonset.template.generation";

/// What is to be done now.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Nodes that get a pod.
    pub(super) create: Vec<String>,
    pub(super) delete: Vec<Arc<Pod>>,
    /// Those of the deleted that have ended by themselves.
    pub(super) ended: Vec<Arc<Pod>>,
    pub(super) recheck: Option<Timestamp>,
}

/// The set's pods that are still of use, by node.
pub(super) fn by_node(owned: &[Arc<Pod>]) -> BTreeMap<&str, Vec<&Arc<Pod>>> {
    let mut by_node: BTreeMap<&str, Vec<&Arc<Pod>>> = BTreeMap::new();
    for pod in owned {
        if let Some(node) = node_of(pod) {
            by_node.entry(node).or_default().push(pod);
        }
    }
    by_node
}

pub(super) fn min_ready_seconds(set: &DaemonSet) -> i32 {
    set.spec
        .as_ref()
        .and_then(|spec| spec.min_ready_seconds)
        .unwrap_or_default()
}

/// Missing pods come, surplus and misplaced ones go, outdated ones a few at a time.
pub(super) fn plan(
    set: &DaemonSet,
    owned: &[Arc<Pod>],
    all_nodes: &[Arc<Node>],
    hash: &str,
    now: Timestamp,
) -> Plan {
    let mut plan = Plan::default();
    let pods_of = by_node(owned);
    let known: BTreeSet<_> = all_nodes.iter().map(|node| node.name_any()).collect();
    for node in all_nodes {
        let name = node.name_any();
        let here = pods_of.get(name.as_str()).cloned().unwrap_or_default();
        let place = nodes::place(set, node);
        let staying: Vec<Arc<Pod>> = here
            .iter()
            .filter(|pod| !pods::is_terminating(pod))
            .map(|pod| (*pod).clone())
            .collect();
        if place == Place::Refused {
            plan.delete.extend(staying);
            continue;
        }
        if here.is_empty() && place == Place::Wanted {
            plan.create.push(name.clone());
        }
        let (ended, running): (Vec<_>, Vec<_>) =
            staying.into_iter().partition(|pod| pods::is_finished(pod));
        plan.ended.extend(ended.iter().cloned());
        plan.delete.extend(ended);
        // Of several pods on a node the oldest stays; with a surge, one of each template may.
        let (old, new): (Vec<_>, Vec<_>) =
            running.into_iter().partition(|pod| is_outdated(pod, hash));
        for mut same in [old, new] {
            same.sort_by_key(|pod| {
                let made = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
                (pods::node_name(pod).is_none(), made)
            });
            plan.delete.extend(same.into_iter().skip(1));
        }
    }
    for (node, pods) in &pods_of {
        if !known.contains(*node) {
            let staying = pods.iter().filter(|pod| !pods::is_terminating(pod));
            plan.delete.extend(staying.map(|pod| (*pod).clone()));
        }
    }
    if !is_on_delete(set) {
        update(set, &pods_of, all_nodes, hash, now, &mut plan);
    }
    plan
}

/// Whether a pod has another template than that of this hash.
pub(super) fn is_outdated(pod: &Pod, hash: &str) -> bool {
    pod.labels().get(HASH_LABEL).map(String::as_str) != Some(hash)
}

fn is_on_delete(set: &DaemonSet) -> bool {
    set.spec
        .as_ref()
        .and_then(|spec| spec.update_strategy.as_ref()?.type_.as_deref())
        .is_some_and(|strategy| strategy == "OnDelete")
}

/// How many pods may be missing, and how many may be more, while templates change.
fn bounds(set: &DaemonSet, wanted: usize) -> (usize, usize) {
    let rolling = set
        .spec
        .as_ref()
        .and_then(|spec| spec.update_strategy.as_ref()?.rolling_update.as_ref());
    let resolve = |value: Option<&IntOrString>, default: usize| match value {
        None => default,
        Some(IntOrString::Int(number)) => usize::try_from(*number).unwrap_or_default(),
        Some(IntOrString::String(percent)) => {
            let share: usize = percent.trim_end_matches('%').parse().unwrap_or_default();
            (share * wanted).div_ceil(100)
        }
    };
    let surge = resolve(rolling.and_then(|rolling| rolling.max_surge.as_ref()), 0);
    let missing = resolve(
        rolling.and_then(|rolling| rolling.max_unavailable.as_ref()),
        1,
    );
    if surge == 0 && missing == 0 {
        (1, 0)
    } else {
        (missing, surge)
    }
}

fn update(
    set: &DaemonSet,
    pods_of: &BTreeMap<&str, Vec<&Arc<Pod>>>,
    all_nodes: &[Arc<Node>],
    hash: &str,
    now: Timestamp,
    plan: &mut Plan,
) {
    let wanted: Vec<_> = all_nodes
        .iter()
        .filter(|node| nodes::place(set, node) == Place::Wanted)
        .map(|node| node.name_any())
        .collect();
    let (may_miss, may_surge) = bounds(set, wanted.len());
    let availability = |pod: &Pod| pods::availability(pod, min_ready_seconds(set), now);
    let is_available = |pod: &Pod| availability(pod) == Availability::Available;
    let outdated = |pod: &Pod| is_outdated(pod, hash);
    let (mut missing, mut surging) = (0, 0);
    let mut candidates = Vec::new();
    for node in &wanted {
        let here = pods_of.get(node.as_str()).cloned().unwrap_or_default();
        let active: Vec<_> = here
            .into_iter()
            .filter(|pod| pods::is_active(pod))
            .collect();
        let old = active.iter().find(|pod| outdated(pod));
        let new = active.iter().find(|pod| !outdated(pod));
        if let Some(Availability::From(at)) = new.map(|pod| availability(pod)) {
            plan.recheck = Some(plan.recheck.map_or(at, |known: Timestamp| known.min(at)));
        }
        match (old, new) {
            (None, Some(new)) if is_available(new) => {}
            (None, _) => missing += 1,
            // With a surge the old pod goes when the new one is available.
            (Some(old), Some(new)) => {
                surging += 1;
                if is_available(new) || !is_available(old) {
                    plan.delete.push((*old).clone());
                }
            }
            (Some(old), None) => {
                if !is_available(old) {
                    missing += 1;
                }
                candidates.push((node.clone(), (*old).clone()));
            }
        }
    }
    // Those that are not available cost nothing.
    candidates.sort_by_key(|(_, pod)| is_available(pod));
    for (node, pod) in candidates {
        if may_surge > 0 {
            if surging < may_surge {
                surging += 1;
                plan.create.push(node);
            }
        } else if !is_available(&pod) {
            plan.delete.push(pod);
        } else if missing < may_miss {
            missing += 1;
            plan.delete.push(pod);
        }
    }
}

/// The pod for a node.
pub(super) fn new_pod(set: &DaemonSet, node: &str, hash: &str) -> Pod {
    let template = set.spec.clone().unwrap_or_default().template;
    let namespace = set.metadata.namespace.as_deref().unwrap_or_default();
    let mut pod = pods::from_template(&template, namespace, controller_reference(set));
    pod.metadata.generate_name = Some(format!("{}-", set.name_any()));
    let generation = set
        .annotations()
        .get(GENERATION)
        .cloned()
        .unwrap_or_else(|| set.metadata.generation.unwrap_or(1).to_string());
    pod.metadata.labels.get_or_insert_default().extend([
        (HASH_LABEL.to_owned(), hash.to_owned()),
        (GENERATION_LABEL.to_owned(), generation),
    ]);
    let spec = pod.spec.get_or_insert_default();
    nodes::add_tolerations(spec);
    let term = NodeSelectorTerm {
        match_expressions: None,
        match_fields: Some(vec![NodeSelectorRequirement {
            key: "metadata.name".to_owned(),
            operator: "In".to_owned(),
            values: Some(vec![node.to_owned()]),
        }]),
    };
    // The node was found to be selected: its name says all that the template's terms said.
    spec.affinity
        .get_or_insert_default()
        .node_affinity
        .get_or_insert_default()
        .required_during_scheduling_ignored_during_execution = Some(NodeSelector {
        node_selector_terms: vec![term],
    });
    pod
}
