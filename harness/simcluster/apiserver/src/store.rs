//! The one owner of the cluster's state: objects, the global revision, and the log of changes.
//!
//! Synchronous and pure: no clock, no I/O, no async, no knowledge of HTTP or of any kind. Whoever
//! writes has already decided what the object shall be; the store only orders the writes, refuses
//! those made against an outdated version, and remembers enough to answer about the recent past.

mod object;
#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use imbl::OrdMap;
use serde_json::Value;

pub(crate) use self::object::Object;

/// Where objects of one kind live, `group/resource`: `/pods`, `apps/deployments`.
pub(crate) type Collection = Arc<str>;

/// The place of an object in its collection: `namespace/name`, or `name` for cluster-scoped kinds.
pub(crate) type Key = Arc<str>;

/// Objects of a collection in key order, at one revision; cloning is cheap and shares everything.
pub(crate) type Objects = OrdMap<Key, Arc<Object>>;

/// So many changes of a collection are kept as they are, for watches that are about to tell of them;
/// older ones as text.
const RECENT: usize = 256;

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// It was created.
    Added,
    /// A new version replaced it.
    Modified,
    /// It was removed; the event carries its last state.
    Deleted,
}

/// One entry of the log.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    /// The revision this change made.
    pub(crate) revision: u64,
    /// What happened.
    pub(crate) change: Change,
    /// To which object.
    pub(crate) key: Key,
    /// Its state after the change, or the last one when it was deleted.
    pub(crate) object: Arc<Object>,
    /// Its state before the change.
    pub(crate) previous: Option<Arc<Object>>,
}

impl Event {
    fn as_text(&self) -> Self {
        Self {
            object: self.object.as_text(),
            previous: self.previous.as_ref().map(Object::as_text),
            key: self.key.clone(),
            ..*self
        }
    }
}

/// Why a write or a look into the past was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StoreError {
    /// An object with this key is there already.
    #[error("the key {0} is taken; read the object and update it")]
    Exists(Key),
    /// There is no object with this key.
    #[error("there is no object with the key {0}")]
    Missing(Key),
    /// The object changed since the version that the write is based on.
    #[error("the object {key} is at revision {current}; read it again and repeat the change")]
    Stale {
        /// Which object.
        key: Key,
        /// The revision of its present version.
        current: u64,
    },
    /// The log does not reach back that far.
    #[error("revision {asked} was compacted, the oldest known is {oldest}; list again")]
    Compacted {
        /// The revision asked for.
        asked: u64,
        /// The oldest one that can be answered.
        oldest: u64,
    },
    /// The revision has not happened yet.
    #[error("revision {asked} is in the future, the newest is {current}")]
    Future {
        /// The revision asked for.
        asked: u64,
        /// The newest one.
        current: u64,
    },
}

/// The objects of a collection at one revision.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    /// The global revision it shows.
    pub(crate) revision: u64,
    /// The objects.
    pub(crate) objects: Objects,
}

#[derive(Clone, Debug, Default)]
struct Kept {
    objects: Objects,
    log: VecDeque<Arc<Event>>,
    /// Changes up to this revision are no longer in the log.
    compacted: u64,
    /// The revision of the last change.
    changed: u64,
}

/// See the module's documentation.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    revision: u64,
    collections: HashMap<Collection, Kept>,
    log_limit: usize,
}

impl Store {
    /// An empty store that remembers up to `log_limit` changes of each collection.
    pub(crate) fn new(log_limit: usize) -> Self {
        Self {
            revision: 1,
            collections: HashMap::new(),
            log_limit: log_limit.max(1),
        }
    }

    /// The revision of the last change to anything.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    /// The revision of the last change to this collection, 0 if there was none.
    pub(crate) fn changed(&self, collection: &str) -> u64 {
        self.collections
            .get(collection)
            .map_or(0, |kept| kept.changed)
    }

    /// How many objects the collection has now.
    pub(crate) fn len(&self, collection: &str) -> usize {
        self.collections
            .get(collection)
            .map_or(0, |kept| kept.objects.len())
    }

    /// Whether the collection has no objects now.
    pub(crate) fn is_empty(&self, collection: &str) -> bool {
        self.len(collection) == 0
    }

    /// The object's present version.
    pub(crate) fn get(&self, collection: &str, key: &str) -> Option<Arc<Object>> {
        self.collections.get(collection)?.objects.get(key).cloned()
    }

    /// The collection as it is now.
    pub(crate) fn snapshot(&self, collection: &str) -> Snapshot {
        Snapshot {
            revision: self.revision,
            objects: self
                .collections
                .get(collection)
                .map(|kept| kept.objects.clone())
                .unwrap_or_default(),
        }
    }

    /// The collection as it was at `revision`: the present one with the changes since then undone.
    pub(crate) fn snapshot_at(
        &self,
        collection: &str,
        revision: u64,
    ) -> Result<Snapshot, StoreError> {
        let mut snapshot = self.snapshot(collection);
        for event in self.events_since(collection, revision)?.iter().rev() {
            match &event.previous {
                Some(previous) => snapshot.objects.insert(event.key.clone(), previous.clone()),
                None => snapshot.objects.remove(&event.key),
            };
        }
        snapshot.revision = revision;
        Ok(snapshot)
    }

    /// The changes after `revision`, oldest first.
    pub(crate) fn events_since(
        &self,
        collection: &str,
        revision: u64,
    ) -> Result<Vec<Arc<Event>>, StoreError> {
        if revision > self.revision {
            return Err(StoreError::Future {
                asked: revision,
                current: self.revision,
            });
        }
        let Some(kept) = self.collections.get(collection) else {
            return Ok(Vec::new());
        };
        if revision < kept.compacted {
            return Err(StoreError::Compacted {
                asked: revision,
                oldest: kept.compacted,
            });
        }
        let first = kept.log.partition_point(|event| event.revision <= revision);
        Ok(kept.log.range(first..).cloned().collect())
    }

    /// Forgets the changes up to `revision` of every collection.
    pub(crate) fn compact(&mut self, revision: u64) {
        let revision = revision.min(self.revision);
        for kept in self.collections.values_mut() {
            let gone = kept.log.partition_point(|event| event.revision <= revision);
            kept.log.drain(..gone);
            kept.compacted = kept.compacted.max(revision);
        }
    }

    /// Adds an object; the revision it is given goes into its `metadata.resourceVersion`.
    pub(crate) fn create(
        &mut self,
        collection: &Collection,
        key: &Key,
        value: Value,
    ) -> Result<Arc<Object>, StoreError> {
        if self.get(collection, key).is_some() {
            return Err(StoreError::Exists(key.clone()));
        }
        Ok(self.commit(collection, key, Change::Added, value))
    }

    /// Replaces the version `based_on` of an object by a new one.
    pub(crate) fn update(
        &mut self,
        collection: &Collection,
        key: &Key,
        based_on: u64,
        value: Value,
    ) -> Result<Arc<Object>, StoreError> {
        self.check(collection, key, based_on)?;
        Ok(self.commit(collection, key, Change::Modified, value))
    }

    /// Removes the version `based_on` of an object, whose last state is `value`.
    pub(crate) fn delete(
        &mut self,
        collection: &Collection,
        key: &Key,
        based_on: u64,
        value: Value,
    ) -> Result<Arc<Object>, StoreError> {
        self.check(collection, key, based_on)?;
        Ok(self.commit(collection, key, Change::Deleted, value))
    }

    fn check(&self, collection: &str, key: &Key, based_on: u64) -> Result<(), StoreError> {
        let object = self
            .get(collection, key)
            .ok_or_else(|| StoreError::Missing(key.clone()))?;
        if object.revision() != based_on {
            return Err(StoreError::Stale {
                key: key.clone(),
                current: object.revision(),
            });
        }
        Ok(())
    }

    fn commit(
        &mut self,
        collection: &Collection,
        key: &Key,
        change: Change,
        value: Value,
    ) -> Arc<Object> {
        self.revision += 1;
        let revision = self.revision;
        let object = Arc::new(Object::new(value, revision));
        let kept = self.collections.entry(collection.clone()).or_default();
        let previous = match change {
            Change::Deleted => kept.objects.remove(key),
            Change::Added | Change::Modified => kept.objects.insert(key.clone(), object.clone()),
        };
        kept.changed = revision;
        if kept.log.len() >= self.log_limit
            && let Some(forgotten) = kept.log.pop_front()
        {
            kept.compacted = forgotten.revision;
        }
        if let Some(past) = kept.log.len().checked_sub(RECENT) {
            let event = &mut kept.log[past];
            *event = Arc::new(event.as_text());
        }
        kept.log.push_back(Arc::new(Event {
            revision,
            change,
            key: key.clone(),
            object: object.clone(),
            previous,
        }));
        object
    }
}
