//! What a node's conditions and silence mean. Pure.

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        coordination::v1::Lease,
        core::v1::{Node, NodeCondition, Pod, Taint},
    },
    apimachinery::pkg::apis::meta::v1::Time,
};
use serde_json::{Value, json};
use simcluster_placement::taints::tolerates;

use super::Heard;
use crate::clock::{seconds_after, whole_seconds};

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
/// Conditions that are taints while they hold.
const PRESSURES: [(&str, &str); 4] = [
    ("MemoryPressure", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "node.kubernetes.io/pid-pressure"),
    (
        "NetworkUnavailable",
        "node.kubernetes.io/network-unavailable",
    ),
];

fn conditions(node: &Node) -> &[NodeCondition] {
    node.status
        .as_ref()
        .and_then(|status| status.conditions.as_deref())
        .unwrap_or_default()
}

fn condition<'a>(node: &'a Node, type_: &str) -> Option<&'a NodeCondition> {
    conditions(node)
        .iter()
        .find(|condition| condition.type_ == type_)
}

/// `True`, `False` or `Unknown`; a node that has said nothing yet is not ready.
pub(super) fn ready_status(node: &Node) -> &str {
    condition(node, "Ready").map_or("False", |condition| condition.status.as_str())
}

/// When the node was last heard of: by its lease or its status.
pub(super) fn last_heard(node: &Node, lease: Option<&Lease>) -> Heard {
    let renewed = lease
        .and_then(|lease| lease.spec.as_ref()?.renew_time.as_ref())
        .map(|time| time.0);
    let beat = condition(node, "Ready")
        .and_then(|condition| condition.last_heartbeat_time.as_ref())
        .map(|time| time.0);
    let made = node.metadata.creation_timestamp.as_ref().map(|time| time.0);
    renewed.max(beat).max(made)
}

/// What is said of a node that is silent, if it is not said already.
pub(super) fn unknown_conditions(node: &Node, now: Timestamp) -> Option<Vec<Value>> {
    let now = whole_seconds(now);
    let mut unknown = Vec::new();
    for type_ in ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"] {
        let known = condition(node, type_);
        if known.is_some_and(|known| known.status == "Unknown") {
            continue;
        }
        let (reason, message) = if known.is_some() {
            ("NodeStatusUnknown", "Kubelet stopped posting node status.")
        } else {
            (
                "NodeStatusNeverUpdated",
                "Kubelet never posted node status.",
            )
        };
        let heartbeat: Option<&Time> = known.and_then(|known| known.last_heartbeat_time.as_ref());
        unknown.push(json!({
            "type": type_,
            "status": "Unknown",
            "reason": reason,
            "message": message,
            "lastHeartbeatTime": heartbeat.or(node.metadata.creation_timestamp.as_ref()),
            "lastTransitionTime": now,
        }));
    }
    (!unknown.is_empty()).then_some(unknown)
}

/// The taints that a node should have, if it has others; those of users stay.
pub(super) fn wanted_taints(node: &Node, now: Timestamp) -> Option<Vec<Taint>> {
    let mut wanted: Vec<(&str, &str)> = Vec::new();
    match ready_status(node) {
        "True" => {}
        "False" => wanted.extend([(NOT_READY, "NoSchedule"), (NOT_READY, "NoExecute")]),
        _ => wanted.extend([(UNREACHABLE, "NoSchedule"), (UNREACHABLE, "NoExecute")]),
    }
    for (type_, key) in PRESSURES {
        if condition(node, type_).is_some_and(|condition| condition.status == "True") {
            wanted.push((key, "NoSchedule"));
        }
    }
    if node
        .spec
        .as_ref()
        .and_then(|spec| spec.unschedulable)
        .unwrap_or_default()
    {
        wanted.push((UNSCHEDULABLE, "NoSchedule"));
    }
    let known = node
        .spec
        .as_ref()
        .and_then(|spec| spec.taints.clone())
        .unwrap_or_default();
    let is_ours = |taint: &Taint| {
        [NOT_READY, UNREACHABLE, UNSCHEDULABLE].contains(&taint.key.as_str())
            || PRESSURES.iter().any(|(_, key)| *key == taint.key)
    };
    let is_wanted = |taint: &Taint| {
        wanted
            .iter()
            .any(|(key, effect)| *key == taint.key && *effect == taint.effect)
    };
    let mut taints: Vec<_> = known
        .iter()
        .filter(|taint| !is_ours(taint) || is_wanted(taint))
        .cloned()
        .collect();
    for (key, effect) in &wanted {
        if !taints
            .iter()
            .any(|taint| taint.key == *key && taint.effect == *effect)
        {
            taints.push(Taint {
                key: (*key).to_owned(),
                effect: (*effect).to_owned(),
                value: None,
                time_added: Some(whole_seconds(now)),
            });
        }
    }
    (taints != known).then_some(taints)
}

fn no_execute(node: &Node) -> impl Iterator<Item = &Taint> {
    node.spec
        .iter()
        .flat_map(|spec| spec.taints.iter().flatten())
        .filter(|taint| taint.effect == "NoExecute")
}

pub(super) fn has_no_execute_taint(node: &Node) -> bool {
    no_execute(node).next().is_some()
}

/// When a pod has to leave its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Eviction {
    Never,
    At(Timestamp),
}

/// A taint that is not tolerated ends the pod at once; one that is tolerated for a time, when that has passed.
pub(super) fn eviction(pod: &Pod, node: &Node, now: Timestamp) -> Eviction {
    let tolerations = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.tolerations.as_deref())
        .unwrap_or_default();
    let mut end: Option<Timestamp> = None;
    for taint in no_execute(node) {
        let fitting: Vec<_> = tolerations
            .iter()
            .filter(|toleration| tolerates(toleration, taint))
            .collect();
        if fitting.is_empty() {
            return Eviction::At(now);
        }
        let limits = fitting
            .iter()
            .map(|toleration| toleration.toleration_seconds);
        let Some(seconds) = limits.flatten().min() else {
            continue;
        };
        let from = taint.time_added.as_ref().map_or(now, |time| time.0);
        let at = seconds_after(from, seconds.max(0));
        end = Some(end.map_or(at, |known| known.min(at)));
    }
    end.map_or(Eviction::Never, Eviction::At)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-01-01T00:10:00Z";

    fn node(ready: &str, taints: &Value) -> Node {
        serde_json::from_value(json!({
            "metadata": {"name": "a", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"taints": taints},
            "status": {"conditions": [{"type": "Ready", "status": ready}]},
        }))
        .unwrap()
    }

    fn keys(node: &Node) -> Option<Vec<String>> {
        let taints = wanted_taints(node, NOW.parse().unwrap())?;
        Some(
            taints
                .iter()
                .map(|taint| format!("{}:{}", taint.key, taint.effect))
                .collect(),
        )
    }

    #[test]
    fn taints_follow_the_ready_condition_and_leave_those_of_users() {
        let user = json!([{"key": "mine", "effect": "NoSchedule"}]);
        assert_eq!(keys(&node("True", &user)), None);
        assert_eq!(
            keys(&node("False", &user)).unwrap(),
            [
                "mine:NoSchedule",
                "node.kubernetes.io/not-ready:NoSchedule",
                "node.kubernetes.io/not-ready:NoExecute",
            ]
        );
        let tainted = json!([{"key": NOT_READY, "effect": "NoExecute"}]);
        assert_eq!(keys(&node("True", &tainted)).unwrap(), [""; 0]);
        assert!(keys(&node("Unknown", &user)).unwrap()[1].starts_with(UNREACHABLE));
    }

    #[test]
    fn a_pod_stays_as_long_as_it_tolerates() {
        let tainted = node(
            "Unknown",
            &json!([{"key": UNREACHABLE, "effect": "NoExecute", "timeAdded": "2026-01-01T00:05:00Z"}]),
        );
        let now: Timestamp = NOW.parse().unwrap();
        for (tolerations, expected) in [
            (json!([]), Eviction::At(now)),
            (json!([{"operator": "Exists"}]), Eviction::Never),
            (
                json!([{"key": UNREACHABLE, "operator": "Exists", "tolerationSeconds": 900}]),
                Eviction::At("2026-01-01T00:20:00Z".parse().unwrap()),
            ),
        ] {
            let pod: Pod = serde_json::from_value(json!({
                "metadata": {}, "spec": {"containers": [], "tolerations": tolerations},
            }))
            .unwrap();
            assert_eq!(eviction(&pod, &tainted, now), expected, "{tolerations}");
        }
    }
}
