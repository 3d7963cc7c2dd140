//! Whether a pod's claims can be had on a node. Pure.

use std::{collections::HashSet, sync::Arc};

use k8s_openapi::api::{
    core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod},
    storage::v1::StorageClass,
};
use kube::ResourceExt;

use super::filter::Refusal;
use crate::{
    cache::{Cache, ObjectKey},
    volumes::{self, NO_PROVISIONER, matching, topology},
};

/// The claims of one pod, and what there is for them.
#[derive(Debug)]
pub(super) struct Storage {
    bound: Vec<Option<Arc<PersistentVolume>>>,
    open: Vec<Offer>,
    classes: Vec<Arc<StorageClass>>,
}

/// A claim that is not bound completely, and the volumes that it could have somewhere.
#[derive(Debug)]
pub(super) struct Offer {
    claim: Arc<PersistentVolumeClaim>,
    candidates: Vec<Arc<PersistentVolume>>,
}

impl Storage {
    /// Looks the claims up; fails if the pod cannot run anywhere until they change.
    pub(super) fn new(
        pod: &Pod,
        claims: &Cache<PersistentVolumeClaim>,
        volumes: &[Arc<PersistentVolume>],
        classes: Vec<Arc<StorageClass>>,
    ) -> Result<Self, String> {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let (mut bound, mut open) = (Vec::new(), Vec::new());
        for name in volumes::claims_of_pod(pod) {
            let Some(claim) = claims.get(namespace, &name) else {
                let why = if is_ephemeral(pod, &name) {
                    format!(
                        "waiting for ephemeral volume controller to create the \
                         persistentvolumeclaim \"{name}\""
                    )
                } else {
                    format!("persistentvolumeclaim \"{name}\" not found")
                };
                return Err(why);
            };
            if claim.metadata.deletion_timestamp.is_some() {
                let why = format!("persistentvolumeclaim \"{name}\" is being deleted");
                return Err(why);
            }
            if volumes::claim_phase(&claim) == Some("Lost") {
                let why = format!(
                    "persistentvolumeclaim \"{name}\" bound to non-existent persistentvolume \"{}\"",
                    volumes::volume_name(&claim).unwrap_or_default()
                );
                return Err(why);
            }
            if volumes::is_fully_bound(&claim) {
                let volume = volumes
                    .iter()
                    .find(|volume| volume.metadata.name.as_deref() == volumes::volume_name(&claim));
                bound.push(volume.cloned());
                continue;
            }
            let class = class_of(&claim, &classes);
            if volumes::volume_name(&claim).is_none()
                && !volumes::waits_for_consumer(class.map(AsRef::as_ref))
            {
                let why = "pod has unbound immediate PersistentVolumeClaims".to_owned();
                return Err(why);
            }
            open.push(claim);
        }
        Ok(Self {
            bound,
            open: offers(open, volumes),
            classes,
        })
    }

    pub(super) fn refuse(&self, node: &Node) -> Option<Refusal> {
        for volume in &self.bound {
            let Some(volume) = volume else {
                return Some(Refusal::for_good(
                    "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)",
                ));
            };
            if !topology::is_reachable(volume, node) {
                return Some(Refusal::for_good(
                    "node(s) didn't match PersistentVolume's node affinity",
                ));
            }
        }
        let missing = assignments(&self.open, node)
            .into_iter()
            .any(|(claim, volume)| volume.is_none() && !self.can_be_made(&claim));
        missing
            .then(|| Refusal::for_good("node(s) didn't find available persistent volumes to bind"))
    }

    fn can_be_made(&self, claim: &PersistentVolumeClaim) -> bool {
        class_of(claim, &self.classes).is_some_and(|class| class.provisioner != NO_PROVISIONER)
    }
}

/// Whether the claim is made for the pod.
fn is_ephemeral(pod: &Pod, claim: &str) -> bool {
    let volumes = pod
        .spec
        .iter()
        .flat_map(|spec| spec.volumes.iter().flatten());
    volumes
        .filter(|volume| volume.ephemeral.is_some())
        .any(|volume| format!("{}-{}", pod.name_any(), volume.name) == claim)
}

/// The class that a claim names, if it exists.
pub(super) fn class_of<'a>(
    claim: &PersistentVolumeClaim,
    classes: &'a [Arc<StorageClass>],
) -> Option<&'a Arc<StorageClass>> {
    let name = volumes::class_of_claim(claim)?;
    classes
        .iter()
        .find(|class| class.metadata.name.as_deref() == Some(name))
}

/// The claims of a pod that are not bound completely.
pub(super) fn open_claims(
    pod: &Pod,
    claims: &Cache<PersistentVolumeClaim>,
) -> Vec<Arc<PersistentVolumeClaim>> {
    let namespace = pod.metadata.namespace.clone().unwrap_or_default();
    volumes::claims_of_pod(pod)
        .filter_map(|name| claims.find(&ObjectKey::new(namespace.clone(), name)))
        .filter(|claim| !volumes::is_fully_bound(claim))
        .collect()
}

/// What there is for each claim.
pub(super) fn offers(
    mut open: Vec<Arc<PersistentVolumeClaim>>,
    volumes: &[Arc<PersistentVolume>],
) -> Vec<Offer> {
    // Large ones last, so that small claims do not take what only they could have done without.
    open.sort_by_key(|claim| volumes::requested(claim));
    let offer = |claim: Arc<PersistentVolumeClaim>| Offer {
        candidates: matching::candidates(&claim, volumes),
        claim,
    };
    open.into_iter().map(offer).collect()
}

type Assignment = (Arc<PersistentVolumeClaim>, Option<Arc<PersistentVolume>>);

/// A volume for each claim on this node, as far as there are volumes; none is given twice.
pub(super) fn assignments(offers: &[Offer], node: &Node) -> Vec<Assignment> {
    let mut taken: HashSet<String> = HashSet::new();
    let mut assigned = Vec::new();
    for Offer { claim, candidates } in offers {
        let mut free = candidates
            .iter()
            .filter(|volume| !taken.contains(&volume.name_any()));
        let volume = free.find(|volume| topology::is_reachable(volume, node));
        let volume = volume.cloned();
        taken.extend(volume.as_ref().map(|volume| volume.name_any()));
        assigned.push((claim.clone(), volume));
    }
    assigned
}
