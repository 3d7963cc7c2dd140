//! The store shared between tasks, and who is woken when a collection changes.
//!
//! Watchers pull: a change wakes them, and they read what they have not seen yet from the store's
//! log. A slow watcher therefore costs no memory of its own, and learns from the log when it has
//! fallen too far behind. This module does not select or encode events.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard},
};

use serde_json::Value;
use tokio::sync::watch;

use crate::store::{Collection, Key, Object, Store, StoreError};

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct SharedStore {
    store: RwLock<Store>,
    signals: Mutex<HashMap<Collection, watch::Sender<u64>>>,
}

impl SharedStore {
    /// Shares `store`.
    pub(crate) fn new(store: Store) -> Self {
        Self {
            store: RwLock::new(store),
            signals: Mutex::new(HashMap::new()),
        }
    }

    /// The store for reading; hold it briefly and never across an await.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Store> {
        // A writer cannot leave the store half-written by panicking: each change is one commit.
        self.store.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// See [`Store::create`]; wakes the collection's watchers.
    pub(crate) fn create(
        &self,
        collection: &Collection,
        key: &Key,
        value: Value,
    ) -> Result<Arc<Object>, StoreError> {
        self.write(collection, |store| store.create(collection, key, value))
    }

    /// See [`Store::update`]; wakes the collection's watchers.
    pub(crate) fn update(
        &self,
        collection: &Collection,
        key: &Key,
        based_on: u64,
        value: Value,
    ) -> Result<Arc<Object>, StoreError> {
        self.write(collection, |store| {
            store.update(collection, key, based_on, value)
        })
    }

    /// See [`Store::delete`]; wakes the collection's watchers.
    pub(crate) fn delete(
        &self,
        collection: &Collection,
        key: &Key,
        based_on: u64,
        value: Value,
    ) -> Result<Arc<Object>, StoreError> {
        self.write(collection, |store| {
            store.delete(collection, key, based_on, value)
        })
    }

    /// See [`Store::compact`].
    pub(crate) fn compact(&self, revision: u64) {
        self.store
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .compact(revision);
    }

    fn write(
        &self,
        collection: &Collection,
        change: impl FnOnce(&mut Store) -> Result<Arc<Object>, StoreError>,
    ) -> Result<Arc<Object>, StoreError> {
        let object = change(&mut self.store.write().unwrap_or_else(PoisonError::into_inner))?;
        let signals = self.signals.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(signal) = signals.get(collection) {
            // Two writers may arrive here in the other order than in the store.
            signal.send_if_modified(|seen| {
                let newer = object.revision() > *seen;
                *seen = object.revision().max(*seen);
                newer
            });
        }
        Ok(object)
    }

    /// Is told the collection's revision when it changes. Subscribe before the first look.
    pub(crate) fn subscribe(&self, collection: &Collection) -> watch::Receiver<u64> {
        self.signals
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(collection.clone())
            .or_insert_with(|| watch::Sender::new(0))
            .subscribe()
    }
}
