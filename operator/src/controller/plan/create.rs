//! The plan for a resource that shall live: fill it once, keep it as specified, keep its password.

use std::time::Duration;

use k8s_openapi::api::core::v1::PersistentVolume;
use kube::{Resource, ResourceExt as _};
use mysql_job::report::Report;
use sha2::{Digest as _, Sha256};

use super::{
    Failure, JobKind, Plan, State, Step, View, failure_of, growth, is_final, once, upkeep,
};
use crate::controller::observe::is_reserved_elsewhere;
use crate::controller::observe::job::{Identity, JobState};
use crate::controller::trouble::Trouble;
use crate::controller::validate::Validated;
use crate::ledger::{Ledger, Restored};

/// A server that runs for this long takes signals.
const SETTLED: Duration = Duration::from_secs(5);

/// Plans.
pub fn plan(view: View<'_>) -> Plan {
    let mut plan = Plan::of(view, State::Ready);
    if !view.validated.has_finalizer {
        plan.steps.push(Step::AddFinalizer);
    }
    plan.steps.push(Step::DropOldMarks);
    if view.validated.watches_a_secret {
        // Whether it has changed is seen by looking.
        plan.again = plan.again.min(view.settings.secret_poll);
    }
    if plan.ledger.record.restored.is_none() {
        if let Some(what) = leftover(view, &mut plan.steps) {
            plan.state = State::Clearing { what };
            return plan;
        }
        if let Some(state) = fill(view, &mut plan) {
            plan.state = state;
            return plan;
        }
    }
    keep(view, &mut plan);
    plan
}

/// The operation that fills this instance. Wishes that change what is restored make another one of it.
pub fn restore_operation(validated: &Validated) -> String {
    let wish = &validated.restore;
    let mut hasher = Sha256::new();
    for part in [
        validated.image.as_str(),
        validated.database.as_str(),
        wish.from_database.as_deref().unwrap_or_default(),
        wish.generation.as_deref().unwrap_or_default(),
    ] {
        hasher.update(part);
        hasher.update([0]);
    }
    hasher.update(format!("{:?}", wish.mode));
    let hash = hasher.finalize();
    format!(
        "{}-{:02x}{:02x}{:02x}",
        once("restore", &validated.uid),
        hash[0],
        hash[1],
        hash[2]
    )
}

/// The operation that sets the password of this number.
pub fn password_operation(validated: &Validated, sequence: u64) -> String {
    format!("{}-{sequence}", once("password", &validated.uid))
}

/// Objects of an earlier life that must be gone before this one begins.
fn leftover(view: View<'_>, steps: &mut Vec<Step>) -> Option<String> {
    let observed = view.observed;
    let instance = &view.validated.instance;
    let mut what = Vec::new();
    going(&mut what, "Secret", observed.secret.as_ref());
    going(&mut what, "Deployment", observed.deployment.as_ref());
    going(&mut what, "Service", observed.service.as_ref());
    going(&mut what, "Service", observed.admin_service.as_ref());
    going(
        &mut what,
        "PersistentVolumeClaim",
        observed.data_claim.as_ref(),
    );
    going(
        &mut what,
        "PersistentVolumeClaim",
        observed.backup_claim.as_ref(),
    );
    let data_volume = ours(
        view,
        observed.data_volume.as_ref(),
        observed.data_volume_apart.as_ref(),
    );
    going(&mut what, "PersistentVolume", data_volume);
    if let (Some(volume), None) = (data_volume, &observed.data_claim)
        && view.validated.data_volume.is_some()
        && volume.metadata.deletion_timestamp.is_none()
        && is_stale(volume)
    {
        steps.push(Step::RemoveStaleDataVolume);
        what.push(format!(
            "PersistentVolume {} of an earlier instance",
            volume.name_any()
        ));
    }
    let backup_volume = ours(
        view,
        observed.backup_volume.as_ref(),
        observed.backup_volume_apart.as_ref(),
    );
    if let (Some(volume), None) = (backup_volume, &observed.backup_claim)
        && is_stale(volume)
    {
        steps.push(Step::ReleaseBackupVolume);
    }
    if observed.data_claim.is_none() && view.observed.server_pods(instance).next().is_some() {
        what.push("the pod of an earlier instance".to_owned());
    }
    (!what.is_empty()).then(|| what.join(", "))
}

fn going<K: Resource<DynamicType = ()>>(what: &mut Vec<String>, kind: &str, object: Option<&K>) {
    if let Some(object) = object.filter(|object| object.meta().deletion_timestamp.is_some()) {
        what.push(format!("{kind} {}", object.name_any()));
    }
}

fn ours<'a>(
    view: View<'_>,
    usual: Option<&'a PersistentVolume>,
    apart: Option<&'a PersistentVolume>,
) -> Option<&'a PersistentVolume> {
    usual
        .filter(|volume| !is_reserved_elsewhere(volume, &view.validated.instance))
        .or(apart)
}

/// Lets the next claims have the volumes whose claims somebody has removed: the rows and the backups are in them.
pub fn release_volumes(view: View<'_>, steps: &mut Vec<Step>) {
    let observed = view.observed;
    let lost = |usual: &Option<PersistentVolume>, apart: &Option<PersistentVolume>| {
        ours(view, usual.as_ref(), apart.as_ref()).is_some_and(is_stale)
    };
    if observed.data_claim.is_none() && lost(&observed.data_volume, &observed.data_volume_apart) {
        steps.push(Step::ReleaseDataVolume);
    }
    if observed.backup_claim.is_none()
        && lost(&observed.backup_volume, &observed.backup_volume_apart)
    {
        steps.push(Step::ReleaseBackupVolume);
    }
}

/// Bound to a claim that is gone: nothing binds to it any more.
fn is_stale(volume: &PersistentVolume) -> bool {
    volume
        .spec
        .as_ref()
        .and_then(|spec| spec.claim_ref.as_ref())
        .is_some_and(|claim| claim.uid.is_some())
}

/// Removes a server that was killed while it initialised itself; `None` if there is no such server.
///
/// Not only its pod: the pod's successor would run beside it until it has ended. The Job that fills the instance goes first: it must not fill a server that is about to be thrown away.
fn begin_again(
    view: View<'_>,
    plan: &mut Plan,
    is_ours: &impl Fn(&Identity) -> bool,
) -> Option<State> {
    if !is_interrupted(view) {
        return None;
    }
    match view.job(JobKind::Restore) {
        // It has been filled all the same.
        JobState::Succeeded {
            identity,
            report: Some(_),
            ..
        } if is_ours(&identity) => return None,
        JobState::Absent if hears_signals(view) => plan.steps.push(Step::RemoveHalfMadeServer),
        JobState::Absent => plan.again = plan.again.min(SETTLED),
        JobState::Going => {}
        JobState::Running { .. } | JobState::Succeeded { .. } | JobState::Failed { .. } => {
            plan.steps.push(Step::RemoveJob(JobKind::Restore));
        }
    }
    Some(State::Restoring {
        trouble: Some(Trouble {
            reason: "InitializationInterrupted".to_owned(),
            detail:
                "the server was killed before it had ever been filled; it begins again in a new pod"
                    .to_owned(),
        }),
    })
}

/// A program that has just been started in a container, as its first process, loses the signal to end and
/// then lives until it is killed, a whole grace period later.
fn hears_signals(view: View<'_>) -> bool {
    view.server_pods()
        .filter_map(|pod| pod.status.as_ref()?.container_statuses.as_ref())
        .flatten()
        .filter_map(|status| status.state.as_ref()?.running.as_ref()?.started_at.as_ref())
        .all(|started| view.age(started.0).is_some_and(|age| age >= SETTLED))
}

/// Whether the server was killed while it initialised itself. The image takes the half-made data
/// directory for a whole one when its container starts again; only a new pod is made ready from the beginning.
fn is_interrupted(view: View<'_>) -> bool {
    view.server_pods()
        .filter(|pod| pod.metadata.deletion_timestamp.is_none())
        .any(|pod| {
            let age = pod
                .metadata
                .creation_timestamp
                .as_ref()
                .and_then(|created| view.age(created.0));
            let statuses = pod
                .status
                .as_ref()
                .and_then(|status| status.container_statuses.as_ref());
            let restarted = statuses
                .into_iter()
                .flatten()
                .any(|status| status.restart_count > 0);
            // A server that cannot start at all is not to be replaced all the time.
            restarted && age.is_some_and(|age| age >= view.settings.retry / 6)
        })
}

/// Brings the instance to where it has its rows; `None` once it is there.
fn fill(view: View<'_>, plan: &mut Plan) -> Option<State> {
    let expected = restore_operation(view.validated);
    let is_ours = |identity: &Identity| {
        identity.instance_uid == view.validated.uid && identity.operation == expected
    };
    let restoring = |trouble| Some(State::Restoring { trouble });
    plan.steps.extend([Step::StoreLedger, Step::Ensure]);
    if let Some(state) = begin_again(view, plan, &is_ours) {
        return Some(state);
    }
    match view.job(JobKind::Restore) {
        // A server that is going still answers; what is brought to it would go with it.
        JobState::Absent if view.is_server_going() => restoring(None),
        JobState::Absent => {
            plan.steps.push(Step::Start(JobKind::Restore));
            restoring(view.server_trouble())
        }
        JobState::Going => restoring(view.server_trouble()),
        JobState::Running {
            identity,
            trouble,
            failed,
        } if is_ours(&identity) => {
            let trouble = view.server_trouble().or(trouble);
            match failed {
                // The Job tries again by itself, for the server may come; what is in its way is the cause.
                Some(failure) => Some(State::RestoreFailed(trouble.map_or(failure, Failure::from))),
                None => restoring(trouble),
            }
        }
        JobState::Succeeded {
            identity,
            report: Some(report),
            ..
        } if is_ours(&identity) => {
            if report.generation.is_some() {
                let claim = &identity.backup_claim;
                plan.ledger.record.backup_claim.clone_from(claim);
            }
            record(&mut plan.ledger, &identity, report);
            None
        }
        JobState::Failed {
            identity,
            report,
            ended,
            why,
        } if is_ours(&identity) => {
            let cause = view.server_trouble().map(Failure::from);
            let failure = cause.unwrap_or_else(|| failure_of(report, &why));
            retry(view, plan, JobKind::Restore, ended);
            Some(State::RestoreFailed(failure))
        }
        // Of another life or another wish, or done without a word that could be trusted: once more.
        JobState::Running { .. } | JobState::Succeeded { .. } | JobState::Failed { .. } => {
            plan.steps.push(Step::RemoveJob(JobKind::Restore));
            restoring(None)
        }
    }
}

fn record(ledger: &mut Ledger, identity: &Identity, report: Report) {
    ledger.record.restored = Some(Restored {
        operation: identity.operation.clone(),
        generation: report.generation,
        reason: report.reason,
        server: report.server.clone(),
        detail: report.detail,
    });
    ledger.record.server = report.server.or(ledger.record.server.take());
    if let Some(sequence) = identity.password_sequence {
        ledger.confirm(sequence);
    }
}

fn retry(view: View<'_>, plan: &mut Plan, kind: JobKind, ended: Option<jiff::Timestamp>) {
    match view.wait_after(ended) {
        Some(left) => plan.again = left,
        None => plan.steps.push(Step::RemoveJob(kind)),
    }
}

/// Keeps an instance that has its rows as it is specified.
fn keep(view: View<'_>, plan: &mut Plan) {
    // What is known of backups is marked before the record makes it old news.
    upkeep::record(view, plan);
    plan.steps.push(Step::StoreLedger);
    release_volumes(view, &mut plan.steps);
    plan.steps.push(Step::Ensure);
    plan.steps.extend(view.gates(true));
    let restore = view.job(JobKind::Restore);
    if restore
        .identity()
        .is_some_and(|identity| identity.instance_uid != view.validated.uid)
    {
        plan.steps.push(Step::RemoveJob(JobKind::Restore));
    }
    let ready = view.is_serving(&plan.ledger.record.image);
    growth::plan(view, plan);
    let password = if plan.ledger.is_synced() {
        None
    } else {
        sync_password(view, plan)
    };
    plan.state = match password {
        Some(PasswordStep::Running(trouble)) => State::SyncingPassword { trouble, ready },
        Some(PasswordStep::Failed(failure)) => State::PasswordFailed { failure, ready },
        None => {
            let upgrading = upkeep::upgrade(view, plan);
            if ready {
                upkeep::carry_on(view, plan);
            }
            // Another image may have taken over just now.
            if ready && view.is_serving(&plan.ledger.record.image) {
                upgrading.unwrap_or(State::Ready)
            } else {
                match view.server_trouble() {
                    Some(trouble) if is_final(&trouble) => State::ServerFailed(trouble.into()),
                    trouble => State::Starting { trouble },
                }
            }
        }
    };
}

enum PasswordStep {
    Running(Option<Trouble>),
    Failed(Failure),
}

/// Brings root's password to the desired one; `None` once it holds.
fn sync_password(view: View<'_>, plan: &mut Plan) -> Option<PasswordStep> {
    let desired = plan.ledger.record.desired;
    let is_current = |identity: &Identity| {
        identity.instance_uid == view.validated.uid && identity.password_sequence == Some(desired)
    };
    match view.job(JobKind::Password) {
        // One operation at a time; a backup under way is not broken off.
        JobState::Absent if upkeep::is_busy(view) => {}
        JobState::Absent => plan.steps.push(Step::Start(JobKind::Password)),
        JobState::Going => {}
        JobState::Running {
            identity,
            trouble,
            failed,
        } => {
            // One that sets an earlier password is left to end: two at a time could end in either.
            if identity.instance_uid != view.validated.uid {
                plan.steps.push(Step::RemoveJob(JobKind::Password));
            }
            return Some(match failed.filter(|_| is_current(&identity)) {
                Some(failure) => PasswordStep::Failed(trouble.map_or(failure, Failure::from)),
                None => PasswordStep::Running(trouble),
            });
        }
        JobState::Succeeded { identity, .. } if is_current(&identity) => {
            plan.ledger.confirm(desired);
            return None;
        }
        JobState::Failed {
            identity,
            report,
            ended,
            why,
        } if is_current(&identity) => {
            retry(view, plan, JobKind::Password, ended);
            return Some(PasswordStep::Failed(failure_of(report, &why)));
        }
        JobState::Succeeded { identity, .. } => {
            if let (true, Some(sequence)) = (
                identity.instance_uid == view.validated.uid,
                identity.password_sequence,
            ) && plan.ledger.has_password(sequence)
            {
                plan.ledger.confirm(sequence);
            }
            plan.steps.push(Step::RemoveJob(JobKind::Password));
        }
        JobState::Failed { .. } => plan.steps.push(Step::RemoveJob(JobKind::Password)),
    }
    Some(PasswordStep::Running(None))
}
