//! Pods that want to be near others, or far from them. Pure.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Node, Pod, PodAffinityTerm};

use super::filter::{Refusal, World};
use crate::selector::{self, Labels};

/// A domain: a label of nodes and its value.
type Domain = (String, String);

/// The required affinities of a pod, and those of others against it, with the domains they mean.
pub(super) struct Rules {
    /// For each term, the domains where such pods are; a term that the pod itself meets may also be the first.
    near: Vec<Near>,
    far: BTreeSet<Domain>,
    refused: BTreeSet<Domain>,
}

struct Near {
    key: String,
    domains: BTreeSet<Domain>,
    may_be_first: bool,
}

impl Rules {
    pub(super) fn of(pod: &Pod, world: &World<'_>) -> Self {
        let near = required_affinity(pod)
            .iter()
            .map(|term| {
                let domains = domains(term, pod, world);
                Near {
                    key: term.topology_key.clone(),
                    may_be_first: domains.is_empty() && means(term, pod, pod, world),
                    domains,
                }
            })
            .collect();
        let far = required_anti_affinity(pod)
            .iter()
            .flat_map(|term| domains(term, pod, world))
            .collect();
        Self {
            near,
            far,
            refused: refused_by_others(pod, world),
        }
    }

    pub(super) fn refuse(&self, node: &Node) -> Option<Refusal> {
        let labels = node.metadata.labels.as_ref();
        for near in &self.near {
            let fits = match domain(&near.key, labels) {
                None => false,
                Some(domain) => near.may_be_first || near.domains.contains(&domain),
            };
            if !fits {
                return Some(Refusal::for_good("node(s) didn't match pod affinity rules"));
            }
        }
        let is_in = |domains: &BTreeSet<Domain>| {
            domains
                .iter()
                .any(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value))
        };
        if is_in(&self.far) {
            return Some(Refusal::for_now(
                "node(s) didn't match pod anti-affinity rules",
            ));
        }
        is_in(&self.refused)
            .then(|| Refusal::for_now("node(s) didn't satisfy existing pods anti-affinity rules"))
    }
}

fn domain(key: &str, labels: Option<&Labels>) -> Option<Domain> {
    Some((key.to_owned(), labels?.get(key)?.clone()))
}

fn required_affinity(pod: &Pod) -> &[PodAffinityTerm] {
    pod.spec
        .as_ref()
        .and_then(|spec| {
            spec.affinity
                .as_ref()?
                .pod_affinity
                .as_ref()?
                .required_during_scheduling_ignored_during_execution
                .as_deref()
        })
        .unwrap_or_default()
}

fn required_anti_affinity(pod: &Pod) -> &[PodAffinityTerm] {
    pod.spec
        .as_ref()
        .and_then(|spec| {
            spec.affinity
                .as_ref()?
                .pod_anti_affinity
                .as_ref()?
                .required_during_scheduling_ignored_during_execution
                .as_deref()
        })
        .unwrap_or_default()
}

/// Whether a term of `owner` means `other`.
fn means(term: &PodAffinityTerm, owner: &Pod, other: &Pod, world: &World<'_>) -> bool {
    let Some(wanted) = &term.label_selector else {
        return false;
    };
    let value = |pod: &Pod, key: &String| {
        pod.metadata
            .labels
            .as_ref()
            .and_then(|labels| labels.get(key))
            .cloned()
    };
    let same = |key: &String| value(owner, key) == value(other, key);
    let differs = |key: &String| !same(key);
    selector::matches(wanted, other.metadata.labels.as_ref())
        && term.match_label_keys.iter().flatten().all(same)
        && term.mismatch_label_keys.iter().flatten().all(differs)
        && is_in_namespace(term, owner, other, world)
}

fn is_in_namespace(term: &PodAffinityTerm, owner: &Pod, other: &Pod, world: &World<'_>) -> bool {
    let there = other.metadata.namespace.as_deref().unwrap_or_default();
    let named = term.namespaces.as_deref().unwrap_or_default();
    match &term.namespace_selector {
        None if named.is_empty() => owner.metadata.namespace.as_deref() == Some(there),
        None => named.iter().any(|name| name == there),
        Some(wanted) => {
            named.iter().any(|name| name == there)
                || world.namespaces.iter().any(|namespace| {
                    namespace.metadata.name.as_deref() == Some(there)
                        && selector::matches(wanted, namespace.metadata.labels.as_ref())
                })
        }
    }
}

/// The domains in which there are pods that a term means.
fn domains(term: &PodAffinityTerm, pod: &Pod, world: &World<'_>) -> BTreeSet<Domain> {
    world
        .state
        .nodes()
        .filter(|(_, _, on_node)| {
            on_node.pods.values().any(|other| {
                other.metadata.uid != pod.metadata.uid && means(term, pod, other, world)
            })
        })
        .filter_map(|(_, node, _)| domain(&term.topology_key, node.metadata.labels.as_ref()))
        .collect()
}

/// The domains of pods that do not want this one near.
fn refused_by_others(pod: &Pod, world: &World<'_>) -> BTreeSet<Domain> {
    let mut refused = BTreeSet::new();
    for (_, node, on_node) in world.state.nodes() {
        for other in on_node.pods.values() {
            for term in required_anti_affinity(other) {
                if other.metadata.uid != pod.metadata.uid
                    && means(term, other, pod, world)
                    && let Some(domain) = domain(&term.topology_key, node.metadata.labels.as_ref())
                {
                    refused.insert(domain);
                }
            }
        }
    }
    refused
}
