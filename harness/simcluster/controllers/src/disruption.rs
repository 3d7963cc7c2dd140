//! PodDisruptionBudgets: how many pods may be evicted now.
//!
//! [`budget`] counts. It does NOT evict or refuse: the API server does, by what stands in the status.

use std::{collections::BTreeMap, future::Future, sync::Arc};

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, ReplicaSet, StatefulSet},
        core::v1::{Pod, ReplicationController},
        policy::v1::PodDisruptionBudget,
    },
    apimachinery::pkg::{apis::meta::v1::OwnerReference, util::intstr::IntOrString},
};
use kube::{Client, ResourceExt};

use crate::{
    cache::{Cache, ObjectKey},
    clock::Clock,
    context::Context,
    events::Recorder,
    objects::{Objects, WriteError},
    ownership::{controller_of, controller_of_kind},
    selector,
    universe::Universe,
    work_queue::{Next, Reconcile, WorkQueue, work},
};

mod budget;

use budget::{Expected, Scale, Workload};

const NAME: &str = "controllermanager";
/// Workloads whose size is known without asking.
const BUILT_IN: [&str; 3] = ["ReplicaSet", "ReplicationController", "StatefulSet"];

struct Controller {
    budgets: Objects<PodDisruptionBudget>,
    pods: Arc<Cache<Pod>>,
    sets: Arc<Cache<ReplicaSet>>,
    deployments: Arc<Cache<Deployment>>,
    stateful_sets: Arc<Cache<StatefulSet>>,
    replications: Arc<Cache<ReplicationController>>,
    recorder: Recorder,
    clock: Clock,
    client: Client,
    universe: Arc<Universe>,
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
        client: context.client.clone(),
        universe: context.universe(),
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
        controller.universe.synced().await;
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
        let counts_workloads = budget
            .spec
            .as_ref()
            .is_some_and(|spec| !matches!(spec.min_available, Some(IntOrString::Int(_))));
        let workloads = if counts_workloads {
            self.workloads(&pods).await
        } else {
            Vec::new()
        };
        let expected = Expected::of(&budget, &pods, &workloads);
        if let Expected::Unknown { why } = &expected {
            let text = format!("Failed to calculate the number of expected pods: {why}");
            self.recorder
                .warning(&*budget, "CalculateExpectedPodCountFailed", text);
        }
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
    /// What each pod belongs to, up to the first of unknown size.
    async fn workloads(&self, pods: &[Arc<Pod>]) -> Vec<Workload> {
        let mut asked: BTreeMap<&str, Workload> = BTreeMap::new();
        let mut all = Vec::new();
        for pod in pods {
            let workload = match controller_of(&pod.metadata) {
                None => Workload::None,
                Some(owner) => {
                    if let Some(known) = asked.get(owner.uid.as_str()) {
                        known.clone()
                    } else {
                        let found = self.workload(pod, owner).await;
                        asked.insert(&owner.uid, found.clone());
                        found
                    }
                }
            };
            let known = !matches!(workload, Workload::Unknown(_));
            all.push(workload);
            if !known {
                break;
            }
        }
        all
    }

    async fn workload(&self, pod: &Pod, owner: &OwnerReference) -> Workload {
        let missing = || {
            let text = format!("found no controllers for pod {:?}", pod.name_any());
            Workload::Unknown(text)
        };
        if BUILT_IN.contains(&owner.kind.as_str()) {
            return self.scale(pod, owner).map_or_else(missing, Workload::Known);
        }
        let (group, _) = owner.api_version.split_once('/').unwrap_or_default();
        let Some(kind) = self.universe.kind(group, &owner.kind) else {
            let kind = &owner.kind;
            return Workload::Unknown(format!("no matches for kind {kind:?} in group {group:?}"));
        };
        let api = kind.api(self.client.clone(), &pod.namespace().unwrap_or_default());
        match api.get_scale(&owner.name).await {
            Ok(scale) if scale.metadata.uid.as_ref() == Some(&owner.uid) => {
                Workload::Known(Scale {
                    uid: owner.uid.clone(),
                    replicas: scale.spec.and_then(|spec| spec.replicas).unwrap_or(0),
                })
            }
            Ok(_) => missing(),
            Err(kube::Error::Api(status)) if status.code == 404 => {
                // Either the workload is missing, or its kind has no size.
                let plural = &kind.resource.plural;
                if status
                    .message
                    .contains(&format!("{:?} not found", owner.name))
                {
                    return missing();
                }
                let name = match group {
                    "" => plural.clone(),
                    group => format!("{plural}.{group}"),
                };
                Workload::Unknown(format!("{name} does not implement the scale subresource"))
            }
            Err(error) => Workload::Unknown(error.to_string()),
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
