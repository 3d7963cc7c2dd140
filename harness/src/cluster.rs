//! A cluster to work in: a client, a namespace, and the verbs a scenario uses.

use std::{fmt::Debug, time::Duration};

use kube::{Api, Client, Resource, api::DynamicObject, core::NamespaceResourceScope};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    backend::{Backend, Capability},
    conditions::Condition,
    objects::{self, ObjectError},
    wait::{self, WaitError},
};

/// A running cluster and the namespace that this scenario works in.
pub struct Cluster {
    backend: Box<dyn Backend>,
    client: Client,
    namespace: String,
}

impl Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster")
            .field("backend", &self.backend)
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}

impl Cluster {
    /// A cluster of a backend; `namespace` must exist.
    pub fn new(backend: Box<dyn Backend>, namespace: impl Into<String>) -> Self {
        let client = backend.client();
        Self {
            backend,
            client,
            namespace: namespace.into(),
        }
    }

    /// A client with all permissions.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Where the cluster comes from.
    pub fn backend(&self) -> &dyn Backend {
        &*self.backend
    }

    /// Whether the cluster can do that.
    pub fn can(&self, capability: Capability) -> bool {
        self.backend.can(capability)
    }

    /// The namespace of this scenario.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Typed access to a namespaced kind, in this scenario's namespace.
    pub fn namespaced<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client(), &self.namespace)
    }

    /// Typed access to a cluster-scoped kind, or to a kind in all namespaces.
    pub fn all<K>(&self) -> Api<K>
    where
        K: Resource,
        K::DynamicType: Default,
    {
        Api::all(self.client())
    }

    /// Applies each object of a manifest, in order.
    pub async fn apply(&self, manifest: &str) -> Result<Vec<DynamicObject>, ObjectError> {
        let mut applied = Vec::new();
        for object in objects::parse(manifest)? {
            applied.push(objects::apply(&self.client, &object, &self.namespace).await?);
        }
        Ok(applied)
    }

    /// Asks for the deletion of each object of a manifest; does not wait until they are gone.
    pub async fn delete(&self, manifest: &str) -> Result<(), ObjectError> {
        for object in objects::parse(manifest)? {
            objects::delete(&self.client, &object, &self.namespace).await?;
        }
        Ok(())
    }

    /// Watches an object until a condition holds; gives it as it then was.
    pub async fn wait<K>(
        &self,
        api: &Api<K>,
        name: &str,
        condition: Condition<K>,
    ) -> Result<Option<K>, WaitError>
    where
        K: Resource + Clone + Debug + Serialize + DeserializeOwned + Send + 'static,
        K::DynamicType: Default,
    {
        wait::until(api, name, condition, wait::LIMIT).await
    }

    /// As [`Cluster::wait`], with a limit of its own.
    pub async fn wait_for<K>(
        &self,
        api: &Api<K>,
        name: &str,
        condition: Condition<K>,
        limit: Duration,
    ) -> Result<Option<K>, WaitError>
    where
        K: Resource + Clone + Debug + Serialize + DeserializeOwned + Send + 'static,
        K::DynamicType: Default,
    {
        wait::until(api, name, condition, limit).await
    }

    /// Ends the cluster and waits until nothing of it is left.
    pub async fn stop(self) {
        self.backend.stop().await;
    }
}
