//! Which events go with a change of the status. Pure.

use super::deletion::FINAL_BACKUP;
use super::describe::{PASSWORD_SYNCED, READY, RESTORED, STARTING};
use super::upkeep::{BACKED_UP, RESIZED, RESTORE_TESTED, UPGRADED};
use crate::controller::plan::{Plan, State};
use crate::controller::validate::Validated;
use crate::crd::{MySQLStatus, Phase};

/// Why there is no newer backup although none has failed.
const NOT_TRIED: [&str; 2] = ["InvalidSchedule", "BackupVolumeReplaced"];

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct News {
    /// Something is wrong.
    pub(super) warning: bool,
    /// One word.
    pub(super) reason: String,
    /// A sentence.
    pub(super) note: String,
}

fn normal(reason: &str, note: String) -> News {
    News {
        warning: false,
        reason: reason.to_owned(),
        note,
    }
}

/// What a plan is worth telling, beyond the change of the state.
pub(super) fn of_plan(
    before: &MySQLStatus,
    after: &MySQLStatus,
    validated: &Validated,
    plan: &Plan,
) -> Vec<News> {
    let mut news = Vec::new();
    let holds = |status: &MySQLStatus, type_: &str| {
        status
            .condition(type_)
            .is_some_and(|condition| condition.status == "True")
    };
    let created = !holds(before, RESTORED) && holds(after, RESTORED);
    if created {
        news.push(normal("Created", after.message.clone().unwrap_or_default()));
    }
    let was_filled = before.initialized == Some(true);
    if was_filled && !holds(before, PASSWORD_SYNCED) && holds(after, PASSWORD_SYNCED) {
        news.push(normal(
            "PasswordChanged",
            "root has the password of the spec".to_owned(),
        ));
    }
    if let (Some(report), Some(backup)) = (&plan.backed_up, &after.last_backup) {
        let note = format!(
            "{} is verified: {}, {} bytes, sha256 {}",
            backup.generation,
            report.detail,
            backup.bytes.unwrap_or_default(),
            backup.sha256.as_deref().unwrap_or_default()
        );
        news.push(normal("BackupCompleted", note));
    }
    if plan.repaired {
        news.push(News {
            warning: true,
            reason: "PasswordRepaired".to_owned(),
            note: "root did not have the password of the spec any more; it has been set again"
                .to_owned(),
        });
    }
    for type_ in [BACKED_UP, RESTORE_TESTED, UPGRADED, RESIZED] {
        news.extend(changed(before, after, type_));
    }
    let skipped = after
        .condition(FINAL_BACKUP)
        .filter(|condition| condition.reason == "Skipped");
    if let (Some(condition), None) = (skipped, before.condition(FINAL_BACKUP)) {
        let was_empty = plan.ledger.record.restored.is_none();
        news.push(News {
            warning: !was_empty || plan.state == State::Abandoning,
            reason: "FinalBackupSkipped".to_owned(),
            note: if was_empty {
                "the instance was never filled: there is nothing to back up".to_owned()
            } else {
                format!("{} ({:?})", condition.message, validated.ending)
            },
        });
    }
    // That what was just created starts goes without saying.
    let starts = |item: &News| created && !item.warning && item.reason == STARTING;
    news.extend(
        of_change(before, after)
            .into_iter()
            .filter(|item| !starts(item)),
    );
    news
}

/// A condition that was lost, or that came back after it had been lost.
fn changed(before: &MySQLStatus, after: &MySQLStatus, type_: &str) -> Option<News> {
    let now = after.condition(type_)?;
    let then = before.condition(type_);
    if then.is_some_and(|then| then.status == now.status && then.reason == now.reason) {
        return None;
    }
    let holds = now.status == "True";
    // A backup that succeeded has an event of its own.
    if holds && type_ == BACKED_UP {
        return None;
    }
    let waits = ["Probing", "BackingUp"].contains(&now.reason.as_str());
    let reason = match (holds, type_) {
        (true, RESTORE_TESTED) => "RestoreTestPassed".to_owned(),
        (false, RESTORE_TESTED) => "RestoreTestFailed".to_owned(),
        (false, BACKED_UP) if !NOT_TRIED.contains(&now.reason.as_str()) => {
            "BackupFailed".to_owned()
        }
        (true, _) => type_.to_owned(),
        (false, _) => now.reason.clone(),
    };
    Some(News {
        warning: !holds && !waits,
        reason,
        note: now.message.clone(),
    })
}

/// The change of the state itself.
pub(super) fn of_change(before: &MySQLStatus, after: &MySQLStatus) -> Vec<News> {
    let Some(now) = after.condition(READY) else {
        return Vec::new();
    };
    let same = before
        .condition(READY)
        .is_some_and(|then| then.reason == now.reason);
    if same {
        return Vec::new();
    }
    // A reason that is not our own word for a state is the cluster's word for a trouble.
    let own_words = [
        "WaitingForLeftovers",
        "Initializing",
        STARTING,
        "SyncingPassword",
        "Upgrading",
        "Ready",
        "RemovingJobs",
        "BackingUp",
        "Stopping",
        "Removing",
        "Released",
    ];
    let warning = after.phase == Some(Phase::Blocked) || !own_words.contains(&now.reason.as_str());
    vec![News {
        warning,
        reason: now.reason.clone(),
        note: now.message.clone(),
    }]
}
