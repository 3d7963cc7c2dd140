//! The plan for a resource that shall go: back up, verify, stop, remove, release; or say what is in the way.
//!
//! The spec decides nothing here but how to end; what the instance is comes from its record. The
//! data volume goes only after a backup that is known to be good, or by the explicit wish of people.

use k8s_openapi::api::core::v1::PersistentVolume;
use kube::{Resource, ResourceExt as _};
use mysql_job::report::Outcome;

use super::{JobKind, Plan, State, Step, View, create, failure_of, once};
use crate::controller::observe::job::{Identity, JobState};
use crate::controller::validate::{Ending, Validated};
use crate::ledger::Backup;

/// Plans.
pub fn plan(view: View<'_>) -> Plan {
    let mut plan = Plan::of(view, State::Releasing);
    if !view.validated.has_finalizer {
        // Others keep it, or it is as good as gone: nothing of it is ours any more.
        return plan;
    }
    if is_namespace_going(view) {
        plan.state = State::Abandoning;
        plan.steps.push(Step::DropFinalizer);
        return plan;
    }
    let jobs_left = remove_past_jobs(view, &mut plan);
    plan.state = back_up(view, &mut plan, jobs_left)
        .or_else(|| stop(view, &mut plan))
        .or_else(|| remove(view, &mut plan, jobs_left))
        .unwrap_or_else(|| {
            if view.validated.ending != Ending::Retain {
                plan.steps.push(Step::RemoveSecret);
            }
            plan.steps.push(Step::DropFinalizer);
            State::Releasing
        });
    plan
}

/// The operation that backs the instance up for the last time. On another claim it is another one: what was
/// written to the one before is not there.
pub fn backup_operation(validated: &Validated) -> String {
    let operation = once("final", &validated.uid);
    match &validated.backup_claim {
        Some(claim) => once(&operation, claim),
        None => operation,
    }
}

/// There are rows that must not go without a backup.
pub fn is_backup_needed(view: View<'_>) -> bool {
    let record = &view.validated.ledger.record;
    let claim = view.observed.data_claim.as_ref();
    if view.validated.ending != Ending::Backup || record.restored.is_none() {
        return false;
    }
    if record.final_backup.is_none() {
        // Somebody may have removed the claim; on a volume that we make the rows are there all the same.
        return claim.is_some() || own_data_volume(view).is_some();
    }
    // The last backup went away with its claim before the data did.
    !is_where_it_was_made(view)
        && claim.is_some_and(|claim| claim.metadata.deletion_timestamp.is_none())
}

fn is_where_it_was_made(view: View<'_>) -> bool {
    let made_on = &view.validated.ledger.record.backup_claim;
    made_on.is_none() || *made_on == view.validated.backup_claim
}

fn is_namespace_going(view: View<'_>) -> bool {
    view.observed
        .namespace
        .as_ref()
        .is_none_or(|namespace| namespace.metadata.deletion_timestamp.is_some())
}

/// Makes the last backup; `None` once it is recorded or none is needed.
fn back_up(view: View<'_>, plan: &mut Plan, jobs_left: bool) -> Option<State> {
    if !is_backup_needed(view) {
        return None;
    }
    // The server must be there to be backed up, whatever has become of it.
    plan.ledger.record.final_backup = None;
    plan.steps.push(Step::StoreLedger);
    create::release_volumes(view, &mut plan.steps);
    plan.steps.push(Step::Ensure);
    plan.steps.extend(view.gates(false));
    let expected = backup_operation(view.validated);
    let is_ours = |identity: &Identity| {
        identity.instance_uid == view.validated.uid && identity.operation == expected
    };
    let backing_up = |trouble| Some(State::BackingUp { trouble });
    match view.job(JobKind::Backup) {
        JobState::Absent if jobs_left => Some(State::ClearingJobs),
        // It is just being made; the backup is known by it.
        JobState::Absent if view.validated.backup_claim.is_none() => backing_up(None),
        JobState::Absent => {
            plan.steps.push(Step::Start(JobKind::Backup));
            backing_up(None)
        }
        JobState::Going => Some(State::ClearingJobs),
        // It tries again by itself, or is about to be given up: nothing goes either way until people have acted,
        // or another attempt succeeds.
        JobState::Running {
            identity,
            failed: Some(failure),
            ..
        } if is_ours(&identity) => Some(State::BackupFailed(failure)),
        JobState::Running {
            identity, trouble, ..
        } if is_ours(&identity) => backing_up(view.server_trouble().or(trouble)),
        JobState::Succeeded {
            identity,
            report: Some(report),
            ..
        } if is_ours(&identity) && report.result == Outcome::Ok => {
            let Some(backup) = Backup::from_report(&report) else {
                plan.steps.push(Step::RemoveJob(JobKind::Backup));
                return Some(State::ClearingJobs);
            };
            // Before the record makes it old news; a repeated step costs nothing.
            plan.steps
                .insert(0, Step::MarkBackups(backup.generation.clone()));
            plan.ledger.record.final_backup = Some(backup);
            let claim = &view.validated.backup_claim;
            plan.ledger.record.backup_claim.clone_from(claim);
            plan.backed_up = Some(report);
            // Recorded before anything else goes.
            plan.steps.push(Step::StoreLedger);
            None
        }
        JobState::Failed {
            identity,
            report,
            ended,
            why,
        } if is_ours(&identity) => {
            match view.wait_after(ended) {
                Some(left) => plan.again = left,
                None => plan.steps.push(Step::RemoveJob(JobKind::Backup)),
            }
            Some(State::BackupFailed(failure_of(report, &why)))
        }
        // Of an earlier life, or without a report that could be trusted.
        JobState::Running { .. } | JobState::Succeeded { .. } | JobState::Failed { .. } => {
            plan.steps.push(Step::RemoveJob(JobKind::Backup));
            Some(State::ClearingJobs)
        }
    }
}

/// Removes the server; `None` once it is gone.
fn stop(view: View<'_>, plan: &mut Plan) -> Option<State> {
    let deployment = view.observed.deployment.as_ref();
    if deployment.is_some_and(|deployment| deployment.metadata.deletion_timestamp.is_none()) {
        plan.steps.push(Step::RemoveDeployment);
    }
    let running = deployment.is_some() || view.server_pods().next().is_some();
    running.then_some(State::Stopping)
}

/// Removes what the server stood on; `None` once it is gone.
fn remove(view: View<'_>, plan: &mut Plan, jobs_left: bool) -> Option<State> {
    let observed = view.observed;
    let mut left = Vec::new();
    if jobs_left {
        left.push("Jobs of the instance".to_owned());
    }
    still_there(&mut left, "Service", observed.service.as_ref());
    still_there(&mut left, "Service", observed.admin_service.as_ref());
    if observed.service.is_some() || observed.admin_service.is_some() {
        plan.steps.push(Step::RemoveServices);
    }
    if view.validated.ending != Ending::Retain {
        let volume = own_data_volume(view);
        still_there(
            &mut left,
            "PersistentVolumeClaim",
            observed.data_claim.as_ref(),
        );
        still_there(&mut left, "PersistentVolume", volume);
        if observed.data_claim.is_some() || volume.is_some() {
            plan.steps.push(Step::RemoveData);
        }
    }
    (!left.is_empty()).then(|| State::Removing {
        what: left.join(", "),
    })
}

/// The data volume, if it is one that we make.
fn own_data_volume(view: View<'_>) -> Option<&PersistentVolume> {
    let name = view.validated.data_volume.as_ref()?;
    [&view.observed.data_volume, &view.observed.data_volume_apart]
        .into_iter()
        .flatten()
        .find(|volume| volume.name_any() == *name)
}

fn still_there<K: Resource<DynamicType = ()>>(
    left: &mut Vec<String>,
    kind: &str,
    object: Option<&K>,
) {
    if let Some(object) = object {
        left.push(format!("{kind} {}", object.name_any()));
    }
}

/// Removes the Jobs that the next life must not meet; tells whether any is still there. They go before the
/// last backup is made, too: two operations must not meet on one server.
fn remove_past_jobs(view: View<'_>, plan: &mut Plan) -> bool {
    let mut left = false;
    for kind in [JobKind::Restore, JobKind::Password, JobKind::Upkeep] {
        match view.job(kind) {
            JobState::Absent => continue,
            JobState::Going => {}
            JobState::Running { .. } | JobState::Succeeded { .. } | JobState::Failed { .. } => {
                plan.steps.push(Step::RemoveJob(kind));
            }
        }
        left = true;
    }
    left
}

#[cfg(test)]
mod tests;
