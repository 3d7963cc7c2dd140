//! Generic ephemeral volumes: the claim that a pod's volume describes is made for it, and goes with it. It does NOT
//! bind claims.

use std::{future::Future, sync::Arc};

use k8s_openapi::{
    api::core::v1::{PersistentVolumeClaim, PersistentVolumeClaimTemplate, Pod},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::ResourceExt;

use crate::{
    cache::{Cache, ObjectKey},
    context::Context,
    events::Recorder,
    objects::{Objects, WriteError},
    ownership::{controller_reference, is_controlled_by},
    pods,
    work_queue::{Next, Reconcile, WorkQueue, work},
};

const NAME: &str = "ephemeral_volume";

struct Controller {
    pods: Arc<Cache<Pod>>,
    claims: Objects<PersistentVolumeClaim>,
    recorder: Recorder,
}

/// Registers for changes; the future works until dropped.
pub(crate) fn start(context: &Context) -> impl Future<Output = ()> + Send + use<> {
    let queue: Arc<WorkQueue<ObjectKey>> = Arc::default();
    let pods = context.cache::<Pod>();
    let own = queue.clone();
    pods.on_change(move |change| {
        let pod = change.object();
        if !change.is_removal() && change.old().is_none() && wanted(pod).next().is_some() {
            own.add(ObjectKey::of(&pod.metadata));
        }
    });
    let claims = context.objects::<PersistentVolumeClaim>();
    let (touched, known) = (queue.clone(), pods.clone());
    claims.cache().on_change(move |change| {
        let claim = &change.object().metadata;
        if change.is_removal()
            && let Some(owner) = crate::ownership::controller_of_kind::<Pod>(claim)
            && known.find(&owner).is_some()
        {
            touched.add(owner);
        }
    });
    let controller = Controller {
        pods,
        claims,
        recorder: context.recorder(NAME),
    };
    async move {
        controller.pods.synced().await;
        controller.claims.cache().synced().await;
        work(NAME, queue, 8, controller).await;
    }
}

/// The claims that a pod's volumes describe, by name.
fn wanted(pod: &Pod) -> impl Iterator<Item = (String, &PersistentVolumeClaimTemplate)> {
    let name = pod.name_any();
    let volumes = pod
        .spec
        .iter()
        .flat_map(|spec| spec.volumes.iter().flatten());
    volumes.filter_map(move |volume| {
        let template = volume.ephemeral.as_ref()?.volume_claim_template.as_ref()?;
        Some((format!("{name}-{}", volume.name), template))
    })
}

impl Reconcile<ObjectKey> for Controller {
    async fn reconcile(&self, key: ObjectKey) -> Result<Next, WriteError> {
        let Some(pod) = self.pods.find(&key) else {
            return Ok(Next::OnChange);
        };
        if !pods::is_active(&pod) {
            return Ok(Next::OnChange);
        }
        for (name, template) in wanted(&pod) {
            if let Some(known) = self.claims.cache().get(&key.namespace, &name) {
                if !is_controlled_by(&known.metadata, &pod.metadata) {
                    let text = format!(
                        "PVC \"{}/{name}\" was not created for pod \"{key}\" (pod is not owner)",
                        key.namespace
                    );
                    self.recorder.warning(&*pod, "FailedBinding", text);
                }
                continue;
            }
            match self.claims.create(&claim(&pod, name, template)).await {
                Ok(_) => {}
                Err(error) if error.is_already_exists() => {}
                Err(error) => {
                    let text = format!("ephemeral volume controller: {}", error.message());
                    self.recorder.warning(&*pod, "FailedBinding", text);
                    return Err(error);
                }
            }
        }
        Ok(Next::OnChange)
    }
}

fn claim(
    pod: &Pod,
    name: String,
    template: &PersistentVolumeClaimTemplate,
) -> PersistentVolumeClaim {
    let metadata = template.metadata.clone().unwrap_or_default();
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: pod.metadata.namespace.clone(),
            labels: metadata.labels,
            annotations: metadata.annotations,
            owner_references: Some(vec![controller_reference(pod)]),
            ..ObjectMeta::default()
        },
        spec: Some(template.spec.clone()),
        status: None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_claim_is_named_after_pod_and_volume_and_belongs_to_the_pod() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "n", "uid": "1"},
            "spec": {"containers": [], "volumes": [
                {"name": "plain", "emptyDir": {}},
                {"name": "own", "ephemeral": {"volumeClaimTemplate": {
                    "metadata": {"labels": {"a": "b"}}, "spec": {"storageClassName": "s"}}}},
            ]},
        }))
        .unwrap();
        let claims: Vec<_> = wanted(&pod)
            .map(|(name, template)| claim(&pod, name, template))
            .collect();
        assert_eq!(
            serde_json::to_value(&claims).unwrap(),
            json!([{
                "apiVersion": "v1", "kind": "PersistentVolumeClaim",
                "metadata": {"name": "p-own", "namespace": "n", "labels": {"a": "b"},
                    "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "1",
                                         "controller": true, "blockOwnerDeletion": true}]},
                "spec": {"storageClassName": "s"},
            }])
        );
    }
}
