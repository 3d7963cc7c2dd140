//! What the controllers know of one kind: every object as last seen, shared by all controllers of a process.
//!
//! A cache is filled by a watch ([`reflector`]) and, at once, by what the controllers themselves write, so that a
//! controller never decides again what it has just done. Objects are immutable and shared. It does NOT write to the
//! API server ([`crate::objects`] does) and does not decide anything.
//!
//! Locks: `dispatch` orders changes and is held while handlers run; `state` is a leaf, held for a lookup only. A
//! handler may therefore read any cache, and must write none.

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::Resource;
use tokio::sync::watch;

pub(crate) mod reflector;
pub(crate) mod set;

/// Where an object is: its namespace (empty for cluster-scoped kinds) and its name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ObjectKey {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl ObjectKey {
    pub(crate) fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    pub(crate) fn of(metadata: &ObjectMeta) -> Self {
        Self::new(
            metadata.namespace.clone().unwrap_or_default(),
            metadata.name.clone().unwrap_or_default(),
        )
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            formatter.write_str(&self.name)
        } else {
            write!(formatter, "{}/{}", self.namespace, self.name)
        }
    }
}

/// What became of one object.
#[derive(Debug)]
pub(crate) enum Change<'a, K> {
    /// It was not known before.
    Added(&'a Arc<K>),
    /// It has a new version.
    Updated { old: &'a Arc<K>, new: &'a Arc<K> },
    /// It is gone; this was its last version.
    Removed(&'a Arc<K>),
}

impl<'a, K> Change<'a, K> {
    /// The newest version.
    pub(crate) fn object(&self) -> &'a Arc<K> {
        match self {
            Self::Added(object) | Self::Removed(object) => object,
            Self::Updated { new, .. } => new,
        }
    }

    /// The version before, of an object that was known and still is.
    pub(crate) fn old(&self) -> Option<&'a Arc<K>> {
        match self {
            Self::Updated { old, .. } => Some(old),
            Self::Added(_) | Self::Removed(_) => None,
        }
    }

    pub(crate) fn is_removal(&self) -> bool {
        matches!(self, Self::Removed(_))
    }
}

type Handler<K> = Box<dyn Fn(&Change<'_, K>) + Send + Sync>;

struct State<K> {
    /// By namespace, then by name.
    objects: BTreeMap<String, BTreeMap<String, Arc<K>>>,
    /// Up to this revision the watch has told everything.
    seen: u64,
    /// Uids of objects that this process has deleted and whose end the watch has not told yet.
    deleting: HashSet<String>,
}

/// All objects of one kind, as last seen.
pub(crate) struct Cache<K> {
    dispatch: Mutex<Vec<Handler<K>>>,
    state: RwLock<State<K>>,
    synced: watch::Sender<bool>,
}

impl<K> fmt::Debug for Cache<K> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Cache")
            .field("synced", &*self.synced.borrow())
            .finish_non_exhaustive()
    }
}

impl<K> Default for Cache<K> {
    fn default() -> Self {
        Self {
            dispatch: Mutex::new(Vec::new()),
            state: RwLock::new(State {
                objects: BTreeMap::new(),
                seen: 0,
                deleting: HashSet::new(),
            }),
            synced: watch::Sender::new(false),
        }
    }
}

impl<K> Cache<K> {
    fn handlers(&self) -> MutexGuard<'_, Vec<Handler<K>>> {
        self.dispatch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> RwLockReadGuard<'_, State<K>> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State<K>> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls `handler` for every object known already, and then for every change, in order.
    pub(crate) fn on_change(&self, handler: impl Fn(&Change<'_, K>) + Send + Sync + 'static) {
        let mut handlers = self.handlers();
        for object in self.all() {
            handler(&Change::Added(&object));
        }
        handlers.push(Box::new(handler));
    }

    /// The object of this name, if it is known.
    pub(crate) fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.read().objects.get(namespace)?.get(name).cloned()
    }

    /// The object under this key, if it is known.
    pub(crate) fn find(&self, key: &ObjectKey) -> Option<Arc<K>> {
        self.get(&key.namespace, &key.name)
    }

    /// The objects of one namespace, by name. Cluster-scoped kinds live in the namespace `""`.
    pub(crate) fn in_namespace(&self, namespace: &str) -> Vec<Arc<K>> {
        self.read()
            .objects
            .get(namespace)
            .map(|objects| objects.values().cloned().collect())
            .unwrap_or_default()
    }

    /// Every object, by namespace and name.
    pub(crate) fn all(&self) -> Vec<Arc<K>> {
        self.read()
            .objects
            .values()
            .flat_map(BTreeMap::values)
            .cloned()
            .collect()
    }

    /// Waits until the first list has been taken in.
    pub(crate) async fn synced(&self) {
        let mut synced = self.synced.subscribe();
        // The sender lives in self, so waiting cannot fail while we are borrowed.
        let _ = synced.wait_for(|synced| *synced).await;
    }
}

impl<K: Resource + Clone> Cache<K> {
    /// Takes in a full list that was read at `revision`.
    pub(crate) fn replace(&self, listed: Vec<K>, revision: Option<&str>) {
        let revision = revision.and_then(parse_revision).unwrap_or_default();
        self.replace_what_is_older_than(revision, listed, revision);
    }

    /// Says that there is nothing of this kind, as on a server that does not know it.
    pub(crate) fn replace_with_nothing(&self) {
        self.replace_what_is_older_than(u64::MAX, Vec::new(), 0);
    }

    fn replace_what_is_older_than(&self, revision: u64, listed: Vec<K>, seen: u64) {
        let handlers = self.handlers();
        self.see(Some(seen));
        let mut gone: Vec<Arc<K>> = Vec::new();
        {
            let keys: HashSet<ObjectKey> = listed
                .iter()
                .map(|object| ObjectKey::of(object.meta()))
                .collect();
            let mut state = self.write();
            for objects in state.objects.values_mut() {
                objects.retain(|_, object| {
                    // What this process wrote after the list was taken is not in it, and is not gone.
                    let stays = keys.contains(&ObjectKey::of(object.meta()))
                        || revision_of(object.meta()) > Some(revision);
                    if !stays {
                        gone.push(object.clone());
                    }
                    stays
                });
            }
            state.objects.retain(|_, objects| !objects.is_empty());
            for object in &gone {
                state.deleting.remove(uid_of(object.meta()));
            }
        }
        for object in &gone {
            tell(&handlers, &Change::Removed(object));
        }
        for object in listed {
            self.put(&handlers, object);
        }
        drop(handlers);
        self.synced.send_replace(true);
    }

    /// Takes in a version that the watch has told.
    pub(crate) fn told(&self, object: K) {
        let handlers = self.handlers();
        self.see(revision_of(object.meta()));
        self.put(&handlers, object);
    }

    /// Takes in the end of an object that the watch has told.
    pub(crate) fn told_gone(&self, object: &K) {
        let handlers = self.handlers();
        self.see(revision_of(object.meta()));
        let key = ObjectKey::of(object.meta());
        let removed = {
            let mut state = self.write();
            state.deleting.remove(uid_of(object.meta()));
            let Some(objects) = state.objects.get_mut(&key.namespace) else {
                return;
            };
            let removed = objects.remove(&key.name);
            if objects.is_empty() {
                state.objects.remove(&key.namespace);
            }
            removed
        };
        if let Some(removed) = removed {
            tell(&handlers, &Change::Removed(&removed));
        }
    }

    /// Takes in a bookmark: the watch has told everything up to `revision`.
    pub(crate) fn told_revision(&self, revision: &str) {
        self.see(parse_revision(revision));
    }

    /// Takes in the answer to a write of this process, unless the watch has told it, or what came after, already.
    pub(crate) fn written(&self, object: K) {
        let handlers = self.handlers();
        let Some(revision) = revision_of(object.meta()) else {
            return;
        };
        if revision <= self.read().seen {
            return;
        }
        self.put(&handlers, object);
    }

    /// Marks an object that this process has successfully asked to delete, until the watch tells its end.
    pub(crate) fn deleted(&self, key: &ObjectKey, uid: &str, at: &Time) {
        let handlers = self.handlers();
        let Some(old) = self.find(key) else { return };
        if old.meta().uid.as_deref() != Some(uid) {
            return;
        }
        self.write().deleting.insert(uid.to_owned());
        if old.meta().deletion_timestamp.is_some() {
            return;
        }
        let mut object = K::clone(&old);
        object.meta_mut().deletion_timestamp = Some(at.clone());
        self.put(&handlers, object);
    }

    fn see(&self, revision: Option<u64>) {
        if let Some(revision) = revision {
            let mut state = self.write();
            state.seen = state.seen.max(revision);
        }
    }

    fn put(&self, handlers: &[Handler<K>], mut object: K) {
        // No controller asks who wrote what, and it is the largest part of many objects.
        object.meta_mut().managed_fields = None;
        let key = ObjectKey::of(object.meta());
        let (old, new, replaced) = {
            let mut state = self.write();
            let State {
                objects, deleting, ..
            } = &mut *state;
            let old = objects
                .get(&key.namespace)
                .and_then(|objects| objects.get(&key.name));
            if old.is_some_and(|old| revision_of(old.meta()) > revision_of(object.meta())) {
                return;
            }
            if object.meta().deletion_timestamp.is_none()
                && deleting.contains(uid_of(object.meta()))
            {
                object.meta_mut().deletion_timestamp =
                    old.and_then(|old| old.meta().deletion_timestamp.clone());
            }
            let other_uid = old.is_some_and(|old| old.meta().uid != object.meta().uid);
            let new = Arc::new(object);
            let old = objects
                .entry(key.namespace)
                .or_default()
                .insert(key.name, new.clone());
            (old, new, other_uid)
        };
        match old {
            None => tell(handlers, &Change::Added(&new)),
            Some(old) if replaced => {
                tell(handlers, &Change::Removed(&old));
                tell(handlers, &Change::Added(&new));
            }
            Some(old) => tell(
                handlers,
                &Change::Updated {
                    old: &old,
                    new: &new,
                },
            ),
        }
    }
}

fn tell<K>(handlers: &[Handler<K>], change: &Change<'_, K>) {
    for handler in handlers {
        handler(change);
    }
}

fn uid_of(metadata: &ObjectMeta) -> &str {
    metadata.uid.as_deref().unwrap_or_default()
}

fn revision_of(metadata: &ObjectMeta) -> Option<u64> {
    parse_revision(metadata.resource_version.as_deref()?)
}

/// Revisions are decimal numbers that only grow; since 1.35 Kubernetes promises that clients may compare them.
fn parse_revision(revision: &str) -> Option<u64> {
    revision.parse().ok()
}

#[cfg(test)]
mod tests;
