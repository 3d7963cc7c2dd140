//! The provisioner of the StorageClass `standard`: a directory on the node of the first pod that uses the claim.
//!
//! As with k3s's local-path class, a claim waits for its first consumer, and the volume belongs to that consumer's
//! node. The class is made if it is not there. When the claim is gone the directory goes, then the volume. It does NOT
//! make directories: a hostPath volume of type `DirectoryOrCreate` is made by the node that mounts it.

use std::{future::Future, sync::Arc};

use k8s_openapi::{
    api::{
        core::v1::{Node, PersistentVolume, PersistentVolumeClaim},
        storage::v1::StorageClass,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::{
    cache::{Cache, ObjectKey},
    context::Context,
    events::Recorder,
    objects::{Objects, WriteError},
    settings::Settings,
    volumes,
    work_queue::{Next, Reconcile, WorkQueue, work},
};

const NAME: &str = "simcluster.dev/host-path";
const CLASS: &str = "standard";
const HOSTNAME: &str = "kubernetes.io/hostname";

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Key {
    Class,
    Claim(ObjectKey),
    Volume(String),
}

struct Controller {
    classes: Objects<StorageClass>,
    claims: Objects<PersistentVolumeClaim>,
    volumes: Objects<PersistentVolume>,
    nodes: Arc<Cache<Node>>,
    recorder: Recorder,
    settings: Arc<Settings>,
}

/// Registers for changes; the future works until dropped.
pub(crate) fn start(context: &Context) -> impl Future<Output = ()> + Send + use<> {
    let queue: Arc<WorkQueue<Key>> = Arc::default();
    let classes = context.objects::<StorageClass>();
    let claims = context.objects::<PersistentVolumeClaim>();
    let volumes = context.objects::<PersistentVolume>();
    let nodes = context.cache::<Node>();
    queue.add(Key::Class);
    let own = queue.clone();
    claims
        .cache()
        .on_change(move |change| own.add(Key::Claim(ObjectKey::of(&change.object().metadata))));
    let own = queue.clone();
    volumes
        .cache()
        .on_change(move |change| own.add(Key::Volume(change.object().name_any())));
    let (touched, known) = (queue.clone(), claims.cache().clone());
    nodes.on_change(move |change| {
        if let crate::cache::Change::Added(_) = change {
            for claim in known.all().iter().filter(|claim| is_ours(claim)) {
                touched.add(Key::Claim(ObjectKey::of(&claim.metadata)));
            }
        }
    });
    let controller = Controller {
        classes,
        claims,
        volumes,
        nodes,
        recorder: context.recorder(NAME),
        settings: context.settings.clone(),
    };
    async move {
        controller.classes.cache().synced().await;
        controller.claims.cache().synced().await;
        controller.volumes.cache().synced().await;
        controller.nodes.synced().await;
        work(NAME, queue, 8, controller).await;
    }
}

/// Whether the binder has asked us for a volume and the claim has none yet.
fn is_ours(claim: &PersistentVolumeClaim) -> bool {
    let asked = claim
        .annotations()
        .get(volumes::STORAGE_PROVISIONER)
        .map(String::as_str);
    asked == Some(NAME)
        && volumes::volume_name(claim).is_none()
        && claim.metadata.deletion_timestamp.is_none()
}

impl Reconcile<Key> for Controller {
    async fn reconcile(&self, key: Key) -> Result<Next, WriteError> {
        match key {
            Key::Class => self.make_class().await?,
            Key::Claim(key) => self.provision(&key).await?,
            Key::Volume(name) => self.reclaim(&name).await?,
        }
        Ok(Next::OnChange)
    }
}

impl Controller {
    async fn make_class(&self) -> Result<(), WriteError> {
        if self.classes.cache().get("", CLASS).is_some() {
            return Ok(());
        }
        match self.classes.create(&standard_class()).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_already_exists() => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn provision(&self, key: &ObjectKey) -> Result<(), WriteError> {
        let Some(claim) = self.claims.cache().find(key).filter(|claim| is_ours(claim)) else {
            return Ok(());
        };
        let class_name = volumes::class_of_claim(&claim).unwrap_or_default();
        let Some(class) = self.classes.cache().get("", class_name) else {
            return Ok(());
        };
        let selected = claim.annotations().get(volumes::SELECTED_NODE);
        let node = match selected {
            Some(name) => self.nodes.get("", name),
            // A class of the user's may bind at once: any node will do.
            None => self.nodes.all().into_iter().next(),
        };
        let Some(node) = node else { return Ok(()) };
        let volume = match volume(&claim, &class, &node, &self.settings) {
            Ok(volume) => volume,
            Err(why) => {
                let message =
                    format!("failed to provision volume with StorageClass \"{class_name}\": {why}");
                self.recorder
                    .warning(&*claim, "ProvisioningFailed", message);
                return Ok(());
            }
        };
        let name = volume.name_any();
        if self.volumes.cache().get("", &name).is_some() {
            return Ok(());
        }
        let message = format!("External provisioner is provisioning volume for claim \"{key}\"");
        self.recorder.normal(&*claim, "Provisioning", message);
        match self.volumes.create(&volume).await {
            Ok(_) => {}
            Err(error) if error.is_already_exists() => return Ok(()),
            Err(error) => return Err(error),
        }
        let message = format!("Successfully provisioned volume {name}");
        self.recorder
            .normal(&*claim, "ProvisioningSucceeded", message);
        Ok(())
    }

    async fn reclaim(&self, name: &str) -> Result<(), WriteError> {
        let Some(volume) = self.volumes.cache().get("", name) else {
            return Ok(());
        };
        if !is_to_be_removed(&volume) {
            return Ok(());
        }
        let spec = volume.spec.as_ref();
        let path = spec
            .and_then(|spec| spec.host_path.as_ref())
            .map(|source| source.path.as_str());
        if let (Some(path), Some(remove)) = (path, &self.settings.remove_volume)
            && let Err(error) = remove(node_of(&volume), path)
        {
            let message = format!("the directory {path} could not be removed: {error}");
            self.recorder
                .warning(&*volume, "VolumeFailedDelete", message);
            return Ok(());
        }
        self.volumes.delete(&*volume, None).await
    }
}

/// Whether we made it, its claim is gone, and nobody asked to keep it.
fn is_to_be_removed(volume: &PersistentVolume) -> bool {
    let policy = volume
        .spec
        .as_ref()
        .and_then(|spec| spec.persistent_volume_reclaim_policy.as_deref());
    volume
        .annotations()
        .get(volumes::PROVISIONED_BY)
        .is_some_and(|by| by == NAME)
        && volumes::volume_phase(volume) == Some("Released")
        && policy == Some("Delete")
        && volume.metadata.deletion_timestamp.is_none()
}

/// The name of the node that a volume of ours is on.
fn node_of(volume: &PersistentVolume) -> Option<&str> {
    let required = volume
        .spec
        .as_ref()?
        .node_affinity
        .as_ref()?
        .required
        .as_ref()?;
    let expression = required
        .node_selector_terms
        .first()?
        .match_expressions
        .as_ref()?
        .first()?;
    expression.values.as_ref()?.first().map(String::as_str)
}

fn standard_class() -> StorageClass {
    StorageClass {
        metadata: ObjectMeta {
            name: Some(CLASS.to_owned()),
            annotations: Some(
                [(
                    "storageclass.kubernetes.io/is-default-class".to_owned(),
                    "true".to_owned(),
                )]
                .into(),
            ),
            ..ObjectMeta::default()
        },
        provisioner: NAME.to_owned(),
        reclaim_policy: Some("Delete".to_owned()),
        volume_binding_mode: Some("WaitForFirstConsumer".to_owned()),
        ..StorageClass::default()
    }
}

/// The volume for a claim on a node, or why there can be none.
fn volume(
    claim: &PersistentVolumeClaim,
    class: &StorageClass,
    node: &Node,
    settings: &Settings,
) -> Result<PersistentVolume, String> {
    let spec = claim.spec.clone().unwrap_or_default();
    if spec.volume_mode.as_deref() == Some("Block") {
        return Err("only volumes of mode Filesystem can be made here".to_owned());
    }
    if spec.selector.is_some() {
        return Err("claim.Spec.Selector is not supported".to_owned());
    }
    let uid = claim.metadata.uid.as_deref().unwrap_or_default();
    let namespace = claim.metadata.namespace.as_deref().unwrap_or_default();
    let claim_name = claim.name_any();
    let directory = settings
        .volume_directory
        .join(format!("pvc-{uid}_{namespace}_{claim_name}"));
    let hostname = node
        .labels()
        .get(HOSTNAME)
        .cloned()
        .unwrap_or_else(|| node.name_any());
    let volume: Value = json!({
        "metadata": {
            "name": format!("pvc-{uid}"),
            "annotations": {volumes::PROVISIONED_BY: NAME},
        },
        "spec": {
            "accessModes": spec.access_modes,
            "capacity": {"storage": volumes::requested_quantity(claim)},
            "claimRef": {
                "apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": namespace,
                "name": claim_name, "uid": uid,
                "resourceVersion": claim.metadata.resource_version,
            },
            "hostPath": {"path": directory, "type": "DirectoryOrCreate"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
                {"key": HOSTNAME, "operator": "In", "values": [hostname]},
            ]}]}},
            "persistentVolumeReclaimPolicy": class.reclaim_policy.as_deref().unwrap_or("Delete"),
            "storageClassName": class.metadata.name,
            "mountOptions": class.mount_options,
            "volumeMode": "Filesystem",
        },
    });
    serde_json::from_value(volume).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_is_a_directory_of_its_own_on_the_selected_node() {
        let claim = serde_json::from_value(json!({
            "metadata": {"name": "data", "namespace": "n", "uid": "1"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        }))
        .unwrap();
        let node = serde_json::from_value(json!({
            "metadata": {"name": "a", "labels": {HOSTNAME: "a.local"}},
        }))
        .unwrap();
        let made = volume(&claim, &standard_class(), &node, &Settings::default()).unwrap();
        assert_eq!(node_of(&made), Some("a.local"));
        let made = serde_json::to_value(made).unwrap();
        assert_eq!(made["metadata"]["name"], "pvc-1");
        assert_eq!(
            made["spec"]["hostPath"]["path"],
            "/var/lib/simcluster/volumes/pvc-1_n_data"
        );
        assert_eq!(made["spec"]["persistentVolumeReclaimPolicy"], "Delete");
        assert_eq!(made["spec"]["claimRef"]["uid"], "1");
    }
}
