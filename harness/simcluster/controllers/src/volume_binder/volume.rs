//! What becomes of a volume. Pure.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::volumes::{
    self, BOUND_BY_CONTROLLER, PROVISIONED_BY, claim_reference, claimed_uid, volume_phase,
};

/// What is to be done about a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Available,
    Bound,
    /// Its claim has not been bound yet; that is the claim's part.
    LetClaimDecide,
    /// Its claim has another volume.
    Unbind,
    /// Its claim is gone.
    Release,
    /// Its claim has been gone for a while.
    Reclaim,
}

/// Decides about a volume, given the claim that has the name it keeps, if there is one.
pub(super) fn decide(volume: &PersistentVolume, claim: Option<&PersistentVolumeClaim>) -> Fate {
    if claim_reference(volume).is_none() {
        return Fate::Available;
    }
    let Some(uid) = claimed_uid(volume) else {
        // Kept for a claim of this name, whichever it will be.
        return if claim.is_some() && volume_phase(volume) == Some("Available") {
            Fate::LetClaimDecide
        } else {
            Fate::Available
        };
    };
    let Some(claim) = claim.filter(|claim| claim.metadata.uid.as_deref() == Some(uid)) else {
        let released = matches!(volume_phase(volume), Some("Released" | "Failed"));
        return if released {
            Fate::Reclaim
        } else {
            Fate::Release
        };
    };
    match volumes::volume_name(claim) {
        None => Fate::LetClaimDecide,
        Some(name) if Some(name) == volume.metadata.name.as_deref() => Fate::Bound,
        Some(_) if provisioned_to_be_deleted(volume) => Fate::Release,
        Some(_) => Fate::Unbind,
    }
}

fn provisioned_to_be_deleted(volume: &PersistentVolume) -> bool {
    volume.annotations().contains_key(PROVISIONED_BY) && policy(volume) == "Delete"
}

pub(super) fn policy(volume: &PersistentVolume) -> &str {
    volume
        .spec
        .as_ref()
        .and_then(|spec| spec.persistent_volume_reclaim_policy.as_deref())
        .unwrap_or("Retain")
}

/// What becomes of a volume whose claim is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reclaim {
    /// It stays as it is: for the administrator, or for the provisioner that made it.
    Keep,
    /// The directory at this path goes, and then the volume.
    Delete(String),
    Fail {
        reason: &'static str,
        message: String,
    },
}

/// `can_remove` says whether somebody is there to remove directories.
pub(super) fn reclaim(volume: &PersistentVolume, can_remove: bool) -> Reclaim {
    let host_path = volume
        .spec
        .as_ref()
        .and_then(|spec| spec.host_path.as_ref());
    match policy(volume) {
        "Delete" if volume.annotations().contains_key(PROVISIONED_BY) => Reclaim::Keep,
        "Delete" => match host_path {
            Some(source) if source.path.len() > 5 && source.path.starts_with("/tmp/") => {
                if can_remove {
                    Reclaim::Delete(source.path.clone())
                } else {
                    Reclaim::Fail {
                        reason: "VolumeFailedDelete",
                        message: "nobody here can remove the directory of this volume; remove \
                                  the volume by hand"
                            .to_owned(),
                    }
                }
            }
            Some(source) => Reclaim::Fail {
                reason: "VolumeFailedDelete",
                message: format!(
                    "host_path deleter only supports /tmp/.+ but received provided {}",
                    source.path
                ),
            },
            None => Reclaim::Fail {
                reason: "VolumeFailedDelete",
                message: format!(
                    "error getting deleter volume plugin for volume \"{}\": no deletable volume \
                     plugin matched",
                    volume.name_any()
                ),
            },
        },
        "Recycle" => Reclaim::Fail {
            reason: "VolumeFailedRecycle",
            message: "No recycler plugin found for the volume!".to_owned(),
        },
        _ => Reclaim::Keep,
    }
}

/// What has to be written on a volume that goes to this claim.
pub(super) fn bind(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> Option<Value> {
    if claimed_uid(volume).is_some() {
        return None;
    }
    let mut patch = json!({
        "metadata": {"resourceVersion": volume.metadata.resource_version},
        "spec": {"claimRef": {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "namespace": claim.metadata.namespace,
            "name": claim.metadata.name,
            "uid": claim.metadata.uid,
            "resourceVersion": claim.metadata.resource_version,
        }},
    });
    if claim_reference(volume).is_none() {
        patch["metadata"]["annotations"] = json!({BOUND_BY_CONTROLLER: "yes"});
    }
    Some(patch)
}

/// What has to be written on a volume that its claim does not want: what the user wrote stays.
pub(super) fn unbind(volume: &PersistentVolume) -> Value {
    let revision = &volume.metadata.resource_version;
    if volume.annotations().contains_key(BOUND_BY_CONTROLLER) {
        json!({
            "metadata": {"resourceVersion": revision, "annotations": {BOUND_BY_CONTROLLER: null}},
            "spec": {"claimRef": null},
        })
    } else {
        json!({
            "metadata": {"resourceVersion": revision},
            "spec": {"claimRef": {"uid": null, "resourceVersion": null}},
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(claim_ref: &Value, phase: &str, spec: &Value) -> PersistentVolume {
        let mut volume = json!({
            "metadata": {"name": "v", "uid": "v"},
            "spec": {"claimRef": claim_ref},
            "status": {"phase": phase},
        });
        for (key, value) in spec.as_object().unwrap() {
            volume["spec"][key] = value.clone();
        }
        serde_json::from_value(volume).unwrap()
    }

    fn claim(uid: &str, volume: Option<&str>) -> PersistentVolumeClaim {
        serde_json::from_value(json!({
            "metadata": {"name": "c", "namespace": "n", "uid": uid},
            "spec": {"volumeName": volume},
        }))
        .unwrap()
    }

    #[test]
    fn each_state_of_a_volume_has_its_fate() {
        let by_uid = json!({"namespace": "n", "name": "c", "uid": "1"});
        let by_name = json!({"namespace": "n", "name": "c"});
        for (reference, phase, claim, expected) in [
            (&Value::Null, "Pending", None, Fate::Available),
            (&by_name, "Pending", None, Fate::Available),
            (
                &by_name,
                "Available",
                Some(claim("1", None)),
                Fate::LetClaimDecide,
            ),
            (&by_uid, "Bound", Some(claim("1", Some("v"))), Fate::Bound),
            (
                &by_uid,
                "Bound",
                Some(claim("1", None)),
                Fate::LetClaimDecide,
            ),
            (&by_uid, "Bound", Some(claim("1", Some("w"))), Fate::Unbind),
            (&by_uid, "Bound", None, Fate::Release),
            (&by_uid, "Pending", Some(claim("2", None)), Fate::Release),
            (&by_uid, "Released", None, Fate::Reclaim),
        ] {
            let volume = volume(reference, phase, &json!({}));
            assert_eq!(
                decide(&volume, claim.as_ref()),
                expected,
                "{reference} {phase}"
            );
        }
    }

    #[test]
    fn a_released_volume_is_kept_deleted_or_failed_as_its_policy_says() {
        let none = Value::Null;
        let of = |spec: &Value| reclaim(&volume(&none, "Released", spec), true);
        assert_eq!(of(&json!({})), Reclaim::Keep);
        let delete = |path: &str| json!({"persistentVolumeReclaimPolicy": "Delete", "hostPath": {"path": path}});
        assert_eq!(of(&delete("/tmp/x")), Reclaim::Delete("/tmp/x".into()));
        assert!(matches!(of(&delete("/data")), Reclaim::Fail { .. }));
    }
}
