//! By how much each ReplicaSet may grow or shrink in a rollout's next step. Pure.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};

use super::{
    revision::Found,
    strategy::{self, replicas},
};

/// A set and the size it gets.
#[derive(Clone, Debug)]
pub(super) struct Resize {
    pub(super) set: Arc<ReplicaSet>,
    pub(super) replicas: i32,
}

/// How many pods a set is told to have.
pub(super) fn wanted_of(set: &ReplicaSet) -> i32 {
    set.spec
        .as_ref()
        .and_then(|spec| spec.replicas)
        .unwrap_or(1)
}

pub(super) fn available_of(set: &ReplicaSet) -> i32 {
    set.status
        .as_ref()
        .and_then(|status| status.available_replicas)
        .unwrap_or_default()
}

pub(super) fn total<'a>(sets: impl IntoIterator<Item = &'a Arc<ReplicaSet>>) -> i32 {
    sets.into_iter().map(|set| wanted_of(set)).sum()
}

/// The size that the set of the present template may have now.
pub(super) fn new_set_size(deployment: &Deployment, found: &Found) -> i32 {
    let wanted = replicas(deployment);
    if strategy::is_recreate(deployment) {
        return wanted;
    }
    let size = found.new.as_ref().map_or(0, |set| wanted_of(set));
    let most = wanted.saturating_add(strategy::max_surge(deployment));
    let room = most - total(found.all());
    if room <= 0 {
        size
    } else {
        size + room.min(wanted - size)
    }
}

/// The set of the present template shrinks to the wanted size, or grows as far as there is room.
pub(super) fn new_set_wanted(deployment: &Deployment, found: &Found) -> Vec<Resize> {
    let Some(set) = &found.new else {
        return Vec::new();
    };
    let (size, wanted) = (wanted_of(set), replicas(deployment));
    let replicas = if size >= wanted {
        wanted
    } else {
        new_set_size(deployment, found)
    };
    if replicas == size {
        Vec::new()
    } else {
        vec![Resize {
            set: set.clone(),
            replicas,
        }]
    }
}

/// Old sets give first what is not available anyhow, then as many available pods as may be missing.
pub(super) fn old_sets_wanted(deployment: &Deployment, found: &Found) -> Vec<Resize> {
    let Some(new) = &found.new else {
        return Vec::new();
    };
    if total(&found.old) == 0 {
        return Vec::new();
    }
    let least = replicas(deployment) - strategy::max_unavailable(deployment);
    let new_missing = wanted_of(new) - available_of(new);
    let may_go = total(found.all()) - least - new_missing;
    if may_go <= 0 {
        return Vec::new();
    }
    let mut sizes: Vec<i32> = found.old.iter().map(|set| wanted_of(set)).collect();
    let mut gone = 0;
    for (set, size) in found.old.iter().zip(&mut sizes) {
        let missing = (*size - available_of(set)).max(0);
        let goes = missing.min(may_go - gone);
        *size -= goes;
        gone += goes;
    }
    let available: i32 = found.all().map(|set| available_of(set)).sum();
    let mut may_miss = available - least;
    for size in &mut sizes {
        let goes = (*size).min(may_miss).max(0);
        *size -= goes;
        may_miss -= goes;
    }
    changed(&found.old, &sizes)
}

/// All these sets give up all their pods.
pub(super) fn all_to_zero(sets: &[Arc<ReplicaSet>]) -> Vec<Resize> {
    changed(sets, &vec![0; sets.len()])
}

/// Only those whose size changes.
pub(super) fn changed(sets: &[Arc<ReplicaSet>], sizes: &[i32]) -> Vec<Resize> {
    sets.iter()
        .zip(sizes)
        .filter(|(set, size)| wanted_of(set) != **size)
        .map(|(set, size)| Resize {
            set: set.clone(),
            replicas: *size,
        })
        .collect()
}
