//! Volumes on the node, for instances without a storage class.
//!
//! The data directory is named by the resource's UID: no later instance can meet these data. The backup
//! directory is not: the next instance of this name in this namespace must find the backups. A claim
//! reference without a UID reserves each volume for its claim and for nobody else, also when the claim
//! is made anew.

use k8s_openapi::api::core::v1::{
    HostPathVolumeSource, ObjectReference, PersistentVolume, PersistentVolumeSpec,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::metadata;
use crate::controller::validate::Validated;
use crate::names;

pub(super) fn data(validated: &Validated) -> Option<PersistentVolume> {
    let instance = &validated.instance;
    let path = format!(
        "{}/data/{}/{}/{}",
        validated.host_path_root, instance.namespace, instance.name, validated.uid
    );
    Some(volume(
        validated,
        validated.data_volume.clone()?,
        &instance.name,
        instance.data_claim(),
        path,
        "data",
    ))
}

pub(super) fn backup(validated: &Validated) -> Option<PersistentVolume> {
    let instance = &validated.instance;
    let path = format!(
        "{}/backup/{}/{}",
        validated.host_path_root, instance.namespace, instance.name
    );
    let usage = format!("backup-{}", instance.name);
    Some(volume(
        validated,
        validated.backup_volume.clone()?,
        &usage,
        instance.backup_claim(),
        path,
        "backup",
    ))
}

fn volume(
    validated: &Validated,
    name: String,
    usage: &str,
    claim: String,
    path: String,
    component: &str,
) -> PersistentVolume {
    let namespace = validated.instance.namespace.clone();
    let mut metadata = metadata(validated, name, component);
    metadata.namespace = None;
    if let Some(labels) = &mut metadata.labels {
        labels.insert(names::PV_USAGE.to_owned(), usage.to_owned());
        labels.insert(names::INSTANCE_NAMESPACE.to_owned(), namespace.clone());
    }
    PersistentVolume {
        metadata,
        spec: Some(PersistentVolumeSpec {
            capacity: Some([("storage".to_owned(), Quantity(validated.storage.clone()))].into()),
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            persistent_volume_reclaim_policy: Some("Retain".to_owned()),
            storage_class_name: Some(String::new()),
            claim_ref: Some(ObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("PersistentVolumeClaim".to_owned()),
                namespace: Some(namespace),
                name: Some(claim),
                ..ObjectReference::default()
            }),
            host_path: Some(HostPathVolumeSource {
                path,
                type_: Some("DirectoryOrCreate".to_owned()),
            }),
            ..PersistentVolumeSpec::default()
        }),
        ..PersistentVolume::default()
    }
}
