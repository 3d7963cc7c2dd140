//! The status that goes with a plan. Pure.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{deletion, retried, upkeep};
use crate::controller::plan::upkeep::{Progress, Task};
use crate::controller::plan::{Failure, Plan, State};
use crate::controller::trouble::Trouble;
use crate::controller::validate::{Refusal, Validated};
use crate::crd::{Condition, MySQLStatus, Phase};

/// Whether clients can connect, and why or why not.
pub(super) const READY: &str = "Ready";
/// Whether the rows are back.
pub(super) const RESTORED: &str = "Restored";
/// Whether root has the password of the spec.
pub(super) const PASSWORD_SYNCED: &str = "PasswordSynced";

/// The reason of what has not been done, and has not failed.
pub(super) const NOT_YET: &str = "NotYet";
/// The reason while the server starts and nothing is wrong.
pub(super) const STARTING: &str = "Starting";

struct Summary {
    phase: Phase,
    ready: bool,
    reason: String,
    message: String,
}

/// The status after the plan.
pub fn status(
    before: &MySQLStatus,
    generation: Option<i64>,
    validated: &Validated,
    plan: &Plan,
    now: Timestamp,
) -> MySQLStatus {
    let record = &plan.ledger.record;
    let mut after = before.clone();
    let told = retried::as_told(before, generation, plan);
    let state = deletion::as_told(before, &told);
    let summary = summary(&state);
    after.phase = Some(summary.phase);
    after.observed_generation = generation;
    after.initialized = Some(record.restored.is_some());
    if let Some(restored) = &record.restored {
        let with = if restored.generation.is_some() {
            "WITH"
        } else {
            "WITHOUT"
        };
        after.message = Some(format!(
            "{} created {with} restore-job",
            validated.instance.name
        ));
        after.server = record
            .server
            .clone()
            .or_else(|| restored.server.clone())
            .or(after.server);
    }
    upkeep::facts(&mut after, validated, plan, now);
    let mut conditions = vec![
        (READY, Some(summary.ready), summary.reason, summary.message),
        restored(plan, &state),
        password_synced(validated, plan, &state),
    ];
    conditions.extend(upkeep::conditions(before, validated, plan));
    conditions.extend(deletion::final_backup(validated, plan, &state));
    after.conditions = conditions
        .into_iter()
        .map(|(type_, holds, reason, message)| {
            condition(before, generation, now, type_, holds, reason, message)
        })
        .collect();
    after
}

/// The status of a resource that cannot be worked on.
pub(super) fn refused(
    before: &MySQLStatus,
    generation: Option<i64>,
    refusal: &Refusal,
    now: Timestamp,
) -> MySQLStatus {
    let mut after = before.clone();
    after.phase = Some(Phase::Blocked);
    after.observed_generation = generation;
    after
        .conditions
        .retain(|condition| condition.type_ != READY);
    let (reason, message) = (refusal.reason().to_owned(), refusal.to_string());
    after.conditions.insert(
        0,
        condition(before, generation, now, READY, Some(false), reason, message),
    );
    after
}

/// The status of a resource for which the cluster refuses a write. What is served is served on.
pub(super) fn troubled(
    before: &MySQLStatus,
    generation: Option<i64>,
    trouble: &Trouble,
    now: Timestamp,
) -> MySQLStatus {
    let mut after = before.clone();
    after.phase = Some(Phase::Blocked);
    after.observed_generation = generation;
    let ready = before
        .condition(READY)
        .is_some_and(|ready| ready.status == "True");
    after
        .conditions
        .retain(|condition| condition.type_ != READY);
    let (reason, message) = (trouble.reason.clone(), trouble.detail.clone());
    after.conditions.insert(
        0,
        condition(before, generation, now, READY, Some(ready), reason, message),
    );
    after
}

fn condition(
    before: &MySQLStatus,
    generation: Option<i64>,
    now: Timestamp,
    type_: &str,
    holds: Option<bool>,
    reason: String,
    message: String,
) -> Condition {
    let status = match holds {
        Some(true) => "True",
        Some(false) => "False",
        None => "Unknown",
    };
    let since = before
        .condition(type_)
        .filter(|condition| condition.status == status)
        .map_or(Time(now), |condition| {
            condition.last_transition_time.clone()
        });
    Condition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason,
        message,
        last_transition_time: since,
        observed_generation: generation,
    }
}

fn summary(state: &State) -> Summary {
    let waiting = |phase, reason: &str, message: &str| Summary {
        phase,
        ready: false,
        reason: reason.to_owned(),
        message: message.to_owned(),
    };
    let blocked = |failure: &Failure| Summary {
        phase: Phase::Blocked,
        ready: false,
        reason: failure.reason.clone(),
        message: failure.detail.clone(),
    };
    let held_up = |phase, trouble: &Option<Trouble>, reason: &str, message: &str| match trouble {
        Some(trouble) => waiting(phase, &trouble.reason, &trouble.detail),
        None => waiting(phase, reason, message),
    };
    let serving = |phase, ready, reason: &str, message: &str| Summary {
        ready,
        ..waiting(phase, reason, message)
    };
    match state {
        State::Clearing { what } => waiting(
            Phase::Pending,
            "WaitingForLeftovers",
            &format!("waits until these are gone: {what}"),
        ),
        State::Restoring { trouble } => held_up(
            Phase::Initializing,
            trouble,
            "Initializing",
            "the server starts for the first time and gets its rows and its password",
        ),
        State::RestoreFailed(failure) | State::ServerFailed(failure) => blocked(failure),
        State::Starting { trouble } => {
            held_up(Phase::Starting, trouble, STARTING, "the server starts")
        }
        State::SyncingPassword { ready, .. } => serving(
            Phase::SyncingPassword,
            *ready,
            "SyncingPassword",
            "root's password is being changed; the earlier one holds until then",
        ),
        State::PasswordFailed { failure, ready } => Summary {
            ready: *ready,
            ..blocked(failure)
        },
        State::Ready => serving(Phase::Ready, true, "Ready", "clients can connect"),
        State::Upgrading => serving(
            Phase::Upgrading,
            true,
            "Upgrading",
            "another image is looked at and a backup is made before it takes over; clients can connect until then",
        ),
        State::UpgradeRefused(failure) => Summary {
            ready: true,
            ..blocked(failure)
        },
        State::Abandoning => waiting(
            Phase::Deleting,
            "NamespaceTerminating",
            "the namespace is being deleted, where nothing can be made any more: no last backup is possible",
        ),
        State::ClearingJobs => waiting(
            Phase::Deleting,
            "RemovingJobs",
            "Jobs of the past are being removed before the last backup",
        ),
        State::BackingUp { trouble } => held_up(
            Phase::Deleting,
            trouble,
            "BackingUp",
            "writing is stopped and the last backup is being made; how far it is says the log of its Job",
        ),
        State::BackupFailed(failure) => Summary {
            phase: Phase::Blocked,
            ready: false,
            reason: deletion::BLOCKED.to_owned(),
            message: format!(
                "the last backup failed, so nothing is removed: {}: {}; it is tried again. To delete \
                 without a backup, annotate the resource with otus.homework/skip-final-backup=true; the \
                 data volume stays then",
                failure.reason, failure.detail
            ),
        },
        State::Stopping => waiting(Phase::Deleting, "Stopping", "the server is being stopped"),
        State::Removing { what } => waiting(
            Phase::Deleting,
            "Removing",
            &format!("being removed: {what}"),
        ),
        State::Releasing => waiting(
            Phase::Deleting,
            "Released",
            "nothing of the instance is left",
        ),
    }
}

/// Type, whether it holds, reason, message.
pub(super) type Said = (&'static str, Option<bool>, String, String);

fn restored(plan: &Plan, state: &State) -> Said {
    if let Some(restored) = &plan.ledger.record.restored {
        let message = match &restored.generation {
            Some(generation) if restored.detail.is_empty() => {
                format!("the rows of {generation} are back")
            }
            Some(generation) => format!("the rows of {generation} are back: {}", restored.detail),
            None => "there were no rows to bring back".to_owned(),
        };
        return (RESTORED, Some(true), restored.reason.clone(), message);
    }
    if let State::RestoreFailed(failure) = state {
        return (
            RESTORED,
            Some(false),
            failure.reason.clone(),
            failure.detail.clone(),
        );
    }
    (
        RESTORED,
        Some(false),
        NOT_YET.to_owned(),
        "the instance has not been filled".to_owned(),
    )
}

fn password_synced(validated: &Validated, plan: &Plan, state: &State) -> Said {
    let said = |holds, reason: &str, message: &str| {
        (
            PASSWORD_SYNCED,
            Some(holds),
            reason.to_owned(),
            message.to_owned(),
        )
    };
    if let Some(trouble) = &validated.password_trouble {
        return said(false, trouble.reason(), &trouble.to_string());
    }
    if let Progress::Failed {
        task: Task::CheckPassword,
        failure,
    } = &plan.progress
    {
        return said(false, &failure.reason, &failure.detail);
    }
    if plan.ledger.is_synced() {
        return said(true, "Applied", "root has the password of the spec");
    }
    match state {
        State::PasswordFailed { failure, .. } => said(false, &failure.reason, &failure.detail),
        State::SyncingPassword {
            trouble: Some(trouble),
            ..
        } => said(false, &trouble.reason, &trouble.detail),
        State::Clearing { .. }
        | State::Restoring { .. }
        | State::RestoreFailed(_)
        | State::Starting { .. }
        | State::ServerFailed(_)
        | State::SyncingPassword { .. }
        | State::Ready
        | State::Upgrading
        | State::UpgradeRefused(_)
        | State::Abandoning
        | State::ClearingJobs
        | State::BackingUp { .. }
        | State::BackupFailed(_)
        | State::Stopping
        | State::Removing { .. }
        | State::Releasing => said(
            false,
            NOT_YET,
            "root does not have the password of the spec yet",
        ),
    }
}
