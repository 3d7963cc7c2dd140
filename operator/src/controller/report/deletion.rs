//! The part of the status that is about the last backup. Pure.

use std::borrow::Cow;

use super::describe::{READY, Said};
use crate::controller::plan::{Failure, Plan, State};
use crate::controller::validate::Validated;
use crate::crd::MySQLStatus;

/// Whether the last backup has been made.
pub(super) const FINAL_BACKUP: &str = "FinalBackup";
/// The reason of a deletion whose last backup failed: a word to wait for, and to be alerted by.
pub(super) const BLOCKED: &str = "DeletionBlocked";

/// The state as people are told of it. A deletion that is blocked stays so from the first attempt that failed
/// until one succeeds, or until people want none: that the next one has begun does not mend anything.
pub(super) fn as_told<'a>(before: &MySQLStatus, state: &'a State) -> Cow<'a, State> {
    let was_blocked = before
        .condition(READY)
        .is_some_and(|ready| ready.reason == BLOCKED);
    if !was_blocked {
        return Cow::Borrowed(state);
    }
    let failure = match state {
        State::BackingUp {
            trouble: Some(trouble),
        } => Some(trouble.clone().into()),
        State::BackingUp { trouble: None } | State::ClearingJobs => {
            before.condition(FINAL_BACKUP).map(|told| Failure {
                reason: told.reason.clone(),
                detail: told.message.clone(),
            })
        }
        State::Clearing { .. }
        | State::Restoring { .. }
        | State::RestoreFailed(_)
        | State::Starting { .. }
        | State::ServerFailed(_)
        | State::SyncingPassword { .. }
        | State::PasswordFailed { .. }
        | State::Ready
        | State::Upgrading
        | State::UpgradeRefused(_)
        | State::Abandoning
        | State::BackupFailed(_)
        | State::Stopping
        | State::Removing { .. }
        | State::Releasing => None,
    };
    failure.map_or(Cow::Borrowed(state), |failure| {
        Cow::Owned(State::BackupFailed(failure))
    })
}

/// Whether there is a last backup, and why not.
pub(super) fn final_backup(validated: &Validated, plan: &Plan, state: &State) -> Option<Said> {
    if !validated.deleting {
        return None;
    }
    let said = |holds, reason: &str, message: String| {
        Some((FINAL_BACKUP, Some(holds), reason.to_owned(), message))
    };
    if let Some(backup) = &plan.ledger.record.final_backup {
        return said(
            true,
            "Verified",
            format!("{} is complete and verified", backup.generation),
        );
    }
    match state {
        State::BackupFailed(failure) => said(false, &failure.reason, failure.detail.clone()),
        State::BackingUp {
            trouble: Some(trouble),
        } => said(false, &trouble.reason, trouble.detail.clone()),
        State::BackingUp { trouble: None } | State::ClearingJobs => {
            said(false, "NotYet", "the last backup is being made".to_owned())
        }
        State::Clearing { .. }
        | State::Restoring { .. }
        | State::RestoreFailed(_)
        | State::Starting { .. }
        | State::ServerFailed(_)
        | State::SyncingPassword { .. }
        | State::PasswordFailed { .. }
        | State::Ready
        | State::Upgrading
        | State::UpgradeRefused(_)
        | State::Abandoning
        | State::Stopping
        | State::Removing { .. }
        | State::Releasing => said(
            false,
            "Skipped",
            "no last backup is made of this instance".to_owned(),
        ),
    }
}
