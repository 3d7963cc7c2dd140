//! ReplicaSets and ReplicationControllers: so many equal pods as wanted, no more, no fewer.
//!
//! [`plan`] decides which pods come and go, [`status`] what is reported; both know ReplicaSets only, and [`replicas`]
//! shows a ReplicationController as one. It does NOT know about rollouts.

use std::{future::Future, sync::Arc};

use k8s_openapi::{
    api::{
        apps::v1::{ReplicaSet, ReplicaSetCondition},
        core::v1::{Pod, ReplicationController},
    },
    apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta},
};

use crate::{
    cache::{Cache, ObjectKey},
    clock::Clock,
    context::Context,
    objects::{Objects, WriteError},
    ownership::{self, Claimer},
    pods::{self, control::PodControl},
    selector,
    work_queue::{Next, Reconcile, WorkQueue, work},
};

mod plan;
mod replicas;
mod status;

use plan::Plan;
use replicas::Replicas;

/// So many pods are made or deleted in one go.
const BURST: usize = 500;

struct Controller<K> {
    sets: Objects<K>,
    pods: PodControl,
    clock: Clock,
}

/// Registers for changes of ReplicaSets; the future works until dropped.
pub(crate) fn start(context: &Context) -> impl Future<Output = ()> + Send + use<> {
    start_for::<ReplicaSet>(context)
}

/// As [`start`], for ReplicationControllers.
pub(crate) fn start_replication(context: &Context) -> impl Future<Output = ()> + Send + use<> {
    start_for::<ReplicationController>(context)
}

fn start_for<K: Replicas>(context: &Context) -> impl Future<Output = ()> + Send + use<K> {
    let queue: Arc<WorkQueue<ObjectKey>> = Arc::default();
    let sets = context.objects::<K>();
    let pods = context.objects::<Pod>();
    let own = queue.clone();
    sets.cache()
        .on_change(move |change| own.add(ObjectKey::of(change.object().meta())));
    let (touched, known) = (queue.clone(), sets.cache().clone());
    pods.cache().on_change(move |change| {
        for pod in change.old().into_iter().chain([change.object()]) {
            for key in sets_of(pod, &known) {
                touched.add(key);
            }
        }
    });
    let controller = Controller {
        sets,
        pods: PodControl {
            pods,
            recorder: context.recorder(K::CONTROLLER),
        },
        clock: context.clock,
    };
    async move {
        controller.sets.cache().synced().await;
        controller.pods.pods.cache().synced().await;
        work(K::CONTROLLER, queue, 16, controller).await;
    }
}

/// The set that controls a pod, or those that would take it.
fn sets_of<K: Replicas>(pod: &Pod, known: &Cache<K>) -> Vec<ObjectKey> {
    if ownership::controller_of(&pod.metadata).is_some() {
        return ownership::controller_of_kind::<K>(&pod.metadata)
            .into_iter()
            .collect();
    }
    if pods::is_terminating(pod) {
        return Vec::new();
    }
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    known
        .in_namespace(namespace)
        .iter()
        .filter(|set| {
            selector_of(&set.as_set())
                .is_some_and(|wanted| selector::matches(wanted, pod.metadata.labels.as_ref()))
        })
        .map(|set| ObjectKey::of(set.meta()))
        .collect()
}

fn selector_of(set: &ReplicaSet) -> Option<&LabelSelector> {
    set.spec.as_ref().map(|spec| &spec.selector)
}

impl<K: Replicas> Reconcile<ObjectKey> for Controller<K> {
    async fn reconcile(&self, key: ObjectKey) -> Result<Next, WriteError> {
        let Some(own) = self.sets.cache().find(&key) else {
            return Ok(Next::OnChange);
        };
        let set = own.as_set();
        let Some(wanted) = selector_of(&set) else {
            return Ok(Next::OnChange);
        };
        let claimer = Claimer {
            owners: &self.sets,
            objects: &self.pods.pods,
            finalizer: None,
        };
        let owned = claimer.claim(&*own, wanted).await?;
        let mut failure = None;
        let mut error = None;
        if set.metadata.deletion_timestamp.is_none() {
            match plan::plan(&set, &owned, &self.crowd(&set.metadata), BURST) {
                Plan::Enough => {}
                Plan::Create(missing) => {
                    let reference = ownership::controller_reference(&*own);
                    let pods = plan::new_pods(&set, &reference, missing);
                    let (_, refused) = self.pods.create_all(&*own, pods).await;
                    failure = refused
                        .as_ref()
                        .map(|refused| ("FailedCreate", refused.message()));
                    error = refused;
                }
                Plan::Delete(surplus) => {
                    if let Err(refused) = self.pods.delete_all(&*own, &surplus).await {
                        failure = Some(("FailedDelete", refused.message()));
                        error = Some(refused);
                    }
                }
            }
        }
        let next = self.report(&key, failure).await?;
        // Nothing can be made in a namespace that goes away: that is reported, not tried again.
        error
            .filter(|error| !error.is_namespace_terminating())
            .map_or(Ok(next), Err)
    }
}

impl<K: Replicas> Controller<K> {
    /// The pods of all sets with the same owner, whose crowding on a node counts when pods must go.
    fn crowd(&self, set: &ObjectMeta) -> Vec<Arc<Pod>> {
        let namespace = set.namespace.as_deref().unwrap_or_default();
        let owner = ownership::controller_of(set).map(|owner| &owner.uid);
        let sets: Vec<_> = self
            .sets
            .cache()
            .in_namespace(namespace)
            .into_iter()
            .filter(|other| {
                other.meta().uid == set.uid
                    || (owner.is_some()
                        && ownership::controller_of(other.meta()).map(|owner| &owner.uid) == owner)
            })
            .collect();
        let is_related = |pod: &Pod| {
            pods::is_active(pod)
                && sets
                    .iter()
                    .any(|set| ownership::is_controlled_by(&pod.metadata, set.meta()))
        };
        self.pods
            .pods
            .cache()
            .in_namespace(namespace)
            .into_iter()
            .filter(|pod| is_related(pod))
            .collect()
    }

    /// Writes the status of the newest known version from the newest known pods.
    async fn report(
        &self,
        key: &ObjectKey,
        failure: Option<(&str, String)>,
    ) -> Result<Next, WriteError> {
        let Some(own) = self.sets.cache().find(key) else {
            return Ok(Next::OnChange);
        };
        let set = own.as_set();
        let owned: Vec<_> = self
            .pods
            .pods
            .cache()
            .in_namespace(&key.namespace)
            .into_iter()
            .filter(|pod| ownership::is_controlled_by(&pod.metadata, &set.metadata))
            .collect();
        let now = self.clock.now();
        let condition = failure.map(|(reason, message)| ReplicaSetCondition {
            type_: "ReplicaFailure".to_owned(),
            status: "True".to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message),
            last_transition_time: Some(self.clock.time()),
        });
        let (reported, recheck) = status::status(&set, &owned, condition, now);
        if let Some(new) = own.with_status(reported) {
            self.sets.replace_status(&new).await?;
        }
        Ok(recheck.map_or(Next::OnChange, |at| Next::At(self.clock.instant(at))))
    }
}
