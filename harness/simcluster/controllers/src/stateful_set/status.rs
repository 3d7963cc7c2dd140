//! What a StatefulSet reports. Pure.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::{StatefulSet, StatefulSetStatus},
    core::v1::Pod,
};
use kube::ResourceExt;

use super::plan::{Revisions, is_on_delete, min_ready_seconds, replicas, revision_of};
use crate::pods::{self, Availability, count, nonzero};

pub(super) fn status(
    set: &StatefulSet,
    owned: &[Arc<Pod>],
    revisions: &Revisions,
    now: Timestamp,
) -> StatefulSetStatus {
    let known = set.status.clone().unwrap_or_default();
    let staying = || owned.iter().filter(|pod| !pods::is_terminating(pod));
    let at = |revision: &str| {
        nonzero(count(
            staying().filter(|pod| revision_of(pod) == Some(revision)),
        ))
    };
    let min_ready = min_ready_seconds(set);
    let ready = |pod: &&Arc<Pod>| pods::phase(pod) == "Running" && pods::is_ready(pod);
    let available = |pod: &&Arc<Pod>| {
        ready(pod) && pods::availability(pod, min_ready, now) == Availability::Available
    };
    let (current, update) = (revisions.current.name_any(), revisions.update.name_any());
    let mut status = StatefulSetStatus {
        observed_generation: set.metadata.generation,
        replicas: count(owned),
        ready_replicas: nonzero(count(owned.iter().filter(ready))),
        available_replicas: Some(count(owned.iter().filter(available))),
        current_replicas: at(&current),
        updated_replicas: at(&update),
        current_revision: Some(current),
        update_revision: Some(update),
        collision_count: Some(known.collision_count.unwrap_or_default()),
        conditions: known.conditions,
    };
    let wanted = replicas(set);
    let number = |value: Option<i32>| value.unwrap_or_default();
    // Where pods are replaced by hand nothing is rolled out, so nothing is finished.
    let rolled_out = !is_on_delete(set)
        && status.current_revision != status.update_revision
        && number(status.updated_replicas) == wanted
        && number(status.ready_replicas) == wanted
        && status.replicas == wanted;
    if rolled_out {
        status.current_replicas = status.updated_replicas;
        status.current_revision.clone_from(&status.update_revision);
    }
    status
}
