//! What keeps a pod from running, as a sentence with the cluster's own words. Pure.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodStatus};
use kube::ResourceExt as _;

/// The init container that makes a data volume ready.
pub const PREPARE: &str = "prepare";
/// The init container that copies our program.
pub const INSTALL: &str = "install";

/// Waiting reasons that pass by themselves in the normal course of things.
const NORMAL: [&str; 2] = ["ContainerCreating", "PodInitializing"];

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// The cluster's word for it: `ImagePullBackOff`.
    pub reason: String,
    /// Where, and what the cluster says about it.
    pub detail: String,
}

/// What keeps the Deployment from having its pod at all: a quota, an admission policy.
pub fn of_deployment(deployment: &Deployment) -> Option<Trouble> {
    let conditions = deployment.status.as_ref()?.conditions.as_ref()?;
    let failure = conditions
        .iter()
        .find(|condition| condition.type_ == "ReplicaFailure" && condition.status == "True")?;
    let reason = failure.reason.as_deref().unwrap_or("ReplicaFailure");
    let message = failure.message.as_deref().unwrap_or_default();
    Some(Trouble {
        reason: reason.to_owned(),
        detail: format!("deployment {}: {reason}: {message}", deployment.name_any()),
    })
}

/// The first thing that is wrong with the pod; `None` if nothing is, or nothing is known yet.
pub fn of_pod(pod: &Pod) -> Option<Trouble> {
    let name = pod.name_any();
    let status = pod.status.as_ref()?;
    let unscheduled = status
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == "PodScheduled" && condition.status == "False");
    if let Some(condition) = unscheduled {
        let reason = condition
            .reason
            .as_deref()
            .unwrap_or("Unschedulable")
            .to_owned();
        let message = condition.message.as_deref().unwrap_or_default();
        return Some(Trouble {
            detail: format!("pod {name}: {reason}: {message}"),
            reason,
        });
    }
    if let Some(failure) = failure_of_init(status) {
        return Some(Trouble {
            detail: format!("pod {name}: {}", failure.detail),
            reason: failure.reason,
        });
    }
    let init = status.init_container_statuses.iter().flatten();
    let mut containers = init.chain(status.container_statuses.iter().flatten());
    containers.find_map(of_container).map(|trouble| Trouble {
        detail: format!("pod {name}: {}", trouble.detail),
        reason: trouble.reason,
    })
}

/// What an init container of ours said before it ended: `DataLost: what happened, and what to do`.
fn failure_of_init(status: &PodStatus) -> Option<Trouble> {
    let ours = status
        .init_container_statuses
        .iter()
        .flatten()
        .filter(|status| [PREPARE, INSTALL].contains(&status.name.as_str()));
    let now_and_before =
        ours.flat_map(|status| [status.state.as_ref(), status.last_state.as_ref()]);
    let mut ends = now_and_before
        .flatten()
        .filter_map(|state| state.terminated.as_ref())
        .filter(|end| end.exit_code != 0);
    ends.find_map(|end| {
        let line = end.message.as_deref()?.trim().lines().last()?;
        let (reason, _) = line.split_once(": ")?;
        let is_word = !reason.is_empty() && reason.bytes().all(|byte| byte.is_ascii_alphabetic());
        is_word.then(|| Trouble {
            reason: reason.to_owned(),
            detail: line.to_owned(),
        })
    })
}

fn of_container(status: &ContainerStatus) -> Option<Trouble> {
    let name = &status.name;
    let state = status.state.as_ref()?;
    if let Some(waiting) = &state.waiting {
        let reason = waiting
            .reason
            .as_deref()
            .filter(|reason| !NORMAL.contains(reason))?;
        let message = waiting.message.as_deref().unwrap_or_default();
        let last = last_words(status)
            .map(|last| format!("; before that: {last}"))
            .unwrap_or_default();
        let detail = format!("container {name}: {reason}: {message}{last}");
        return Some(Trouble {
            reason: reason.to_owned(),
            detail,
        });
    }
    let terminated = state
        .terminated
        .as_ref()
        .filter(|terminated| terminated.exit_code != 0)?;
    let reason = terminated.reason.as_deref().unwrap_or("Error");
    let message = terminated.message.as_deref().unwrap_or_default();
    let code = terminated.exit_code;
    let detail = format!("container {name} ended with {code}: {reason}: {message}");
    Some(Trouble {
        reason: reason.to_owned(),
        detail,
    })
}

fn last_words(status: &ContainerStatus) -> Option<String> {
    let terminated = status.last_state.as_ref()?.terminated.as_ref()?;
    let reason = terminated.reason.as_deref().unwrap_or("Error");
    let message = terminated.message.as_deref().unwrap_or_default().trim();
    Some(format!("{reason} ({}) {message}", terminated.exit_code))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(status: &str) -> Pod {
        serde_yaml::from_str(&format!("metadata: {{name: p}}\nstatus: {status}")).unwrap()
    }

    #[test]
    fn the_clusters_own_reason_is_told() {
        let pending = pod(
            "{conditions: [{type: PodScheduled, status: 'False', reason: Unschedulable, message: no nodes}]}",
        );
        assert_eq!(
            of_pod(&pending).unwrap().detail,
            "pod p: Unschedulable: no nodes"
        );
        let pull = pod(
            "{containerStatuses: [{name: mysql, ready: false, restartCount: 0, image: x, imageID: x, \
             state: {waiting: {reason: ImagePullBackOff, message: Back-off}}}]}",
        );
        assert_eq!(
            of_pod(&pull).unwrap().detail,
            "pod p: container mysql: ImagePullBackOff: Back-off"
        );
    }

    #[test]
    fn what_our_init_container_said_is_the_reason() {
        let lost = "{initContainerStatuses: [{name: prepare, ready: false, restartCount: 1, image: x, imageID: x, \
             state: {waiting: {reason: CrashLoopBackOff, message: Back-off}}, \
             lastState: {terminated: {exitCode: 20, message: \"waiting\\nDataLost: it is empty: do this\\n\"}}}]}";
        let trouble = of_pod(&pod(lost)).unwrap();
        assert_eq!(trouble.reason, "DataLost");
        assert_eq!(trouble.detail, "pod p: DataLost: it is empty: do this");
        // Somebody else's words are not ours.
        let other = of_pod(&pod(&lost.replace("prepare", "theirs"))).unwrap();
        assert_eq!(other.reason, "CrashLoopBackOff");
    }

    #[test]
    fn a_deployment_that_may_not_have_its_pod_says_so() {
        let deployment = |status: &str| -> Deployment {
            serde_yaml::from_str(&format!(
                "metadata: {{name: d}}\nstatus: {{conditions: [{{type: ReplicaFailure, status: '{status}', \
                 reason: FailedCreate, message: 'exceeded quota: tight'}}]}}"
            ))
            .unwrap()
        };
        assert_eq!(
            of_deployment(&deployment("True")).unwrap().detail,
            "deployment d: FailedCreate: exceeded quota: tight"
        );
        assert_eq!(of_deployment(&deployment("False")), None);
    }

    #[test]
    fn a_pod_on_its_way_is_no_trouble() {
        let creating = pod(
            "{containerStatuses: [{name: mysql, ready: false, restartCount: 0, image: x, imageID: x, \
             state: {waiting: {reason: ContainerCreating}}}]}",
        );
        assert_eq!(of_pod(&creating), None);
    }
}
