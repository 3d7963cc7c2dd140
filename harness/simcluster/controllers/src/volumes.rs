//! What the fields of volumes, claims and classes say, for all who deal with storage. Pure.

use std::sync::Arc;

use k8s_openapi::{
    api::{
        core::v1::{ObjectReference, PersistentVolume, PersistentVolumeClaim, Pod},
        storage::v1::StorageClass,
    },
    apimachinery::pkg::api::resource::Quantity,
};
use kube::ResourceExt;
use simcluster_placement::amount::Amount;

pub(crate) mod matching;
pub(crate) mod topology;

/// On a claim: binding is complete.
pub(crate) const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
/// On a claim or volume: the other side was chosen by the binder, not by the user.
pub(crate) const BOUND_BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";
/// On a volume: who made it.
pub(crate) const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";
/// On a claim: who is to make a volume for it.
pub(crate) const STORAGE_PROVISIONER: &str = "volume.kubernetes.io/storage-provisioner";
pub(crate) const STORAGE_PROVISIONER_BETA: &str = "volume.beta.kubernetes.io/storage-provisioner";
/// On a claim: the node for which a volume is to be made.
pub(crate) const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
const CLASS_BETA: &str = "volume.beta.kubernetes.io/storage-class";
const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";
/// The provisioner of classes whose volumes are made by hand.
pub(crate) const NO_PROVISIONER: &str = "kubernetes.io/no-provisioner";

/// The class of a claim; `None` is no word about it, the empty one asks for volumes without a class.
pub(crate) fn class_of_claim(claim: &PersistentVolumeClaim) -> Option<&str> {
    claim
        .annotations()
        .get(CLASS_BETA)
        .or(claim.spec.as_ref()?.storage_class_name.as_ref())
        .map(String::as_str)
}

pub(crate) fn class_of_volume(volume: &PersistentVolume) -> &str {
    volume
        .annotations()
        .get(CLASS_BETA)
        .or(volume
            .spec
            .as_ref()
            .and_then(|spec| spec.storage_class_name.as_ref()))
        .map(String::as_str)
        .unwrap_or_default()
}

pub(crate) fn volume_name(claim: &PersistentVolumeClaim) -> Option<&str> {
    claim
        .spec
        .as_ref()?
        .volume_name
        .as_deref()
        .filter(|name| !name.is_empty())
}

pub(crate) fn claim_phase(claim: &PersistentVolumeClaim) -> Option<&str> {
    claim.status.as_ref()?.phase.as_deref()
}

pub(crate) fn volume_phase(volume: &PersistentVolume) -> Option<&str> {
    volume.status.as_ref()?.phase.as_deref()
}

pub(crate) fn claim_reference(volume: &PersistentVolume) -> Option<&ObjectReference> {
    volume.spec.as_ref()?.claim_ref.as_ref()
}

/// The uid that a volume says its claim has, if it says one.
pub(crate) fn claimed_uid(volume: &PersistentVolume) -> Option<&str> {
    claim_reference(volume)?
        .uid
        .as_deref()
        .filter(|uid| !uid.is_empty())
}

/// Whether a volume says it is this claim's, at least by name.
pub(crate) fn is_for_claim(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    claim_reference(volume).is_some_and(|reference| {
        reference.name == claim.metadata.name
            && reference.namespace == claim.metadata.namespace
            && claimed_uid(volume).is_none_or(|uid| Some(uid) == claim.metadata.uid.as_deref())
    })
}

/// Whether both sides say that they are bound to each other, completely.
pub(crate) fn is_fully_bound(claim: &PersistentVolumeClaim) -> bool {
    volume_name(claim).is_some() && claim.annotations().contains_key(BIND_COMPLETED)
}

/// The size that a claim asks for.
pub(crate) fn request(claim: &PersistentVolumeClaim) -> Option<&Quantity> {
    let resources = claim.spec.as_ref()?.resources.as_ref()?;
    resources.requests.as_ref()?.get("storage")
}

/// Whether a bound claim asks for more than its volume has.
pub(crate) fn wants_to_grow(claim: &PersistentVolumeClaim) -> bool {
    let has = claim.status.as_ref().and_then(|status| {
        let capacity = status.capacity.as_ref()?;
        capacity.get("storage")
    });
    let (Some(asked), Some(has)) = (request(claim), has) else {
        return false;
    };
    Amount::of(asked) > Amount::of(has)
}

/// Whether a claim of this class waits until a pod that uses it is placed.
pub(crate) fn waits_for_consumer(class: Option<&StorageClass>) -> bool {
    class
        .and_then(|class| class.volume_binding_mode.as_deref())
        .is_some_and(|mode| mode == "WaitForFirstConsumer")
}

/// Of several default classes the youngest counts.
pub(crate) fn default_class(classes: &[Arc<StorageClass>]) -> Option<&Arc<StorageClass>> {
    classes
        .iter()
        .filter(|class| {
            class
                .annotations()
                .get(DEFAULT_CLASS)
                .is_some_and(|value| value == "true")
        })
        .max_by(|left, right| {
            let age = |class: &StorageClass| {
                class
                    .metadata
                    .creation_timestamp
                    .as_ref()
                    .map(|time| time.0)
            };
            // Of the same age, the name that comes first.
            age(left)
                .cmp(&age(right))
                .then(right.metadata.name.cmp(&left.metadata.name))
        })
}

pub(crate) fn requested(claim: &PersistentVolumeClaim) -> Amount {
    let storage = || {
        claim
            .spec
            .as_ref()?
            .resources
            .as_ref()?
            .requests
            .as_ref()?
            .get("storage")
            .map(Amount::of)
    };
    storage().unwrap_or_default()
}

pub(crate) fn capacity(volume: &PersistentVolume) -> Amount {
    let storage = || {
        volume
            .spec
            .as_ref()?
            .capacity
            .as_ref()?
            .get("storage")
            .map(Amount::of)
    };
    storage().unwrap_or_default()
}

/// The requested size as it was written.
pub(crate) fn requested_quantity(claim: &PersistentVolumeClaim) -> Quantity {
    let storage = || {
        claim
            .spec
            .as_ref()?
            .resources
            .as_ref()?
            .requests
            .as_ref()?
            .get("storage")
            .cloned()
    };
    storage().unwrap_or_default()
}

/// The names of the claims that a pod uses, those that are made for it included.
pub(crate) fn claims_of_pod(pod: &Pod) -> impl Iterator<Item = String> + '_ {
    pod.spec
        .iter()
        .flat_map(|spec| spec.volumes.iter().flatten())
        .filter_map(
            |volume| match (&volume.persistent_volume_claim, &volume.ephemeral) {
                (Some(claim), _) => Some(claim.claim_name.clone()),
                (None, Some(_)) => Some(format!("{}-{}", pod.name_any(), volume.name)),
                (None, None) => None,
            },
        )
}
