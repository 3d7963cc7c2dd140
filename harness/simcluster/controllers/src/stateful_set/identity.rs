//! What a pod of a StatefulSet is called, looks like, and owns. Pure.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{ControllerRevision, StatefulSet},
        core::v1::{PersistentVolumeClaim, PersistentVolumeClaimVolumeSource, Pod, Volume},
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use kube::ResourceExt;

use crate::{cache::ObjectKey, history, ownership::controller_reference, pods};

const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";
const POD_INDEX: &str = "apps.kubernetes.io/pod-index";
pub(super) const REVISION: &str = "controller-revision-hash";

/// The number in a pod's name, if the name is one of the set's.
pub(super) fn ordinal(set: &StatefulSet, pod: &Pod) -> Option<i32> {
    let number = pod
        .metadata
        .name
        .as_deref()?
        .strip_prefix(set.metadata.name.as_deref()?)?;
    let number = number.strip_prefix('-')?;
    number
        .parse()
        .ok()
        .filter(|_| number == "0" || !number.starts_with('0'))
}

/// The labels that say which pod of the set this is.
pub(super) fn labels(set: &StatefulSet, pod: &Pod) -> BTreeMap<String, String> {
    let number = ordinal(set, pod).unwrap_or_default();
    [
        (POD_NAME.to_owned(), pod.name_any()),
        (POD_INDEX.to_owned(), number.to_string()),
    ]
    .into()
}

/// The pod with this number, at this revision.
pub(super) fn pod(set: &StatefulSet, ordinal: i32, revision: &ControllerRevision) -> Pod {
    let spec = set.spec.clone().unwrap_or_default();
    let template = history::template(revision).unwrap_or(spec.template);
    let namespace = set.metadata.namespace.as_deref().unwrap_or_default();
    let mut pod = pods::from_template(&template, namespace, controller_reference(set));
    let name = format!("{}-{ordinal}", set.name_any());
    // As in Kubernetes the prefix stands there, too, although the name is given.
    pod.metadata.generate_name = Some(format!("{}-", set.name_any()));
    pod.metadata.name = Some(name.clone());
    let identity = labels(set, &pod);
    let pod_labels = pod.metadata.labels.get_or_insert_default();
    pod_labels.extend(identity);
    pod_labels.insert(REVISION.to_owned(), revision.name_any());
    if let Some(pod_spec) = &mut pod.spec {
        pod_spec.hostname = Some(name.clone());
        pod_spec.subdomain = spec.service_name.clone().filter(|name| !name.is_empty());
        let own: Vec<_> = templates(set)
            .map(|claim| Volume {
                name: claim.name_any(),
                persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                    claim_name: format!("{}-{name}", claim.name_any()),
                    read_only: None,
                }),
                ..Volume::default()
            })
            .collect();
        let volumes = pod_spec.volumes.get_or_insert_default();
        // A claim of the set's own comes before a volume of the template with the same name.
        volumes.retain(|volume| own.iter().all(|claim| claim.name != volume.name));
        volumes.extend(own);
    }
    pod
}

fn templates(set: &StatefulSet) -> impl Iterator<Item = &PersistentVolumeClaim> {
    set.spec
        .iter()
        .flat_map(|spec| spec.volume_claim_templates.iter().flatten())
}

/// The claims of the pod with this number.
pub(super) fn claims(set: &StatefulSet, ordinal: i32) -> Vec<PersistentVolumeClaim> {
    let selected = set
        .spec
        .as_ref()
        .and_then(|spec| spec.selector.match_labels.clone())
        .unwrap_or_default();
    templates(set)
        .map(|template| {
            let mut labels = template.metadata.labels.clone().unwrap_or_default();
            labels.extend(selected.clone());
            let delete_with_set = retention(set).0;
            PersistentVolumeClaim {
                metadata: ObjectMeta {
                    name: Some(format!(
                        "{}-{}-{ordinal}",
                        template.name_any(),
                        set.name_any()
                    )),
                    namespace: set.metadata.namespace.clone(),
                    labels: Some(labels),
                    annotations: template.metadata.annotations.clone(),
                    owner_references: delete_with_set.then(|| vec![set_owner(set)]),
                    ..ObjectMeta::default()
                },
                spec: template.spec.clone(),
                status: None,
            }
        })
        .collect()
}

/// Whether claims go with the set, and with pods that are scaled away.
fn retention(set: &StatefulSet) -> (bool, bool) {
    let policy = set
        .spec
        .as_ref()
        .and_then(|spec| spec.persistent_volume_claim_retention_policy.as_ref());
    let deletes = |word: Option<&String>| word.is_some_and(|word| word == "Delete");
    policy.map_or((false, false), |policy| {
        (
            deletes(policy.when_deleted.as_ref()),
            deletes(policy.when_scaled.as_ref()),
        )
    })
}

fn set_owner(set: &StatefulSet) -> OwnerReference {
    controller_reference(set)
}

/// Who should own a claim: the set, a pod that goes, or nobody of them.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Owners {
    pub(super) claim: ObjectKey,
    set: Option<OwnerReference>,
    set_uid: String,
    pod: Option<OwnerReference>,
    pod_uid: String,
}

/// The owners that the claims of a pod should have.
pub(super) fn owners(set: &StatefulSet, pod: &Pod, condemned: bool) -> Vec<Owners> {
    let (with_set, when_scaled) = retention(set);
    let number = ordinal(set, pod).unwrap_or_default();
    let pod_owner = OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Pod".to_owned(),
        name: pod.name_any(),
        uid: pod.uid().unwrap_or_default(),
        controller: None,
        block_owner_deletion: None,
    };
    claims(set, number)
        .into_iter()
        .map(|claim| {
            let by_pod = condemned && when_scaled;
            Owners {
                claim: ObjectKey::of(&claim.metadata),
                set: (with_set && !by_pod).then(|| set_owner(set)),
                set_uid: set.uid().unwrap_or_default(),
                pod: by_pod.then(|| pod_owner.clone()),
                pod_uid: pod_owner.uid.clone(),
            }
        })
        .collect()
}

impl Owners {
    /// The claim's owners with ours put right, if they were not.
    pub(super) fn apply(&self, claim: &PersistentVolumeClaim) -> Option<Vec<OwnerReference>> {
        let known = claim.metadata.owner_references.clone().unwrap_or_default();
        let mut wanted: Vec<_> = known
            .iter()
            .filter(|owner| owner.uid != self.set_uid && owner.uid != self.pod_uid)
            .cloned()
            .collect();
        wanted.extend(self.set.clone());
        wanted.extend(self.pod.clone());
        let uids = |owners: &[OwnerReference]| {
            let mut uids: Vec<_> = owners.iter().map(|owner| owner.uid.clone()).collect();
            uids.sort();
            uids
        };
        (uids(&known) != uids(&wanted)).then_some(wanted)
    }
}
