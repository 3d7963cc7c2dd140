//! What is done to an instance while it serves, one errand at a time, all by the same Job: looking at a new
//! image, backing up before another server takes over, backups on demand and on schedule, restore tests,
//! looking after the password.
//!
//! An errand is known by its [`operation`], and its end is [`record`]ed. What is due by the [`clock`] and whether
//! another [`image`] may take over is decided apart. The order of [`next`] is the order of importance: backups
//! come first, so that an image that cannot be had or a test that fails all the time keeps nobody from them.

mod clock;
mod image;
mod operation;
mod record;

use std::time::Duration;

use super::{Failure, JobKind, Plan, Step, View, failure_of};
use crate::controller::observe::job::{Identity, JobState};
use crate::controller::trouble::Trouble;
use crate::ledger::Ledger;

pub use clock::next_backup;
pub use image::upgrade;
pub use record::record;

/// A thing to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errand {
    /// Its identity.
    pub operation: String,
    /// What it is.
    pub task: Task,
    /// The image that it runs in.
    pub image: String,
}

/// What an errand does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// Look what server an image has.
    Probe,
    /// Write a generation.
    Backup {
        /// Another server is to take over.
        before_upgrade: bool,
    },
    /// Restore into a scratch server.
    RestoreTest {
        /// This one; the current one if `None`.
        generation: Option<String>,
    },
    /// Set root's password again, and tell whether that was needed.
    CheckPassword,
}

/// How the errand of the moment goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Progress {
    /// There is none.
    #[default]
    Idle,
    /// It is under way.
    Working {
        /// What.
        task: Task,
        /// What keeps it from getting on.
        trouble: Option<Trouble>,
    },
    /// It failed and is tried again later.
    Failed {
        /// What.
        task: Task,
        /// Why.
        failure: Failure,
    },
}

/// Starts, watches or clears away the errand of the moment. Only a serving instance has any.
pub fn carry_on(view: View<'_>, plan: &mut Plan) {
    clock::begin(view, &mut plan.ledger);
    let errand = next(view, &plan.ledger);
    let job = view.job(JobKind::Upkeep);
    let ours = |identity: &Identity| {
        identity.instance_uid == view.validated.uid
            && errand
                .as_ref()
                .is_some_and(|errand| errand.operation == identity.operation)
    };
    match job {
        JobState::Going => {}
        JobState::Absent => {
            if let Some(errand) = &errand {
                plan.steps.push(Step::Start(JobKind::Upkeep));
                plan.progress = working(errand, None);
            }
        }
        JobState::Running {
            identity, trouble, ..
        } => {
            if ours(&identity) {
                plan.progress = errand
                    .as_ref()
                    .map(|errand| working(errand, trouble))
                    .unwrap_or_default();
            } else if operation::may_be_broken_off(&identity.operation)
                || identity.instance_uid != view.validated.uid
            {
                plan.steps.push(Step::RemoveJob(JobKind::Upkeep));
            }
        }
        JobState::Failed {
            identity,
            report,
            ended,
            why,
        } if ours(&identity) => {
            match view.wait_after(ended) {
                Some(left) => plan.again = plan.again.min(left),
                None => plan.steps.push(Step::RemoveJob(JobKind::Upkeep)),
            }
            if let Some(errand) = &errand {
                plan.progress = Progress::Failed {
                    task: errand.task.clone(),
                    failure: failure_of(report, &why),
                };
            }
        }
        // Another one comes, or this one ended without a word that could be trusted.
        JobState::Succeeded { .. } | JobState::Failed { .. } => {
            if errand.is_some() {
                plan.steps.push(Step::RemoveJob(JobKind::Upkeep));
            }
        }
    }
    plan.errand = errand;
    if let Some(moment) = clock::next_moment(view, &plan.ledger) {
        let left = Duration::try_from(moment.duration_since(view.now)).unwrap_or_default();
        plan.again = plan.again.min(left.max(Duration::from_millis(100)));
    }
}

/// An errand works on the server or on the backup volume just now: other operations wait for its end.
pub fn is_busy(view: View<'_>) -> bool {
    match view.job(JobKind::Upkeep) {
        JobState::Running { identity, .. } => !operation::may_be_broken_off(&identity.operation),
        JobState::Absent
        | JobState::Going
        | JobState::Succeeded { .. }
        | JobState::Failed { .. } => false,
    }
}

/// What is to be done first; `None` if nothing is.
pub fn next(view: View<'_>, ledger: &Ledger) -> Option<Errand> {
    let errand = |operation: String, task: Task| Errand {
        operation,
        task,
        image: ledger.record.image.clone(),
    };
    if let Some(operation) = backup(view, ledger) {
        let before_upgrade = false;
        return Some(errand(operation, Task::Backup { before_upgrade }));
    }
    if let Some(due) = clock::password_check_due(view, ledger).filter(|due| *due <= view.now) {
        return Some(errand(operation::check(due), Task::CheckPassword));
    }
    image::errand(view, ledger).or_else(|| {
        let wish = restore_test(view, ledger)?;
        let generation = wish
            .split('/')
            .next()
            .filter(|name| name.starts_with("gen-"))
            .map(str::to_owned);
        Some(errand(
            operation::test(wish),
            Task::RestoreTest { generation },
        ))
    })
}

/// The backup that is to be made now, by its operation.
fn backup(view: View<'_>, ledger: &Ledger) -> Option<String> {
    if let Some(claim) = replaced_claim(view, ledger) {
        return Some(operation::replaced(claim));
    }
    let asked = view.validated.backup_now.as_ref();
    if let Some(wish) =
        asked.filter(|wish| ledger.record.upkeep.asked_backup.as_ref() != Some(wish))
    {
        return Some(operation::asked(wish));
    }
    clock::due_backup(view, ledger).map(operation::scheduled)
}

/// The claim that backups go to, if it is not the one that has the known ones.
pub fn replaced_claim<'a>(view: View<'a>, ledger: &Ledger) -> Option<&'a str> {
    let known = ledger.record.backup_claim.as_deref()?;
    let there = view.validated.backup_claim.as_deref()?;
    (known != there).then_some(there)
}

fn restore_test<'a>(view: View<'a>, ledger: &Ledger) -> Option<&'a String> {
    let done = ledger.record.upkeep.restore_test.as_ref();
    view.validated
        .restore_test
        .as_ref()
        .filter(|wish| done.is_none_or(|done| done.wish != **wish))
}

fn working(errand: &Errand, trouble: Option<Trouble>) -> Progress {
    Progress::Working {
        task: errand.task.clone(),
        trouble,
    }
}

#[cfg(test)]
mod tests;
