//! Deployments: rollouts from one pod template to the next, by scaling ReplicaSets.
//!
//! One reconciliation takes one step: find or make the ReplicaSet of the present template ([`revision`]), scale sets
//! ([`rolling`], [`scale`]), remove old history, report ([`status`]). Each step's effect brings the next
//! reconciliation. It does NOT touch pods: ReplicaSets do.

use std::{future::Future, sync::Arc};

use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    core::v1::Pod,
};
use kube::ResourceExt;
use serde_json::json;

use crate::{
    cache::{Cache, ObjectKey},
    clock::Clock,
    context::Context,
    events::Recorder,
    objects::{Objects, WriteError},
    ownership::{self, Claimer},
    pods, selector,
    work_queue::{Next, Reconcile, WorkQueue, work},
};

mod revision;
mod rolling;
mod scale;
mod status;
mod strategy;

use revision::Found;
use rolling::Resize;
use status::Progress;

const NAME: &str = "deployment-controller";

struct Controller {
    deployments: Objects<Deployment>,
    sets: Objects<ReplicaSet>,
    pods: Arc<Cache<Pod>>,
    recorder: Recorder,
    clock: Clock,
}

/// Registers for changes; the future works until dropped.
pub(crate) fn start(context: &Context) -> impl Future<Output = ()> + Send + use<> {
    let queue: Arc<WorkQueue<ObjectKey>> = Arc::default();
    let deployments = context.objects::<Deployment>();
    let sets = context.objects::<ReplicaSet>();
    let pods = context.cache::<Pod>();
    let own = queue.clone();
    deployments
        .cache()
        .on_change(move |change| own.add(ObjectKey::of(&change.object().metadata)));
    let (touched, known) = (queue.clone(), deployments.cache().clone());
    sets.cache().on_change(move |change| {
        for set in change.old().into_iter().chain([change.object()]) {
            for key in deployments_of(set, &known) {
                touched.add(key);
            }
        }
    });
    let (touched, known) = (queue.clone(), sets.cache().clone());
    pods.on_change(move |change| {
        // A Recreate rollout waits for the end of pods, which no ReplicaSet may report.
        let pod = change.object();
        if (change.is_removal() || pods::is_finished(pod))
            && let Some(set) = ownership::controller_of_kind::<ReplicaSet>(&pod.metadata)
            && let Some(set) = known.find(&set)
            && let Some(key) = ownership::controller_of_kind::<Deployment>(&set.metadata)
        {
            touched.add(key);
        }
    });
    let controller = Controller {
        deployments,
        sets,
        pods,
        recorder: context.recorder(NAME),
        clock: context.clock,
    };
    async move {
        controller.deployments.cache().synced().await;
        controller.sets.cache().synced().await;
        controller.pods.synced().await;
        work(NAME, queue, 16, controller).await;
    }
}

/// The deployment that controls a set, or those that would take it.
fn deployments_of(set: &ReplicaSet, known: &Cache<Deployment>) -> Vec<ObjectKey> {
    if ownership::controller_of(&set.metadata).is_some() {
        return ownership::controller_of_kind::<Deployment>(&set.metadata)
            .into_iter()
            .collect();
    }
    known
        .in_namespace(set.metadata.namespace.as_deref().unwrap_or_default())
        .iter()
        .filter(|deployment| {
            deployment
                .spec
                .as_ref()
                .is_some_and(|spec| selector::matches(&spec.selector, set.metadata.labels.as_ref()))
        })
        .map(|deployment| ObjectKey::of(&deployment.metadata))
        .collect()
}

impl Reconcile<ObjectKey> for Controller {
    async fn reconcile(&self, key: ObjectKey) -> Result<Next, WriteError> {
        let Some(deployment) = self.deployments.cache().find(&key) else {
            return Ok(Next::OnChange);
        };
        let Some(spec) = &deployment.spec else {
            return Ok(Next::OnChange);
        };
        if selector::is_empty(&spec.selector) {
            let text = "This deployment is selecting all pods. A non-empty selector is required.";
            self.recorder.warning(&*deployment, "SelectingAll", text);
            return Ok(Next::OnChange);
        }
        let claimer = Claimer {
            owners: &self.deployments,
            objects: &self.sets,
            finalizer: None,
        };
        let sets = claimer.claim(&*deployment, &spec.selector).await?;
        Rollout {
            controller: self,
            deployment,
            sets,
            progress: None,
        }
        .step()
        .await
    }
}

/// One reconciliation of one deployment; its fields follow what it writes.
struct Rollout<'a> {
    controller: &'a Controller,
    deployment: Arc<Deployment>,
    sets: Vec<Arc<ReplicaSet>>,
    /// A condition that a step of this reconciliation brought.
    progress: Option<Progress>,
}

impl Rollout<'_> {
    async fn step(mut self) -> Result<Next, WriteError> {
        if self.deployment.metadata.deletion_timestamp.is_some() {
            return self.report(false).await;
        }
        let paused = strategy::is_paused(&self.deployment);
        if paused || scale::is_scaling(&self.deployment, &self.sets) {
            self.find_or_make(false).await?;
            let found = self.found();
            self.resize(scale::scale(&self.deployment, &found)).await?;
            if paused {
                self.clean_up().await?;
            }
            return self.report(false).await;
        }
        if strategy::is_recreate(&self.deployment) {
            self.recreate().await
        } else {
            self.roll().await
        }
    }

    async fn recreate(&mut self) -> Result<Next, WriteError> {
        let old = rolling::all_to_zero(&self.found().old);
        if !old.is_empty() {
            self.resize(old).await?;
            return self.report(true).await;
        }
        if self.old_pods_run() {
            return self.report(true).await;
        }
        self.find_or_make(true).await?;
        let resizes = rolling::new_set_wanted(&self.deployment, &self.found());
        if resizes.is_empty() {
            self.clean_up_when_complete().await?;
        }
        self.resize(resizes).await?;
        self.report(true).await
    }

    async fn roll(&mut self) -> Result<Next, WriteError> {
        self.find_or_make(true).await?;
        let mut resizes = rolling::new_set_wanted(&self.deployment, &self.found());
        if resizes.is_empty() {
            resizes = rolling::old_sets_wanted(&self.deployment, &self.found());
        }
        if resizes.is_empty() {
            self.clean_up_when_complete().await?;
        }
        self.resize(resizes).await?;
        self.report(true).await
    }

    fn found(&self) -> Found {
        revision::find(&self.deployment, &self.sets)
    }

    /// Whether pods of old templates are still there, going or not.
    fn old_pods_run(&self) -> bool {
        let namespace = self
            .deployment
            .metadata
            .namespace
            .as_deref()
            .unwrap_or_default();
        let old = self.found().old;
        self.controller
            .pods
            .in_namespace(namespace)
            .iter()
            .any(|pod| {
                !pods::is_finished(pod)
                    && old
                        .iter()
                        .any(|set| ownership::is_controlled_by(&pod.metadata, &set.metadata))
            })
    }

    /// Brings the set of the present template up to date; makes it if `make`.
    async fn find_or_make(&mut self, make: bool) -> Result<(), WriteError> {
        let found = self.found();
        let next_revision = revision::next(&found.old);
        let revision = if let Some(set) = &found.new {
            if let Some(patch) = revision::update(&self.deployment, set, next_revision) {
                let key = ObjectKey::of(&set.metadata);
                let updated = self.controller.sets.merge(&key, patch).await?;
                self.put_set(updated);
            }
            if !status::has_progress(&self.deployment) {
                self.progress = Some(Progress::found(&set.name_any()));
            }
            let set = self.found().new;
            set.map_or(next_revision, |set| revision::of(&set))
        } else if make {
            self.make(&found, next_revision).await?;
            next_revision
        } else {
            return Ok(());
        };
        self.write_revision(revision).await
    }

    async fn make(&mut self, found: &Found, revision: i64) -> Result<(), WriteError> {
        let set = revision::new_set(&self.deployment, found, revision);
        let name = set.name_any();
        match self.controller.sets.create(&set).await {
            Ok(made) => {
                let replicas = rolling::wanted_of(&made);
                if replicas > 0 {
                    let text = format!("Scaled up replica set {name} from 0 to {replicas}");
                    self.controller
                        .recorder
                        .normal(&*self.deployment, "ScalingReplicaSet", text);
                }
                self.progress = Some(Progress::created(&name));
                self.put_set(made);
                Ok(())
            }
            Err(error) if error.is_already_exists() => {
                let key = ObjectKey::of(&set.metadata);
                let other = self.controller.sets.read(&key).await?;
                let ours = other.is_some_and(|other| {
                    ownership::is_controlled_by(&other.metadata, &self.deployment.metadata)
                        && revision::is_of_template(&self.deployment, &other)
                });
                if !ours {
                    // Another template has the same hash: the next try hashes with one more collision.
                    self.count_collision().await?;
                }
                Err(error)
            }
            Err(error) if error.is_namespace_terminating() => Err(error),
            Err(error) => {
                let message = error.message();
                let text = format!("Failed to create new replica set \"{name}\": {message}");
                self.controller.recorder.warning(
                    &*self.deployment,
                    "ReplicaSetCreateError",
                    text.clone(),
                );
                self.progress = Some(Progress::failed(text));
                self.report(true).await?;
                Err(error)
            }
        }
    }

    async fn count_collision(&mut self) -> Result<(), WriteError> {
        let mut deployment = Deployment::clone(&self.deployment);
        let status = deployment.status.get_or_insert_default();
        status.collision_count = Some(status.collision_count.unwrap_or_default() + 1);
        self.deployment = Arc::new(
            self.controller
                .deployments
                .replace_status(&deployment)
                .await?,
        );
        Ok(())
    }

    async fn write_revision(&mut self, revision: i64) -> Result<(), WriteError> {
        let revision = revision.to_string();
        if self.deployment.annotations().get(revision::REVISION) == Some(&revision) {
            return Ok(());
        }
        let patch = json!({"metadata": {
            "uid": self.deployment.metadata.uid,
            "annotations": {revision::REVISION: revision},
        }});
        let key = ObjectKey::of(&self.deployment.metadata);
        // By way of the status, as Kubernetes does it: otherwise the deployment would count a new generation.
        let written = self
            .controller
            .deployments
            .merge_status(&key, patch)
            .await?;
        self.deployment = Arc::new(written);
        Ok(())
    }

    async fn resize(&mut self, resizes: Vec<Resize>) -> Result<(), WriteError> {
        for Resize { set, replicas } in resizes {
            let key = ObjectKey::of(&set.metadata);
            let before = rolling::wanted_of(&set);
            let patch = revision::resize(&self.deployment, &set, replicas);
            let written = self.controller.sets.merge(&key, patch).await?;
            self.put_set(written);
            if before != replicas {
                let direction = if replicas > before { "up" } else { "down" };
                let name = &key.name;
                let text =
                    format!("Scaled {direction} replica set {name} from {before} to {replicas}");
                self.controller
                    .recorder
                    .normal(&*self.deployment, "ScalingReplicaSet", text);
            }
        }
        Ok(())
    }

    async fn clean_up_when_complete(&mut self) -> Result<(), WriteError> {
        let found = self.found();
        if status::is_complete(&self.deployment, &status::counted(&self.deployment, &found)) {
            self.clean_up().await?;
        }
        Ok(())
    }

    async fn clean_up(&mut self) -> Result<(), WriteError> {
        for set in revision::too_old(&self.deployment, &self.found().old) {
            self.controller.sets.delete(&*set, None).await?;
            self.sets
                .retain(|known| known.metadata.uid != set.metadata.uid);
        }
        Ok(())
    }

    fn put_set(&mut self, set: ReplicaSet) {
        self.sets
            .retain(|known| known.metadata.uid != set.metadata.uid);
        self.sets.push(Arc::new(set));
    }

    /// Writes the status; of a rollout with its progress.
    async fn report(&mut self, rolling: bool) -> Result<Next, WriteError> {
        let clock = self.controller.clock;
        let found = self.found();
        let progress = self.progress.take();
        let (reported, recheck) =
            status::status(&self.deployment, &found, progress, rolling, clock.now());
        if self.deployment.status.as_ref() != Some(&reported) {
            let mut deployment = Deployment::clone(&self.deployment);
            deployment.status = Some(reported);
            self.deployment = Arc::new(
                self.controller
                    .deployments
                    .replace_status(&deployment)
                    .await?,
            );
        }
        Ok(recheck.map_or(Next::OnChange, |at| Next::At(clock.instant(at))))
    }
}

#[cfg(test)]
mod tests;
