//! The server: what it is made of, and how a request finds its way through it.

mod addresses;
mod admit;
mod authenticate;
mod authorize;
mod bootstrap;
mod call;
mod clock;
mod convert;
mod custom;
mod decode;
mod definition_rules;
mod definitions;
mod discovery;
mod dispatch;
mod effects;
mod form;
mod identity;
mod listen;
mod managed;
mod metrics;
mod negotiate;
mod protobuf;
mod query;
mod registry;
mod reply;
mod route;
mod rules;
mod select;
mod usage;
mod verbs;
mod webhook_call;
mod yaml;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use futures::future::BoxFuture;
use http::{Request, Response};
use simcluster_auth::token::Signer;
use simcluster_http::{Authority, AuthorityError, Body, Handler, Peer, PeerUser};
use simcluster_kubelet_api::Kubelet;
use simcluster_machinery::status::Status;
use tokio_util::sync::CancellationToken;

use self::{authorize::PolicyCache, registry::Registry};
use crate::{store::Store, watch::SharedStore};
pub use addresses::ServiceRange;
pub use clock::Clock;
pub use identity::Identity;
pub use listen::Listening;
pub use usage::UsedPermissions;

/// Why a request failed, as the client is told.
pub(crate) type Failure = Box<Status>;

/// How a server is set up.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where times come from.
    pub clock: Clock,
    /// How many changes of each collection are remembered for watches and chunked lists.
    pub log_limit: usize,
    /// The namespace of clients that do not name one.
    pub default_namespace: String,
    /// Whether pods get, and need, a service account.
    pub service_account_admission: bool,
    /// The addresses that services get; the first one is the API server's own.
    pub service_range: ServiceRange,
    /// Names, besides `localhost`, that the server's certificate is for.
    pub names: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            clock: Clock::system(),
            log_limit: 4096,
            default_namespace: "default".to_owned(),
            service_account_admission: true,
            service_range: ServiceRange::default(),
            names: Vec::new(),
        }
    }
}

/// The server cannot start or listen.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No certificate authority.
    #[error("the cluster's certificates could not be made")]
    Certificates(#[from] AuthorityError),
    /// No port.
    #[error("the API server cannot serve HTTPS")]
    Listen(#[from] simcluster_http::ListenError),
}

/// A cluster's API server. Clones are the same server; it needs no task of its own.
#[derive(Clone, Debug)]
pub struct ApiServer {
    inner: Arc<Inner>,
}

/// What all requests share.
pub(crate) struct Inner {
    pub(crate) config: Config,
    pub(crate) store: SharedStore,
    registry: RwLock<Arc<Registry>>,
    pub(crate) policy: PolicyCache,
    pub(crate) usage: usage::Usage,
    pub(crate) signer: Signer,
    kubelets: RwLock<HashMap<String, Arc<dyn Kubelet>>>,
    authority: Mutex<Option<Arc<Authority>>>,
    /// Where clients reach the server, as discovery tells them.
    pub(crate) address: RwLock<String>,
    pub(crate) stopped: CancellationToken,
    /// Orders writes that share something countable: addresses, ports, quotas.
    pub(crate) countable: Mutex<()>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiServer").finish_non_exhaustive()
    }
}

impl ApiServer {
    /// A server with the objects that every cluster begins with.
    pub fn start(config: Config) -> Self {
        let inner = Inner {
            store: SharedStore::new(Store::new(config.log_limit)),
            config,
            registry: RwLock::new(Arc::new(Registry::default())),
            policy: PolicyCache::default(),
            usage: usage::Usage::default(),
            signer: Signer::new(rand::random()),
            kubelets: RwLock::default(),
            authority: Mutex::default(),
            address: RwLock::new("kubernetes.default.svc:443".to_owned()),
            stopped: CancellationToken::new(),
            countable: Mutex::default(),
        };
        bootstrap::fill(&inner);
        Self {
            inner: Arc::new(inner),
        }
    }

    /// A client that acts as this user, without a socket.
    pub fn client(&self, identity: &Identity) -> kube::Client {
        simcluster_http::client(
            Arc::new(self.clone()),
            PeerUser {
                name: identity.user.clone(),
                groups: identity.groups.clone(),
            },
            &self.inner.config.default_namespace,
        )
    }

    /// Which permissions a user has used so far, to prove that a role grants no more.
    pub fn used_permissions(&self, user: &str) -> UsedPermissions {
        self.inner.usage.of(user)
    }

    /// Tells the server where the pods of a node run.
    pub fn register_kubelet(&self, node: &str, kubelet: Arc<dyn Kubelet>) {
        self.inner
            .kubelets
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(node.to_owned(), kubelet);
        // Now there is somebody to tell what is used.
        definitions::serve(&self.inner);
    }

    /// Forgets a node.
    pub fn unregister_kubelet(&self, node: &str) {
        self.inner
            .kubelets
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(node);
    }

    /// Forgets the past: watches and chunked lists of revisions before now answer 410.
    pub fn compact(&self) {
        let revision = self.inner.store.read().revision();
        self.inner.store.compact(revision);
    }

    /// The authority that the cluster's certificates come from, as PEM; made when first asked for.
    pub fn ca_certificate(&self) -> Result<String, StartError> {
        Ok(self.inner.authority()?.certificate().to_owned())
    }

    /// The authority itself, for whoever signs what the cluster approves of.
    pub fn authority(&self) -> Result<Arc<Authority>, StartError> {
        Ok(self.inner.authority()?)
    }

    /// Ends watches and closes ports.
    pub fn shutdown(&self) {
        self.inner.stopped.cancel();
    }
}

impl Inner {
    /// What is served now.
    pub(crate) fn registry(&self) -> Arc<Registry> {
        Arc::clone(&self.registry.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on, serve this.
    pub(crate) fn set_registry(&self, registry: Registry) {
        *self
            .registry
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Arc::new(registry);
    }

    /// The agent of a node.
    pub(crate) fn kubelet(&self, node: &str) -> Option<Arc<dyn Kubelet>> {
        self.kubelets
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(node)
            .cloned()
    }

    /// The agents of all nodes.
    pub(crate) fn kubelets(&self) -> Vec<Arc<dyn Kubelet>> {
        self.kubelets
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .cloned()
            .collect()
    }

    /// Making keys takes a millisecond that in-process clients need not pay.
    pub(crate) fn authority(&self) -> Result<Arc<Authority>, AuthorityError> {
        let mut authority = self
            .authority
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(authority) = &*authority {
            return Ok(Arc::clone(authority));
        }
        let made = Arc::new(Authority::new()?);
        *authority = Some(Arc::clone(&made));
        Ok(made)
    }
}

impl Handler for ApiServer {
    fn handle(&self, request: Request<Body>, peer: Peer) -> BoxFuture<'static, Response<Body>> {
        Box::pin(dispatch::guarded(Arc::clone(&self.inner), request, peer))
    }
}
