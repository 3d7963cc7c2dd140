//! Which volume fits a claim. Pure.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use simcluster_placement::amount::Amount;

use super::{
    capacity, claim_reference, class_of_claim, class_of_volume, is_for_claim, requested,
    volume_phase,
};
use crate::selector;

const FILESYSTEM: &str = "Filesystem";

/// Why a volume that the user asked for by name cannot be had, in words; nothing if it can.
pub(crate) fn mismatch(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> Option<String> {
    if volume.metadata.deletion_timestamp.is_some() {
        return Some("the volume is marked for deletion".to_owned());
    }
    if capacity(volume) < requested(claim) {
        return Some("requested PV is too small".to_owned());
    }
    if class_of_volume(volume) != class_of_claim(claim).unwrap_or_default() {
        return Some("storageClassName does not match".to_owned());
    }
    if !same_mode(volume, claim) {
        return Some("incompatible volumeMode".to_owned());
    }
    if !has_access_modes(volume, claim) {
        return Some("incompatible accessMode".to_owned());
    }
    None
}

/// The volume that says it is the claim's, else the smallest that is free and fits; a claim that waits for a consumer
/// (`delayed`) gets only what is said to be its own.
pub(crate) fn best(
    claim: &PersistentVolumeClaim,
    volumes: &[Arc<PersistentVolume>],
    delayed: bool,
) -> Option<Arc<PersistentVolume>> {
    if let Some(own) = kept(claim, volumes).next() {
        return Some(own.clone());
    }
    let smallest = || free(claim, volumes).min_by_key(|volume| rank(volume));
    (!delayed).then(smallest).flatten().cloned()
}

/// The volumes that the claim could have somewhere, those that it would get first first.
pub(crate) fn candidates(
    claim: &PersistentVolumeClaim,
    volumes: &[Arc<PersistentVolume>],
) -> Vec<Arc<PersistentVolume>> {
    let mut free: Vec<_> = free(claim, volumes).collect();
    free.sort_by_cached_key(|volume| rank(volume));
    kept(claim, volumes).chain(free).cloned().collect()
}

/// Those that say they are the claim's.
fn kept<'a>(
    claim: &PersistentVolumeClaim,
    volumes: &'a [Arc<PersistentVolume>],
) -> impl Iterator<Item = &'a Arc<PersistentVolume>> {
    let all = volumes.iter();
    all.filter(|volume| is_for_claim(volume, claim) && fits(volume, claim))
}

/// Those that are nobody's.
fn free<'a>(
    claim: &PersistentVolumeClaim,
    volumes: &'a [Arc<PersistentVolume>],
) -> impl Iterator<Item = &'a Arc<PersistentVolume>> {
    let class = class_of_claim(claim).unwrap_or_default();
    volumes.iter().filter(move |volume| {
        claim_reference(volume).is_none()
            && volume_phase(volume) == Some("Available")
            && class_of_volume(volume) == class
            && is_selected(volume, claim)
            && fits(volume, claim)
    })
}

/// Of two that are free, the smaller is taken.
fn rank(volume: &PersistentVolume) -> (Amount, Option<String>) {
    (capacity(volume), volume.metadata.name.clone())
}

fn fits(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    volume.metadata.deletion_timestamp.is_none()
        && same_mode(volume, claim)
        && has_access_modes(volume, claim)
        && capacity(volume) >= requested(claim)
}

fn is_selected(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let wanted = claim.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    wanted.is_none_or(|wanted| selector::matches(wanted, volume.metadata.labels.as_ref()))
}

fn same_mode(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let of_volume = volume
        .spec
        .as_ref()
        .and_then(|spec| spec.volume_mode.as_deref());
    let of_claim = claim
        .spec
        .as_ref()
        .and_then(|spec| spec.volume_mode.as_deref());
    of_volume.unwrap_or(FILESYSTEM) == of_claim.unwrap_or(FILESYSTEM)
}

fn has_access_modes(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let of_volume = volume
        .spec
        .as_ref()
        .and_then(|spec| spec.access_modes.as_deref());
    let of_claim = claim
        .spec
        .as_ref()
        .and_then(|spec| spec.access_modes.as_deref());
    let of_volume = of_volume.unwrap_or_default();
    of_claim
        .unwrap_or_default()
        .iter()
        .all(|mode| of_volume.contains(mode))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn volume(name: &str, size: &str, extra: &Value) -> Arc<PersistentVolume> {
        let mut volume = json!({
            "metadata": {"name": name, "labels": {"disk": name}},
            "spec": {"capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"],
                     "storageClassName": "c"},
            "status": {"phase": "Available"},
        });
        for (key, value) in extra.as_object().unwrap() {
            volume["spec"][key] = value.clone();
        }
        Arc::new(serde_json::from_value(volume).unwrap())
    }

    fn claim(size: &str, extra: &Value) -> PersistentVolumeClaim {
        let mut claim = json!({
            "metadata": {"name": "c", "namespace": "n", "uid": "1"},
            "spec": {"resources": {"requests": {"storage": size}},
                     "accessModes": ["ReadWriteOnce"], "storageClassName": "c"},
        });
        for (key, value) in extra.as_object().unwrap() {
            claim["spec"][key] = value.clone();
        }
        serde_json::from_value(claim).unwrap()
    }

    fn name(found: Option<Arc<PersistentVolume>>) -> Option<String> {
        found.and_then(|volume| volume.metadata.name.clone())
    }

    #[test]
    fn the_smallest_that_fits_is_taken() {
        let none = json!({});
        let volumes = [
            volume("a", "3Gi", &none),
            volume("b", "2Gi", &none),
            volume("s", "1Mi", &none),
        ];
        let found = |claim: &PersistentVolumeClaim| name(best(claim, &volumes, false));
        assert_eq!(found(&claim("1Gi", &none)).as_deref(), Some("b"));
        assert_eq!(found(&claim("4Gi", &none)), None);
        let selected = json!({"selector": {"matchLabels": {"disk": "a"}}});
        assert_eq!(found(&claim("1Gi", &selected)).as_deref(), Some("a"));
        assert_eq!(
            found(&claim("1Gi", &json!({"storageClassName": "d"}))),
            None
        );
        assert_eq!(
            found(&claim("1Gi", &json!({"accessModes": ["ReadWriteMany"]}))),
            None
        );
        assert_eq!(found(&claim("1Gi", &json!({"volumeMode": "Block"}))), None);
    }

    #[test]
    fn a_volume_kept_for_the_claim_comes_first_and_one_kept_for_another_never() {
        let none = json!({});
        let kept =
            json!({"claimRef": {"namespace": "n", "name": "c"}, "storageClassName": "other"});
        let foreign = json!({"claimRef": {"namespace": "n", "name": "c", "uid": "2"}});
        let volumes = [
            volume("a", "1Gi", &none),
            volume("f", "1Gi", &foreign),
            volume("k", "9Gi", &kept),
        ];
        let claim = claim("1Gi", &none);
        assert_eq!(name(best(&claim, &volumes, true)).as_deref(), Some("k"));
        assert_eq!(name(best(&claim, &volumes[..2], true)), None);
        assert_eq!(name(best(&claim, &volumes[1..2], false)), None);
    }
}
