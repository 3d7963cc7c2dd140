//! The scheduler: on which node a pod runs.
//!
//! Pods are decided about one after another against [`state`], which already counts what was decided a moment ago;
//! their bindings are written side by side. A pod that fits nowhere says why ([`report`]) and is tried again as soon
//! as something changes that may help. It does NOT bind claims to volumes by itself: it chooses the node, asks the
//! binder and provisioner through the claim and the volume, and waits.

use std::{
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use k8s_openapi::api::{
    core::v1::{Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod},
    policy::v1::PodDisruptionBudget,
    storage::v1::StorageClass,
};
use kube::{ResourceExt, api::DeleteParams};
use serde_json::json;

use crate::{
    cache::{Cache, ObjectKey},
    clock::{Clock, whole_seconds},
    context::Context,
    events::{Recorder, reference},
    objects::{Objects, WriteError},
    pods,
    volumes::{self, BOUND_BY_CONTROLLER, SELECTED_NODE},
    work_queue::{Next, Reconcile, WorkQueue, work},
};

mod affinity;
mod filter;
mod preemption;
mod report;
mod score;
mod spread;
mod state;
mod storage;
mod stuck;

use filter::World;
use report::Failure;
use state::State;
use storage::Storage;
use stuck::{Change, Needs, Stuck};

const NAME: &str = "default-scheduler";
const MANAGER: &str = "kube-scheduler";

struct Scheduler {
    pods: Objects<Pod>,
    claims: Objects<PersistentVolumeClaim>,
    volumes: Objects<PersistentVolume>,
    nodes: Arc<Cache<Node>>,
    classes: Arc<Cache<StorageClass>>,
    namespaces: Arc<Cache<Namespace>>,
    budgets: Arc<Cache<PodDisruptionBudget>>,
    state: Arc<Mutex<State>>,
    recorder: Recorder,
    clock: Clock,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Registers for changes; the future works until dropped.
pub(crate) fn start(context: &Context) -> impl Future<Output = ()> + Send + use<> {
    let queue: Arc<WorkQueue<ObjectKey>> = Arc::default();
    let state: Arc<Mutex<State>> = Arc::default();
    let stuck = Stuck::default();
    let pods = context.objects_as::<Pod>(MANAGER);
    let claims = context.objects_as::<PersistentVolumeClaim>(MANAGER);
    let volumes = context.objects_as::<PersistentVolume>(MANAGER);
    let nodes = context.cache::<Node>();
    let classes = context.cache::<StorageClass>();
    follow_pods(pods.cache(), &queue, &state, &stuck);
    let (touched, known, again) = (queue.clone(), state.clone(), stuck.clone());
    nodes.on_change(move |change| {
        let node = change.object();
        let helps = if change.is_removal() {
            lock(&known).remove_node(&node.name_any());
            // Pods that waited for volumes on it choose anew.
            true
        } else {
            change
                .old()
                .is_none_or(|old| state::matters_to_pods(old, node))
        };
        if !change.is_removal() {
            lock(&known).put_node(node.clone());
        }
        if helps {
            again.retry(&touched, Change::Anything);
        }
    });
    let (touched, again) = (queue.clone(), stuck.clone());
    claims.cache().on_change(move |change| {
        let claim = ObjectKey::of(&change.object().metadata);
        again.retry(&touched, Change::Claim(&claim));
    });
    let (touched, again) = (queue.clone(), stuck.clone());
    volumes
        .cache()
        .on_change(move |_| again.retry(&touched, Change::Volume));
    let (touched, again) = (queue.clone(), stuck.clone());
    classes.on_change(move |_| again.retry(&touched, Change::Anything));
    let scheduler = Scheduler {
        pods,
        claims,
        volumes,
        nodes,
        classes,
        namespaces: context.cache(),
        budgets: context.cache(),
        state,
        recorder: context.reporting_recorder(NAME),
        clock: context.clock,
    };
    async move {
        scheduler.pods.cache().synced().await;
        scheduler.nodes.synced().await;
        scheduler.claims.cache().synced().await;
        scheduler.volumes.cache().synced().await;
        scheduler.classes.synced().await;
        scheduler.namespaces.synced().await;
        work(NAME, queue, 32, Worker { scheduler, stuck }).await;
    }
}

fn follow_pods(
    cache: &Arc<Cache<Pod>>,
    queue: &Arc<WorkQueue<ObjectKey>>,
    state: &Arc<Mutex<State>>,
    stuck: &Stuck,
) {
    let (touched, known, again) = (queue.clone(), state.clone(), stuck.clone());
    cache.on_change(move |change| {
        let pod = change.object();
        if change.is_removal() || pods::is_finished(pod) {
            let freed = lock(&known).remove_pod(pod);
            if freed {
                again.retry(&touched, Change::Room);
            }
        } else if pods::node_name(pod).is_some() {
            let is_new = lock(&known).put_pod(pod.clone());
            // Others may want to be near it.
            if is_new {
                again.retry(&touched, Change::Room);
            }
        } else if is_ours(pod) {
            let old = change.old();
            let same = old.is_some_and(|old| {
                old.spec == pod.spec && old.metadata.labels == pod.metadata.labels
            });
            if !same {
                touched.add(ObjectKey::of(&pod.metadata));
            }
        }
    });
}

/// Whether a pod waits for this scheduler.
fn is_ours(pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return false };
    pods::node_name(pod).is_none()
        && !pods::is_terminating(pod)
        && spec
            .scheduler_name
            .as_deref()
            .is_none_or(|name| name == NAME)
        && spec.scheduling_gates.as_ref().is_none_or(Vec::is_empty)
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Bound,
    Waits(Needs),
}

/// What may help a pod that nothing was found for.
fn needs(pod: &Pod, failure: &Failure) -> Needs {
    let claims: Vec<_> = volumes::claims_of_pod(pod).collect();
    match failure {
        Failure::Pod { .. } => Needs::Some {
            claims,
            volumes: false,
            room: false,
        },
        Failure::NoNode { .. } => Needs::Some {
            volumes: !claims.is_empty(),
            claims,
            room: true,
        },
    }
}

struct Worker {
    scheduler: Scheduler,
    stuck: Stuck,
}

impl Reconcile<ObjectKey> for Worker {
    async fn reconcile(&self, key: ObjectKey) -> Result<Next, WriteError> {
        // Before looking: what changes from here on brings the pod back.
        self.stuck.put(key.clone());
        let Some(pod) = self
            .scheduler
            .pods
            .cache()
            .find(&key)
            .filter(|pod| is_ours(pod))
        else {
            return Ok(Next::OnChange);
        };
        match self.scheduler.schedule(&pod).await? {
            Outcome::Bound => self.stuck.forget(&key),
            Outcome::Waits(needs) => self.stuck.judge(&key, needs),
        }
        Ok(Next::OnChange)
    }
}

impl Scheduler {
    async fn schedule(&self, pod: &Arc<Pod>) -> Result<Outcome, WriteError> {
        if lock(&self.state).is_bound(pod) {
            return Ok(Outcome::Bound);
        }
        let node = match self.choose(pod) {
            Ok(node) => node,
            Err(failure) => {
                self.report(pod, &failure).await?;
                return Ok(Outcome::Waits(needs(pod, &failure)));
            }
        };
        match self.prepare_volumes(pod, &node).await {
            Ok(true) => {}
            // The node stays chosen while its volumes are made.
            Ok(false) => {
                return Ok(Outcome::Waits(Needs::Some {
                    claims: volumes::claims_of_pod(pod).collect(),
                    volumes: true,
                    room: false,
                }));
            }
            Err(error) => {
                lock(&self.state).forget_choice(pod);
                return Err(error);
            }
        }
        self.bind(pod, &node).await?;
        Ok(Outcome::Bound)
    }

    /// Chooses a node and counts the pod there at once.
    fn choose(&self, pod: &Arc<Pod>) -> Result<String, Failure> {
        let storage = Storage::new(
            pod,
            self.claims.cache(),
            &self.volumes.cache().all(),
            self.classes.all(),
        );
        let namespaces = self.namespaces.all();
        let mut state = lock(&self.state);
        let storage = storage.map_err(|why| Failure::Pod {
            total: state.nodes().count(),
            why,
        })?;
        if let Some(chosen) = state.chosen(pod) {
            return Ok(chosen);
        }
        let world = World {
            state: &state,
            storage: &storage,
            namespaces: &namespaces,
        };
        let (fitting, refusals) = filter::split(pod, &world);
        if fitting.is_empty() {
            let helps = preemption::outlook(pod, &world, &refusals);
            return Err(Failure::NoNode {
                total: state.nodes().count(),
                refusals,
                helps,
            });
        }
        let node = score::best(pod, &world, &fitting);
        state.choose(pod.clone(), &node);
        Ok(node)
    }

    /// Asks for the volumes that the pod needs on its node; whether all are there.
    async fn prepare_volumes(&self, pod: &Pod, node: &str) -> Result<bool, WriteError> {
        let Some(node) = self.nodes.get("", node) else {
            return Ok(false);
        };
        let volumes = self.volumes.cache().all();
        let classes = self.classes.all();
        let open = storage::open_claims(pod, self.claims.cache());
        let is_bound = open.is_empty();
        for (claim, volume) in storage::assignments(&storage::offers(open, &volumes), &node) {
            match volume {
                Some(volume) if volumes::claim_reference(&volume).is_none() => {
                    let patch = json!({
                        "metadata": {
                            "resourceVersion": volume.metadata.resource_version,
                            "annotations": {BOUND_BY_CONTROLLER: "yes"},
                        },
                        "spec": {"claimRef": {
                            "apiVersion": "v1", "kind": "PersistentVolumeClaim",
                            "namespace": claim.metadata.namespace, "name": claim.metadata.name,
                            "uid": claim.metadata.uid,
                            "resourceVersion": claim.metadata.resource_version,
                        }},
                    });
                    self.volumes
                        .merge(&ObjectKey::of(&volume.metadata), patch)
                        .await?;
                }
                Some(_) => {}
                None => {
                    let provisions = storage::class_of(&claim, &classes).is_some();
                    let selected = claim.annotations().get(SELECTED_NODE);
                    if provisions && selected != node.metadata.name.as_ref() {
                        let patch = json!({"metadata": {
                            "resourceVersion": claim.metadata.resource_version,
                            "annotations": {SELECTED_NODE: node.metadata.name},
                        }});
                        self.claims
                            .merge(&ObjectKey::of(&claim.metadata), patch)
                            .await?;
                    }
                }
            }
        }
        Ok(is_bound)
    }

    async fn bind(&self, pod: &Arc<Pod>, node: &str) -> Result<(), WriteError> {
        let key = ObjectKey::of(&pod.metadata);
        let binding = json!({
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": key.name, "namespace": key.namespace, "uid": pod.metadata.uid},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        });
        match self.pods.post_subresource(&key, "binding", &binding).await {
            Ok(_) => {
                lock(&self.state).mark_bound(pod);
                let text = format!("Successfully assigned {key} to {node}");
                self.recorder
                    .record("Normal", reference(&**pod), "Scheduled", text, "Binding");
                Ok(())
            }
            Err(error) => {
                lock(&self.state).forget_choice(pod);
                // Gone, or assigned by somebody else.
                if error.is_not_found() || error.is_conflict() {
                    Ok(())
                } else {
                    Err(error)
                }
            }
        }
    }

    async fn report(&self, pod: &Arc<Pod>, failure: &Failure) -> Result<(), WriteError> {
        let message = failure.message();
        if let Failure::NoNode { helps, .. } = failure
            && let Some(plan) = &helps.plan
        {
            self.preempt(pod, plan).await?;
        }
        let known = pods::condition(pod, "PodScheduled");
        let said = known.is_some_and(|known| {
            known.status == "False" && known.message.as_deref() == Some(message.as_str())
        });
        if said {
            return Ok(());
        }
        let regarding = reference(&**pod);
        self.recorder.record(
            "Warning",
            regarding,
            "FailedScheduling",
            message.clone(),
            "Scheduling",
        );
        let since = known.filter(|known| known.status == "False");
        let since = since.and_then(|known| known.last_transition_time.clone());
        let patch = json!({
            "metadata": {"uid": pod.metadata.uid},
            "status": {"conditions": [{
                "type": "PodScheduled",
                "status": "False",
                "reason": "Unschedulable",
                "message": message,
                "lastProbeTime": null,
                "lastTransitionTime": since.unwrap_or_else(|| whole_seconds(self.now())),
                "observedGeneration": pod.metadata.generation,
            }]},
        });
        match self
            .pods
            .strategic_status(&ObjectKey::of(&pod.metadata), patch)
            .await
        {
            Ok(_) => Ok(()),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Makes room for a pod that matters more.
    async fn preempt(&self, pod: &Arc<Pod>, plan: &preemption::Plan) -> Result<(), WriteError> {
        let protected = preemption::protected(&plan.victims, &self.budgets.all());
        if !protected.is_empty() {
            tracing::debug!(?protected, "preempting against a disruption budget");
        }
        for victim in &plan.victims {
            let by = pod.metadata.uid.as_deref().unwrap_or_default();
            let text = format!("Preempted by pod {by} on node {}", plan.node);
            self.recorder.record(
                "Normal",
                reference(&**victim),
                "Preempted",
                text,
                "Preempting",
            );
            let message = format!("{NAME}: preempting to accommodate a higher priority pod");
            let patch = json!({"status": {"conditions": [{
                "type": "DisruptionTarget",
                "status": "True",
                "reason": "PreemptionByScheduler",
                "message": message,
                "lastTransitionTime": whole_seconds(self.now()),
            }]}});
            let key = ObjectKey::of(&victim.metadata);
            match self.pods.strategic_status(&key, patch).await {
                Ok(_) => {}
                Err(error) if error.is_not_found() => continue,
                Err(error) => return Err(error),
            }
            self.pods
                .delete_with(&**victim, DeleteParams::default())
                .await?;
        }
        let patch = json!({
            "metadata": {"uid": pod.metadata.uid},
            "status": {"nominatedNodeName": plan.node},
        });
        match self
            .pods
            .merge_status(&ObjectKey::of(&pod.metadata), patch)
            .await
        {
            Ok(_) => Ok(()),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

#[cfg(test)]
mod tests;
