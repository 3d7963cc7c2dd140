//! DaemonSets: one pod on each node that fits.
//!
//! [`nodes`] decides where pods should be, [`plan`] which come and go, [`status`] what is reported. It does NOT bind
//! pods: each new pod asks for its node by name, and the scheduler puts it there.

use std::{future::Future, sync::Arc};

use k8s_openapi::api::{
    apps::v1::{ControllerRevision, DaemonSet},
    core::v1::{Node, Pod},
};
use kube::ResourceExt;
use serde_json::json;

use crate::{
    cache::{Cache, ObjectKey},
    clock::Clock,
    context::Context,
    history::{self, Present},
    objects::{Objects, WriteError},
    ownership::{self, Claimer},
    pods::{self, control::PodControl},
    selector,
    work_queue::{Next, Reconcile, WorkQueue, work},
};

mod nodes;
mod plan;
mod status;

use plan::HASH_LABEL;

const NAME: &str = "daemonset-controller";

struct Controller {
    sets: Objects<DaemonSet>,
    pods: PodControl,
    nodes: Arc<Cache<Node>>,
    revisions: Objects<ControllerRevision>,
    clock: Clock,
}

/// Registers for changes; the future works until dropped.
pub(crate) fn start(context: &Context) -> impl Future<Output = ()> + Send + use<> {
    let queue: Arc<WorkQueue<ObjectKey>> = Arc::default();
    let sets = context.objects::<DaemonSet>();
    let pods = context.objects::<Pod>();
    let nodes = context.cache::<Node>();
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
    let (touched, known) = (queue.clone(), sets.cache().clone());
    nodes.on_change(move |change| {
        let node = change.object();
        if change.old().is_none_or(|old| nodes::matters(old, node)) {
            for set in known.all() {
                touched.add(ObjectKey::of(&set.metadata));
            }
        }
    });
    let controller = Controller {
        sets,
        pods: PodControl {
            pods,
            recorder: context.recorder(NAME),
        },
        nodes,
        revisions: context.objects(),
        clock: context.clock,
    };
    async move {
        controller.sets.cache().synced().await;
        controller.pods.pods.cache().synced().await;
        controller.nodes.synced().await;
        controller.revisions.cache().synced().await;
        work(NAME, queue, 16, controller).await;
    }
}

fn sets_of(pod: &Pod, known: &Cache<DaemonSet>) -> Vec<ObjectKey> {
    if ownership::controller_of(&pod.metadata).is_some() {
        return ownership::controller_of_kind::<DaemonSet>(&pod.metadata)
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
        if selector::is_empty(&spec.selector) {
            let text = "This daemon set is selecting all pods. A non-empty selector is required.";
            self.pods.recorder.warning(&*set, "SelectingAll", text);
            return Ok(Next::OnChange);
        }
        let claimer = Claimer {
            owners: &self.sets,
            objects: &self.pods.pods,
            finalizer: None,
        };
        let owned = claimer.claim(&*set, &spec.selector).await?;
        if set.metadata.deletion_timestamp.is_some() {
            return Ok(Next::OnChange);
        }
        let claimer = Claimer {
            owners: &self.sets,
            objects: &self.revisions,
            finalizer: None,
        };
        let known = claimer.claim(&*set, &spec.selector).await?;
        let revision = self.revision(&set, &known).await?;
        let hash = revision
            .labels()
            .get(HASH_LABEL)
            .cloned()
            .unwrap_or_default();
        let nodes = self.nodes.all();
        let plan = plan::plan(&set, &owned, &nodes, &hash, self.clock.now());
        for pod in &plan.ended {
            let node = pods::node_name(pod).unwrap_or_default();
            let name = format!("{}/{}", key.namespace, pod.name_any());
            if pods::phase(pod) == "Succeeded" {
                let text = format!(
                    "Found succeeded daemon pod {name} on node {node}, will try to delete it"
                );
                self.pods.recorder.normal(&*set, "SucceededDaemonPod", text);
            } else {
                let text =
                    format!("Found failed daemon pod {name} on node {node}, will try to kill it");
                self.pods.recorder.warning(&*set, "FailedDaemonPod", text);
            }
        }
        let new = plan
            .create
            .iter()
            .map(|node| plan::new_pod(&set, node, &hash))
            .collect();
        let (_, refused) = self.pods.create_all(&*set, new).await;
        let deleted = self.pods.delete_all(&*set, &plan.delete).await;
        let next = self.report(&key, &hash, &nodes).await?;
        self.clean_up(&set, &known, &hash).await?;
        if let Some(refused) = refused.filter(|error| !error.is_namespace_terminating()) {
            return Err(refused);
        }
        deleted?;
        Ok(plan
            .recheck
            .map_or(next, |at| Next::At(self.clock.instant(at))))
    }
}

impl Controller {
    async fn revision(
        &self,
        set: &DaemonSet,
        known: &[Arc<ControllerRevision>],
    ) -> Result<Arc<ControllerRevision>, WriteError> {
        let template = set.spec.clone().unwrap_or_default().template;
        let collisions = set
            .status
            .as_ref()
            .and_then(|status| status.collision_count);
        match history::present(set, &template, collisions, HASH_LABEL, known) {
            Present::Newest(revision) => Ok(revision),
            Present::Older(revision, number) => {
                let key = ObjectKey::of(&revision.metadata);
                let patch = json!({"revision": number});
                Ok(Arc::new(self.revisions.merge(&key, patch).await?))
            }
            Present::New(revision) => match self.revisions.create(&revision).await {
                Ok(made) => Ok(Arc::new(made)),
                Err(error) if error.is_already_exists() => {
                    self.count_collision(set, &revision).await?;
                    Err(error)
                }
                Err(error) => Err(error),
            },
        }
    }

    /// A revision of another template has the name: the next try hashes with one more collision.
    async fn count_collision(
        &self,
        set: &DaemonSet,
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

    async fn report(
        &self,
        key: &ObjectKey,
        hash: &str,
        nodes: &[Arc<Node>],
    ) -> Result<Next, WriteError> {
        let Some(set) = self.sets.cache().find(key) else {
            return Ok(Next::OnChange);
        };
        let mut owned = self.pods.pods.cache().in_namespace(&key.namespace);
        owned.retain(|pod| ownership::is_controlled_by(&pod.metadata, &set.metadata));
        let (reported, recheck) = status::status(&set, &owned, nodes, hash, self.clock.now());
        if set.status.as_ref() != Some(&reported) {
            let mut set = DaemonSet::clone(&set);
            set.status = Some(reported);
            self.sets.replace_status(&set).await?;
        }
        Ok(recheck.map_or(Next::OnChange, |at| Next::At(self.clock.instant(at))))
    }

    async fn clean_up(
        &self,
        set: &DaemonSet,
        known: &[Arc<ControllerRevision>],
        hash: &str,
    ) -> Result<(), WriteError> {
        let pods = self
            .pods
            .pods
            .cache()
            .in_namespace(&set.namespace().unwrap_or_default());
        let hash_of = |name: &str| {
            let revision = known
                .iter()
                .find(|revision| revision.metadata.name.as_deref() == Some(name));
            revision.and_then(|revision| revision.labels().get(HASH_LABEL).cloned())
        };
        let in_use = |name: &str| {
            let of_revision = hash_of(name);
            of_revision.as_deref() == Some(hash)
                || pods.iter().any(|pod| {
                    ownership::is_controlled_by(&pod.metadata, &set.metadata)
                        && pod.labels().get(HASH_LABEL) == of_revision.as_ref()
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
