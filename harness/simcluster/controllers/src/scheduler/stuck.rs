//! Pods that fit nowhere, and what may change that.
//!
//! A pod that waits is tried again when something has changed that may help it, and not at every change: with many
//! pods that wait for many volumes, each would look at all of them each time. It does not decide where pods go.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use super::lock;
use crate::{cache::ObjectKey, work_queue::WorkQueue};

/// What may help a pod that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    /// It was not judged yet.
    Anything,
    Some {
        /// A change of one of these claims, which are its own.
        claims: Vec<String>,
        /// Another volume.
        volumes: bool,
        /// That other pods come or go.
        room: bool,
    },
}

/// What has changed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change<'a> {
    /// Something that may matter to any pod: a node, a class.
    Anything,
    Claim(&'a ObjectKey),
    Volume,
    Room,
}

impl Needs {
    fn may_be_met_by(&self, namespace: &str, change: Change<'_>) -> bool {
        match (self, change) {
            (Self::Anything, _) | (_, Change::Anything) => true,
            (Self::Some { claims, .. }, Change::Claim(claim)) => {
                claim.namespace == namespace && claims.contains(&claim.name)
            }
            (Self::Some { volumes, .. }, Change::Volume) => *volumes,
            (Self::Some { room, .. }, Change::Room) => *room,
        }
    }
}

/// The pods that wait.
#[derive(Clone, Default)]
pub(super) struct Stuck(Arc<Mutex<HashMap<ObjectKey, Needs>>>);

impl Stuck {
    /// A pod is about to be looked at; whatever changes from now on may help it.
    pub(super) fn put(&self, key: ObjectKey) {
        lock(&self.0).insert(key, Needs::Anything);
    }

    /// A pod was looked at; if it is not to be tried again anyway, only this helps it.
    pub(super) fn judge(&self, key: &ObjectKey, needs: Needs) {
        if let Some(known) = lock(&self.0).get_mut(key) {
            *known = needs;
        }
    }

    pub(super) fn forget(&self, key: &ObjectKey) {
        lock(&self.0).remove(key);
    }

    /// Has the pods tried again that the change may help.
    pub(super) fn retry(&self, queue: &WorkQueue<ObjectKey>, change: Change<'_>) {
        lock(&self.0).retain(|key, needs| {
            let again = needs.may_be_met_by(&key.namespace, change);
            if again {
                queue.add(key.clone());
            }
            !again
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> ObjectKey {
        ObjectKey::new("ns", name)
    }

    fn needs(claims: &[&str], volumes: bool, room: bool) -> Needs {
        Needs::Some {
            claims: claims.iter().map(ToString::to_string).collect(),
            volumes,
            room,
        }
    }

    fn waiting(stuck: &Stuck) -> Vec<String> {
        let mut names: Vec<_> = lock(&stuck.0).keys().map(|key| key.name.clone()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_pod_is_tried_again_when_what_it_needs_has_changed() {
        let (stuck, queue) = (Stuck::default(), WorkQueue::default());
        let all = [
            ("claims", needs(&["data"], false, false)),
            ("volumes", needs(&["other"], true, false)),
            ("room", needs(&[], false, true)),
        ];
        let fill = || {
            for (name, needs) in &all {
                stuck.put(key(name));
                stuck.judge(&key(name), needs.clone());
            }
        };
        let (data, elsewhere) = (key("data"), ObjectKey::new("else", "data"));
        for (change, left) in [
            (Change::Claim(&data), vec!["room", "volumes"]),
            (Change::Claim(&elsewhere), vec!["claims", "room", "volumes"]),
            (Change::Volume, vec!["claims", "room"]),
            (Change::Room, vec!["claims", "volumes"]),
            (Change::Anything, vec![]),
        ] {
            fill();
            stuck.retry(&queue, change);
            assert_eq!(waiting(&stuck), left, "{change:?}");
        }
    }

    #[test]
    fn a_change_while_a_pod_is_looked_at_is_not_missed() {
        let (stuck, queue) = (Stuck::default(), WorkQueue::default());
        stuck.put(key("a"));
        stuck.retry(&queue, Change::Room);
        // It is in the queue already: what was found before the change does not count.
        stuck.judge(&key("a"), needs(&[], false, false));
        assert_eq!(waiting(&stuck), Vec::<String>::new());
    }
}
