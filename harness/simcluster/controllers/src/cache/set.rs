//! The caches of a process: one for each kind that some controller asked for, started together.
//!
//! A controller that runs alone starts only the watches it needs; controllers that run together share them. It does
//! NOT know which kinds there are: asking for a kind makes its cache.

use std::{
    any::{Any, TypeId},
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use futures::future::BoxFuture;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Client, Resource};

use super::{Cache, Change, reflector};
use crate::objects::Kind;

/// What became of an object of any kind, as far as its metadata says.
#[derive(Debug)]
pub(crate) enum MetadataChange<'a> {
    /// It is there, in this version.
    Present(&'a ObjectMeta),
    /// It is gone; this was its last version.
    Gone(&'a ObjectMeta),
}

/// A handler of metadata changes.
pub(crate) type MetadataHandler = Box<dyn Fn(&MetadataChange<'_>) + Send + Sync>;

/// A cache of whatever kind that can tell the metadata of its objects.
pub(crate) trait MetadataFeed: Send + Sync {
    /// Calls `handler` for every object known already, and then for every change, in order.
    fn on_metadata(&self, handler: MetadataHandler);
    /// Waits until the first list has been taken in.
    fn synced_feed(&self) -> BoxFuture<'_, ()>;
}

impl<K: Resource + Send + Sync + 'static> MetadataFeed for Cache<K> {
    fn on_metadata(&self, handler: MetadataHandler) {
        self.on_change(move |change| match change {
            Change::Added(object) | Change::Updated { new: object, .. } => {
                handler(&MetadataChange::Present(object.meta()));
            }
            Change::Removed(object) => handler(&MetadataChange::Gone(object.meta())),
        });
    }

    fn synced_feed(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.synced())
    }
}

#[derive(Default)]
struct Inner {
    typed: HashMap<TypeId, Arc<dyn Any + Send + Sync>>,
    /// By group and plural name.
    feeds: HashMap<(String, String), Arc<dyn MetadataFeed>>,
    waiting: Vec<BoxFuture<'static, ()>>,
}

/// The caches of a process.
pub(crate) struct Caches {
    client: Client,
    inner: Mutex<Inner>,
}

impl fmt::Debug for Caches {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Caches").finish_non_exhaustive()
    }
}

impl Caches {
    pub(crate) fn new(client: Client) -> Self {
        Self {
            client,
            inner: Mutex::default(),
        }
    }

    /// The cache of kind `K`; it is made at the first call.
    pub(crate) fn of<K: Kind>(&self) -> Arc<Cache<K>> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cache) = inner.typed.get(&TypeId::of::<K>()) {
            return cache
                .clone()
                .downcast()
                .expect("the map holds under a type's id only the cache of that type");
        }
        let cache: Arc<Cache<K>> = Arc::default();
        let name = (K::group(&()).into_owned(), K::plural(&()).into_owned());
        inner.typed.insert(TypeId::of::<K>(), cache.clone());
        inner.feeds.insert(name, cache.clone());
        let source = reflector::Typed(K::everywhere(self.client.clone()));
        inner
            .waiting
            .push(Box::pin(reflector::reflect(cache.clone(), source)));
        cache
    }

    /// The cache of a kind by its names in the API, if some controller has asked for it.
    pub(crate) fn feed(&self, group: &str, plural: &str) -> Option<Arc<dyn MetadataFeed>> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner
            .feeds
            .get(&(group.to_owned(), plural.to_owned()))
            .cloned()
    }

    /// The watches that are not running yet; the caller runs them.
    pub(crate) fn take_reflectors(&self) -> Vec<BoxFuture<'static, ()>> {
        std::mem::take(
            &mut self
                .inner
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .waiting,
        )
    }
}
