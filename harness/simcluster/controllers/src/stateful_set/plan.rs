//! The next steps of a StatefulSet. Pure.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        apps::v1::{ControllerRevision, StatefulSet},
        core::v1::Pod,
    },
    apimachinery::pkg::util::intstr::IntOrString,
};
use kube::ResourceExt;

use super::identity;
use crate::pods::{self, Availability};

/// The revision that pods have, and the one they are to get.
#[derive(Clone, Debug)]
pub(super) struct Revisions {
    pub(super) current: Arc<ControllerRevision>,
    pub(super) update: Arc<ControllerRevision>,
}

/// What is to be done now.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Numbers of new pods, and whether they get the new template.
    pub(super) create: Vec<(i32, bool)>,
    pub(super) delete: Vec<Arc<Pod>>,
    /// Pods that lack the labels of their identity.
    pub(super) relabel: Vec<Arc<Pod>>,
    pub(super) own: Vec<identity::Owners>,
}

pub(super) fn revision_of(pod: &Pod) -> Option<&str> {
    pod.metadata
        .labels
        .as_ref()?
        .get(identity::REVISION)
        .map(String::as_str)
}

pub(super) fn min_ready_seconds(set: &StatefulSet) -> i32 {
    set.spec
        .as_ref()
        .and_then(|spec| spec.min_ready_seconds)
        .unwrap_or_default()
}

pub(super) fn replicas(set: &StatefulSet) -> i32 {
    set.spec
        .as_ref()
        .and_then(|spec| spec.replicas)
        .unwrap_or(1)
}

pub(super) fn first(set: &StatefulSet) -> i32 {
    set.spec
        .as_ref()
        .and_then(|spec| spec.ordinals.as_ref()?.start)
        .unwrap_or_default()
}

fn partition(set: &StatefulSet) -> Option<i32> {
    set.spec
        .as_ref()?
        .update_strategy
        .as_ref()?
        .rolling_update
        .as_ref()?
        .partition
}

/// A share is rounded down, but one pod may be missing at least.
pub(super) fn max_unavailable(set: &StatefulSet) -> usize {
    let rolling = set
        .spec
        .as_ref()
        .and_then(|spec| spec.update_strategy.as_ref()?.rolling_update.as_ref());
    let most = match rolling.and_then(|rolling| rolling.max_unavailable.as_ref()) {
        None => 1,
        Some(IntOrString::Int(number)) => *number,
        Some(IntOrString::String(percent)) => {
            let share: i32 = percent.trim_end_matches('%').parse().unwrap_or_default();
            share.saturating_mul(replicas(set)) / 100
        }
    };
    usize::try_from(most).unwrap_or_default().max(1)
}

pub(super) fn is_on_delete(set: &StatefulSet) -> bool {
    set.spec
        .as_ref()
        .and_then(|spec| spec.update_strategy.as_ref()?.type_.as_deref())
        .is_some_and(|strategy| strategy == "OnDelete")
}

fn is_parallel(set: &StatefulSet) -> bool {
    set.spec
        .as_ref()
        .and_then(|spec| spec.pod_management_policy.as_deref())
        == Some("Parallel")
}

fn is_healthy(pod: &Pod) -> bool {
    pods::phase(pod) == "Running" && pods::is_ready(pod) && !pods::is_terminating(pod)
}

/// Whether a new pod with this number gets the new template.
fn gets_update(set: &StatefulSet, ordinal: i32) -> bool {
    if is_on_delete(set) {
        return true;
    }
    let number = ordinal - first(set);
    let current = set
        .status
        .as_ref()
        .and_then(|status| status.current_replicas);
    match partition(set) {
        Some(partition) if partition > 0 => number >= partition,
        _ => number >= current.unwrap_or_default(),
    }
}

/// In order, each step waits for the one before; in parallel, all that can be done is done.
pub(super) fn plan(
    set: &StatefulSet,
    owned: &[Arc<Pod>],
    revisions: &Revisions,
    now: Timestamp,
) -> Plan {
    let mut plan = Plan::default();
    let range = first(set)..first(set).saturating_add(replicas(set));
    let mut members: BTreeMap<i32, &Arc<Pod>> = BTreeMap::new();
    let mut condemned: BTreeMap<i32, &Arc<Pod>> = BTreeMap::new();
    for pod in owned {
        if let Some(ordinal) = identity::ordinal(set, pod) {
            let place = if range.contains(&ordinal) {
                &mut members
            } else {
                &mut condemned
            };
            place.insert(ordinal, pod);
        }
    }
    for pod in members.values() {
        let labels = identity::labels(set, pod);
        if !crate::selector::has_all(pod.metadata.labels.as_ref(), &labels) {
            plan.relabel.push((*pod).clone());
        }
        plan.own.extend(identity::owners(set, pod, false));
    }
    for pod in condemned.values() {
        plan.own.extend(identity::owners(set, pod, true));
    }
    let parallel = is_parallel(set);
    let is_available = |pod: &Pod| {
        is_healthy(pod)
            && pods::availability(pod, min_ready_seconds(set), now) == Availability::Available
    };
    for ordinal in range {
        match members.get(&ordinal) {
            None => {
                let update = gets_update(set, ordinal)
                    || revisions.current.metadata.name == revisions.update.metadata.name;
                plan.create.push((ordinal, update));
                if !parallel {
                    return plan;
                }
            }
            Some(pod) if pods::is_finished(pod) && !pods::is_terminating(pod) => {
                plan.delete.push((*pod).clone());
                if !parallel {
                    return plan;
                }
            }
            Some(pod) if !parallel && !is_available(pod) => return plan,
            Some(_) => {}
        }
    }
    // The last goes first; one that is not well goes before those that are.
    for pod in condemned.values().rev() {
        if pods::is_terminating(pod) {
            if parallel {
                continue;
            }
            return plan;
        }
        plan.delete.push((*pod).clone());
        if !parallel {
            return plan;
        }
    }
    if !is_on_delete(set) {
        update(set, &members, revisions, &is_available, &mut plan);
    }
    plan
}

/// Replaces outdated pods from the last to the first, a few at a time.
fn update(
    set: &StatefulSet,
    members: &BTreeMap<i32, &Arc<Pod>>,
    revisions: &Revisions,
    is_available: &dyn Fn(&Pod) -> bool,
    plan: &mut Plan,
) {
    let lowest = first(set) + partition(set).unwrap_or_default();
    let wanted = revisions.update.name_any();
    let is_outdated = |pod: &Pod| revision_of(pod) != Some(&wanted);
    let most = max_unavailable(set);
    let mut unavailable = members
        .range(lowest..)
        .filter(|(_, pod)| !is_available(pod))
        .count();
    for (_, pod) in members.range(lowest..).rev() {
        if is_outdated(pod) && !pods::is_terminating(pod) {
            // An outdated pod that is not well anyhow costs nothing.
            if is_available(pod) {
                if unavailable >= most {
                    return;
                }
                unavailable += 1;
            }
            if plan
                .delete
                .iter()
                .all(|known| known.metadata.uid != pod.metadata.uid)
            {
                plan.delete.push((*pod).clone());
            }
            if plan.delete.len() >= most {
                return;
            }
        } else if !is_available(pod) && unavailable >= most {
            return;
        }
    }
}
