//! What a Job and its pods say, in the words of the plan. Pure.

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use mysql_job::report::{Outcome, Report};

use crate::controller::plan::Failure;
use crate::controller::trouble::{self, Trouble};
use crate::names;

/// The container whose report counts.
pub const CONTAINER: &str = "mysql-job";

/// What has become of a Job.
#[derive(Clone, Debug, PartialEq)]
pub enum JobState {
    /// There is none.
    Absent,
    /// It is being deleted.
    Going,
    /// It has not ended.
    Running {
        /// Whose.
        identity: Identity,
        /// What keeps its pod from running, if anything does.
        trouble: Option<Trouble>,
        /// Why its last attempt failed, if one has; it tries again by itself, or is about to be given up.
        failed: Option<Failure>,
    },
    /// It is Complete.
    Succeeded {
        /// Whose.
        identity: Identity,
        /// What its last pod reported; `None` if that pod is gone or never said anything.
        report: Option<Report>,
        /// When it was over.
        ended: Option<Timestamp>,
    },
    /// It is Failed.
    Failed {
        /// Whose.
        identity: Identity,
        /// As above.
        report: Option<Report>,
        /// When it was over.
        ended: Option<Timestamp>,
        /// What the Job itself says: `BackoffLimitExceeded: …`.
        why: String,
    },
}

/// What a Job was started for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// UID of the resource.
    pub instance_uid: String,
    /// Operation.
    pub operation: String,
    /// Number of the password that it sets.
    pub password_sequence: Option<u64>,
    /// UID of the claim that it works on; `None` where that was just being made.
    pub backup_claim: Option<String>,
}

impl JobState {
    /// Reads a Job.
    pub fn of(job: Option<&Job>, pods: &[Pod]) -> Self {
        let Some(job) = job else { return Self::Absent };
        if job.metadata.deletion_timestamp.is_some() {
            return Self::Going;
        }
        let annotation = |key: &str| job.annotations().get(key).cloned();
        let identity = Identity {
            instance_uid: annotation(names::INSTANCE_UID).unwrap_or_default(),
            operation: annotation(names::OPERATION_ID).unwrap_or_default(),
            password_sequence: annotation(names::PASSWORD_SEQUENCE)
                .and_then(|text| text.parse().ok()),
            backup_claim: annotation(names::BACKUP_CLAIM),
        };
        let own: Vec<&Pod> = pods.iter().filter(|pod| is_pod_of(pod, job)).collect();
        let conditions = job
            .status
            .iter()
            .filter_map(|status| status.conditions.as_ref())
            .flatten();
        for condition in conditions.filter(|condition| condition.status == "True") {
            let ended = condition.last_transition_time.as_ref().map(|time| time.0);
            match condition.type_.as_str() {
                "Complete" => {
                    return Self::Succeeded {
                        identity,
                        report: last_report(&own),
                        ended,
                    };
                }
                "Failed" => {
                    let why = [condition.reason.as_deref(), condition.message.as_deref()];
                    return Self::Failed {
                        identity,
                        report: last_report(&own),
                        ended,
                        why: why.into_iter().flatten().collect::<Vec<_>>().join(": "),
                    };
                }
                _ => {}
            }
        }
        Self::Running {
            identity,
            trouble: trouble_of(&own),
            failed: failed_attempt(&own),
        }
    }

    /// What it was started for.
    pub fn identity(&self) -> Option<&Identity> {
        match self {
            Self::Absent | Self::Going => None,
            Self::Running { identity, .. }
            | Self::Succeeded { identity, .. }
            | Self::Failed { identity, .. } => Some(identity),
        }
    }

    /// It is over, well or not.
    pub fn is_over(&self) -> bool {
        matches!(self, Self::Succeeded { .. } | Self::Failed { .. })
    }
}

/// The pod is one of this Job's.
pub fn is_pod_of(pod: &Pod, job: &Job) -> bool {
    pod.owner_references().iter().any(|owner| {
        owner.kind == "Job"
            && job
                .metadata
                .uid
                .as_ref()
                .is_some_and(|uid| *uid == owner.uid)
    })
}

/// What keeps a Job that runs from its end: its pod of the moment, or what the attempt before it reported.
fn trouble_of(pods: &[&Pod]) -> Option<Trouble> {
    let has_ended = |pod: &Pod| matches!(phase(pod), Some("Failed" | "Succeeded"));
    let mut living = pods.iter().filter(|pod| !has_ended(pod));
    let failed = |report: Report| {
        let is_failure = matches!(report.result, Outcome::Failed | Outcome::Refused);
        is_failure.then_some(Trouble {
            reason: report.reason,
            detail: report.detail,
        })
    };
    living
        .find_map(|pod| trouble::of_pod(pod))
        .or_else(|| last_report(pods).and_then(failed))
        .or_else(|| pods.iter().find_map(|pod| trouble::of_pod(pod)))
}

/// Why the last attempt failed: in its own words, or in those of the cluster.
fn failed_attempt(pods: &[&Pod]) -> Option<Failure> {
    let failed: Vec<&Pod> = pods
        .iter()
        .copied()
        .filter(|pod| phase(pod) == Some("Failed"))
        .collect();
    let last = failed.last()?;
    let reported = last_report(&failed).map(|report| Failure {
        reason: report.reason,
        detail: report.detail,
    });
    let told = || {
        failed
            .iter()
            .find_map(|pod| trouble::of_pod(pod))
            .map(Failure::from)
    };
    reported
        .filter(|failure| !failure.reason.is_empty())
        .or_else(told)
        .or_else(|| {
            Some(Failure {
                reason: "JobFailed".to_owned(),
                detail: format!("pod {} failed and said nothing", last.name_any()),
            })
        })
}

fn phase(pod: &Pod) -> Option<&str> {
    pod.status.as_ref()?.phase.as_deref()
}

/// The report of the pod that ended last.
fn last_report(pods: &[&Pod]) -> Option<Report> {
    pods.iter()
        .filter_map(|pod| {
            let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
            let status = statuses.iter().find(|status| status.name == CONTAINER)?;
            let terminated = status.state.as_ref()?.terminated.as_ref()?;
            let report = Report::from_message(terminated.message.as_deref()?)?;
            Some((terminated.finished_at.as_ref().map(|time| time.0), report))
        })
        .max_by_key(|(finished, _)| *finished)
        .map(|(_, report)| report)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(text: &str) -> Pod {
        serde_yaml::from_str(text).unwrap()
    }

    #[test]
    fn what_the_attempt_before_reported_is_told_while_the_job_tries_again() {
        let failed = pod(
            "status: {phase: Failed, containerStatuses: [{name: mysql-job, ready: false, restartCount: 0, image: i, \
             imageID: i, state: {terminated: {exitCode: 10, finishedAt: '2026-01-01T00:00:00Z', message: \
             '{\"op\":\"backup\",\"opId\":\"x\",\"result\":\"failed\",\"reason\":\"BackupVolumeFull\",\"detail\":\"no space\"}'}}}]}",
        );
        let trouble = trouble_of(&[&failed]).unwrap();
        assert_eq!(
            (trouble.reason.as_str(), trouble.detail.as_str()),
            ("BackupVolumeFull", "no space")
        );
        assert_eq!(failed_attempt(&[&failed]).unwrap().reason, trouble.reason);
        // What keeps the next attempt from starting is nearer.
        let pending = pod(
            "status: {phase: Pending, containerStatuses: [{name: mysql-job, ready: false, restartCount: 0, image: i, \
             imageID: i, state: {waiting: {reason: ImagePullBackOff}}}]}",
        );
        assert_eq!(
            trouble_of(&[&failed, &pending]).unwrap().reason,
            "ImagePullBackOff"
        );
        assert_eq!(
            failed_attempt(&[&failed, &pending]).unwrap().reason,
            "BackupVolumeFull"
        );
        assert_eq!(failed_attempt(&[&pending]), None);
    }

    #[test]
    fn an_attempt_that_was_killed_has_failed_too() {
        let killed = pod(
            "{metadata: {name: p}, status: {phase: Failed, containerStatuses: [{name: mysql-job, ready: false, \
             restartCount: 0, image: i, imageID: i, state: {terminated: {exitCode: 137, reason: OOMKilled}}}]}}",
        );
        assert_eq!(failed_attempt(&[&killed]).unwrap().reason, "OOMKilled");
        let evicted = pod("{metadata: {name: p}, status: {phase: Failed}}");
        let failure = failed_attempt(&[&evicted]).unwrap();
        assert_eq!(failure.reason, "JobFailed");
        assert!(failure.detail.contains("pod p"), "{failure:?}");
    }
}
