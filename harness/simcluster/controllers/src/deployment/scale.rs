//! How a change of a deployment's size is shared among its ReplicaSets, in the middle of a rollout or not. Pure.

use std::{cmp::Reverse, sync::Arc};

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use kube::ResourceExt;

use super::{
    revision::{self, Found},
    rolling::{Resize, available_of, changed, total, wanted_of},
    strategy::{self, replicas},
};

fn annotated(set: &ReplicaSet, key: &str) -> Option<i32> {
    set.annotations().get(key)?.parse().ok()
}

/// Whether some set was last sized for another size of the deployment.
pub(super) fn is_scaling(deployment: &Deployment, sets: &[Arc<ReplicaSet>]) -> bool {
    sets.iter().filter(|set| wanted_of(set) > 0).any(|set| {
        annotated(set, revision::DESIRED).is_some_and(|desired| desired != replicas(deployment))
    })
}

/// One active set takes all; a finished rollout empties the old sets; several active sets share in proportion.
pub(super) fn scale(deployment: &Deployment, found: &Found) -> Vec<Resize> {
    let wanted = replicas(deployment);
    let active: Vec<_> = found
        .all()
        .filter(|set| wanted_of(set) > 0)
        .cloned()
        .collect();
    match active.as_slice() {
        [] => {
            let latest = found.new.as_ref().or_else(|| found.old.last());
            return latest.map_or_else(Vec::new, |set| resized(set, wanted));
        }
        [only] => return resized(only, wanted),
        _ => {}
    }
    if let Some(new) = &found.new {
        let saturated = wanted_of(new) == wanted
            && annotated(new, revision::DESIRED) == Some(wanted)
            && available_of(new) == wanted;
        if saturated {
            return changed(&found.old, &vec![0; found.old.len()]);
        }
    }
    if strategy::is_recreate(deployment) {
        // Sizes stay until the old sets are empty; that this size was seen is written down.
        return active
            .into_iter()
            .map(|set| Resize {
                replicas: wanted_of(&set),
                set,
            })
            .collect();
    }
    share(deployment, active)
}

/// A set that already has its size may still have to learn for which size of the deployment.
fn resized(set: &Arc<ReplicaSet>, replicas: i32) -> Vec<Resize> {
    let known = annotated(set, revision::DESIRED).is_none_or(|desired| desired == replicas);
    if known && wanted_of(set) == replicas {
        Vec::new()
    } else {
        vec![Resize {
            set: set.clone(),
            replicas,
        }]
    }
}

fn share(deployment: &Deployment, mut active: Vec<Arc<ReplicaSet>>) -> Vec<Resize> {
    let wanted = replicas(deployment);
    let most = if wanted > 0 {
        wanted + strategy::max_surge(deployment)
    } else {
        0
    };
    let to_add = most - total(&active);
    if to_add > 0 {
        active.sort_by(|left, right| {
            let key = |set| (Reverse(wanted_of(set)), Reverse(revision::age(set)));
            key(left).cmp(&key(right))
        });
    } else {
        active.sort_by(|left, right| {
            let key = |set| (Reverse(wanted_of(set)), revision::age(set));
            key(left).cmp(&key(right))
        });
    }
    let mut added = 0;
    let mut sizes: Vec<i32> = Vec::with_capacity(active.len());
    for set in &active {
        let share = if to_add == 0 {
            0
        } else {
            fraction(deployment, set, most)
        };
        let left = to_add - added;
        let share = if to_add > 0 {
            share.min(left)
        } else {
            share.max(left)
        };
        added += share;
        sizes.push(wanted_of(set) + share);
    }
    // What rounding left goes to the largest.
    if let Some(first) = sizes.first_mut() {
        *first = (*first + to_add - added).max(0);
    }
    // Each active set learns for which size it was shared, so that the same change is not shared again.
    active
        .into_iter()
        .zip(sizes)
        .map(|(set, replicas)| Resize { set, replicas })
        .collect()
}

/// By how much a set changes when the deployment's largest size becomes `most`.
fn fraction(deployment: &Deployment, set: &ReplicaSet, most: i32) -> i32 {
    let size = wanted_of(set);
    if replicas(deployment) == 0 {
        return -size;
    }
    let before = annotated(set, revision::MAXIMUM)
        .filter(|before| *before > 0)
        .unwrap_or_else(|| {
            deployment
                .status
                .as_ref()
                .and_then(|status| status.replicas)
                .unwrap_or_default()
        });
    if before <= 0 {
        return 0;
    }
    let (size, most, before) = (i64::from(size), i64::from(most), i64::from(before));
    // Rounded to the nearest.
    let scaled = (2 * size * most + before) / (2 * before);
    i32::try_from(scaled - size).unwrap_or_default()
}
