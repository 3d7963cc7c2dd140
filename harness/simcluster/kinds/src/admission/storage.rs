//! What the cluster adds to new volumes and claims: a storage class, and finalizers that keep what
//! is in use.

use serde_json::Value;
use simcluster_machinery::quantity::Quantity;

use crate::persistent_volume_claim::class;
use crate::read::{Fill, Read};
use crate::storage_class::is_default;

/// A claim that leaves its class to the cluster gets the newest default among `classes`.
pub fn default_storage_class<'a>(claim: &mut Value, classes: impl IntoIterator<Item = &'a Value>) {
    if class(claim).is_some() {
        return;
    }
    let newest = classes
        .into_iter()
        .filter(|class| is_default(class))
        .max_by(|one, other| {
            let created = |class: &'a Value| class.text("metadata.creationTimestamp");
            created(one)
                .cmp(created(other))
                .then_with(|| other.text("metadata.name").cmp(one.text("metadata.name")))
        });
    if let Some(newest) = newest {
        claim.put("spec.storageClassName", newest.text("metadata.name"));
    }
}

/// Why a claim may not grow, if it wants to; `expands` says whether a storage class allows it.
pub fn refused_growth(
    new: &Value,
    old: &Value,
    expands: impl FnOnce(&str) -> bool,
) -> Option<&'static str> {
    let size = |claim: &Value| {
        let text = claim.text("spec.resources.requests.storage");
        text.parse::<Quantity>().ok()
    };
    if size(new) <= size(old) {
        return None;
    }
    if old.text("status.phase") != "Bound" {
        return Some("Only bound persistent volume claims can be expanded");
    }
    let name = class(new).filter(|name| !name.is_empty() && Some(*name) == class(old));
    (!name.is_some_and(expands)).then_some(
        "only dynamically provisioned pvc can be resized and the storageclass that provisions the \
         pvc must support resize",
    )
}

/// A claim stays while a pod uses it.
pub fn protect_claim(claim: &mut Value) {
    protect(claim, "kubernetes.io/pvc-protection");
}

/// A volume stays while a claim is bound to it.
pub fn protect_volume(volume: &mut Value) {
    protect(volume, "kubernetes.io/pv-protection");
}

fn protect(object: &mut Value, finalizer: &str) {
    let mut finalizers = object.list("metadata.finalizers").to_vec();
    if !finalizers.iter().any(|one| one == finalizer) {
        finalizers.push(finalizer.into());
        object.put("metadata.finalizers", finalizers);
    }
}
