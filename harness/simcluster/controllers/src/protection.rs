//! Protection: a claim stays while pods use it, a volume while it is bound, even if they are deleted.
//!
//! Both carry a finalizer that only goes when nobody uses them. It does NOT decide who may use what.

use std::{future::Future, sync::Arc};

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use kube::{Api, Client, Resource, api::ListParams};
use serde_json::json;

use crate::{
    cache::ObjectKey,
    context::Context,
    objects::{Kind, Objects, WriteError},
    pods, universe, volumes,
    work_queue::{Next, Reconcile, WorkQueue, work},
};

const NAME: &str = "protection-controller";
const CLAIM_FINALIZER: &str = "kubernetes.io/pvc-protection";
const VOLUME_FINALIZER: &str = "kubernetes.io/pv-protection";

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Key {
    Claim(ObjectKey),
    Volume(ObjectKey),
}

struct Controller {
    client: Client,
    claims: Objects<PersistentVolumeClaim>,
    volumes: Objects<PersistentVolume>,
}

/// Registers for changes; the future works until dropped.
pub(crate) fn start(context: &Context) -> impl Future<Output = ()> + Send + use<> {
    let queue: Arc<WorkQueue<Key>> = Arc::default();
    let claims = context.objects::<PersistentVolumeClaim>();
    let volumes = context.objects::<PersistentVolume>();
    let own = queue.clone();
    claims
        .cache()
        .on_change(move |change| own.add(Key::Claim(ObjectKey::of(&change.object().metadata))));
    let own = queue.clone();
    volumes
        .cache()
        .on_change(move |change| own.add(Key::Volume(ObjectKey::of(&change.object().metadata))));
    let (touched, known) = (queue.clone(), claims.cache().clone());
    context.cache::<Pod>().on_change(move |change| {
        let pod = change.object();
        if !change.is_removal() && !pods::is_terminating(pod) {
            return;
        }
        let namespace = pod.metadata.namespace.clone().unwrap_or_default();
        for claim in volumes::claims_of_pod(pod) {
            let key = ObjectKey::new(namespace.clone(), claim);
            if known
                .find(&key)
                .is_some_and(|claim| claim.metadata.deletion_timestamp.is_some())
            {
                touched.add(Key::Claim(key));
            }
        }
    });
    let controller = Controller {
        client: context.client.clone(),
        claims,
        volumes,
    };
    async move {
        controller.claims.cache().synced().await;
        controller.volumes.cache().synced().await;
        work(NAME, queue, 8, controller).await;
    }
}

impl Reconcile<Key> for Controller {
    async fn reconcile(&self, key: Key) -> Result<Next, WriteError> {
        match key {
            Key::Claim(key) => {
                let Some(claim) = self.claims.cache().find(&key) else {
                    return Ok(Next::OnChange);
                };
                let used =
                    claim.metadata.deletion_timestamp.is_none() || self.is_used(&key).await?;
                protect(&self.claims, &*claim, CLAIM_FINALIZER, used).await?;
            }
            Key::Volume(key) => {
                let Some(volume) = self.volumes.cache().find(&key) else {
                    return Ok(Next::OnChange);
                };
                let used = volume.metadata.deletion_timestamp.is_none()
                    || volumes::volume_phase(&volume) == Some("Bound");
                protect(&self.volumes, &*volume, VOLUME_FINALIZER, used).await?;
            }
        }
        Ok(Next::OnChange)
    }
}

impl Controller {
    /// Whether a pod that has a node names the claim; asked of the server, since data depends on it.
    async fn is_used(&self, key: &ObjectKey) -> Result<bool, WriteError> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &key.namespace);
        let pods = pods.list(&ListParams::default()).await.map_err(|source| {
            WriteError::new(
                "listing the pods that use",
                "claim".to_owned(),
                key.clone(),
                source,
            )
        })?;
        Ok(pods.items.iter().any(|pod| uses(pod, &key.name)))
    }
}

/// A pod without a node cannot start with a claim that goes; any other that exists counts, also when it has ended.
fn uses(pod: &Pod, claim: &str) -> bool {
    pods::node_name(pod).is_some() && volumes::claims_of_pod(pod).any(|used| used == claim)
}

/// Puts the finalizer on what stays, takes it off what goes and is not used.
async fn protect<K: Kind>(
    objects: &Objects<K>,
    object: &K,
    finalizer: &str,
    used: bool,
) -> Result<(), WriteError> {
    let metadata = Resource::meta(object);
    let has = universe::has_finalizer(metadata, finalizer);
    let mut finalizers = metadata.finalizers.clone().unwrap_or_default();
    if metadata.deletion_timestamp.is_none() && !has {
        finalizers.push(finalizer.to_owned());
    } else if metadata.deletion_timestamp.is_some() && has && !used {
        finalizers.retain(|known| known != finalizer);
    } else {
        return Ok(());
    }
    let patch = json!({"metadata": {
        "resourceVersion": metadata.resource_version,
        "finalizers": finalizers,
    }});
    objects
        .merge(&ObjectKey::of(metadata), patch)
        .await
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_uses_a_claim_once_it_has_a_node_until_it_is_gone() {
        for (node, phase, claim, expected) in [
            (Some("x"), "Running", "c", true),
            (Some("x"), "Succeeded", "c", true),
            (None, "Pending", "c", false),
            (Some("x"), "Running", "d", false),
        ] {
            let pod: Pod = serde_json::from_value(json!({
                "metadata": {"name": "p"},
                "spec": {"nodeName": node, "containers": [],
                         "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": claim}}]},
                "status": {"phase": phase},
            }))
            .unwrap();
            assert_eq!(uses(&pod, "c"), expected, "{node:?} {phase} {claim}");
        }
    }
}
