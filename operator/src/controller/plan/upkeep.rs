//! What is done to an instance while it serves, one errand at a time, all by the same Job: looking at a new
//! image, backing up before another server takes over, backups on demand and on schedule, restore tests,
//! looking after the password.
//!
//! An errand is known by its operation: what it was for can be read off it, so that its end is recorded
//! rightly whatever the wishes are by then. The order of [`next`] is the order of importance.

use std::time::Duration;

use jiff::Timestamp;
use mysql_job::report::{Outcome, Report};
use sha2::{Digest as _, Sha256};

use super::{Failure, JobKind, Plan, State, Step, View, failure_of};
use crate::controller::observe::job::{Identity, JobState};
use crate::controller::trouble::Trouble;
use crate::ledger::{Backup, Ledger, RestoreTest, Taken, Upgrade};
use crate::schedule::Schedule;
use crate::upgrade;

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
    let is_probe = matches!(kind(operation), Some(Kind::Probe));
    let record = &mut plan.ledger.record;
    if let (false, Some(server)) = (is_probe, &report.server) {
        // A scratch server of a restore test is of the same image.
        record.server = Some(server.clone());
    }
    let upkeep = &mut record.upkeep;
    match kind(operation) {
        Some(Kind::Probe) => {
            let image = &view.validated.wanted_image;
            if operation == probe_operation(view, image)
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
            if let Some(moment) = moment_of(operation) {
                upkeep.scheduled = upkeep.scheduled.max(Some(moment));
            }
            if let Some(wish) = view.validated.backup_now.as_ref()
                && operation == asked_operation(wish)
            {
                upkeep.asked_backup = Some(wish.clone());
            }
            if let Some(upgrade) = &mut upkeep.upgrade
                && operation == upgrade_operation(&upgrade.image)
            {
                upgrade.backed_up = true;
            }
            let taken = Taken {
                operation: operation.to_owned(),
                backup,
                at,
            };
            if upkeep.backup.as_ref() != Some(&taken) {
                let generation = taken.backup.generation.clone();
                plan.steps.push(Step::MarkBackupClaim(generation));
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
    let is_test = matches!(kind(&identity.operation), Some(Kind::RestoreTest));
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
    if operation == test_operation(wish) {
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

/// Lets another image be the instance's, once nothing speaks against it; gives the state if something does.
pub fn upgrade(view: View<'_>, plan: &mut Plan) -> Option<State> {
    let wanted = &view.validated.wanted_image;
    let record = &mut plan.ledger.record;
    if *wanted == record.image {
        // Asked for and taken back.
        record.upkeep.upgrade = None;
        return None;
    }
    if view.validated.force_upgrade {
        record.image.clone_from(wanted);
        record.upkeep.upgrade = None;
        record.server = None;
        return None;
    }
    let prepared = record
        .upkeep
        .upgrade
        .clone()
        .filter(|prepared| prepared.image == *wanted);
    let Some(prepared) = prepared else {
        record.upkeep.upgrade = None;
        return Some(State::Upgrading);
    };
    let running = record.server.clone().or_else(|| {
        let restored = record.restored.as_ref()?;
        restored.server.clone()
    });
    if let Err(why) = upgrade::allowed(running.as_deref().unwrap_or_default(), &prepared.server) {
        let failure = Failure {
            reason: "DowngradeNotSupported".to_owned(),
            detail: format!(
                "{} still runs: {why}. To start {wanted} all the same, annotate the resource with \
                 otus.homework/upgrade=force",
                record.image
            ),
        };
        return Some(State::UpgradeRefused(failure));
    }
    if !prepared.backed_up {
        return Some(State::Upgrading);
    }
    record.image = prepared.image;
    record.server = Some(prepared.server);
    record.upkeep.upgrade = None;
    None
}

/// Starts, watches or clears away the errand of the moment. Only a serving instance has any.
pub fn carry_on(view: View<'_>, plan: &mut Plan) {
    begin_clocks(view, &mut plan.ledger);
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
        JobState::Running { identity, trouble } => {
            if ours(&identity) {
                plan.progress = errand
                    .as_ref()
                    .map(|errand| working(errand, trouble))
                    .unwrap_or_default();
            } else if may_be_broken_off(&identity.operation)
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
    if let Some(moment) = next_moment(view, &plan.ledger) {
        let left = Duration::try_from(moment.duration_since(view.now)).unwrap_or_default();
        plan.again = plan.again.min(left.max(Duration::from_millis(100)));
    }
}

/// An errand works on the server or on the backup volume just now: other operations wait for its end.
pub fn is_busy(view: View<'_>) -> bool {
    match view.job(JobKind::Upkeep) {
        JobState::Running { identity, .. } => !may_be_broken_off(&identity.operation),
        JobState::Absent
        | JobState::Going
        | JobState::Succeeded { .. }
        | JobState::Failed { .. } => false,
    }
}

/// What is to be done first; `None` if nothing is.
pub fn next(view: View<'_>, ledger: &Ledger) -> Option<Errand> {
    let record = &ledger.record;
    let upkeep = &record.upkeep;
    let errand = |operation: String, task: Task| Errand {
        operation,
        task,
        image: record.image.clone(),
    };
    let wanted = &view.validated.wanted_image;
    if *wanted != record.image {
        match &upkeep.upgrade {
            None => {
                return Some(Errand {
                    operation: probe_operation(view, wanted),
                    task: Task::Probe,
                    image: wanted.clone(),
                });
            }
            Some(prepared) if !prepared.backed_up && is_allowed(record, &prepared.server) => {
                let before_upgrade = true;
                return Some(errand(
                    upgrade_operation(&prepared.image),
                    Task::Backup { before_upgrade },
                ));
            }
            Some(_) => {}
        }
    }
    let before_upgrade = false;
    if let Some(wish) = &view.validated.backup_now
        && upkeep.asked_backup.as_ref() != Some(wish)
    {
        return Some(errand(
            asked_operation(wish),
            Task::Backup { before_upgrade },
        ));
    }
    if let Some(due) = due_backup(view, ledger) {
        let operation = format!("scheduled-{}", due.as_second());
        return Some(errand(operation, Task::Backup { before_upgrade }));
    }
    if let Some(wish) = &view.validated.restore_test
        && upkeep
            .restore_test
            .as_ref()
            .is_none_or(|done| done.wish != *wish)
    {
        let generation = wish
            .split('/')
            .next()
            .filter(|name| name.starts_with("gen-"))
            .map(str::to_owned);
        return Some(errand(
            test_operation(wish),
            Task::RestoreTest { generation },
        ));
    }
    let due = password_check_due(view, ledger)?;
    (due <= view.now).then(|| errand(format!("check-{}", due.as_second()), Task::CheckPassword))
}

fn is_allowed(record: &crate::ledger::Record, new: &str) -> bool {
    let restored = record.restored.as_ref();
    let running = record
        .server
        .as_deref()
        .or_else(|| restored.and_then(|restored| restored.server.as_deref()));
    upgrade::allowed(running.unwrap_or_default(), new).is_ok()
}

/// A schedule counts from when it was first seen, the password check from when the instance was filled.
fn begin_clocks(view: View<'_>, ledger: &mut Ledger) {
    let upkeep = &mut ledger.record.upkeep;
    if upkeep.schedule != view.validated.schedule {
        upkeep.schedule.clone_from(&view.validated.schedule);
        upkeep.scheduled = upkeep.schedule.as_ref().map(|_| view.now.as_second());
    }
    if upkeep.password_checked.is_none() && view.settings.password_check.is_some() {
        upkeep.password_checked = Some(view.now.as_second());
    }
}

fn schedule(ledger: &Ledger) -> Option<(Schedule, Timestamp)> {
    let upkeep = &ledger.record.upkeep;
    // One that cannot be read was told by the validation.
    let schedule = Schedule::parse(upkeep.schedule.as_deref()?).ok()?;
    let since = Timestamp::from_second(upkeep.scheduled?).ok()?;
    Some((schedule, since))
}

fn due_backup(view: View<'_>, ledger: &Ledger) -> Option<Timestamp> {
    let (schedule, since) = schedule(ledger)?;
    schedule.due(since, view.now)
}

/// When the next scheduled backup is due.
pub fn next_backup(view: View<'_>, ledger: &Ledger) -> Option<Timestamp> {
    schedule(ledger)?.0.next(view.now)
}

fn password_check_due(view: View<'_>, ledger: &Ledger) -> Option<Timestamp> {
    let last = Timestamp::from_second(ledger.record.upkeep.password_checked?).ok()?;
    last.checked_add(view.settings.password_check?).ok()
}

/// When to look again for what is due by the clock.
fn next_moment(view: View<'_>, ledger: &Ledger) -> Option<Timestamp> {
    let check = password_check_due(view, ledger).filter(|due| *due > view.now);
    [next_backup(view, ledger), check]
        .into_iter()
        .flatten()
        .min()
}

fn working(errand: &Errand, trouble: Option<Trouble>) -> Progress {
    Progress::Working {
        task: errand.task.clone(),
        trouble,
    }
}

enum Kind {
    Probe,
    Backup,
    RestoreTest,
    CheckPassword,
}

fn kind(operation: &str) -> Option<Kind> {
    Some(match operation.split('-').next()? {
        "probe" => Kind::Probe,
        "asked" | "scheduled" | "upgrade" => Kind::Backup,
        "test" => Kind::RestoreTest,
        "check" => Kind::CheckPassword,
        _ => return None,
    })
}

/// It touches neither the server nor the backups.
fn may_be_broken_off(operation: &str) -> bool {
    matches!(kind(operation), Some(Kind::Probe))
}

fn moment_of(operation: &str) -> Option<i64> {
    operation.strip_prefix("scheduled-")?.parse().ok()
}

fn probe_operation(view: View<'_>, image: &str) -> String {
    // Another generation of the spec asks anew: a tag may have moved.
    let generation = view.validated.generation.unwrap_or_default();
    format!("probe-{}-{generation}", short_hash(image))
}

fn upgrade_operation(image: &str) -> String {
    format!("upgrade-{}", short_hash(image))
}

fn asked_operation(wish: &str) -> String {
    format!("asked-{}", short_hash(wish))
}

fn test_operation(wish: &str) -> String {
    format!("test-{}", short_hash(wish))
}

fn short_hash(text: &str) -> String {
    use std::fmt::Write as _;
    Sha256::digest(text)
        .iter()
        .take(4)
        .fold(String::new(), |mut hash, byte| {
            write!(hash, "{byte:02x}").expect("writing to a string cannot fail");
            hash
        })
}

#[cfg(test)]
mod tests;
