//! A cluster to work in: a client, a namespace, and the verbs a scenario uses.

use std::{
    fmt::Debug,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use kube::{Api, Client, Resource, api::DynamicObject, core::NamespaceResourceScope};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    backend::existing::RUN,
    backend::{Backend, Capability, Leftovers},
    conditions::{self, Condition},
    evidence::RunLog,
    faults::Faults,
    journal::Journal,
    objects::{self, ObjectError},
    wait::{self, WaitError},
};

/// A running cluster and the namespace that this scenario works in.
pub struct Cluster {
    backend: Box<dyn Backend>,
    client: Client,
    namespace: String,
    journal: Journal,
    log: RunLog,
    faults: Faults,
    /// What was applied to a cluster that is not our own, to be removed again.
    applied: Mutex<Vec<Option<DynamicObject>>>,
}

/// How long the removal of one object may take in a cluster that is not our own.
const CLEAN_UP: Duration = Duration::from_secs(60);

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
            journal: Journal::default(),
            log: RunLog::default(),
            faults: Faults::default(),
            applied: Mutex::default(),
        }
    }

    /// The same, in a test whose log is kept there.
    #[must_use]
    pub fn logged_in(mut self, log: &RunLog) -> Self {
        self.log = log.clone();
        self
    }

    /// What this test's process has logged so far, the operator's task included; empty outside of tests.
    pub fn run_log(&self) -> &RunLog {
        &self.log
    }

    /// A client with all permissions.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// A client whose requests are recorded as those of `who`, for the operator under test; faults strike
    /// at them.
    pub fn client_of(&self, who: &str) -> Client {
        self.journal.client(&self.faults.client(&self.client), who)
    }

    /// What goes wrong at the requests of the clients that [`Cluster::client_of`] gave.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// The requests of the clients that [`Cluster::client_of`] gave.
    pub fn journal(&self) -> &Journal {
        &self.journal
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
            applied.push(
                self.write(object, &self.namespace, objects::Write::Apply)
                    .await?,
            );
        }
        Ok(applied)
    }

    /// Writes one object, in `namespace` unless it names one; in a cluster that is not our own it is
    /// labelled, and remembered for [`Cluster::clean_up`] unless it was there before.
    pub async fn write(
        &self,
        mut object: DynamicObject,
        namespace: &str,
        writing: impl Into<objects::Writing>,
    ) -> Result<DynamicObject, ObjectError> {
        if self.can(Capability::OwnCluster) {
            return objects::write(&self.client, &object, namespace, writing).await;
        }
        let writing = writing.into();
        let is_new = !writing.dry_run
            && objects::get(&self.client, &object, namespace)
                .await?
                .is_none();
        if !is_new {
            return objects::write(&self.client, &object, namespace, writing).await;
        }
        let labels = object.metadata.labels.get_or_insert_default();
        labels.insert(RUN.to_owned(), self.namespace.clone());
        // Remembered first: who gives up waiting for the answer may have made it nevertheless.
        let place = {
            let mut applied = self.applied.lock().unwrap_or_else(PoisonError::into_inner);
            applied.push(Some(object.clone()));
            applied.len() - 1
        };
        let written = objects::write(&self.client, &object, namespace, writing).await;
        // One that was not made may be made by somebody else at any time, and is not ours to remove.
        let ours = written.as_ref().ok().map(|stored| {
            let (name, namespace) = (&stored.metadata.name, &stored.metadata.namespace);
            object.metadata.name.clone_from(name);
            object.metadata.namespace.clone_from(namespace);
            object
        });
        let mut applied = self.applied.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = applied.get_mut(place) {
            *slot = ours;
        }
        written
    }

    /// Removes what was applied to a cluster that is not our own, newest first, and says what is left.
    ///
    /// To be called while the operator under test still runs: its finalizers need it. On a cluster of
    /// our own there is nothing to do, for it ends as a whole.
    pub async fn clean_up(&self) -> Leftovers {
        let applied =
            std::mem::take(&mut *self.applied.lock().unwrap_or_else(PoisonError::into_inner));
        let mut left = Vec::new();
        // Without a name: given up before the API's answer said what it is called.
        let named = |object: &&DynamicObject| object.metadata.name.is_some();
        for object in applied.iter().flatten().filter(named).rev() {
            let name = objects::describe(object);
            let removal = async {
                objects::delete(&self.client, object, &self.namespace).await?;
                let (api, resource) =
                    objects::api_for(&self.client, object, &self.namespace).await?;
                Ok::<_, ObjectError>((api, resource))
            };
            match removal.await {
                Ok((api, resource)) => {
                    let gone = wait::until_dynamic(
                        &api,
                        &resource,
                        object.metadata.name.as_deref().unwrap_or_default(),
                        conditions::absent(),
                        CLEAN_UP,
                    );
                    if gone.await.is_err() {
                        let now = objects::get(&self.client, object, &self.namespace).await;
                        let finalizers = now.ok().flatten().and_then(|o| o.metadata.finalizers);
                        left.push(format!(
                            "{name} is still there after {CLEAN_UP:?}; it waits for {}",
                            finalizers.unwrap_or_default().join(", ")
                        ));
                    }
                }
                // With its CRD gone, the kind and its objects are gone too.
                Err(ObjectError::NoMatch { .. }) => {}
                Err(error) => left.push(format!("{name}: {}", crate::proof::chain(&error))),
            }
        }
        Leftovers(left)
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

    /// Ends the cluster, or our part of it, and waits until nothing of it is left; says what is.
    pub async fn stop(self) -> Leftovers {
        self.backend.stop().await
    }
}
