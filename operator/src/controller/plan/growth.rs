//! Volumes grow with the spec; they never shrink. Pure.
//!
//! A volume that we make on the node is a directory and has no limit of its own: what is corrected is what the
//! volume says of itself. Its claim keeps the size it was bound with, because the API server lets only claims
//! of a class grow. With a class, the claims ask for more, if the class allows it.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::ResourceExt as _;

use super::{Failure, Plan, Step, View};
use crate::quantity;

/// Adds the steps that let volumes grow, and says what keeps them from growing.
pub fn plan(view: View<'_>, plan: &mut Plan) {
    let observed = view.observed;
    let wanted = &view.validated.storage;
    let made_by_us = [&view.validated.data_volume, &view.validated.backup_volume];
    for name in made_by_us.into_iter().flatten() {
        let volumes = [
            &observed.data_volume,
            &observed.data_volume_apart,
            &observed.backup_volume,
            &observed.backup_volume_apart,
        ];
        let volume = volumes
            .into_iter()
            .flatten()
            .find(|volume| volume.name_any() == *name);
        if volume
            .and_then(capacity)
            .is_some_and(|there| quantity::is_less(&there.0, wanted))
        {
            plan.steps.push(Step::GrowVolume(name.clone()));
        }
    }
    let Some(class) = &view.validated.storage_class else {
        return;
    };
    let small: Vec<String> = [&observed.data_claim, &observed.backup_claim]
        .into_iter()
        .flatten()
        .filter(|claim| is_small(claim, wanted))
        .map(kube::ResourceExt::name_any)
        .collect();
    if small.is_empty() {
        return;
    }
    let may_grow = observed
        .storage_class
        .as_ref()
        .is_some_and(|class| class.allow_volume_expansion == Some(true));
    if may_grow {
        plan.steps.extend(small.into_iter().map(Step::GrowClaim));
    } else {
        plan.growth = Some(Failure {
            reason: "ResizeNotSupported".to_owned(),
            detail: format!(
                "{} cannot grow to {wanted}: the class {class} does not allow volumes to grow \
                 (allowVolumeExpansion); the instance goes on with the size it has",
                small.join(" and ")
            ),
        });
    }
}

/// The claim asks for less than this.
pub fn is_small(claim: &PersistentVolumeClaim, wanted: &str) -> bool {
    let requests = claim
        .spec
        .as_ref()
        .and_then(|spec| spec.resources.as_ref())
        .and_then(|resources| resources.requests.as_ref());
    requests
        .and_then(|requests| requests.get("storage"))
        .is_some_and(|there| quantity::is_less(&there.0, wanted))
}

fn capacity(volume: &PersistentVolume) -> Option<&Quantity> {
    volume.spec.as_ref()?.capacity.as_ref()?.get("storage")
}
