//! Reading from a shared cache and writing to the API server, for one kind.
//!
//! Each write names its field manager, takes its answer into the cache at once, and says on failure which object it
//! was about. It does NOT retry: the work queue does.

use std::{fmt::Debug, sync::Arc};

use k8s_openapi::{
    api::{
        admissionregistration::v1::ValidatingAdmissionPolicy,
        apps::v1::{ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet},
        autoscaling::v2::HorizontalPodAutoscaler,
        batch::v1::{CronJob, Job},
        certificates::v1::CertificateSigningRequest,
        coordination::v1::Lease,
        core::v1::{
            ConfigMap, Endpoints, Event, Namespace, Node, PersistentVolume, PersistentVolumeClaim,
            Pod, ReplicationController, ResourceQuota, Secret, Service, ServiceAccount,
        },
        discovery::v1::EndpointSlice,
        policy::v1::PodDisruptionBudget,
        rbac::v1::ClusterRole,
        storage::v1::StorageClass,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy},
    core::Status,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    cache::{Cache, ObjectKey},
    clock::Clock,
};

/// A kind that the controllers know at compile time.
pub(crate) trait Kind:
    Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize + Send + Sync + 'static
{
    /// All objects of the kind.
    fn everywhere(client: Client) -> Api<Self>;
    /// The objects of one namespace; of a cluster-scoped kind, all.
    fn within(client: Client, namespace: &str) -> Api<Self>;
}

macro_rules! namespaced {
    ($($kind:ty),* $(,)?) => {$(
        impl Kind for $kind {
            fn everywhere(client: Client) -> Api<Self> {
                Api::all(client)
            }
            fn within(client: Client, namespace: &str) -> Api<Self> {
                Api::namespaced(client, namespace)
            }
        }
    )*};
}

macro_rules! cluster_scoped {
    ($($kind:ty),* $(,)?) => {$(
        impl Kind for $kind {
            fn everywhere(client: Client) -> Api<Self> {
                Api::all(client)
            }
            fn within(client: Client, _namespace: &str) -> Api<Self> {
                Api::all(client)
            }
        }
    )*};
}

namespaced!(
    ConfigMap,
    ControllerRevision,
    CronJob,
    DaemonSet,
    Deployment,
    EndpointSlice,
    Endpoints,
    Event,
    HorizontalPodAutoscaler,
    Job,
    Lease,
    PersistentVolumeClaim,
    Pod,
    PodDisruptionBudget,
    ReplicaSet,
    ReplicationController,
    ResourceQuota,
    Secret,
    Service,
    ServiceAccount,
    StatefulSet,
);
cluster_scoped!(
    ValidatingAdmissionPolicy,
    CertificateSigningRequest,
    ClusterRole,
    CustomResourceDefinition,
    Namespace,
    Node,
    PersistentVolume,
    StorageClass
);

/// A write that the API server refused or did not get.
#[derive(Debug, thiserror::Error)]
#[error("{} {} {} failed; it will be tried again", .0.action, .0.kind, .0.key)]
pub(crate) struct WriteError(#[source] Box<Failed>);

/// What was not done, to which object, and why.
#[derive(Debug, thiserror::Error)]
#[error("{source}")]
struct Failed {
    action: &'static str,
    kind: String,
    key: ObjectKey,
    source: kube::Error,
}

impl WriteError {
    pub(crate) fn new(
        action: &'static str,
        kind: String,
        key: ObjectKey,
        source: kube::Error,
    ) -> Self {
        Self(Box::new(Failed {
            action,
            kind,
            key,
            source,
        }))
    }

    /// The server's answer, if there was one.
    pub(crate) fn status(&self) -> Option<&Status> {
        match &self.0.source {
            kube::Error::Api(status) => Some(status),
            _ => None,
        }
    }

    /// The server's message, or what kept the request from being answered.
    pub(crate) fn message(&self) -> String {
        self.status().map_or_else(
            || self.0.source.to_string(),
            |status| status.message.clone(),
        )
    }

    fn has_reason(&self, reason: &str) -> bool {
        self.status().is_some_and(|status| status.reason == reason)
    }

    /// Somebody else was faster: a newer version is on its way to the cache.
    pub(crate) fn is_conflict(&self) -> bool {
        self.has_reason("Conflict")
    }

    pub(crate) fn is_not_found(&self) -> bool {
        self.has_reason("NotFound")
    }

    pub(crate) fn is_already_exists(&self) -> bool {
        self.has_reason("AlreadyExists")
    }

    /// The namespace is going away, so that nothing can be made in it any more.
    pub(crate) fn is_namespace_terminating(&self) -> bool {
        self.status().is_some_and(|status| {
            status.details.as_ref().is_some_and(|details| {
                details
                    .causes
                    .iter()
                    .any(|cause| cause.reason == "NamespaceTerminating")
            })
        })
    }
}

/// One kind: its cache, and its writes.
pub(crate) struct Objects<K> {
    client: Client,
    cache: Arc<Cache<K>>,
    clock: Clock,
    manager: &'static str,
}

impl<K> Clone for Objects<K> {
    fn clone(&self) -> Self {
        Self {
            client: self.client.clone(),
            cache: self.cache.clone(),
            clock: self.clock,
            manager: self.manager,
        }
    }
}

impl<K: Kind> Objects<K> {
    pub(crate) fn new(
        client: Client,
        cache: Arc<Cache<K>>,
        clock: Clock,
        manager: &'static str,
    ) -> Self {
        Self {
            client,
            cache,
            clock,
            manager,
        }
    }

    /// What is known of this kind.
    pub(crate) fn cache(&self) -> &Arc<Cache<K>> {
        &self.cache
    }

    fn api(&self, namespace: &str) -> Api<K> {
        K::within(self.client.clone(), namespace)
    }

    fn post(&self) -> PostParams {
        PostParams {
            field_manager: Some(self.manager.to_owned()),
            ..PostParams::default()
        }
    }

    fn patching(&self) -> PatchParams {
        PatchParams {
            field_manager: Some(self.manager.to_owned()),
            ..PatchParams::default()
        }
    }

    fn error(action: &'static str, key: &ObjectKey) -> impl FnOnce(kube::Error) -> WriteError {
        let key = key.clone();
        move |source| WriteError::new(action, K::kind(&()).into_owned(), key, source)
    }

    fn keep(&self, object: K) -> K {
        self.cache.written(object.clone());
        object
    }

    /// Reads the newest version from the server, past the cache.
    pub(crate) async fn read(&self, key: &ObjectKey) -> Result<Option<K>, WriteError> {
        self.api(&key.namespace)
            .get_opt(&key.name)
            .await
            .map_err(Self::error("reading", key))
    }

    pub(crate) async fn create(&self, object: &K) -> Result<K, WriteError> {
        let mut key = ObjectKey::of(object.meta());
        if key.name.is_empty() {
            key.name = format!(
                "{}…",
                object.meta().generate_name.as_deref().unwrap_or_default()
            );
        }
        let made = self
            .api(&key.namespace)
            .create(&self.post(), object)
            .await
            .map_err(Self::error("creating", &key))?;
        Ok(self.keep(made))
    }

    pub(crate) async fn replace(&self, object: &K) -> Result<K, WriteError> {
        let key = ObjectKey::of(object.meta());
        let written = self
            .api(&key.namespace)
            .replace(&key.name, &self.post(), object)
            .await
            .map_err(Self::error("updating", &key))?;
        Ok(self.keep(written))
    }

    pub(crate) async fn replace_status(&self, object: &K) -> Result<K, WriteError> {
        let key = ObjectKey::of(object.meta());
        let written = self
            .api(&key.namespace)
            .replace_status(&key.name, &self.post(), object)
            .await
            .map_err(Self::error("updating the status of", &key))?;
        Ok(self.keep(written))
    }

    pub(crate) async fn merge(&self, key: &ObjectKey, patch: Value) -> Result<K, WriteError> {
        let written = self
            .api(&key.namespace)
            .patch(&key.name, &self.patching(), &Patch::Merge(patch))
            .await
            .map_err(Self::error("patching", key))?;
        Ok(self.keep(written))
    }

    pub(crate) async fn strategic(&self, key: &ObjectKey, patch: Value) -> Result<K, WriteError> {
        let written = self
            .api(&key.namespace)
            .patch(&key.name, &self.patching(), &Patch::Strategic(patch))
            .await
            .map_err(Self::error("patching", key))?;
        Ok(self.keep(written))
    }

    pub(crate) async fn strategic_status(
        &self,
        key: &ObjectKey,
        patch: Value,
    ) -> Result<K, WriteError> {
        let written = self
            .api(&key.namespace)
            .patch_status(&key.name, &self.patching(), &Patch::Strategic(patch))
            .await
            .map_err(Self::error("patching the status of", key))?;
        Ok(self.keep(written))
    }

    pub(crate) async fn merge_status(
        &self,
        key: &ObjectKey,
        patch: Value,
    ) -> Result<K, WriteError> {
        let written = self
            .api(&key.namespace)
            .patch_status(&key.name, &self.patching(), &Patch::Merge(patch))
            .await
            .map_err(Self::error("patching the status of", key))?;
        Ok(self.keep(written))
    }

    /// Applies a status, whoever else has written it.
    pub(crate) async fn apply_status(
        &self,
        key: &ObjectKey,
        status: Value,
    ) -> Result<K, WriteError> {
        let params = PatchParams::apply(self.manager).force();
        let written = self
            .api(&key.namespace)
            .patch_status(&key.name, &params, &Patch::Apply(status))
            .await
            .map_err(Self::error("applying the status of", key))?;
        Ok(self.keep(written))
    }

    /// Posts to a subresource whose answer is not the object.
    pub(crate) async fn post_subresource(
        &self,
        key: &ObjectKey,
        subresource: &str,
        body: &impl Serialize,
    ) -> Result<Value, WriteError> {
        self.api(&key.namespace)
            .create_subresource(subresource, &key.name, &self.post(), body)
            .await
            .map_err(Self::error("posting to a subresource of", key))
    }

    /// Puts the object to a subresource that answers with it.
    pub(crate) async fn replace_subresource(
        &self,
        subresource: &str,
        object: &K,
    ) -> Result<K, WriteError> {
        let key = ObjectKey::of(object.meta());
        self.api(&key.namespace)
            .replace_subresource(subresource, &key.name, &self.post(), object)
            .await
            .map_err(Self::error("updating a subresource of", &key))
    }

    /// Deletes exactly this object, never a later one of the same name. An object that is gone already counts as
    /// deleted.
    pub(crate) async fn delete(
        &self,
        object: &K,
        propagation: Option<PropagationPolicy>,
    ) -> Result<(), WriteError> {
        self.delete_with(
            object,
            DeleteParams {
                propagation_policy: propagation,
                ..DeleteParams::default()
            },
        )
        .await
    }

    /// As [`Self::delete`], with everything that a deletion can say.
    pub(crate) async fn delete_with(
        &self,
        object: &K,
        params: DeleteParams,
    ) -> Result<(), WriteError> {
        let key = ObjectKey::of(object.meta());
        let uid = object.uid().unwrap_or_default();
        let preconditions = Preconditions {
            uid: Some(uid.clone()),
            resource_version: None,
        };
        let params = DeleteParams {
            preconditions: Some(preconditions),
            ..params
        };
        match self.api(&key.namespace).delete(&key.name, &params).await {
            Ok(_) => {
                self.cache.deleted(&key, &uid, &self.clock.time());
                Ok(())
            }
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(source) => Err(Self::error("deleting", &key)(source)),
        }
    }
}
