//! Every object of every kind, as far as its metadata says: for controllers whose business is all kinds.
//!
//! Kinds come from discovery at the start, and from CustomResourceDefinitions as they come and go. A kind whose whole
//! objects some controller watches anyhow is not watched twice. It does NOT keep objects itself: its users do.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::Duration,
};

use k8s_openapi::{
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, PartialObjectMeta},
    discovery::{Discovery, Scope},
};
use tokio::{
    sync::mpsc,
    task::{AbortHandle, JoinSet},
};
use tracing::warn;

use crate::{
    cache::{
        Cache,
        reflector::{self, MetadataOnly},
        set::{Caches, MetadataChange, MetadataFeed},
    },
    objects::Kind,
};

/// A kind, as the server serves it.
#[derive(Clone, Debug)]
pub(crate) struct KnownKind {
    pub(crate) resource: ApiResource,
    pub(crate) namespaced: bool,
    pub(crate) operations: Vec<String>,
}

impl KnownKind {
    pub(crate) fn supports(&self, operation: &str) -> bool {
        self.operations.iter().any(|known| known == operation)
    }

    /// Whether its objects can be seen and removed by whoever does not know the kind.
    fn is_collectable(&self) -> bool {
        ["list", "watch", "delete"].iter().all(|operation| self.supports(operation))
            // Events point at objects but belong to nobody, and there are many.
            && self.resource.plural != "events"
    }

    /// The objects of one namespace; of a cluster-scoped kind, all.
    pub(crate) fn api(&self, client: Client, namespace: &str) -> Api<DynamicObject> {
        if self.namespaced && !namespace.is_empty() {
            Api::namespaced_with(client, namespace, &self.resource)
        } else {
            Api::all_with(client, &self.resource)
        }
    }

    fn name(&self) -> Name {
        (self.resource.group.clone(), self.resource.plural.clone())
    }

    fn group_kind(&self) -> GroupKind {
        (self.resource.group.clone(), self.resource.kind.clone())
    }
}

/// A kind that cannot be listed for so long does not keep the others waiting.
const SYNC_LIMIT: Duration = Duration::from_secs(30);

/// Group and plural.
type Name = (String, String);
/// Group and kind.
type GroupKind = (String, String);
type Handler = Arc<dyn Fn(&Arc<KnownKind>, &MetadataChange<'_>) + Send + Sync>;
type NewKind = Arc<dyn Fn() + Send + Sync>;

#[derive(Default)]
struct Handlers {
    changes: Vec<Handler>,
    new_kinds: Vec<NewKind>,
}

/// What is known of all kinds.
pub(crate) struct Universe {
    client: Client,
    caches: Arc<Caches>,
    kinds: Arc<RwLock<HashMap<GroupKind, Arc<KnownKind>>>>,
    handlers: Mutex<Handlers>,
    definitions: Arc<Cache<CustomResourceDefinition>>,
    synced: tokio::sync::watch::Sender<bool>,
}

impl fmt::Debug for Universe {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Universe").finish_non_exhaustive()
    }
}

/// A kind that is being watched.
struct Watched {
    kind: Arc<KnownKind>,
    cache: Arc<Cache<PartialObjectMeta<DynamicObject>>>,
    reflector: AbortHandle,
}

impl Universe {
    pub(crate) fn new(client: Client, caches: Arc<Caches>) -> Self {
        let definitions = caches.of::<CustomResourceDefinition>();
        Self {
            client,
            caches,
            kinds: Arc::default(),
            handlers: Mutex::default(),
            definitions,
            synced: tokio::sync::watch::Sender::new(false),
        }
    }

    fn handlers(&self) -> MutexGuard<'_, Handlers> {
        self.handlers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls `handler` for every change of every object. To be called before [`Self::run`].
    pub(crate) fn on_change(
        &self,
        handler: impl Fn(&Arc<KnownKind>, &MetadataChange<'_>) + Send + Sync + 'static,
    ) {
        self.handlers().changes.push(Arc::new(handler));
    }

    /// Calls `handler` when a kind has come. To be called before [`Self::run`].
    pub(crate) fn on_new_kind(&self, handler: impl Fn() + Send + Sync + 'static) {
        self.handlers().new_kinds.push(Arc::new(handler));
    }

    /// The kind that an owner reference or the like names.
    pub(crate) fn kind(&self, group: &str, kind: &str) -> Option<Arc<KnownKind>> {
        let kinds = self.kinds.read().unwrap_or_else(PoisonError::into_inner);
        kinds.get(&(group.to_owned(), kind.to_owned())).cloned()
    }

    /// All kinds whose objects live in namespaces and can be listed and deleted.
    pub(crate) fn namespaced(&self) -> Vec<Arc<KnownKind>> {
        let kinds = self.kinds.read().unwrap_or_else(PoisonError::into_inner);
        kinds
            .values()
            .filter(|kind| kind.namespaced && kind.supports("list") && kind.supports("delete"))
            .cloned()
            .collect()
    }

    /// Waits until all kinds that were there at the start have been listed once.
    pub(crate) async fn synced(&self) {
        // The sender lives in self, so waiting cannot fail while we are borrowed.
        let _ = self.synced.subscribe().wait_for(|synced| *synced).await;
    }

    /// Watches all kinds until dropped.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut reflectors = JoinSet::new();
        let mut watched: HashMap<Name, Watched> = HashMap::new();
        let mut feeds: Vec<Arc<dyn MetadataFeed>> = Vec::new();
        for kind in self.discover().await {
            if let Some(feed) = self.add(Arc::new(kind), &mut watched, &mut reflectors) {
                feeds.push(feed);
            }
        }
        let (sender, mut changes) = mpsc::unbounded_channel();
        self.definitions.on_change(move |change| {
            // A closed channel means that the process is ending.
            let _ = sender.send((change.object().clone(), change.is_removal()));
        });
        let all = async {
            for feed in feeds {
                feed.synced_feed().await;
            }
        };
        if tokio::time::timeout(SYNC_LIMIT, all).await.is_err() {
            warn!("some kinds could not be listed; going on without them until they can");
        }
        self.synced.send_replace(true);
        loop {
            tokio::select! {
                Some((definition, removed)) = changes.recv() => {
                    let Some(kind) = kind_of(&definition) else { continue };
                    if removed {
                        self.remove(&kind.name(), &mut watched);
                        continue;
                    }
                    if let Some(known) = watched.get_mut(&kind.name())
                        && !serves(&definition, &known.kind.resource.version)
                    {
                        self.change_version(known, Arc::new(kind), &mut reflectors);
                        continue;
                    }
                    if !watched.contains_key(&kind.name()) && is_established(&definition) {
                        self.add(Arc::new(kind), &mut watched, &mut reflectors);
                        let handlers = self.handlers().new_kinds.clone();
                        for handler in &handlers {
                            handler();
                        }
                    }
                }
                Some(ended) = reflectors.join_next() => {
                    if let Some(panic) = ended.err().and_then(|ended| ended.try_into_panic().ok()) {
                        std::panic::resume_unwind(panic);
                    }
                }
            }
        }
    }

    /// Asks until the server answers.
    async fn discover(&self) -> Vec<KnownKind> {
        let mut pause = Duration::from_millis(20);
        let discovery = loop {
            let found = match Discovery::new(self.client.clone()).run_aggregated().await {
                Ok(found) => Ok(found),
                // An older server has only the one-by-one form.
                Err(_) => Discovery::new(self.client.clone()).run().await,
            };
            match found {
                Ok(found) => break found,
                Err(error) => {
                    warn!(%error, "the server's kinds could not be read; trying again");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(5));
                }
            }
        };
        discovery
            .groups()
            .flat_map(kube::discovery::ApiGroup::recommended_resources)
            .map(|(resource, capabilities)| KnownKind {
                resource,
                namespaced: capabilities.scope == Scope::Namespaced,
                operations: capabilities.operations,
            })
            .collect()
    }

    fn add(
        &self,
        kind: Arc<KnownKind>,
        watched: &mut HashMap<Name, Watched>,
        reflectors: &mut JoinSet<()>,
    ) -> Option<Arc<dyn MetadataFeed>> {
        self.remember(&kind);
        if !kind.is_collectable() || watched.contains_key(&kind.name()) {
            return None;
        }
        if let Some(feed) = self
            .caches
            .feed(&kind.resource.group, &kind.resource.plural)
        {
            self.listen(&kind, &*feed);
            return Some(feed);
        }
        let cache: Arc<Cache<PartialObjectMeta<DynamicObject>>> = Arc::default();
        self.listen(&kind, &*cache);
        let source = MetadataOnly {
            api: Api::all_with(self.client.clone(), &kind.resource),
            resource: kind.resource.clone(),
        };
        let reflector = reflectors.spawn(reflector::reflect(cache.clone(), source));
        watched.insert(
            kind.name(),
            Watched {
                kind,
                cache: cache.clone(),
                reflector,
            },
        );
        Some(cache)
    }

    fn listen(&self, kind: &Arc<KnownKind>, feed: &dyn MetadataFeed) {
        let (handlers, kinds) = (self.handlers().changes.clone(), self.kinds.clone());
        let (kind, name) = (kind.clone(), kind.group_kind());
        feed.on_metadata(Box::new(move |change| {
            // The version may have changed since.
            let known = kinds
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .get(&name)
                .cloned();
            let kind = known.as_ref().unwrap_or(&kind);
            for handler in &handlers {
                handler(kind, change);
            }
        }));
    }

    /// Watches another version of a kind: its objects are still there, and nobody is told that they are gone.
    fn change_version(
        &self,
        known: &mut Watched,
        kind: Arc<KnownKind>,
        reflectors: &mut JoinSet<()>,
    ) {
        self.remember(&kind);
        known.reflector.abort();
        let source = MetadataOnly {
            api: Api::all_with(self.client.clone(), &kind.resource),
            resource: kind.resource.clone(),
        };
        known.reflector = reflectors.spawn(reflector::reflect(known.cache.clone(), source));
        known.kind = kind;
    }

    fn remember(&self, kind: &Arc<KnownKind>) {
        self.kinds
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(kind.group_kind(), kind.clone());
    }

    fn remove(&self, name: &Name, watched: &mut HashMap<Name, Watched>) {
        let Some(gone) = watched.remove(name) else {
            return;
        };
        gone.reflector.abort();
        self.kinds
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&gone.kind.group_kind());
        // With its kind every object has gone.
        gone.cache.replace_with_nothing();
    }
}

/// The kind that a definition defines, in the version that is stored.
fn kind_of(definition: &CustomResourceDefinition) -> Option<KnownKind> {
    let spec = &definition.spec;
    let served = || spec.versions.iter().filter(|version| version.served);
    let version = served()
        .find(|version| version.storage)
        .or_else(|| served().next())?;
    Some(KnownKind {
        resource: ApiResource {
            group: spec.group.clone(),
            version: version.name.clone(),
            api_version: format!("{}/{}", spec.group, version.name),
            kind: spec.names.kind.clone(),
            plural: spec.names.plural.clone(),
        },
        namespaced: spec.scope == "Namespaced",
        operations: [
            "create",
            "delete",
            "deletecollection",
            "get",
            "list",
            "patch",
            "update",
            "watch",
        ]
        .map(ToOwned::to_owned)
        .to_vec(),
    })
}

fn serves(definition: &CustomResourceDefinition, version: &str) -> bool {
    definition
        .spec
        .versions
        .iter()
        .any(|known| known.served && known.name == version)
}

fn is_established(definition: &CustomResourceDefinition) -> bool {
    definition
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref())
        .into_iter()
        .flatten()
        .any(|condition| condition.type_ == "Established" && condition.status == "True")
}

/// The group of an `apiVersion`.
pub(crate) fn group_of(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}

/// Whether an object that goes has this finalizer.
pub(crate) fn has_finalizer(metadata: &ObjectMeta, finalizer: &str) -> bool {
    metadata
        .finalizers
        .iter()
        .flatten()
        .any(|known| known == finalizer)
}

/// The names under which a kind known at compile time stands in the universe.
pub(crate) fn is_kind<K: Kind>(kind: &KnownKind) -> bool {
    kind.resource.group == K::group(&()) && kind.resource.plural == K::plural(&())
}
