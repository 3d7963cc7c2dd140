//! The volume binder: which claim has which volume, and what becomes of a volume whose claim is gone.
//!
//! [`claim`] and [`volume`] decide about one side each; a claim and its volume are bound in four writes, each of which
//! can be repeated. It does NOT make volumes (`provisioner` does) and does not choose nodes (`scheduler` does).

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
};

use k8s_openapi::api::{
    core::v1::{PersistentVolume, PersistentVolumeClaim, Pod},
    storage::v1::StorageClass,
};
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::{
    cache::{Cache, ObjectKey},
    context::Context,
    events::Recorder,
    objects::{Objects, WriteError},
    pods,
    settings::Settings,
    volumes,
    work_queue::{Next, Reconcile, WorkQueue, work},
};

mod claim;
mod volume;

use claim::{Facts, Step};
use volume::Fate;

const NAME: &str = "persistentvolume-controller";

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Key {
    Claim(ObjectKey),
    Volume(String),
}

struct Controller {
    claims: Objects<PersistentVolumeClaim>,
    volumes: Objects<PersistentVolume>,
    classes: Arc<Cache<StorageClass>>,
    pods: Arc<Cache<Pod>>,
    recorder: Recorder,
    /// Who sees to volumes that are to grow speaks in a name of its own.
    expansion: Recorder,
    settings: Arc<Settings>,
    queue: Arc<WorkQueue<Key>>,
    /// What was last said of an object, by its uid: the same is not said again at each look.
    told: Mutex<HashMap<String, String>>,
}

/// Registers for changes; the future works until dropped.
pub(crate) fn start(context: &Context) -> impl Future<Output = ()> + Send + use<> {
    let queue: Arc<WorkQueue<Key>> = Arc::default();
    let claims = context.objects::<PersistentVolumeClaim>();
    let volumes = context.objects::<PersistentVolume>();
    let classes = context.cache::<StorageClass>();
    let pods = context.cache::<Pod>();
    let own = queue.clone();
    claims.cache().on_change(move |change| {
        let claim = change.object();
        own.add(Key::Claim(ObjectKey::of(&claim.metadata)));
        if let Some(volume) = volumes::volume_name(claim) {
            own.add(Key::Volume(volume.to_owned()));
        }
    });
    let (own, known) = (queue.clone(), claims.cache().clone());
    volumes.cache().on_change(move |change| {
        let volume = change.object();
        own.add(Key::Volume(volume.name_any()));
        for claim in claims_concerned(volume, &known) {
            own.add(Key::Claim(claim));
        }
    });
    let (own, known) = (queue.clone(), claims.cache().clone());
    classes.on_change(move |_| {
        for claim in known
            .all()
            .iter()
            .filter(|claim| !volumes::is_fully_bound(claim))
        {
            own.add(Key::Claim(ObjectKey::of(&claim.metadata)));
        }
    });
    let controller = Controller {
        claims,
        volumes,
        classes,
        pods,
        recorder: context.recorder(NAME),
        expansion: context.recorder("volume_expand"),
        settings: context.settings.clone(),
        queue: queue.clone(),
        told: Mutex::default(),
    };
    async move {
        controller.claims.cache().synced().await;
        controller.volumes.cache().synced().await;
        controller.classes.synced().await;
        controller.pods.synced().await;
        work(NAME, queue, 8, controller).await;
    }
}

/// The claim that a volume names; of a volume that names none, the claims that may want it.
fn claims_concerned(
    volume: &PersistentVolume,
    known: &Cache<PersistentVolumeClaim>,
) -> Vec<ObjectKey> {
    if let Some(reference) = volumes::claim_reference(volume) {
        let key = ObjectKey::new(
            reference.namespace.clone().unwrap_or_default(),
            reference.name.clone().unwrap_or_default(),
        );
        return vec![key];
    }
    known
        .all()
        .iter()
        .filter(|claim| {
            let named = volumes::volume_name(claim);
            named == volume.metadata.name.as_deref()
                || (named.is_none()
                    && volumes::class_of_claim(claim).unwrap_or_default()
                        == volumes::class_of_volume(volume))
        })
        .map(|claim| ObjectKey::of(&claim.metadata))
        .collect()
}

impl Reconcile<Key> for Controller {
    async fn reconcile(&self, key: Key) -> Result<Next, WriteError> {
        match key {
            Key::Claim(key) => self.reconcile_claim(&key).await?,
            Key::Volume(name) => self.reconcile_volume(&name).await?,
        }
        Ok(Next::OnChange)
    }
}

impl Controller {
    async fn reconcile_claim(&self, key: &ObjectKey) -> Result<(), WriteError> {
        let Some(claim) = self.claims.cache().find(key) else {
            return Ok(());
        };
        let classes = self.classes.all();
        let class_name = volumes::class_of_claim(&claim);
        let consumer = self.consumer(&claim);
        let facts = Facts {
            volumes: &self.volumes.cache().all(),
            class: classes
                .iter()
                .find(|class| class.metadata.name.as_deref() == class_name),
            default_class: volumes::default_class(&classes),
            consumer: consumer.as_deref(),
        };
        match claim::decide(&claim, &facts) {
            Step::Nothing => Ok(()),
            Step::AssignClass(name) => {
                let patch = json!({
                    "metadata": {"resourceVersion": claim.metadata.resource_version},
                    "spec": {"storageClassName": name},
                });
                self.claims.merge(key, patch).await.map(drop)
            }
            Step::Wait(told) => {
                if let Some(told) = told {
                    self.tell_claim(&claim, told.warning, told.reason, &told.message);
                }
                self.set_claim_phase(&claim, "Pending").await
            }
            Step::AskProvisioner { provisioner } => {
                self.ask_provisioner(&claim, &provisioner).await
            }
            Step::Lose { reason, message } => {
                if volumes::claim_phase(&claim) != Some("Lost") {
                    self.recorder.warning(&*claim, reason, message);
                }
                self.set_claim_phase(&claim, "Lost").await
            }
            Step::Bind(volume) => self.bind(&claim, &volume).await,
        }
    }

    /// A pod that uses the claim and waits for its node.
    fn consumer(&self, claim: &PersistentVolumeClaim) -> Option<String> {
        let namespace = claim.metadata.namespace.as_deref().unwrap_or_default();
        let name = claim.metadata.name.as_deref().unwrap_or_default();
        self.pods
            .in_namespace(namespace)
            .iter()
            .find(|pod| {
                pods::is_active(pod)
                    && pods::node_name(pod).is_none()
                    && volumes::claims_of_pod(pod).any(|used| used == name)
            })
            .map(|pod| pod.name_any())
    }

    fn tell_claim(
        &self,
        claim: &PersistentVolumeClaim,
        warning: bool,
        reason: &str,
        message: &str,
    ) {
        if !self.is_news(claim.metadata.uid.as_deref(), message) {
            return;
        }
        if warning {
            self.recorder.warning(claim, reason, message);
        } else {
            self.recorder.normal(claim, reason, message);
        }
    }

    fn is_news(&self, uid: Option<&str>, message: &str) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() > 4096 {
            told.clear();
        }
        told.insert(uid.unwrap_or_default().to_owned(), message.to_owned())
            .as_deref()
            != Some(message)
    }

    async fn set_claim_phase(
        &self,
        claim: &PersistentVolumeClaim,
        phase: &str,
    ) -> Result<(), WriteError> {
        if volumes::claim_phase(claim) == Some(phase) {
            return Ok(());
        }
        let key = ObjectKey::of(&claim.metadata);
        let patch = json!({
            "metadata": {"uid": claim.metadata.uid},
            "status": {"phase": phase, "accessModes": null, "capacity": null},
        });
        self.claims.merge_status(&key, patch).await.map(drop)
    }

    async fn ask_provisioner(
        &self,
        claim: &PersistentVolumeClaim,
        provisioner: &str,
    ) -> Result<(), WriteError> {
        let asked = |key| claim.annotations().get(key).map(String::as_str) == Some(provisioner);
        if !asked(volumes::STORAGE_PROVISIONER) || !asked(volumes::STORAGE_PROVISIONER_BETA) {
            let patch = json!({"metadata": {
                "uid": claim.metadata.uid,
                "annotations": {
                    volumes::STORAGE_PROVISIONER: provisioner,
                    volumes::STORAGE_PROVISIONER_BETA: provisioner,
                },
            }});
            self.claims
                .merge(&ObjectKey::of(&claim.metadata), patch)
                .await?;
        }
        let message = format!(
            "Waiting for a volume to be created either by the external provisioner \
             '{provisioner}' or manually by the system administrator. If volume creation is \
             delayed, please verify that the provisioner is running and correctly registered."
        );
        self.tell_claim(claim, false, "ExternalProvisioning", &message);
        self.set_claim_phase(claim, "Pending").await
    }

    /// Binds both sides; what is written already is not written again.
    async fn bind(
        &self,
        claim: &PersistentVolumeClaim,
        volume: &PersistentVolume,
    ) -> Result<(), WriteError> {
        let volume_key = ObjectKey::of(&volume.metadata);
        if let Some(patch) = volume::bind(volume, claim) {
            self.volumes.merge(&volume_key, patch).await?;
        }
        self.set_volume_phase(volume, "Bound", None).await?;
        let claim_key = ObjectKey::of(&claim.metadata);
        if let Some(patch) = claim::bind(claim, volume) {
            self.claims.merge(&claim_key, patch).await?;
        }
        if let Some(patch) = claim::bound_status(claim, volume) {
            self.claims.merge_status(&claim_key, patch).await?;
        }
        let uid = claim.metadata.uid.as_deref();
        let asked = volumes::request(claim).map(|size| format!("grow to {}", size.0));
        if volumes::wants_to_grow(claim) && self.is_news(uid, &asked.unwrap_or_default()) {
            let text = "waiting for an external controller to expand this PVC";
            self.expansion.normal(claim, "ExternalExpanding", text);
        }
        Ok(())
    }

    async fn reconcile_volume(&self, name: &str) -> Result<(), WriteError> {
        let Some(volume) = self.volumes.cache().get("", name) else {
            return Ok(());
        };
        let claim = volumes::claim_reference(&volume).map(|reference| {
            ObjectKey::new(
                reference.namespace.clone().unwrap_or_default(),
                reference.name.clone().unwrap_or_default(),
            )
        });
        let mut held = claim.as_ref().and_then(|key| self.claims.cache().find(key));
        let is_other = |claim: &PersistentVolumeClaim| {
            claim.metadata.uid.as_deref() != volumes::claimed_uid(&volume)
        };
        if volumes::claimed_uid(&volume).is_some()
            && held.as_deref().is_none_or(is_other)
            && let Some(key) = &claim
        {
            // A volume is given up only when the server says that its claim is gone.
            held = self.claims.read(key).await?.map(Arc::new);
        }
        match volume::decide(&volume, held.as_deref()) {
            Fate::Available => self.set_volume_phase(&volume, "Available", None).await,
            Fate::Bound => self.set_volume_phase(&volume, "Bound", None).await,
            Fate::LetClaimDecide => {
                self.queue.extend_claim(claim);
                Ok(())
            }
            Fate::Unbind => {
                let key = ObjectKey::of(&volume.metadata);
                let unbound = self.volumes.merge(&key, volume::unbind(&volume)).await?;
                self.set_volume_phase(&unbound, "Available", None).await
            }
            Fate::Release => {
                self.set_volume_phase(&volume, "Released", None).await?;
                self.reclaim(&volume).await
            }
            Fate::Reclaim => self.reclaim(&volume).await,
        }
    }

    async fn reclaim(&self, volume: &PersistentVolume) -> Result<(), WriteError> {
        let removes = self.settings.remove_volume.is_some();
        match volume::reclaim(volume, removes) {
            volume::Reclaim::Keep => Ok(()),
            volume::Reclaim::Delete(path) => {
                if let Some(remove) = &self.settings.remove_volume
                    && let Err(error) = remove(None, &path)
                {
                    return self
                        .fail(volume, "VolumeFailedDelete", error.to_string())
                        .await;
                }
                self.volumes.delete(volume, None).await
            }
            volume::Reclaim::Fail { reason, message } => self.fail(volume, reason, message).await,
        }
    }

    async fn fail(
        &self,
        volume: &PersistentVolume,
        reason: &str,
        message: String,
    ) -> Result<(), WriteError> {
        if self.is_news(volume.metadata.uid.as_deref(), &message) {
            self.recorder.warning(volume, reason, message.clone());
        }
        self.set_volume_phase(volume, "Failed", Some(message)).await
    }

    async fn set_volume_phase(
        &self,
        volume: &PersistentVolume,
        phase: &str,
        message: Option<String>,
    ) -> Result<(), WriteError> {
        if volumes::volume_phase(volume) == Some(phase) {
            return Ok(());
        }
        let message = message.map_or(Value::Null, Value::String);
        let patch = json!({
            "metadata": {"uid": volume.metadata.uid},
            "status": {"phase": phase, "message": message, "reason": null},
        });
        self.volumes
            .merge_status(&ObjectKey::of(&volume.metadata), patch)
            .await
            .map(drop)
    }
}

impl WorkQueue<Key> {
    fn extend_claim(&self, claim: Option<ObjectKey>) {
        if let Some(claim) = claim {
            self.add(Key::Claim(claim));
        }
    }
}
