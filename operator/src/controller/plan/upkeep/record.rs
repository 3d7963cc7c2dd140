//! What is remembered of an errand that has ended, whatever is wished for by then. Pure.

use mysql_job::report::{Outcome, Report};

use super::operation::{self, Kind};
use crate::controller::observe::job::{Identity, JobState};
use crate::controller::plan::{JobKind, Plan, Step, View};
use crate::ledger::{Backup, Ledger, RestoreTest, Taken, Upgrade};

/// Records what has ended, whatever is wished for by now.
pub fn record(view: View<'_>, plan: &mut Plan) {
    let job = view.job(JobKind::Upkeep);
    let (identity, report, ended, failed) = match &job {
        JobState::Succeeded {
            identity,
            report: Some(report),
            ended,
        } => (identity, report, ended, false),
        JobState::Failed {
            identity,
            report: Some(report),
            ended,
            ..
        } => (identity, report, ended, true),
        _ => return,
    };
    if identity.instance_uid != view.validated.uid {
        return;
    }
    let at = ended.unwrap_or(view.now).as_second();
    if failed {
        record_failure(view, &mut plan.ledger, identity, report, at);
    } else {
        record_success(view, plan, identity, report, at);
    }
}

fn record_success(view: View<'_>, plan: &mut Plan, identity: &Identity, report: &Report, at: i64) {
    let operation = identity.operation.as_str();
    let is_probe = matches!(operation::kind(operation), Some(Kind::Probe));
    let record = &mut plan.ledger.record;
    if let (false, Some(server)) = (is_probe, &report.server) {
        // A scratch server of a restore test is of the same image.
        record.server = Some(server.clone());
    }
    let upkeep = &mut record.upkeep;
    match operation::kind(operation) {
        Some(Kind::Probe) => {
            let image = &view.validated.wanted_image;
            if operation == operation::probe(view, image)
                && upkeep
                    .upgrade
                    .as_ref()
                    .is_none_or(|known| known.image != *image)
            {
                upkeep.upgrade = Some(Upgrade {
                    image: image.clone(),
                    server: report.server.clone().unwrap_or_default(),
                    backed_up: false,
                });
            }
        }
        Some(Kind::Backup) => {
            let Some(backup) = Backup::from_report(report) else {
                return;
            };
            if report.result != Outcome::Ok {
                return;
            }
            if let Some(moment) = operation::moment_of(operation) {
                upkeep.scheduled = upkeep.scheduled.max(Some(moment));
            }
            if let Some(wish) = view.validated.backup_now.as_ref()
                && operation == operation::asked(wish)
            {
                upkeep.asked_backup = Some(wish.clone());
            }
            if let Some(upgrade) = &mut upkeep.upgrade
                && operation == operation::upgrade(&upgrade.image)
            {
                upgrade.backed_up = true;
            }
            let taken = Taken {
                operation: operation.to_owned(),
                backup,
                at,
            };
            if upkeep.backup.as_ref() != Some(&taken) {
                record.backup_claim.clone_from(&identity.backup_claim);
                if identity.backup_claim == view.validated.backup_claim {
                    let generation = taken.backup.generation.clone();
                    plan.steps.push(Step::MarkBackups(generation));
                }
                plan.backed_up = Some(report.clone());
                upkeep.backup = Some(taken);
            }
        }
        Some(Kind::RestoreTest) => record_test(view, &mut plan.ledger, operation, report, true, at),
        Some(Kind::CheckPassword) if upkeep.password_checked.is_none_or(|known| known < at) => {
            upkeep.password_checked = Some(at);
            plan.repaired = report.reason == "Set";
        }
        Some(Kind::CheckPassword) | None => {}
    }
}

/// A restore test that fails has an answer all the same, if trying again cannot change it.
fn record_failure(
    view: View<'_>,
    ledger: &mut Ledger,
    identity: &Identity,
    report: &Report,
    at: i64,
) {
    let is_test = matches!(
        operation::kind(&identity.operation),
        Some(Kind::RestoreTest)
    );
    if is_test && report.result == Outcome::Refused {
        record_test(view, ledger, &identity.operation, report, false, at);
    }
}

fn record_test(
    view: View<'_>,
    ledger: &mut Ledger,
    operation: &str,
    report: &Report,
    passed: bool,
    at: i64,
) {
    let Some(wish) = &view.validated.restore_test else {
        return;
    };
    if operation == operation::test(wish) {
        ledger.record.upkeep.restore_test = Some(RestoreTest {
            wish: wish.clone(),
            passed,
            generation: report.generation.clone(),
            reason: report.reason.clone(),
            detail: report.detail.clone(),
            at,
        });
    }
}
