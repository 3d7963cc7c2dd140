//! Which pods go first when there are too many. Pure.

use std::{cmp::Reverse, collections::HashMap, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use super::{is_ready, node_name, phase, ready_since, restarts};

const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// What makes a pod dispensable; the smallest goes first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    assigned: bool,
    phase: u8,
    ready: bool,
    cost: i32,
    neighbours: Reverse<usize>,
    ready_since: Reverse<Option<Timestamp>>,
    restarts: Reverse<i32>,
    made: Reverse<Option<Timestamp>>,
    name: Option<String>,
}

/// The `surplus` pods that go; `related` are the pods whose crowding on one node counts.
pub(crate) fn to_delete(pods: &[Arc<Pod>], related: &[Arc<Pod>], surplus: usize) -> Vec<Arc<Pod>> {
    let mut crowd: HashMap<&str, usize> = HashMap::new();
    for node in related.iter().filter_map(|pod| node_name(pod)) {
        *crowd.entry(node).or_default() += 1;
    }
    let mut ranked: Vec<_> = pods.iter().map(|pod| (rank(pod, &crowd), pod)).collect();
    ranked.sort_by(|(left, _), (right, _)| left.cmp(right));
    ranked
        .into_iter()
        .take(surplus)
        .map(|(_, pod)| pod.clone())
        .collect()
}

fn rank(pod: &Pod, crowd: &HashMap<&str, usize>) -> Rank {
    let ready = is_ready(pod);
    Rank {
        assigned: node_name(pod).is_some(),
        phase: match phase(pod) {
            "Pending" => 0,
            "Unknown" => 1,
            _ => 2,
        },
        ready,
        cost: pod
            .metadata
            .annotations
            .as_ref()
            .and_then(|annotations| annotations.get(DELETION_COST)?.parse().ok())
            .unwrap_or_default(),
        neighbours: Reverse(
            node_name(pod)
                .and_then(|node| crowd.get(node))
                .copied()
                .unwrap_or_default(),
        ),
        ready_since: Reverse(ready_since(pod)),
        restarts: Reverse(restarts(pod)),
        made: Reverse(pod.metadata.creation_timestamp.as_ref().map(|time| time.0)),
        name: pod.metadata.name.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(name: &str, node: Option<&str>, phase: &str, ready: bool, extra: &Value) -> Arc<Pod> {
        let mut pod = json!({
            "metadata": {"name": name, "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"nodeName": node, "containers": []},
            "status": {"phase": phase, "conditions": [
                {"type": "Ready", "status": if ready { "True" } else { "False" },
                 "lastTransitionTime": "2026-01-01T00:00:10Z"}]},
        });
        json_patch_merge(&mut pod, extra);
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    fn json_patch_merge(target: &mut Value, patch: &Value) {
        if let (Value::Object(target), Value::Object(patch)) = (&mut *target, patch) {
            for (key, value) in patch {
                json_patch_merge(target.entry(key.clone()).or_insert(Value::Null), value);
            }
        } else {
            *target = patch.clone();
        }
    }

    fn first(pods: &[Arc<Pod>]) -> String {
        to_delete(pods, pods, 1)[0].metadata.name.clone().unwrap()
    }

    #[test]
    fn what_is_worth_least_goes_first() {
        let none = json!({});
        let cheap = json!({"metadata": {"annotations": {DELETION_COST: "-5"}}});
        let younger = json!({"metadata": {"creationTimestamp": "2026-01-02T00:00:00Z"}});
        let plain = || pod("b", Some("x"), "Running", true, &none);
        for (case, other) in [
            ("unassigned", pod("a", None, "Pending", false, &none)),
            ("pending", pod("a", Some("x"), "Pending", false, &none)),
            ("not ready", pod("a", Some("x"), "Running", false, &none)),
            ("cheap", pod("a", Some("x"), "Running", true, &cheap)),
            ("younger", pod("z", Some("x"), "Running", true, &younger)),
        ] {
            let name = other.metadata.name.clone().unwrap();
            assert_eq!(first(&[plain(), other]), name, "{case}");
        }
    }

    #[test]
    fn a_crowded_node_gives_first() {
        let none = json!({});
        let pods = [
            pod("a", Some("x"), "Running", true, &none),
            pod("b", Some("y"), "Running", true, &none),
            pod("c", Some("y"), "Running", true, &none),
        ];
        assert_eq!(first(&pods), "b");
    }
}
