//! What a deployment reports: numbers, availability, and how a rollout gets on. Pure.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{
    Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet, ReplicaSetStatus,
};
use kube::ResourceExt;

use super::{
    revision::Found,
    rolling::{available_of, total},
    strategy::{self, replicas},
};
use crate::{
    clock::{seconds_after, whole_seconds},
    pods::nonzero,
};

const PROGRESSING: &str = "Progressing";
const AVAILABLE: &str = "Available";
const REPLICA_FAILURE: &str = "ReplicaFailure";
const DONE: &str = "NewReplicaSetAvailable";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";
const PAUSED: &str = "DeploymentPaused";

/// A word about a rollout's progress.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    status: &'static str,
    reason: &'static str,
    message: String,
}

impl Progress {
    pub(super) fn found(set: &str) -> Self {
        let message = format!("Found new replica set \"{set}\"");
        Self {
            status: "True",
            reason: "FoundNewReplicaSet",
            message,
        }
    }

    pub(super) fn created(set: &str) -> Self {
        let message = format!("Created new replica set \"{set}\"");
        Self {
            status: "True",
            reason: "NewReplicaSetCreated",
            message,
        }
    }

    pub(super) fn failed(message: String) -> Self {
        Self {
            status: "False",
            reason: "ReplicaSetCreateError",
            message,
        }
    }

    fn condition(self, now: Timestamp) -> DeploymentCondition {
        condition(PROGRESSING, self.status, self.reason, self.message, now)
    }
}

fn condition(
    type_: &str,
    status: &str,
    reason: &str,
    message: String,
    now: Timestamp,
) -> DeploymentCondition {
    DeploymentCondition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message),
        last_update_time: Some(whole_seconds(now)),
        last_transition_time: Some(whole_seconds(now)),
    }
}

fn conditions(deployment: &Deployment) -> Vec<DeploymentCondition> {
    deployment
        .status
        .as_ref()
        .and_then(|status| status.conditions.clone())
        .unwrap_or_default()
}

fn of_type<'a>(
    conditions: &'a [DeploymentCondition],
    type_: &str,
) -> Option<&'a DeploymentCondition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// Whether the deployment says something about its progress.
pub(super) fn has_progress(deployment: &Deployment) -> bool {
    of_type(&conditions(deployment), PROGRESSING).is_some()
}

fn deadline(deployment: &Deployment) -> Option<i32> {
    let seconds = deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.progress_deadline_seconds);
    seconds.filter(|seconds| *seconds != i32::MAX)
}

/// The same status and reason stay as they are; the same status keeps its time of transition.
fn set(conditions: &mut Vec<DeploymentCondition>, mut new: DeploymentCondition) {
    if let Some(known) = of_type(conditions, &new.type_) {
        if known.status == new.status && known.reason == new.reason {
            return;
        }
        if known.status == new.status {
            new.last_transition_time
                .clone_from(&known.last_transition_time);
        }
    }
    conditions.retain(|known| known.type_ != new.type_);
    conditions.push(new);
}

/// The numbers, without conditions.
pub(super) fn counted(deployment: &Deployment, found: &Found) -> DeploymentStatus {
    let sum = |number: fn(&ReplicaSetStatus) -> i32| -> i32 {
        found
            .all()
            .filter_map(|set| set.status.as_ref())
            .map(number)
            .sum()
    };
    let available: i32 = found.all().map(|set| available_of(set)).sum();
    let of_new = found.new.as_ref().and_then(|set| set.status.as_ref());
    DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: nonzero(sum(|status| status.replicas)),
        updated_replicas: nonzero(of_new.map_or(0, |status| status.replicas)),
        ready_replicas: nonzero(sum(|status| status.ready_replicas.unwrap_or_default())),
        available_replicas: nonzero(available),
        unavailable_replicas: nonzero((total(found.all()) - available).max(0)),
        terminating_replicas: Some(sum(|status| {
            status.terminating_replicas.unwrap_or_default()
        })),
        collision_count: deployment
            .status
            .as_ref()
            .and_then(|status| status.collision_count),
        conditions: None,
    }
}

/// Whether the present template runs as wanted, and nothing else does.
pub(super) fn is_complete(deployment: &Deployment, status: &DeploymentStatus) -> bool {
    let wanted = nonzero(replicas(deployment));
    status.updated_replicas == wanted
        && status.replicas == wanted
        && status.available_replicas == wanted
        && status.observed_generation >= deployment.metadata.generation
}

fn is_progressing(before: &DeploymentStatus, now: &DeploymentStatus) -> bool {
    let number = |value: Option<i32>| value.unwrap_or_default();
    let old = |status: &DeploymentStatus| number(status.replicas) - number(status.updated_replicas);
    number(now.updated_replicas) > number(before.updated_replicas)
        || old(now) < old(before)
        || number(now.ready_replicas) > number(before.ready_replicas)
        || number(now.available_replicas) > number(before.available_replicas)
}

/// The whole status, and when to look again because a deadline passes.
pub(super) fn status(
    deployment: &Deployment,
    found: &Found,
    progress: Option<Progress>,
    rolling: bool,
    now: Timestamp,
) -> (DeploymentStatus, Option<Timestamp>) {
    let mut status = counted(deployment, found);
    let mut conditions = conditions(deployment);
    if let Some(progress) = progress.filter(|_| deadline(deployment).is_some()) {
        set(&mut conditions, progress.condition(now));
    }
    pausing(deployment, &mut conditions, now);
    set(&mut conditions, availability(deployment, &status, now));
    if rolling {
        advance(deployment, found, &status, &mut conditions, now);
        match failure(found) {
            Some(failure) => set(&mut conditions, failure),
            None => conditions.retain(|known| known.type_ != REPLICA_FAILURE),
        }
    }
    let recheck = next_check(deployment, &status, &conditions, rolling);
    status.conditions = Some(conditions);
    (status, recheck)
}

fn availability(
    deployment: &Deployment,
    status: &DeploymentStatus,
    now: Timestamp,
) -> DeploymentCondition {
    let least = replicas(deployment) - strategy::max_unavailable(deployment);
    let (word, reason, message) = if status.available_replicas.unwrap_or_default() >= least {
        (
            "True",
            "MinimumReplicasAvailable",
            "Deployment has minimum availability.",
        )
    } else {
        (
            "False",
            "MinimumReplicasUnavailable",
            "Deployment does not have minimum availability.",
        )
    };
    condition(AVAILABLE, word, reason, message.to_owned(), now)
}

/// A pause stops the deadline; going on starts it anew.
fn pausing(deployment: &Deployment, conditions: &mut Vec<DeploymentCondition>, now: Timestamp) {
    if deadline(deployment).is_none() {
        return;
    }
    let reason = of_type(conditions, PROGRESSING).and_then(|known| known.reason.as_deref());
    if reason == Some(TIMED_OUT) {
        return;
    }
    let (paused, known) = (strategy::is_paused(deployment), reason == Some(PAUSED));
    let (reason, message) = match (paused, known) {
        (true, false) => (PAUSED, "Deployment is paused"),
        (false, true) => ("DeploymentResumed", "Deployment is resumed"),
        _ => return,
    };
    set(
        conditions,
        condition(PROGRESSING, "Unknown", reason, message.to_owned(), now),
    );
}

fn advance(
    deployment: &Deployment,
    found: &Found,
    status: &DeploymentStatus,
    conditions: &mut Vec<DeploymentCondition>,
    now: Timestamp,
) {
    let Some(seconds) = deadline(deployment) else {
        conditions.retain(|known| known.type_ != PROGRESSING);
        return;
    };
    let known = of_type(conditions, PROGRESSING).cloned();
    let was_done = known
        .as_ref()
        .is_some_and(|known| known.reason.as_deref() == Some(DONE));
    if was_done && status.replicas == status.updated_replicas {
        return;
    }
    let who = found.new.as_ref().map_or_else(
        || format!("Deployment \"{}\"", deployment.name_any()),
        |set| format!("ReplicaSet \"{}\"", set.name_any()),
    );
    let before = deployment.status.clone().unwrap_or_default();
    if is_complete(deployment, status) {
        let message = format!("{who} has successfully progressed.");
        set(
            conditions,
            condition(PROGRESSING, "True", DONE, message, now),
        );
    } else if is_progressing(&before, status) {
        let message = format!("{who} is progressing.");
        let mut new = condition(PROGRESSING, "True", "ReplicaSetUpdated", message, now);
        if let Some(known) = known.filter(|known| known.status == "True") {
            new.last_transition_time = known.last_transition_time;
        }
        // Each advance counts anew against the deadline, also for the same reason.
        conditions.retain(|known| known.type_ != PROGRESSING);
        conditions.push(new);
    } else if has_timed_out(known.as_ref(), seconds, now) {
        let message = format!("{who} has timed out progressing.");
        set(
            conditions,
            condition(PROGRESSING, "False", TIMED_OUT, message, now),
        );
    }
}

fn has_timed_out(known: Option<&DeploymentCondition>, seconds: i32, now: Timestamp) -> bool {
    let Some(known) = known else { return false };
    match known.reason.as_deref() {
        Some(DONE) => false,
        Some(TIMED_OUT) => true,
        _ => known
            .last_update_time
            .as_ref()
            .is_some_and(|from| seconds_after(from.0, i64::from(seconds)) < now),
    }
}

fn failure(found: &Found) -> Option<DeploymentCondition> {
    let of_set = |set: &ReplicaSet| {
        let conditions = set.status.as_ref()?.conditions.as_ref()?;
        conditions
            .iter()
            .find(|known| known.type_ == REPLICA_FAILURE)
            .cloned()
    };
    let known = found
        .new
        .iter()
        .chain(&found.old)
        .find_map(|set| of_set(set))?;
    Some(DeploymentCondition {
        type_: known.type_,
        status: known.status,
        reason: known.reason,
        message: known.message,
        last_update_time: known.last_transition_time.clone(),
        last_transition_time: known.last_transition_time,
    })
}

fn next_check(
    deployment: &Deployment,
    status: &DeploymentStatus,
    conditions: &[DeploymentCondition],
    rolling: bool,
) -> Option<Timestamp> {
    let seconds = deadline(deployment)?;
    let known = of_type(conditions, PROGRESSING)?;
    let over = matches!(known.reason.as_deref(), Some(DONE | TIMED_OUT | PAUSED));
    if !rolling || over || is_complete(deployment, status) {
        return None;
    }
    // One second more than the deadline: it has passed when it is in the past.
    Some(seconds_after(
        known.last_update_time.as_ref()?.0,
        i64::from(seconds) + 1,
    ))
}
