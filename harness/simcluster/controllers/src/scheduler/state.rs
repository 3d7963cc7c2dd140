//! Which pods are on which nodes, as decided, whether or not it is written yet. Pure.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;
use simcluster_placement::{
    ports,
    resources::{self, Resources},
};

use crate::pods;

/// A node and what is on it.
#[derive(Clone, Debug, Default)]
pub(super) struct OnNode {
    /// Absent if pods name a node that does not exist.
    pub(super) node: Option<Arc<Node>>,
    pub(super) allocatable: Resources,
    pub(super) used: Resources,
    /// By uid.
    pub(super) pods: BTreeMap<String, Arc<Pod>>,
    pub(super) ports: Vec<(String, String, i32)>,
}

/// All nodes.
#[derive(Debug, Default)]
pub(super) struct State {
    nodes: BTreeMap<String, OnNode>,
    /// The node of each pod, by the pod's uid.
    places: HashMap<String, String>,
    /// Pods that were given a node here and are not written yet, by uid.
    chosen: HashMap<String, String>,
    /// Pods whose binding is written and has not been seen yet, by uid.
    bound: HashSet<String>,
}

fn uid(pod: &Pod) -> String {
    pod.metadata.uid.clone().unwrap_or_default()
}

/// Whether a node's change may let a pod on it that did not fit before.
pub(super) fn matters_to_pods(old: &Node, new: &Node) -> bool {
    let allocatable = |node: &Node| {
        node.status
            .as_ref()
            .and_then(|status| status.allocatable.clone())
    };
    old.spec != new.spec
        || old.metadata.labels != new.metadata.labels
        || allocatable(old) != allocatable(new)
}

impl State {
    pub(super) fn put_node(&mut self, node: Arc<Node>) {
        let entry = self.nodes.entry(node.name_any()).or_default();
        entry.allocatable = resources::of_node(&node);
        entry.node = Some(node);
    }

    pub(super) fn remove_node(&mut self, name: &str) {
        if let Some(entry) = self.nodes.get_mut(name) {
            entry.node = None;
        }
        let orphans: Vec<_> = self
            .chosen
            .iter()
            .filter(|(_, node)| *node == name)
            .map(|(uid, _)| uid.clone())
            .collect();
        for uid in orphans {
            self.take_off(&uid);
        }
    }

    /// The nodes that exist.
    pub(super) fn nodes(&self) -> impl Iterator<Item = (&String, &Arc<Node>, &OnNode)> {
        self.nodes
            .iter()
            .filter_map(|(name, entry)| Some((name, entry.node.as_ref()?, entry)))
    }

    pub(super) fn get(&self, node: &str) -> Option<&OnNode> {
        self.nodes.get(node)
    }

    /// The node that was chosen for a pod and is not written yet.
    pub(super) fn chosen(&self, pod: &Pod) -> Option<String> {
        self.chosen.get(&uid(pod)).cloned()
    }

    pub(super) fn choose(&mut self, pod: Arc<Pod>, node: &str) {
        self.chosen.insert(uid(&pod), node.to_owned());
        self.place(pod, node);
    }

    /// The pod's binding is written: it is not to be written again, whatever changes before it is seen.
    pub(super) fn mark_bound(&mut self, pod: &Pod) {
        if self.chosen.contains_key(&uid(pod)) {
            self.bound.insert(uid(pod));
        }
    }

    pub(super) fn is_bound(&self, pod: &Pod) -> bool {
        self.bound.contains(&uid(pod))
    }

    pub(super) fn forget_choice(&mut self, pod: &Pod) {
        if self.chosen.contains_key(&uid(pod)) {
            self.take_off(&uid(pod));
        }
    }

    /// Takes in a pod that has a node; whether it was not counted before, or not with as much or as little.
    pub(super) fn put_pod(&mut self, pod: Arc<Pod>) -> bool {
        let Some(node) = pods::node_name(&pod).map(ToOwned::to_owned) else {
            return false;
        };
        self.chosen.remove(&uid(&pod));
        self.bound.remove(&uid(&pod));
        let known = self.places.get(&uid(&pod)) == Some(&node);
        if known {
            let Some(entry) = self.nodes.get_mut(&node) else {
                return false;
            };
            let after = resources::of_pod(&pod);
            let before = entry.pods.insert(uid(&pod), pod);
            let before = before
                .map(|pod| resources::of_pod(&pod))
                .unwrap_or_default();
            if before == after {
                return false;
            }
            // It was resized.
            entry.used.subtract(&before);
            entry.used.add(&after);
            return true;
        }
        self.take_off(&uid(&pod));
        self.place(pod, &node);
        true
    }

    /// Whether something was freed.
    pub(super) fn remove_pod(&mut self, pod: &Pod) -> bool {
        self.take_off(&uid(pod))
    }

    fn place(&mut self, pod: Arc<Pod>, node: &str) {
        self.places.insert(uid(&pod), node.to_owned());
        let entry = self.nodes.entry(node.to_owned()).or_default();
        entry.used.add(&resources::of_pod(&pod));
        entry.ports.extend(ports::of_pod(&pod));
        entry.pods.insert(uid(&pod), pod);
    }

    fn take_off(&mut self, uid: &str) -> bool {
        self.chosen.remove(uid);
        self.bound.remove(uid);
        let Some(node) = self.places.remove(uid) else {
            return false;
        };
        let Some(entry) = self.nodes.get_mut(&node) else {
            return false;
        };
        let Some(pod) = entry.pods.remove(uid) else {
            return false;
        };
        entry.used.subtract(&resources::of_pod(&pod));
        entry.ports = entry
            .pods
            .values()
            .flat_map(|pod| ports::of_pod(pod))
            .collect();
        if entry.pods.is_empty() && entry.node.is_none() {
            self.nodes.remove(&node);
        }
        true
    }
}
