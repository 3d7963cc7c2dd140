//! What a DaemonSet reports. Pure.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::{DaemonSet, DaemonSetStatus},
    core::v1::{Node, Pod},
};
use kube::ResourceExt;

use super::{
    nodes::{self, Place},
    plan::{by_node, is_outdated, min_ready_seconds},
};
use crate::pods::{self, Availability, nonzero};

/// The status, and when a pod becomes available by waiting.
pub(super) fn status(
    set: &DaemonSet,
    owned: &[Arc<Pod>],
    all_nodes: &[Arc<Node>],
    hash: &str,
    now: Timestamp,
) -> (DaemonSetStatus, Option<Timestamp>) {
    let known = set.status.clone().unwrap_or_default();
    let pods_of = by_node(owned);
    let mut status = DaemonSetStatus {
        observed_generation: set.metadata.generation,
        collision_count: known.collision_count,
        conditions: known.conditions,
        ..DaemonSetStatus::default()
    };
    let (mut updated, mut available, mut recheck) = (0, 0, None::<Timestamp>);
    for node in all_nodes {
        let name = node.name_any();
        let mut here: Vec<_> = pods_of
            .get(name.as_str())
            .into_iter()
            .flatten()
            .filter(|pod| !pods::is_finished(pod))
            .collect();
        here.sort_by_key(|pod| pod.metadata.creation_timestamp.as_ref().map(|time| time.0));
        match nodes::place(set, node) {
            Place::Wanted => {
                status.desired_number_scheduled += 1;
                let Some(pod) = here.first() else { continue };
                status.current_number_scheduled += 1;
                if pods::is_ready(pod) {
                    status.number_ready += 1;
                }
                match pods::availability(pod, min_ready_seconds(set), now) {
                    Availability::Available => available += 1,
                    Availability::From(at) => {
                        recheck = Some(recheck.map_or(at, |known| known.min(at)));
                    }
                    Availability::Unavailable => {}
                }
                if here.iter().any(|pod| !is_outdated(pod, hash)) {
                    updated += 1;
                }
            }
            Place::Tolerated | Place::Refused => {
                if !here.is_empty() {
                    status.number_misscheduled += 1;
                }
            }
        }
    }
    status.updated_number_scheduled = nonzero(updated);
    status.number_available = nonzero(available);
    status.number_unavailable = nonzero(status.desired_number_scheduled - available);
    (status, recheck)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::daemon_set::plan;

    fn set() -> DaemonSet {
        serde_json::from_value(json!({
            "metadata": {"name": "d", "namespace": "n", "uid": "1", "generation": 1},
            "spec": {"selector": {}, "template": {
                "metadata": {"labels": {"a": "b"}},
                "spec": {"containers": [], "nodeSelector": {"disk": "fast"}},
            }},
        }))
        .unwrap()
    }

    fn node(name: &str, disk: &str, taint: Option<&str>) -> Arc<Node> {
        let taints = taint.map(|effect| json!([{"key": "k", "effect": effect}]));
        Arc::new(
            serde_json::from_value(json!({
                "metadata": {"name": name, "labels": {"disk": disk}}, "spec": {"taints": taints},
            }))
            .unwrap(),
        )
    }

    fn pod(node: &str, hash: &str, ready: bool) -> Arc<Pod> {
        let mut pod = plan::new_pod(&set(), node, hash);
        pod.metadata.uid = Some(format!("{node}{hash}"));
        let ready = if ready { "True" } else { "False" };
        pod.status = Some(
            serde_json::from_value(
                json!({"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]}),
            )
            .unwrap(),
        );
        Arc::new(pod)
    }

    #[test]
    fn a_pod_is_wanted_on_each_node_that_fits() {
        let nodes = [
            node("a", "fast", None),
            node("b", "slow", None),
            node("c", "fast", Some("NoSchedule")),
            node("d", "fast", None),
        ];
        let owned = [
            pod("a", "h", true),
            pod("b", "h", true),
            pod("c", "h", true),
        ];
        let plan = plan::plan(&set(), &owned, &nodes, "h", Timestamp::UNIX_EPOCH);
        assert_eq!(plan.create, ["d"]);
        let deleted: Vec<_> = plan
            .delete
            .iter()
            .filter_map(|pod| nodes::node_of(pod))
            .collect();
        assert_eq!(deleted, ["b"], "c may stay, b may not");
        let (status, _) = status(&set(), &owned, &nodes, "h", Timestamp::UNIX_EPOCH);
        assert_eq!(
            serde_json::to_value(status).unwrap(),
            json!({
                "desiredNumberScheduled": 2, "currentNumberScheduled": 1, "numberReady": 1,
                "numberMisscheduled": 2, "numberAvailable": 1, "numberUnavailable": 1,
                "updatedNumberScheduled": 1, "observedGeneration": 1,
            })
        );
    }

    #[test]
    fn an_update_replaces_one_at_a_time() {
        let nodes = [node("a", "fast", None), node("d", "fast", None)];
        let deleted = |owned: &[Arc<Pod>]| {
            plan::plan(&set(), owned, &nodes, "new", Timestamp::UNIX_EPOCH)
                .delete
                .len()
        };
        assert_eq!(deleted(&[pod("a", "old", true), pod("d", "old", true)]), 1);
        assert_eq!(deleted(&[pod("a", "new", false), pod("d", "old", true)]), 0);
        assert_eq!(deleted(&[pod("a", "new", true), pod("d", "old", true)]), 1);
    }

    #[test]
    fn a_pod_that_ended_whether_well_or_not_makes_room_for_another() {
        for phase in ["Succeeded", "Failed"] {
            let mut ended = Pod::clone(&pod("a", "h", false));
            ended.status.get_or_insert_default().phase = Some(phase.to_owned());
            let nodes = [node("a", "fast", None)];
            let plan = plan::plan(
                &set(),
                &[Arc::new(ended)],
                &nodes,
                "h",
                Timestamp::UNIX_EPOCH,
            );
            assert_eq!((plan.ended.len(), plan.delete.len()), (1, 1), "{phase}");
        }
    }
}
