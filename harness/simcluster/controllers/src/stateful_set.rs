//! StatefulSets: pods with names and volumes of their own, made and removed in order.
//!
//! [`plan`] decides the next steps, [`identity`] what a pod and its claims look like, [`status`] what is reported. It
//! does NOT delete claims unless the set's retention policy says so, and then leaves it to the garbage collector.

use std::{future::Future, sync::Arc};

use futures::future::join_all;
use k8s_openapi::api::{
    apps::v1::{ControllerRevision, StatefulSet},
    core::v1::{PersistentVolumeClaim, Pod},
};
use kube::ResourceExt;
use serde_json::json;

use crate::{
    cache::{Cache, ObjectKey},
    clock::Clock,
    context::Context,
    events::Recorder,
    history::{self, Present},
    objects::{Objects, WriteError},
    ownership::{self, Claimer},
    pods, selector,
    work_queue::{Next, Reconcile, WorkQueue, work},
};

mod identity;
mod plan;
mod status;

use plan::Revisions;

const NAME: &str = "statefulset-controller";
const HASH_LABEL: &str = "controller.kubernetes.io/hash";

struct Controller {
    sets: Objects<StatefulSet>,
    pods: Objects<Pod>,
    claims: Objects<PersistentVolumeClaim>,
    revisions: Objects<ControllerRevision>,
    recorder: Recorder,
    clock: Clock,
}

/// Registers for changes; the future works until dropped.
pub(crate) fn start(context: &Context) -> impl Future<Output = ()> + Send + use<> {
    let queue: Arc<WorkQueue<ObjectKey>> = Arc::default();
    let sets = context.objects::<StatefulSet>();
    let pods = context.objects::<Pod>();
    let own = queue.clone();
    sets.cache()
        .on_change(move |change| own.add(ObjectKey::of(&change.object().metadata)));
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
        pods,
        claims: context.objects(),
        revisions: context.objects(),
        recorder: context.recorder(NAME),
        clock: context.clock,
    };
    async move {
        controller.sets.cache().synced().await;
        controller.pods.cache().synced().await;
        controller.claims.cache().synced().await;
        controller.revisions.cache().synced().await;
        work(NAME, queue, 16, controller).await;
    }
}

fn sets_of(pod: &Pod, known: &Cache<StatefulSet>) -> Vec<ObjectKey> {
    if ownership::controller_of(&pod.metadata).is_some() {
        return ownership::controller_of_kind::<StatefulSet>(&pod.metadata)
            .into_iter()
            .collect();
    }
    known
        .in_namespace(pod.metadata.namespace.as_deref().unwrap_or_default())
        .iter()
        .filter(|set| {
            set.spec
                .as_ref()
                .is_some_and(|spec| selector::matches(&spec.selector, pod.metadata.labels.as_ref()))
        })
        .map(|set| ObjectKey::of(&set.metadata))
        .collect()
}

impl Reconcile<ObjectKey> for Controller {
    async fn reconcile(&self, key: ObjectKey) -> Result<Next, WriteError> {
        let Some(set) = self.sets.cache().find(&key) else {
            return Ok(Next::OnChange);
        };
        let Some(spec) = &set.spec else {
            return Ok(Next::OnChange);
        };
        let claimer = Claimer {
            owners: &self.sets,
            objects: &self.pods,
            finalizer: None,
        };
        let mut owned = claimer.claim(&*set, &spec.selector).await?;
        owned.retain(|pod| identity::ordinal(&set, pod).is_some());
        let claimer = Claimer {
            owners: &self.sets,
            objects: &self.revisions,
            finalizer: None,
        };
        let known = claimer.claim(&*set, &spec.selector).await?;
        let revisions = self.revisions(&set, &known).await?;
        let mut failed = Ok(());
        if set.metadata.deletion_timestamp.is_none() {
            let plan = plan::plan(&set, &owned, &revisions, self.clock.now());
            failed = self.act(&set, &revisions, plan).await;
        }
        let next = self.report(&key, &revisions).await?;
        self.clean_up(&set, &known, &revisions).await?;
        match failed {
            Err(error) if !error.is_namespace_terminating() => Err(error),
            _ => Ok(next),
        }
    }
}

impl Controller {
    /// The revision that pods have, and the one they are to get.
    async fn revisions(
        &self,
        set: &StatefulSet,
        known: &[Arc<ControllerRevision>],
    ) -> Result<Revisions, WriteError> {
        let template = set.spec.clone().unwrap_or_default().template;
        let status = set.status.clone().unwrap_or_default();
        let collisions = status.collision_count;
        let update = match history::present(set, &template, collisions, HASH_LABEL, known) {
            Present::Newest(revision) => revision,
            Present::Older(revision, number) => {
                let patch = json!({"revision": number});
                let key = ObjectKey::of(&revision.metadata);
                Arc::new(self.revisions.merge(&key, patch).await?)
            }
            Present::New(revision) => match self.revisions.create(&revision).await {
                Ok(made) => Arc::new(made),
                Err(error) if error.is_already_exists() => {
                    self.count_collision(set, &revision).await?;
                    return Err(error);
                }
                Err(error) => return Err(error),
            },
        };
        let current = status.current_revision.as_deref().and_then(|name| {
            known
                .iter()
                .find(|revision| revision.metadata.name.as_deref() == Some(name))
                .cloned()
        });
        Ok(Revisions {
            current: current.unwrap_or_else(|| update.clone()),
            update,
        })
    }

    /// A revision of another template has the name: the next try hashes with one more collision.
    async fn count_collision(
        &self,
        set: &StatefulSet,
        revision: &ControllerRevision,
    ) -> Result<(), WriteError> {
        let there = self
            .revisions
            .read(&ObjectKey::of(&revision.metadata))
            .await?;
        if there.is_some_and(|there| there.data == revision.data) {
            return Ok(());
        }
        let mut set = set.clone();
        let status = set.status.get_or_insert_default();
        status.collision_count = Some(status.collision_count.unwrap_or_default() + 1);
        self.sets.replace_status(&set).await.map(drop)
    }

    async fn act(
        &self,
        set: &StatefulSet,
        revisions: &Revisions,
        plan: plan::Plan,
    ) -> Result<(), WriteError> {
        for claim in plan.own {
            self.own_claim(claim).await?;
        }
        for pod in &plan.relabel {
            let labels = identity::labels(set, pod);
            let patch = json!({"metadata": {"uid": pod.metadata.uid, "labels": labels}});
            self.pods
                .merge(&ObjectKey::of(&pod.metadata), patch)
                .await?;
        }
        let creations = plan.create.into_iter().map(|(ordinal, update)| {
            let revision = if update {
                &revisions.update
            } else {
                &revisions.current
            };
            self.create(set, ordinal, revision)
        });
        let created = join_all(creations).await;
        let deletions = plan.delete.iter().map(|pod| self.delete(set, pod));
        let deleted = join_all(deletions).await;
        created.into_iter().chain(deleted).collect()
    }

    async fn create(
        &self,
        set: &StatefulSet,
        ordinal: i32,
        revision: &ControllerRevision,
    ) -> Result<(), WriteError> {
        let pod = identity::pod(set, ordinal, revision);
        let (pod_name, set_name) = (pod.name_any(), set.name_any());
        for claim in identity::claims(set, ordinal) {
            let key = ObjectKey::of(&claim.metadata);
            if self.claims.cache().find(&key).is_some() {
                continue;
            }
            let what = format!(
                "create Claim {} Pod {pod_name} in StatefulSet {set_name}",
                key.name
            );
            match self.claims.create(&claim).await {
                Ok(_) => self
                    .recorder
                    .normal(set, "SuccessfulCreate", format!("{what} success")),
                Err(error) if error.is_already_exists() => {}
                Err(error) => {
                    let text = format!("{what} failed error: {}", error.message());
                    self.recorder.warning(set, "FailedCreate", text);
                    return Err(error);
                }
            }
        }
        let what = format!("create Pod {pod_name} in StatefulSet {set_name}");
        match self.pods.create(&pod).await {
            Ok(_) => {
                self.recorder
                    .normal(set, "SuccessfulCreate", format!("{what} successful"));
                Ok(())
            }
            Err(error) => {
                // The name may still be that of a pod that goes: its end brings the next try.
                if !error.is_already_exists() && !error.is_namespace_terminating() {
                    let text = format!("{what} failed error: {}", error.message());
                    self.recorder.warning(set, "FailedCreate", text);
                }
                Err(error)
            }
        }
    }

    async fn delete(&self, set: &StatefulSet, pod: &Pod) -> Result<(), WriteError> {
        let (pod_name, set_name) = (pod.name_any(), set.name_any());
        let what = format!("delete Pod {pod_name} in StatefulSet {set_name}");
        match self.pods.delete(pod, None).await {
            Ok(()) => {
                self.recorder
                    .normal(set, "SuccessfulDelete", format!("{what} successful"));
                Ok(())
            }
            Err(error) => {
                let text = format!("{what} failed error: {}", error.message());
                self.recorder.warning(set, "FailedDelete", text);
                Err(error)
            }
        }
    }

    /// Gives a claim the owners that the retention policy wants.
    async fn own_claim(&self, wanted: identity::Owners) -> Result<(), WriteError> {
        let Some(claim) = self.claims.cache().find(&wanted.claim) else {
            return Ok(());
        };
        let Some(owners) = wanted.apply(&claim) else {
            return Ok(());
        };
        let patch = json!({"metadata": {
            "resourceVersion": claim.metadata.resource_version,
            "ownerReferences": owners,
        }});
        self.claims.merge(&wanted.claim, patch).await.map(drop)
    }

    async fn report(&self, key: &ObjectKey, revisions: &Revisions) -> Result<Next, WriteError> {
        let Some(set) = self.sets.cache().find(key) else {
            return Ok(Next::OnChange);
        };
        let mut owned = self.pods.cache().in_namespace(&key.namespace);
        owned.retain(|pod| {
            ownership::is_controlled_by(&pod.metadata, &set.metadata)
                && identity::ordinal(&set, pod).is_some()
        });
        let now = self.clock.now();
        let reported = status::status(&set, &owned, revisions, now);
        if set.status.as_ref() != Some(&reported) {
            let mut set = StatefulSet::clone(&set);
            set.status = Some(reported);
            self.sets.replace_status(&set).await?;
        }
        let min_ready = plan::min_ready_seconds(&set);
        let recheck = owned
            .iter()
            .filter_map(|pod| match pods::availability(pod, min_ready, now) {
                pods::Availability::From(at) => Some(at),
                _ => None,
            })
            .min();
        Ok(recheck.map_or(Next::OnChange, |at| Next::At(self.clock.instant(at))))
    }

    async fn clean_up(
        &self,
        set: &StatefulSet,
        known: &[Arc<ControllerRevision>],
        revisions: &Revisions,
    ) -> Result<(), WriteError> {
        let pods = self
            .pods
            .cache()
            .in_namespace(&set.namespace().unwrap_or_default());
        let in_use = |name: &str| {
            name == revisions.current.name_any()
                || name == revisions.update.name_any()
                || pods.iter().any(|pod| {
                    ownership::is_controlled_by(&pod.metadata, &set.metadata)
                        && plan::revision_of(pod) == Some(name)
                })
        };
        let limit = set
            .spec
            .as_ref()
            .and_then(|spec| spec.revision_history_limit);
        for revision in history::too_old(known, &in_use, limit) {
            self.revisions.delete(&*revision, None).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
