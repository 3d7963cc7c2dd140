//! PodDisruptionBudgets: how many pods may be evicted now.
//!
//! [`budget`] counts. It does NOT evict or refuse: the API server does, by what stands in the status.

use std::{future::Future, sync::Arc};

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, ReplicaSet, StatefulSet},
        core::v1::{Pod, ReplicationController},
        policy::v1::PodDisruptionBudget,
    },
    apimachinery::pkg::{apis::meta::v1::OwnerReference, util::intstr::IntOrString},
};
use kube::ResourceExt;

use crate::{
    cache::{Cache, ObjectKey},
    clock::Clock,
    context::Context,
    events::Recorder,
    objects::{Objects, WriteError},
    ownership::{controller_of, controller_of_kind},
    selector,
    work_queue::{Next, Reconcile, WorkQueue, work},
};

mod budget;

use budget::{Expected, Scale, Workload};

const NAME: &str = "controllermanager";

struct Controller {
    budgets: Objects<PodDisruptionBudget>,
    pods: Arc<Cache<Pod>>,
    sets: Arc<Cache<ReplicaSet>>,
    deployments: Arc<Cache<Deployment>>,
    stateful_sets: Arc<Cache<StatefulSet>>,
    replications: Arc<Cache<ReplicationController>>,
    recorder: Recorder,
    clock: Clock,
}

/// Registers for changes; the future works until dropped.
pub(crate) fn start(context: &Context) -> impl Future<Output = ()> + Send + use<> {
    let queue: Arc<WorkQueue<ObjectKey>> = Arc::default();
    let budgets = context.objects::<PodDisruptionBudget>();
    let pods = context.cache::<Pod>();
    let own = queue.clone();
    budgets
        .cache()
        .on_change(move |change| own.add(ObjectKey::of(&change.object().metadata)));
    let (touched, known) = (queue.clone(), budgets.cache().clone());
    pods.on_change(move |change| {
        for pod in change.old().into_iter().chain([change.object()]) {
            let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
            for budget in known.in_namespace(namespace) {
                if covers(&budget, pod) {
                    touched.add(ObjectKey::of(&budget.metadata));
                }
            }
        }
    });
    let controller = Controller {
        budgets,
        pods,
        sets: context.cache(),
        deployments: context.cache(),
        stateful_sets: context.cache(),
        replications: context.cache(),
        recorder: context.recorder(NAME),
        clock: context.clock,
    };
    // The size of a workload counts, too.
    let (touched, known) = (queue.clone(), controller.budgets.cache().clone());
    controller.deployments.on_change(move |change| {
        touch_all(
            &known,
            change.object().metadata.namespace.as_deref(),
            &touched,
        );
    });
    let (touched, known) = (queue.clone(), controller.budgets.cache().clone());
    controller.stateful_sets.on_change(move |change| {
        touch_all(
            &known,
            change.object().metadata.namespace.as_deref(),
            &touched,
        );
    });
    async move {
        controller.budgets.cache().synced().await;
        controller.pods.synced().await;
        controller.sets.synced().await;
        controller.deployments.synced().await;
        controller.stateful_sets.synced().await;
        controller.replications.synced().await;
        work(NAME, queue, 8, controller).await;
    }
}

fn touch_all(
    known: &Cache<PodDisruptionBudget>,
    namespace: Option<&str>,
    queue: &WorkQueue<ObjectKey>,
) {
    for budget in known.in_namespace(namespace.unwrap_or_default()) {
        queue.add(ObjectKey::of(&budget.metadata));
    }
}

fn covers(budget: &PodDisruptionBudget, pod: &Pod) -> bool {
    let wanted = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    wanted.is_some_and(|wanted| selector::matches(wanted, pod.metadata.labels.as_ref()))
}

impl Reconcile<ObjectKey> for Controller {
    async fn reconcile(&self, key: ObjectKey) -> Result<Next, WriteError> {
        let Some(budget) = self.budgets.cache().find(&key) else {
            return Ok(Next::OnChange);
        };
        let mut pods = self.pods.in_namespace(&key.namespace);
        pods.retain(|pod| covers(&budget, pod));
        if pods.is_empty() {
            self.recorder
                .normal(&*budget, "NoPods", "No matching pods found");
        }
        let workloads: Vec<_> = pods.iter().map(|pod| self.workload(pod)).collect();
        let expected = Expected::of(&budget, &pods, &workloads);
        let counts_workloads = budget
            .spec
            .as_ref()
            .is_some_and(|spec| !matches!(spec.min_available, Some(IntOrString::Int(_))));
        if counts_workloads && workloads.contains(&Workload::None) {
            let wanted = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
            let text = format!(
                "Pods selected by this PodDisruptionBudget (selector: {}) were found to be \
                 unmanaged. As a result, the status of the PDB cannot be calculated correctly, \
                 which may result in undefined behavior. To account for these pods please set \
                 \".spec.minAvailable\" field of the PDB to an integer value.",
                selector::as_go_prints(wanted)
            );
            self.recorder.warning(&*budget, "UnmanagedPods", text);
        }
        let now = self.clock.now();
        let (status, recheck) = budget::status(&budget, &pods, &expected, now);
        if budget.status.as_ref() != Some(&status) {
            let mut new = PodDisruptionBudget::clone(&budget);
            new.status = Some(status);
            self.budgets.replace_status(&new).await?;
        }
        Ok(recheck.map_or(Next::OnChange, |at| Next::At(self.clock.instant(at))))
    }
}

impl Controller {
    fn workload(&self, pod: &Pod) -> Workload {
        match controller_of(&pod.metadata) {
            None => Workload::None,
            Some(owner) => self
                .scale(pod, owner)
                .map_or(Workload::Unknown, Workload::Known),
        }
    }

    /// The size of the workload that a pod belongs to.
    fn scale(&self, pod: &Pod, owner: &OwnerReference) -> Option<Scale> {
        let namespace = pod.namespace().unwrap_or_default();
        match owner.kind.as_str() {
            "ReplicaSet" => {
                let set = self.sets.get(&namespace, &owner.name)?;
                if let Some(key) = controller_of_kind::<Deployment>(&set.metadata) {
                    let deployment = self.deployments.find(&key)?;
                    return Some(Scale {
                        uid: deployment.uid()?,
                        replicas: deployment.spec.as_ref()?.replicas.unwrap_or(1),
                    });
                }
                Some(Scale {
                    uid: set.uid()?,
                    replicas: set.spec.as_ref()?.replicas.unwrap_or(1),
                })
            }
            "ReplicationController" => {
                let set = self.replications.get(&namespace, &owner.name)?;
                Some(Scale {
                    uid: set.uid()?,
                    replicas: set.spec.as_ref()?.replicas.unwrap_or(1),
                })
            }
            "StatefulSet" => {
                let set = self.stateful_sets.get(&namespace, &owner.name)?;
                Some(Scale {
                    uid: set.uid()?,
                    replicas: set.spec.as_ref()?.replicas.unwrap_or(1),
                })
            }
            _ => None,
        }
    }
}
