//! The part of the status that is about what is done to a serving instance. Pure.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::describe::Said;
use crate::controller::plan::upkeep::{Progress, Task};
use crate::controller::plan::{Failure, Plan, State};
use crate::controller::validate::Validated;
use crate::crd::{BackupStatus, MySQLStatus, RestoreTestStatus};
use crate::ledger::Backup;
use crate::schedule::Schedule;

/// Whether the newest backup that was wanted is there.
pub(super) const BACKED_UP: &str = "BackedUp";
/// Whether the last restore test passed.
pub(super) const RESTORE_TESTED: &str = "RestoreTested";
/// Whether the image of the spec runs.
pub(super) const UPGRADED: &str = "Upgraded";
/// Whether the volumes are as large as the spec wants them.
pub(super) const RESIZED: &str = "Resized";

/// What the ledger knows about backups and tests, in the status.
pub(super) fn facts(after: &mut MySQLStatus, validated: &Validated, plan: &Plan, now: Timestamp) {
    let upkeep = &plan.ledger.record.upkeep;
    match &plan.ledger.record.final_backup {
        Some(backup) if validated.deleting => {
            let told = after.last_backup.as_ref();
            // Its time is that of its record, and stays.
            if told.is_none_or(|told| told.generation != backup.generation) {
                after.last_backup = Some(backup_status(backup, now));
            }
        }
        _ => {
            if let Some(taken) = &upkeep.backup
                && let Ok(at) = Timestamp::from_second(taken.at)
            {
                after.last_backup = Some(backup_status(&taken.backup, at));
            }
        }
    }
    after.restore_test = upkeep.restore_test.as_ref().and_then(|test| {
        Some(RestoreTestStatus {
            generation: test.generation.clone(),
            passed: test.passed,
            message: test.detail.clone(),
            time: Time(Timestamp::from_second(test.at).ok()?),
        })
    });
    let schedule = validated
        .schedule
        .as_deref()
        .filter(|_| !validated.deleting)
        .and_then(|pattern| Schedule::parse(pattern).ok());
    after.next_backup = schedule.and_then(|schedule| schedule.next(now)).map(Time);
}

fn backup_status(backup: &Backup, at: Timestamp) -> BackupStatus {
    BackupStatus {
        generation: backup.generation.clone(),
        time: Time(at),
        bytes: i64::try_from(backup.bytes).ok(),
        sha256: Some(backup.sha256.clone()),
        rows: i64::try_from(backup.rows).ok(),
    }
}

/// The conditions; each only where there is something to say.
pub(super) fn conditions(before: &MySQLStatus, validated: &Validated, plan: &Plan) -> Vec<Said> {
    if validated.deleting {
        return Vec::new();
    }
    let said = [
        backed_up(validated, plan),
        restore_tested(plan),
        upgraded(before, validated, plan),
        resized(before, plan),
    ];
    said.into_iter().flatten().collect()
}

fn said(type_: &'static str, holds: bool, reason: &str, message: String) -> Said {
    (type_, Some(holds), reason.to_owned(), message)
}

/// How the errand goes, if it is this one.
fn failed(plan: &Plan, is_it: impl Fn(&Task) -> bool) -> Option<&Failure> {
    match &plan.progress {
        Progress::Failed { task, failure } if is_it(task) => Some(failure),
        Progress::Failed { .. } | Progress::Working { .. } | Progress::Idle => None,
    }
}

fn backed_up(validated: &Validated, plan: &Plan) -> Option<Said> {
    if let Some(trouble) = &validated.schedule_trouble {
        return Some(said(BACKED_UP, false, "InvalidSchedule", trouble.clone()));
    }
    let (known, there) = (&plan.ledger.record.backup_claim, &validated.backup_claim);
    if let (Some(known), Some(there)) = (known, there)
        && known != there
    {
        let claim = validated.instance.backup_claim();
        return Some(said(
            BACKED_UP,
            false,
            "BackupVolumeReplaced",
            format!(
                "the claim {claim} is another one than that with the backups so far ({there} instead of \
                 {known}); a backup is made on it now"
            ),
        ));
    }
    let is_backup = |task: &Task| matches!(task, Task::Backup { .. });
    if let Some(failure) = failed(plan, is_backup) {
        return Some(said(
            BACKED_UP,
            false,
            &failure.reason,
            failure.detail.clone(),
        ));
    }
    if let Progress::Working {
        task: Task::Backup { .. },
        trouble: Some(trouble),
    } = &plan.progress
    {
        return Some(said(
            BACKED_UP,
            false,
            &trouble.reason,
            trouble.detail.clone(),
        ));
    }
    let taken = plan.ledger.record.upkeep.backup.as_ref()?;
    let message = format!("{} is complete and verified", taken.backup.generation);
    Some(said(BACKED_UP, true, "Verified", message))
}

fn restore_tested(plan: &Plan) -> Option<Said> {
    let is_test = |task: &Task| matches!(task, Task::RestoreTest { .. });
    if let Some(failure) = failed(plan, is_test) {
        return Some(said(
            RESTORE_TESTED,
            false,
            &failure.reason,
            failure.detail.clone(),
        ));
    }
    let test = plan.ledger.record.upkeep.restore_test.as_ref()?;
    Some(said(
        RESTORE_TESTED,
        test.passed,
        &test.reason,
        test.detail.clone(),
    ))
}

fn upgraded(before: &MySQLStatus, validated: &Validated, plan: &Plan) -> Option<Said> {
    let record = &plan.ledger.record;
    record.restored.as_ref()?;
    let wanted = &validated.wanted_image;
    if *wanted == record.image {
        // Worth saying only where something else was said before.
        before.condition(UPGRADED)?;
        return Some(said(
            UPGRADED,
            true,
            "Current",
            format!("{wanted} is the instance's image"),
        ));
    }
    let no = |reason: &str, message: String| Some(said(UPGRADED, false, reason, message));
    if let State::UpgradeRefused(failure) = &plan.state {
        return no(&failure.reason, failure.detail.clone());
    }
    let still = format!("{} still runs", record.image);
    match &plan.progress {
        Progress::Failed { failure, .. } => {
            no(&failure.reason, format!("{still}: {}", failure.detail))
        }
        Progress::Working {
            trouble: Some(trouble),
            ..
        } => no(&trouble.reason, format!("{still}: {}", trouble.detail)),
        Progress::Working {
            task: Task::Backup { .. },
            ..
        } => no(
            "BackingUp",
            format!("{still}; a backup is made before {wanted} takes over"),
        ),
        Progress::Working { .. } => no("Probing", format!("{still}; {wanted} is being looked at")),
        Progress::Idle if plan.state == State::Upgrading => {
            no("Probing", format!("{still}; {wanted} is to be looked at"))
        }
        Progress::Idle => no(
            "ServerNotReady",
            format!(
                "{still}, and is not ready, so no backup can be made before {wanted} takes over; to start \
                 {wanted} all the same, annotate the resource with otus.homework/upgrade=force"
            ),
        ),
    }
}

fn resized(before: &MySQLStatus, plan: &Plan) -> Option<Said> {
    if let Some(failure) = &plan.growth {
        return Some(said(
            RESIZED,
            false,
            &failure.reason,
            failure.detail.clone(),
        ));
    }
    before.condition(RESIZED)?;
    Some(said(
        RESIZED,
        true,
        "AsSpecified",
        "the volumes have the size of the spec".to_owned(),
    ))
}
