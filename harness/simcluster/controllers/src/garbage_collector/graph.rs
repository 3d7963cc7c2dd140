//! Who owns whom, and whom a change concerns. Pure.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use crate::{
    cache::ObjectKey,
    universe::{KnownKind, group_of, has_finalizer},
};

/// The finalizer of an object that goes after its dependents.
pub(super) const FOREGROUND: &str = "foregroundDeletion";
/// The finalizer of an object whose dependents stay.
pub(super) const ORPHAN: &str = "orphan";

/// Where an object is, and which one it is.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub(super) kind: Arc<KnownKind>,
    pub(super) key: ObjectKey,
    pub(super) uid: String,
}

impl Identity {
    pub(super) fn of(kind: &Arc<KnownKind>, metadata: &ObjectMeta) -> Option<Self> {
        Some(Self {
            kind: kind.clone(),
            key: ObjectKey::of(metadata),
            uid: metadata.uid.clone()?,
        })
    }

    /// Whether a reference in `namespace` means this object by more than its uid.
    pub(super) fn is_named_by(&self, reference: &OwnerReference, namespace: &str) -> bool {
        let resource = &self.kind.resource;
        resource.kind == reference.kind
            && resource.group == group_of(&reference.api_version)
            && self.key.name == reference.name
            && (!self.kind.namespaced || self.key.namespace == namespace)
    }
}

/// What is known of an object.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) identity: Identity,
    pub(super) owners: Vec<OwnerReference>,
    pub(super) deleting: bool,
    pub(super) foreground: bool,
    pub(super) orphan: bool,
}

impl Node {
    fn waits(&self) -> bool {
        self.deleting && self.foreground
    }
}

/// Something to be looked at; objects by uid.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Task {
    /// Does it stay?
    Judge(String),
    /// Its dependents lose it as owner, then it goes.
    Orphan(String),
}

/// All objects.
#[derive(Debug, Default)]
pub(super) struct Graph {
    nodes: HashMap<String, Node>,
    /// By the owner's uid, whether or not the owner is known.
    dependents: HashMap<String, BTreeSet<String>>,
}

impl Graph {
    pub(super) fn get(&self, uid: &str) -> Option<Node> {
        self.nodes.get(uid).cloned()
    }

    fn dependents_of(&self, uid: &str) -> impl Iterator<Item = &Node> {
        self.dependents
            .get(uid)
            .into_iter()
            .flatten()
            .filter_map(|uid| self.nodes.get(uid))
    }

    pub(super) fn has_dependents(&self, uid: &str) -> bool {
        self.dependents_of(uid).next().is_some()
    }

    pub(super) fn dependents(&self, uid: &str) -> Vec<Identity> {
        self.dependents_of(uid)
            .map(|node| node.identity.clone())
            .collect()
    }

    /// Whether some dependent waits for dependents of its own.
    pub(super) fn has_foreground_dependents(&self, uid: &str) -> bool {
        self.dependents_of(uid).any(Node::waits)
    }

    /// The dependents that keep an owner from going.
    pub(super) fn blocking_dependents(&self, uid: &str) -> Vec<String> {
        self.dependents_of(uid)
            .filter(|node| {
                node.owners
                    .iter()
                    .any(|owner| owner.uid == uid && owner.block_owner_deletion == Some(true))
            })
            .map(|node| node.identity.uid.clone())
            .collect()
    }

    /// Takes in a version of an object.
    pub(super) fn present(&mut self, kind: &Arc<KnownKind>, metadata: &ObjectMeta) -> Vec<Task> {
        let Some(identity) = Identity::of(kind, metadata) else {
            return Vec::new();
        };
        let uid = identity.uid.clone();
        let new = Node {
            identity,
            owners: metadata.owner_references.clone().unwrap_or_default(),
            deleting: metadata.deletion_timestamp.is_some(),
            foreground: has_finalizer(metadata, FOREGROUND),
            orphan: has_finalizer(metadata, ORPHAN),
        };
        let old = self.nodes.get(&uid);
        let mut tasks = Vec::new();
        let owners_changed = old.is_none_or(|old| old.owners != new.owners);
        let was_waiting = old.is_some_and(Node::waits);
        let was_orphaning = old.is_some_and(|old| old.deleting && old.orphan);
        let old_owners = old.map(|old| old.owners.clone()).unwrap_or_default();
        if owners_changed {
            for owner in &old_owners {
                self.unlink(&owner.uid, &uid);
            }
            for owner in &new.owners {
                self.dependents
                    .entry(owner.uid.clone())
                    .or_default()
                    .insert(uid.clone());
            }
            // An owner that waits may have been waiting for just this reference.
            for owner in &old_owners {
                if self.nodes.get(&owner.uid).is_some_and(Node::waits) {
                    tasks.push(Task::Judge(owner.uid.clone()));
                }
            }
            if !new.owners.is_empty() {
                tasks.push(Task::Judge(uid.clone()));
            }
        }
        if new.waits() && !was_waiting {
            tasks.extend(
                self.dependents_of(&uid)
                    .map(|node| Task::Judge(node.identity.uid.clone())),
            );
            tasks.push(Task::Judge(uid.clone()));
        }
        if new.deleting && new.orphan && !was_orphaning {
            tasks.push(Task::Orphan(uid.clone()));
        }
        self.nodes.insert(uid, new);
        tasks
    }

    /// Takes in the end of an object.
    pub(super) fn gone(&mut self, uid: Option<&str>) -> Vec<Task> {
        let Some(uid) = uid else { return Vec::new() };
        let mut tasks: Vec<Task> = self
            .dependents_of(uid)
            .map(|node| Task::Judge(node.identity.uid.clone()))
            .collect();
        let Some(node) = self.nodes.remove(uid) else {
            return tasks;
        };
        for owner in &node.owners {
            self.unlink(&owner.uid, uid);
            if self.nodes.get(&owner.uid).is_some_and(Node::waits) {
                tasks.push(Task::Judge(owner.uid.clone()));
            }
        }
        tasks
    }

    fn unlink(&mut self, owner: &str, dependent: &str) {
        if let Some(dependents) = self.dependents.get_mut(owner) {
            dependents.remove(dependent);
            if dependents.is_empty() {
                self.dependents.remove(owner);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use kube::api::ApiResource;
    use serde_json::json;

    use super::*;

    fn kind() -> Arc<KnownKind> {
        Arc::new(KnownKind {
            resource: ApiResource {
                group: String::new(),
                version: "v1".into(),
                api_version: "v1".into(),
                kind: "ConfigMap".into(),
                plural: "configmaps".into(),
            },
            namespaced: true,
            operations: Vec::new(),
        })
    }

    fn object(uid: &str, owners: &[&str], finalizers: &[&str], deleting: bool) -> ObjectMeta {
        let owners: Vec<_> = owners
            .iter()
            .map(|owner| {
                json!({"apiVersion": "v1", "kind": "ConfigMap", "name": owner, "uid": owner,
                       "blockOwnerDeletion": true})
            })
            .collect();
        serde_json::from_value(json!({
            "namespace": "n", "name": uid, "uid": uid, "ownerReferences": owners,
            "finalizers": finalizers,
            "deletionTimestamp": deleting.then_some("2026-01-01T00:00:00Z"),
        }))
        .unwrap()
    }

    fn judge(uid: &str) -> Task {
        Task::Judge(uid.to_owned())
    }

    #[test]
    fn only_who_has_owners_is_judged_when_it_comes() {
        let mut graph = Graph::default();
        assert_eq!(graph.present(&kind(), &object("a", &[], &[], false)), []);
        assert_eq!(
            graph.present(&kind(), &object("b", &["a"], &[], false)),
            [judge("b")]
        );
        assert_eq!(graph.present(&kind(), &object("b", &["a"], &[], false)), []);
    }

    #[test]
    fn dependents_are_judged_when_their_owner_is_gone_even_if_it_was_never_seen() {
        let mut graph = Graph::default();
        graph.present(&kind(), &object("b", &["a"], &[], false));
        assert_eq!(graph.gone(Some("a")), [judge("b")]);
    }

    #[test]
    fn a_foreground_deletion_concerns_dependents_and_their_end_the_owner() {
        let mut graph = Graph::default();
        graph.present(&kind(), &object("a", &[], &[], false));
        graph.present(&kind(), &object("b", &["a"], &[], false));
        let going = object("a", &[], &[FOREGROUND], true);
        assert_eq!(graph.present(&kind(), &going), [judge("b"), judge("a")]);
        assert_eq!(graph.blocking_dependents("a"), ["b"]);
        assert_eq!(graph.gone(Some("b")), [judge("a")]);
        assert!(graph.blocking_dependents("a").is_empty());
    }

    #[test]
    fn an_orphaning_deletion_is_a_task_once() {
        let mut graph = Graph::default();
        graph.present(&kind(), &object("a", &[], &[], false));
        let going = object("a", &[], &[ORPHAN], true);
        assert_eq!(graph.present(&kind(), &going), [Task::Orphan("a".into())]);
        assert_eq!(graph.present(&kind(), &going), []);
    }

    #[test]
    fn losing_an_owner_that_waits_concerns_that_owner() {
        let mut graph = Graph::default();
        graph.present(&kind(), &object("a", &[], &[FOREGROUND], true));
        graph.present(&kind(), &object("b", &["a"], &[], false));
        assert_eq!(
            graph.present(&kind(), &object("b", &[], &[], false)),
            [judge("a")]
        );
    }
}
