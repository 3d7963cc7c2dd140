//! A restore or a password change that failed and is tried again. Pure.
//!
//! From the first attempt that failed until one succeeds people are told why it failed: that the next one has
//! begun does not mend anything, and who waits for the word need not be there at the right moment. Another wish
//! (another password, another backup) is another matter, of which nothing has failed yet. The last backup of a
//! deletion is [`super::deletion`]'s.

use std::borrow::Cow;

use super::describe::{NOT_YET, PASSWORD_SYNCED, READY, RESTORED};
use crate::controller::plan::{Failure, JobKind, Plan, State, Step};
use crate::controller::trouble::Trouble;
use crate::crd::{Condition, MySQLStatus, Phase};

/// The state as people are told of it.
pub(super) fn as_told<'a>(
    before: &MySQLStatus,
    generation: Option<i64>,
    plan: &'a Plan,
) -> Cow<'a, State> {
    // The Job of an attempt that failed goes while that is told. One that goes for nothing had another task.
    let is_same_wish = |kind| {
        before.observed_generation == generation && !plan.steps.contains(&Step::RemoveJob(kind))
    };
    let told = match &plan.state {
        State::Restoring { trouble } if is_same_wish(JobKind::Restore) => {
            failed_restore(before).map(|told| State::RestoreFailed(failure(told, trouble.as_ref())))
        }
        State::SyncingPassword { trouble, ready } if is_same_wish(JobKind::Password) => {
            failed_change(before).map(|told| State::PasswordFailed {
                failure: failure(told, trouble.as_ref()),
                ready: *ready,
            })
        }
        State::Restoring { .. }
        | State::SyncingPassword { .. }
        | State::Clearing { .. }
        | State::RestoreFailed(_)
        | State::Starting { .. }
        | State::ServerFailed(_)
        | State::PasswordFailed { .. }
        | State::Ready
        | State::Upgrading
        | State::UpgradeRefused(_)
        | State::Abandoning
        | State::ClearingJobs
        | State::BackingUp { .. }
        | State::BackupFailed(_)
        | State::Stopping
        | State::Removing { .. }
        | State::Releasing => None,
    };
    told.map_or(Cow::Borrowed(&plan.state), Cow::Owned)
}

/// What was told of a restore that failed.
fn failed_restore(before: &MySQLStatus) -> Option<&Condition> {
    let told = before.condition(RESTORED)?;
    (told.status == "False" && told.reason != NOT_YET).then_some(told)
}

/// What was told of a password change that failed: it is why the instance is blocked. A password that is not at
/// hand blocks nothing, and neither does a Job that has not begun.
fn failed_change(before: &MySQLStatus) -> Option<&Condition> {
    let (told, ready) = (before.condition(PASSWORD_SYNCED)?, before.condition(READY)?);
    let is_why = told.reason == ready.reason && before.phase == Some(Phase::Blocked);
    (told.status == "False" && is_why).then_some(told)
}

/// What is in the way now, or what was.
fn failure(told: &Condition, trouble: Option<&Trouble>) -> Failure {
    match trouble {
        Some(trouble) => trouble.clone().into(),
        None => Failure {
            reason: told.reason.clone(),
            detail: told.message.clone(),
        },
    }
}
