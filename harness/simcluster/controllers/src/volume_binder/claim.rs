//! What becomes of a claim. Pure.

use std::sync::Arc;

use k8s_openapi::api::{
    core::v1::{PersistentVolume, PersistentVolumeClaim},
    storage::v1::StorageClass,
};
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::volumes::{
    self, BIND_COMPLETED, BOUND_BY_CONTROLLER, NO_PROVISIONER, SELECTED_NODE, class_of_claim,
    is_for_claim, matching, volume_name,
};

/// What a claim's fate depends on.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    pub(super) volumes: &'a [Arc<PersistentVolume>],
    /// The class that the claim names, if it exists.
    pub(super) class: Option<&'a Arc<StorageClass>>,
    pub(super) default_class: Option<&'a Arc<StorageClass>>,
    /// A pod that uses the claim and waits for its node.
    pub(super) consumer: Option<&'a str>,
}

/// Something to be told about a claim.
#[derive(Debug, PartialEq)]
pub(super) struct Told {
    pub(super) warning: bool,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

/// What is to be done.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    /// It goes, and needs no volume any more.
    Nothing,
    /// The default class has come after the claim.
    AssignClass(String),
    /// It stays pending.
    Wait(Option<Told>),
    AskProvisioner {
        provisioner: String,
    },
    Bind(Arc<PersistentVolume>),
    Lose {
        reason: &'static str,
        message: &'static str,
    },
}

/// Decides about one claim.
pub(super) fn decide(claim: &PersistentVolumeClaim, facts: &Facts<'_>) -> Step {
    if claim.annotations().contains_key(BIND_COMPLETED) {
        return decide_bound(claim, facts);
    }
    if claim.metadata.deletion_timestamp.is_some() {
        return Step::Nothing;
    }
    match volume_name(claim) {
        Some(name) => decide_named(claim, name, facts),
        None => decide_free(claim, facts),
    }
}

fn by_name<'a>(facts: &Facts<'a>, name: &str) -> Option<&'a Arc<PersistentVolume>> {
    facts
        .volumes
        .iter()
        .find(|volume| volume.metadata.name.as_deref() == Some(name))
}

fn decide_bound(claim: &PersistentVolumeClaim, facts: &Facts<'_>) -> Step {
    let Some(name) = volume_name(claim) else {
        return Step::Lose {
            reason: "ClaimLost",
            message: "Bound claim has lost reference to PersistentVolume. Data on the volume is \
                      lost!",
        };
    };
    let Some(volume) = by_name(facts, name) else {
        return Step::Lose {
            reason: "ClaimLost",
            message: "Bound claim has lost its PersistentVolume. Data on the volume is lost!",
        };
    };
    let free = volumes::claim_reference(volume).is_none();
    if free || volumes::claimed_uid(volume) == claim.metadata.uid.as_deref() {
        return Step::Bind(volume.clone());
    }
    Step::Lose {
        reason: "ClaimMisbound",
        message: "Two claims are bound to the same volume, this one is bound incorrectly",
    }
}

fn decide_named(claim: &PersistentVolumeClaim, name: &str, facts: &Facts<'_>) -> Step {
    let Some(volume) = by_name(facts, name) else {
        return Step::Wait(None);
    };
    if is_for_claim(volume, claim) {
        return Step::Bind(volume.clone());
    }
    if let Some(reference) = volumes::claim_reference(volume) {
        let message = format!(
            "volume \"{name}\" already bound to a different claim. ({}/{})",
            reference.namespace.as_deref().unwrap_or_default(),
            reference.name.as_deref().unwrap_or_default(),
        );
        return Step::Wait(Some(Told {
            warning: true,
            reason: "FailedBinding",
            message,
        }));
    }
    if let Some(why) = matching::mismatch(volume, claim) {
        let message = format!("Cannot bind to requested volume \"{name}\": {why}");
        return Step::Wait(Some(Told {
            warning: true,
            reason: "VolumeMismatch",
            message,
        }));
    }
    Step::Bind(volume.clone())
}

fn decide_free(claim: &PersistentVolumeClaim, facts: &Facts<'_>) -> Step {
    let delayed = volumes::waits_for_consumer(facts.class.map(AsRef::as_ref));
    if let Some(volume) = matching::best(claim, facts.volumes, delayed) {
        return Step::Bind(volume);
    }
    match (class_of_claim(claim), facts.default_class) {
        (None, Some(class)) => return Step::AssignClass(class.name_any()),
        (None | Some(""), _) => {
            return Step::Wait(Some(Told {
                warning: false,
                reason: "FailedBinding",
                message: "no persistent volumes available for this claim and no storage class is \
                          set"
                .to_owned(),
            }));
        }
        (Some(_), _) => {}
    }
    if delayed && !claim.annotations().contains_key(SELECTED_NODE) {
        let (reason, message) = match facts.consumer {
            None => (
                "WaitForFirstConsumer",
                "waiting for first consumer to be created before binding".to_owned(),
            ),
            Some(pod) => (
                "WaitForPodScheduled",
                format!("waiting for pod {pod} to be scheduled"),
            ),
        };
        return Step::Wait(Some(Told {
            warning: false,
            reason,
            message,
        }));
    }
    let Some(class) = facts.class else {
        let name = class_of_claim(claim).unwrap_or_default();
        let message = format!("storageclass.storage.k8s.io \"{name}\" not found");
        return Step::Wait(Some(Told {
            warning: true,
            reason: "ProvisioningFailed",
            message,
        }));
    };
    if class.provisioner == NO_PROVISIONER {
        return Step::Wait(Some(Told {
            warning: true,
            reason: "ProvisioningFailed",
            message: format!("no volume plugin matched name: {NO_PROVISIONER}"),
        }));
    }
    Step::AskProvisioner {
        provisioner: class.provisioner.clone(),
    }
}

/// What has to be written on a claim that gets this volume.
pub(super) fn bind(claim: &PersistentVolumeClaim, volume: &PersistentVolume) -> Option<Value> {
    let mut annotations = serde_json::Map::new();
    if !claim.annotations().contains_key(BIND_COMPLETED) {
        annotations.insert(BIND_COMPLETED.to_owned(), json!("yes"));
    }
    if volume_name(claim).is_none() {
        annotations.insert(BOUND_BY_CONTROLLER.to_owned(), json!("yes"));
    } else if annotations.is_empty() {
        return None;
    }
    Some(json!({
        "metadata": {
            "resourceVersion": claim.metadata.resource_version,
            "annotations": annotations,
        },
        "spec": {"volumeName": volume.metadata.name},
    }))
}

/// What a claim that has this volume has to report anew.
pub(super) fn bound_status(
    claim: &PersistentVolumeClaim,
    volume: &PersistentVolume,
) -> Option<Value> {
    let spec = volume.spec.as_ref()?;
    let status = claim.status.as_ref();
    let bound = volumes::claim_phase(claim) == Some("Bound");
    let modes = status.and_then(|status| status.access_modes.as_ref());
    // A volume that has grown is reported by who grew it.
    let has_capacity = status.is_some_and(|status| status.capacity.is_some());
    if bound && modes == spec.access_modes.as_ref() && has_capacity {
        return None;
    }
    Some(json!({
        "metadata": {"uid": claim.metadata.uid},
        "status": {"phase": "Bound", "accessModes": spec.access_modes, "capacity": spec.capacity},
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(extra: &Value) -> PersistentVolumeClaim {
        let mut claim = json!({
            "metadata": {"name": "c", "namespace": "n", "uid": "1", "annotations": {}},
            "spec": {"resources": {"requests": {"storage": "1Gi"}},
                     "accessModes": ["ReadWriteOnce"]},
        });
        for (key, value) in extra.as_object().unwrap() {
            if key == "annotations" {
                claim["metadata"]["annotations"] = value.clone();
            } else {
                claim["spec"][key] = value.clone();
            }
        }
        serde_json::from_value(claim).unwrap()
    }

    fn class(mode: &str) -> Arc<StorageClass> {
        Arc::new(
            serde_json::from_value(json!({
                "metadata": {"name": "s"}, "provisioner": "p", "volumeBindingMode": mode,
            }))
            .unwrap(),
        )
    }

    fn volume(claim_ref: &Value) -> Arc<PersistentVolume> {
        Arc::new(
            serde_json::from_value(json!({
                "metadata": {"name": "v"},
                "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
                         "claimRef": claim_ref},
                "status": {"phase": "Available"},
            }))
            .unwrap(),
        )
    }

    fn said(step: &Step) -> String {
        match step {
            Step::Wait(Some(told)) => format!("{}: {}", told.reason, told.message),
            Step::Lose { reason, message } => format!("{reason}: {message}"),
            other => format!("{other:?}").chars().take(24).collect(),
        }
    }

    #[test]
    fn each_state_of_a_claim_has_its_step() {
        let (immediate, waiting) = (class("Immediate"), class("WaitForFirstConsumer"));
        let here = [volume(&Value::Null)];
        let taken = [volume(
            &json!({"namespace": "n", "name": "other", "uid": "9"}),
        )];
        let completed = json!({BIND_COMPLETED: "yes"});
        let none: [Arc<PersistentVolume>; 0] = [];
        for (spec, volumes, class, default, expected) in [
            (
                json!({"storageClassName": ""}),
                &none[..],
                None,
                None,
                "FailedBinding: no persistent volumes available for this claim and no storage class is set",
            ),
            (json!({"storageClassName": ""}), &here, None, None, "Bind("),
            (
                json!({}),
                &none,
                None,
                Some(&immediate),
                "AssignClass(\"s\")",
            ),
            (
                json!({"storageClassName": "s"}),
                &none,
                None,
                None,
                "ProvisioningFailed: storageclass.storage.k8s.io \"s\" not found",
            ),
            (
                json!({"storageClassName": "s"}),
                &none,
                Some(&immediate),
                None,
                "AskProvisioner",
            ),
            (
                json!({"storageClassName": "s"}),
                &none,
                Some(&waiting),
                None,
                "WaitForFirstConsumer: waiting for first consumer to be created before binding",
            ),
            (
                json!({"storageClassName": "s", "annotations": {SELECTED_NODE: "x"}}),
                &none,
                Some(&waiting),
                None,
                "AskProvisioner",
            ),
            (json!({"volumeName": "v"}), &none, None, None, "Wait(None)"),
            (json!({"volumeName": "v"}), &here, None, None, "Bind("),
            (
                json!({"volumeName": "v"}),
                &taken,
                None,
                None,
                "FailedBinding: volume \"v\" already bound to a different claim. (n/other)",
            ),
            (
                json!({"volumeName": "v", "storageClassName": "z"}),
                &here,
                None,
                None,
                "VolumeMismatch: Cannot bind to requested volume \"v\": storageClassName does not match",
            ),
            (
                json!({"volumeName": "v", "annotations": completed}),
                &none,
                None,
                None,
                "ClaimLost: Bound claim has lost its PersistentVolume. Data on the volume is lost!",
            ),
            (
                json!({"volumeName": "v", "annotations": completed}),
                &taken,
                None,
                None,
                "ClaimMisbound: Two claims are bound to the same volume, this one is bound incorrectly",
            ),
        ] {
            let facts = Facts {
                volumes,
                class,
                default_class: default,
                consumer: None,
            };
            let found = said(&decide(&claim(&spec), &facts));
            assert!(found.starts_with(expected), "{spec}: {found}");
        }
    }
}
