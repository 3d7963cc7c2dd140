//! The namespace controller: a namespace that is deleted goes after everything in it.
//!
//! Pods go first, then all other kinds that the server has. [`conditions`] says what is left. What is left with
//! finalizers is waited for, not asked about again and again: its end brings the next look.

use std::{collections::BTreeMap, future::Future, sync::Arc, time::Duration};

use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, ListParams, PropagationPolicy},
};
use tokio::time::Instant;

use crate::{
    cache::{ObjectKey, set::MetadataChange},
    clock::Clock,
    context::Context,
    objects::{Objects, WriteError},
    universe::{KnownKind, Universe, is_kind},
    work_queue::{Next, Reconcile, WorkQueue, work},
};

mod conditions;

use conditions::Remains;

const NAME: &str = "namespace-controller";
const FINALIZER: &str = "kubernetes";
/// A kind that cannot be watched is asked about again after this.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// So many requests of one namespace are under way at a time.
const PARALLEL: usize = 16;

struct Controller {
    client: Client,
    namespaces: Objects<Namespace>,
    universe: Arc<Universe>,
    clock: Clock,
}

/// Registers for changes; the future works until dropped.
pub(crate) fn start(context: &Context) -> impl Future<Output = ()> + Send + use<> {
    let queue: Arc<WorkQueue<String>> = Arc::default();
    let namespaces = context.objects::<Namespace>();
    let universe = context.universe();
    let own = queue.clone();
    namespaces.cache().on_change(move |change| {
        let namespace = change.object();
        if is_going(namespace) && !change.is_removal() {
            own.add(namespace.metadata.name.clone().unwrap_or_default());
        }
    });
    let (touched, known) = (queue.clone(), namespaces.cache().clone());
    universe.on_change(move |_, change| {
        if let MetadataChange::Gone(metadata) = change
            && let Some(name) = &metadata.namespace
            && known
                .get("", name)
                .is_some_and(|namespace| is_going(&namespace))
        {
            touched.add(name.clone());
        }
    });
    let controller = Controller {
        client: context.client.clone(),
        namespaces,
        universe: universe.clone(),
        clock: context.clock,
    };
    async move {
        controller.namespaces.cache().synced().await;
        universe.synced().await;
        work(NAME, queue, 8, controller).await;
    }
}

fn is_going(namespace: &Namespace) -> bool {
    namespace.metadata.deletion_timestamp.is_some() && !finalizers(namespace).is_empty()
}

fn finalizers(namespace: &Namespace) -> Vec<String> {
    namespace
        .spec
        .as_ref()
        .and_then(|spec| spec.finalizers.clone())
        .unwrap_or_default()
}

impl Reconcile<String> for Controller {
    async fn reconcile(&self, name: String) -> Result<Next, WriteError> {
        let Some(namespace) = self.namespaces.cache().get("", &name) else {
            return Ok(Next::OnChange);
        };
        if !is_going(&namespace)
            || !finalizers(&namespace)
                .iter()
                .any(|known| known == FINALIZER)
        {
            return Ok(Next::OnChange);
        }
        let remains = self.empty(&name).await?;
        let namespace = self.report(&namespace, &remains).await?;
        if remains.is_nothing() {
            self.finalize(&namespace).await?;
            return Ok(Next::OnChange);
        }
        Ok(Next::At(Instant::now() + LOOK_AGAIN))
    }
}

impl Controller {
    /// Deletes what is there; returns what is left.
    async fn empty(&self, name: &str) -> Result<Remains, WriteError> {
        let (pods, others): (Vec<_>, Vec<_>) = self
            .universe
            .namespaced()
            .into_iter()
            .partition(|kind| is_kind::<Pod>(kind));
        let remains = self.empty_kinds(name, pods).await?;
        if !remains.is_nothing() {
            // Processes end before what they use goes.
            return Ok(remains);
        }
        self.empty_kinds(name, others).await
    }

    async fn empty_kinds(
        &self,
        name: &str,
        kinds: Vec<Arc<KnownKind>>,
    ) -> Result<Remains, WriteError> {
        let emptied: Vec<_> = stream::iter(kinds)
            .map(|kind| self.empty_kind(name, kind))
            .buffer_unordered(PARALLEL)
            .collect()
            .await;
        let mut remains = Remains::default();
        for left in emptied {
            remains.merge(left?);
        }
        Ok(remains)
    }

    async fn empty_kind(&self, name: &str, kind: Arc<KnownKind>) -> Result<Remains, WriteError> {
        let api = kind.api(self.client.clone(), name);
        let mut left = list(&api, &kind, name).await?;
        if left
            .items
            .iter()
            .all(|object| object.metadata.deletion_timestamp.is_some())
        {
            return Ok(Remains::of(&kind.resource, &left.items));
        }
        let params = DeleteParams {
            propagation_policy: Some(PropagationPolicy::Background),
            ..DeleteParams::default()
        };
        if kind.supports("deletecollection") {
            api.delete_collection(&params, &ListParams::default())
                .await
                .map_err(|source| failed("deleting all", &kind, name, source))?;
        } else {
            for object in &left.items {
                let object = object.metadata.name.as_deref().unwrap_or_default();
                match api.delete(object, &params).await {
                    Ok(_) => {}
                    Err(kube::Error::Api(status)) if status.code == 404 => {}
                    Err(source) => return Err(failed("deleting", &kind, name, source)),
                }
            }
        }
        left = list(&api, &kind, name).await?;
        Ok(Remains::of(&kind.resource, &left.items))
    }

    async fn report(
        &self,
        namespace: &Namespace,
        remains: &Remains,
    ) -> Result<Namespace, WriteError> {
        let known = namespace.status.clone().unwrap_or_default();
        let mut status = known.clone();
        status.conditions = Some(conditions::conditions(
            known.conditions.unwrap_or_default(),
            remains,
            &self.clock.time(),
        ));
        let mut namespace = namespace.clone();
        if remains.is_nothing() || namespace.status.as_ref() == Some(&status) {
            return Ok(namespace);
        }
        namespace.status = Some(status);
        self.namespaces.replace_status(&namespace).await
    }

    async fn finalize(&self, namespace: &Namespace) -> Result<(), WriteError> {
        let mut namespace = namespace.clone();
        let mut staying = finalizers(&namespace);
        staying.retain(|known| known != FINALIZER);
        namespace.spec.get_or_insert_default().finalizers = Some(staying);
        match self
            .namespaces
            .replace_subresource("finalize", &namespace)
            .await
        {
            Ok(_) => Ok(()),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error),
        }
    }
}

type Metadata = kube::core::ObjectList<kube::api::PartialObjectMeta<DynamicObject>>;

async fn list(
    api: &Api<DynamicObject>,
    kind: &KnownKind,
    name: &str,
) -> Result<Metadata, WriteError> {
    match api.list_metadata(&ListParams::default()).await {
        Ok(list) => Ok(list),
        // The kind has gone, or cannot be listed after all: nothing of it is in the way.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 405) => Ok(Metadata {
            types: kube::api::TypeMeta::default(),
            metadata: kube::core::ListMeta::default(),
            items: Vec::new(),
        }),
        Err(source) => Err(failed("listing", kind, name, source)),
    }
}

fn failed(
    action: &'static str,
    kind: &KnownKind,
    namespace: &str,
    source: kube::Error,
) -> WriteError {
    let key = ObjectKey::new("", namespace);
    WriteError::new(
        action,
        format!("{} of namespace", kind.resource.plural),
        key,
        source,
    )
}

/// How often each finalizer is left.
type Finalizers = BTreeMap<String, usize>;
