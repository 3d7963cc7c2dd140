//! The claims of the two volumes.
//!
//! A claim of an operator-made volume names it and has the empty class, so that no default class of the
//! cluster provides another volume in its place.

use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimSpec, VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::metadata;
use crate::controller::validate::{Layout, Validated};
use crate::names;

pub(super) fn data(validated: &Validated) -> PersistentVolumeClaim {
    let name = validated.instance.data_claim();
    let mut claim = claim(validated, name, validated.data_volume.clone(), "data");
    match validated.layout {
        Layout::Own => {
            let annotations = claim.metadata.annotations.get_or_insert_default();
            annotations.insert(names::LAYOUT.to_owned(), names::LAYOUT_OWN.to_owned());
        }
        Layout::Root => {}
    }
    claim
}

pub(super) fn backup(validated: &Validated) -> PersistentVolumeClaim {
    let name = validated.instance.backup_claim();
    claim(validated, name, validated.backup_volume.clone(), "backup")
}

fn claim(
    validated: &Validated,
    name: String,
    volume: Option<String>,
    component: &str,
) -> PersistentVolumeClaim {
    let class = validated
        .storage_class
        .clone()
        .or_else(|| volume.as_ref().map(|_| String::new()));
    PersistentVolumeClaim {
        metadata: metadata(validated, name, component),
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            resources: Some(VolumeResourceRequirements {
                requests: Some(
                    [("storage".to_owned(), Quantity(validated.storage.clone()))].into(),
                ),
                ..VolumeResourceRequirements::default()
            }),
            storage_class_name: class,
            volume_name: volume,
            ..PersistentVolumeClaimSpec::default()
        }),
        ..PersistentVolumeClaim::default()
    }
}
