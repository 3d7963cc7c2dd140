//! What state an instance is in and what to do next. Pure and total: the same observation always
//! gives the same plan, and every observation has one.
//!
//! The states are those of `docs/operation.md`. [`create`] plans for a resource that shall live,
//! [`delete`] for one that shall go; [`upkeep`] is what is done meanwhile.

pub mod create;
pub mod delete;
pub mod growth;
pub mod upkeep;

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use mysql_job::prepare;
use mysql_job::report::Report;

use super::observe::Observed;
use super::observe::job::{JobState, is_pod_of};
use super::trouble::{self, Trouble};
use super::validate::Validated;
use crate::ledger::Ledger;
use crate::names;
use crate::recent::SECRET_HOLDS;
use crate::settings::Settings;

/// A Job that has no pod for this long is said to have none.
const POD_PATIENCE: Duration = Duration::from_secs(10);

/// Where an instance is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Something of an earlier life is still going.
    Clearing {
        /// What.
        what: String,
    },
    /// The server starts for the first time and gets its rows and its password.
    Restoring {
        /// What keeps it from doing so.
        trouble: Option<Trouble>,
    },
    /// The rows did not come back.
    RestoreFailed(Failure),
    /// The server has its rows, and is not ready.
    Starting {
        /// What keeps it from being ready.
        trouble: Option<Trouble>,
    },
    /// Root is getting another password.
    SyncingPassword {
        /// What keeps the Job from running.
        trouble: Option<Trouble>,
        /// Clients can connect meanwhile.
        ready: bool,
    },
    /// Root did not get the password.
    PasswordFailed {
        /// Why not.
        failure: Failure,
        /// Clients can connect, with the earlier password.
        ready: bool,
    },
    /// The server cannot start until somebody acts.
    ServerFailed(Failure),
    /// Clients can connect.
    Ready,
    /// Another image is looked at, and a backup is made, before it takes over.
    Upgrading,
    /// The other image cannot take over; clients can connect to the old server.
    UpgradeRefused(Failure),
    /// The namespace goes, with everything in it.
    Abandoning,
    /// Jobs of the past are going, so that the last one can start.
    ClearingJobs,
    /// The last backup is being made.
    BackingUp {
        /// What keeps it from being made.
        trouble: Option<Trouble>,
    },
    /// The last backup could not be made: the deletion is blocked.
    BackupFailed(Failure),
    /// The server is going.
    Stopping,
    /// Volumes and services are going.
    Removing {
        /// What is still there.
        what: String,
    },
    /// Nothing is left to be done.
    Releasing,
}

impl JobKind {
    const ALL: [Self; 4] = [Self::Restore, Self::Backup, Self::Password, Self::Upkeep];
}

/// What a Job could not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// One word.
    pub reason: String,
    /// A sentence.
    pub detail: String,
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        Self {
            reason: trouble.reason,
            detail: trouble.detail,
        }
    }
}

/// A thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Make the resource wait for us before it goes.
    AddFinalizer,
    /// Let it go.
    DropFinalizer,
    /// Take off what the old operator has left on the resource.
    DropOldMarks,
    /// Write credentials and record.
    StoreLedger,
    /// Make what is missing, correct what differs.
    Ensure,
    /// Let clients in to this pod.
    OpenGate(String),
    /// Keep clients out of this pod.
    CloseGate(String),
    /// Start a Job.
    Start(JobKind),
    /// Remove a Job and its pods.
    RemoveJob(JobKind),
    /// Remember on the backup claim and its volume that they have a good backup.
    MarkBackups(String),
    /// Make a backup volume whose claim is gone available to the next one.
    ReleaseBackupVolume,
    /// Make this life's data volume, whose claim somebody removed, available to the next one.
    ReleaseDataVolume,
    /// Remove a server that was killed before it had ever been filled, and wait for its pod's end.
    RemoveHalfMadeServer,
    /// Let a volume that we made have the size of the spec.
    GrowVolume(String),
    /// Ask for a claim of the size of the spec.
    GrowClaim(String),
    /// Remove the volume of a life whose claim is gone; its directory stays on the node.
    RemoveStaleDataVolume,
    /// Remove the server.
    RemoveDeployment,
    /// Remove the services.
    RemoveServices,
    /// Remove the data.
    RemoveData,
    /// Remove credentials and record.
    RemoveSecret,
}

impl Step {
    /// It may be taken although what was seen may have changed since: the cluster refuses to make what is there,
    /// and to change what is of another version; a gate is that of a pod that will not come again.
    pub fn may_be_late(&self) -> bool {
        match self {
            Self::StoreLedger | Self::Start(_) | Self::OpenGate(_) | Self::CloseGate(_) => true,
            Self::AddFinalizer
            | Self::DropFinalizer
            | Self::DropOldMarks
            | Self::Ensure
            | Self::RemoveJob(_)
            | Self::MarkBackups(_)
            | Self::ReleaseBackupVolume
            | Self::ReleaseDataVolume
            | Self::RemoveHalfMadeServer
            | Self::GrowVolume(_)
            | Self::GrowClaim(_)
            | Self::RemoveStaleDataVolume
            | Self::RemoveDeployment
            | Self::RemoveServices
            | Self::RemoveData
            | Self::RemoveSecret => false,
        }
    }

    /// The same of an instance of which nothing exists.
    pub fn makes(&self) -> bool {
        matches!(self, Self::AddFinalizer | Self::DropOldMarks | Self::Ensure)
    }
}

/// Which Job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JobKind {
    /// Brings the rows back.
    Restore,
    /// Backs up for the last time.
    Backup,
    /// Sets the password.
    Password,
    /// Looks after a serving instance.
    Upkeep,
}

/// What to do, in this order, and what is true then.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where the instance is.
    pub state: State,
    /// What to do.
    pub steps: Vec<Step>,
    /// Credentials and record, as they shall be.
    pub ledger: Ledger,
    /// Look again after this time, should nothing happen before.
    pub again: Duration,
    /// A good backup was just recorded.
    pub backed_up: Option<Report>,
    /// Root's password had been changed behind our back, and was just set again.
    pub repaired: bool,
    /// What is to be done to the serving instance, if anything is.
    pub errand: Option<upkeep::Errand>,
    /// How that goes.
    pub progress: upkeep::Progress,
    /// Why the volumes are not as large as the spec wants them.
    pub growth: Option<Failure>,
}

impl Plan {
    /// Nothing to do yet.
    fn of(view: View<'_>, state: State) -> Self {
        Self {
            state,
            steps: Vec::new(),
            ledger: view.validated.ledger.clone(),
            again: view.settings.resync,
            backed_up: None,
            repaired: false,
            errand: None,
            progress: upkeep::Progress::Idle,
            growth: None,
        }
    }
}

/// What the plan is made from, beside the instance itself.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The instance.
    pub validated: &'a Validated,
    /// What was seen.
    pub observed: &'a Observed,
    /// What can be set.
    pub settings: &'a Settings,
    /// When it was seen.
    pub now: Timestamp,
}

/// Plans.
pub fn plan(view: View<'_>) -> Plan {
    let mut plan = if view.validated.deleting {
        delete::plan(view)
    } else {
        create::plan(view)
    };
    let stored = view
        .observed
        .secret
        .as_ref()
        .and_then(|secret| Ledger::from_secret(secret).ok());
    // A ledger that did not change needs no request, and no step is needed twice: the ledger that is
    // stored first is already the one that shall be.
    let mut seen = Vec::new();
    plan.steps.retain(|step| {
        let needed = *step != Step::StoreLedger || stored.as_ref() != Some(&plan.ledger);
        let first = !seen.contains(step);
        seen.push(step.clone());
        needed && first
    });
    if view.observed.secret_is_remembered {
        // No watch tells that they have changed or gone.
        plan.again = plan.again.min(SECRET_HOLDS);
    }
    if JobKind::ALL
        .into_iter()
        .any(|kind| view.waits_for_a_pod(kind))
    {
        // No event tells that something does not happen.
        plan.again = plan.again.min(POD_PATIENCE);
    }
    plan
}

impl View<'_> {
    /// The Job as it is.
    pub fn job(&self, kind: JobKind) -> JobState {
        match JobState::of(self.seen_job(kind), &self.observed.pods) {
            JobState::Running {
                identity,
                trouble: None,
                failed,
            } => JobState::Running {
                identity,
                trouble: self.missing_pod(kind),
                failed,
            },
            state => state,
        }
    }

    fn seen_job(&self, kind: JobKind) -> Option<&Job> {
        match kind {
            JobKind::Restore => self.observed.restore_job.as_ref(),
            JobKind::Backup => self.observed.backup_job.as_ref(),
            JobKind::Password => self.observed.password_job.as_ref(),
            JobKind::Upkeep => self.observed.upkeep_job.as_ref(),
        }
    }

    /// The Job runs, and has no pod to run in.
    fn waits_for_a_pod(&self, kind: JobKind) -> bool {
        let pods = &self.observed.pods;
        self.seen_job(kind).is_some_and(|job| {
            matches!(JobState::of(Some(job), pods), JobState::Running { .. })
                && !pods.iter().any(|pod| is_pod_of(pod, job))
        })
    }

    /// A Job does not say why it gets no pod, only its events do; that it gets none for so long can be told.
    fn missing_pod(&self, kind: JobKind) -> Option<Trouble> {
        let job = self.seen_job(kind).filter(|_| self.waits_for_a_pod(kind))?;
        let since = job.metadata.creation_timestamp.as_ref()?.0;
        (self.age(since)? >= POD_PATIENCE).then(|| Trouble {
            reason: "JobHasNoPod".to_owned(),
            detail: format!(
                "job {0}: it has no pod since {since}; a quota or an admission policy may refuse it: \
                 kubectl describe job {0}",
                job.name_any()
            ),
        })
    }

    /// The pods of the server.
    pub fn server_pods(&self) -> impl Iterator<Item = &Pod> {
        self.observed.server_pods(&self.validated.instance)
    }

    /// What keeps the server from running.
    pub fn server_trouble(&self) -> Option<Trouble> {
        let deployment = self.observed.deployment.as_ref();
        self.server_pods()
            .find_map(trouble::of_pod)
            .or_else(|| deployment.and_then(trouble::of_deployment))
    }

    /// A pod of the server is being deleted, and is still there.
    pub fn is_server_going(&self) -> bool {
        self.server_pods()
            .any(|pod| pod.metadata.deletion_timestamp.is_some())
    }

    /// Clients can connect to a server of this image.
    pub fn is_serving(&self, image: &str) -> bool {
        self.server_pods().any(|pod| {
            pod.metadata.deletion_timestamp.is_none()
                && has_condition(pod, "Ready")
                && runs_image(pod, image)
        })
    }

    /// The time for another try after a failure has come; otherwise how long until then.
    ///
    /// The clock that says when it ended is another machine's. If that is ahead by more than the wait, the two
    /// cannot be compared, and waiting for it would last until this one is as far.
    pub fn wait_after(&self, ended: Option<Timestamp>) -> Option<Duration> {
        let wait = self.settings.retry;
        let since = self.now.duration_since(ended?);
        match Duration::try_from(since) {
            Ok(passed) => wait.checked_sub(passed).filter(|left| !left.is_zero()),
            Err(_) => (since.unsigned_abs() <= wait).then_some(wait),
        }
    }

    /// How long this has lasted by our clock; `None` if our clock is behind the one that says when it began, by
    /// so little that waiting helps.
    fn age(&self, since: Timestamp) -> Option<Duration> {
        let age = self.now.duration_since(since);
        match Duration::try_from(age) {
            Ok(age) => Some(age),
            Err(_) => (age.unsigned_abs() > self.settings.retry).then_some(Duration::MAX),
        }
    }

    /// Pods whose gate is not as it shall be.
    pub fn gates(&self, open: bool) -> impl Iterator<Item = Step> {
        self.server_pods()
            .filter(move |pod| {
                pod.metadata.deletion_timestamp.is_none()
                    && has_condition(pod, names::READINESS_GATE) != open
            })
            .map(move |pod| {
                let name = pod.name_any();
                if open {
                    Step::OpenGate(name)
                } else {
                    Step::CloseGate(name)
                }
            })
    }
}

/// The condition is there and true.
pub fn has_condition(pod: &Pod, type_: &str) -> bool {
    pod.status
        .as_ref()
        .and_then(|status| status.conditions.as_ref())
        .is_some_and(|conditions| {
            conditions
                .iter()
                .any(|condition| condition.type_ == type_ && condition.status == "True")
        })
}

/// The server in this pod is of this image; a pod that does not say is not held against it.
fn runs_image(pod: &Pod, image: &str) -> bool {
    pod.spec.as_ref().is_none_or(|spec| {
        spec.containers
            .iter()
            .any(|container| container.image.as_deref() == Some(image))
    })
}

/// The identity of an operation that is carried out once in the life of a resource.
pub fn once(kind: &str, uid: &str) -> String {
    format!("{kind}-{}", uid.split('-').next().unwrap_or(uid))
}

/// What only people can put right, of what keeps a server from starting.
pub fn is_final(trouble: &Trouble) -> bool {
    [prepare::DATA_LOST, prepare::UNUSABLE].contains(&trouble.reason.as_str())
}

/// Why a Job failed, in the words of its report or, failing that, of Kubernetes.
pub fn failure_of(report: Option<Report>, why: &str) -> Failure {
    match report {
        Some(report) if !report.reason.is_empty() => Failure {
            reason: report.reason,
            detail: report.detail,
        },
        Some(_) | None => Failure {
            reason: "JobFailed".to_owned(),
            detail: format!("the Job failed without a report: {why}"),
        },
    }
}

#[cfg(test)]
pub(super) mod tests;
