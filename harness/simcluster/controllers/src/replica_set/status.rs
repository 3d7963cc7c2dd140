//! What a ReplicaSet reports. Pure.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus},
    core::v1::Pod,
};

use crate::{
    pods::{self, Availability, count, nonzero},
    selector,
};

/// The status, and when it has to be looked at again because a pod becomes available by waiting.
pub(super) fn status(
    set: &ReplicaSet,
    owned: &[Arc<Pod>],
    failure: Option<ReplicaSetCondition>,
    now: Timestamp,
) -> (ReplicaSetStatus, Option<Timestamp>) {
    let spec = set.spec.clone().unwrap_or_default();
    let min_ready = spec.min_ready_seconds.unwrap_or_default();
    let template_labels = spec
        .template
        .and_then(|template| template.metadata?.labels)
        .unwrap_or_default();
    let active = || owned.iter().filter(|pod| pods::is_active(pod));
    let mut available = 0;
    let mut recheck: Option<Timestamp> = None;
    for pod in active() {
        match pods::availability(pod, min_ready, now) {
            Availability::Available => available += 1,
            Availability::From(at) => recheck = Some(recheck.map_or(at, |known| known.min(at))),
            Availability::Unavailable => {}
        }
    }
    let labelled =
        active().filter(|pod| selector::has_all(pod.metadata.labels.as_ref(), &template_labels));
    let terminating = owned
        .iter()
        .filter(|pod| pods::is_terminating(pod) && !pods::is_finished(pod));
    let reported = ReplicaSetStatus {
        replicas: count(active()),
        fully_labeled_replicas: nonzero(count(labelled)),
        ready_replicas: nonzero(count(active().filter(|pod| pods::is_ready(pod)))),
        available_replicas: nonzero(available),
        terminating_replicas: Some(count(terminating)),
        observed_generation: set.metadata.generation,
        conditions: conditions(set, failure),
    };
    (reported, recheck)
}

/// A failure that goes on keeps its first time; one that is over is not reported any more.
fn conditions(
    set: &ReplicaSet,
    failure: Option<ReplicaSetCondition>,
) -> Option<Vec<ReplicaSetCondition>> {
    let known = set
        .status
        .as_ref()
        .and_then(|status| status.conditions.clone())
        .unwrap_or_default();
    let (failures, mut conditions): (Vec<_>, Vec<_>) = known
        .into_iter()
        .partition(|condition| condition.type_ == "ReplicaFailure");
    if let Some(failure) = failure {
        let same = failures
            .into_iter()
            .find(|known| known.status == failure.status && known.reason == failure.reason);
        conditions.push(same.unwrap_or(failure));
    }
    (!conditions.is_empty()).then_some(conditions)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pods_are_counted_by_state() {
        let set: ReplicaSet = serde_json::from_value(json!({
            "metadata": {"generation": 3},
            "spec": {
                "minReadySeconds": 10,
                "selector": {},
                "template": {"metadata": {"labels": {"a": "b"}}},
            },
        }))
        .unwrap();
        let ready = |at: &str| {
            json!({"phase": "Running",
                   "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": at}]})
        };
        let pods = [
            json!({"metadata": {"labels": {"a": "b"}}, "status": ready("2026-01-01T00:00:00Z")}),
            json!({"metadata": {"labels": {"a": "c"}}, "status": ready("2026-01-01T00:00:15Z")}),
            json!({"metadata": {}, "status": {"phase": "Failed"}}),
            json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"},
                   "status": {"phase": "Running"}}),
        ]
        .map(|pod| Arc::new(serde_json::from_value::<Pod>(pod).unwrap()));
        let now = "2026-01-01T00:00:20Z".parse().unwrap();
        let (reported, recheck) = status(&set, &pods, None, now);
        assert_eq!(
            serde_json::to_value(reported).unwrap(),
            json!({
                "replicas": 2, "fullyLabeledReplicas": 1, "readyReplicas": 2,
                "availableReplicas": 1, "terminatingReplicas": 1, "observedGeneration": 3,
            })
        );
        assert_eq!(recheck, Some("2026-01-01T00:00:25Z".parse().unwrap()));
    }
}
