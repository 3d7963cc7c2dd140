//! How many pods of a budget must stay, how many are well, and how many may go. Pure.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        core::v1::Pod,
        policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus},
    },
    apimachinery::pkg::{apis::meta::v1::Condition, util::intstr::IntOrString},
};
use kube::ResourceExt;

use crate::{
    clock::{seconds_after, whole_seconds},
    pods::{self, count},
};

/// An eviction that is not followed by a deletion within this time did not happen.
const EVICTION_SECONDS: i64 = 120;

/// A workload and its size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Scale {
    pub(super) uid: String,
    pub(super) replicas: i32,
}

/// What a pod belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Workload {
    /// A workload of known size.
    Known(Scale),
    /// Nothing controls it: it does not count among those expected.
    None,
    /// Something controls it whose size is not known, for that reason.
    Unknown(String),
}

/// How many pods there should be, and how many of them must stay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    Known {
        pods: i32,
        healthy: i32,
    },
    /// The size of some pod's workload is not known.
    Unknown {
        why: String,
    },
}

impl Expected {
    pub(super) fn of(
        budget: &PodDisruptionBudget,
        pods: &[Arc<Pod>],
        workloads: &[Workload],
    ) -> Self {
        let spec = budget.spec.clone().unwrap_or_default();
        if let Some(IntOrString::Int(least)) = spec.min_available {
            return Self::Known {
                pods: count(pods),
                healthy: least,
            };
        }
        let mut sizes: BTreeMap<&str, i32> = BTreeMap::new();
        for workload in workloads {
            match workload {
                Workload::Known(scale) => {
                    sizes.insert(&scale.uid, scale.replicas);
                }
                Workload::None => {}
                Workload::Unknown(why) => return Self::Unknown { why: why.clone() },
            }
        }
        let all: i32 = sizes.values().sum();
        let part = |value: &IntOrString| match value {
            IntOrString::Int(number) => *number,
            // Shares of pods that must stay and shares that may go are both rounded up.
            IntOrString::String(percent) => {
                let share: i32 = percent.trim_end_matches('%').parse().unwrap_or_default();
                (share.saturating_mul(all) + 99) / 100
            }
        };
        let healthy = match (&spec.max_unavailable, &spec.min_available) {
            (Some(most), _) => (all - part(most)).max(0),
            (None, Some(least)) => part(least),
            (None, None) => 1,
        };
        Self::Known { pods: all, healthy }
    }
}

/// The status, and when to look again because an eviction is forgotten.
pub(super) fn status(
    budget: &PodDisruptionBudget,
    pods: &[Arc<Pod>],
    expected: &Expected,
    now: Timestamp,
) -> (PodDisruptionBudgetStatus, Option<Timestamp>) {
    let known = budget.status.clone().unwrap_or_default();
    let mut recheck: Option<Timestamp> = None;
    let mut disrupted = known.disrupted_pods.clone().unwrap_or_default();
    disrupted.retain(|name, at| {
        let pod = pods.iter().find(|pod| pod.name_any() == *name);
        let until = seconds_after(at.0, EVICTION_SECONDS);
        let pending = pod.is_some_and(|pod| !pods::is_terminating(pod)) && until > now;
        if pending {
            recheck = Some(recheck.map_or(until, |known| known.min(until)));
        }
        pending
    });
    let healthy = pods.iter().filter(|pod| {
        pods::is_ready(pod)
            && !pods::is_terminating(pod)
            && !disrupted.contains_key(&pod.name_any())
    });
    let healthy = count(healthy);
    let (wanted, all) = match expected {
        Expected::Known { pods, healthy } => (*healthy, *pods),
        Expected::Unknown { .. } => (healthy, count(pods)),
    };
    let allowed = if all <= 0 {
        0
    } else {
        (healthy - wanted).max(0)
    };
    let condition = condition(budget, expected, allowed, now);
    let status = PodDisruptionBudgetStatus {
        current_healthy: Some(healthy),
        desired_healthy: Some(wanted),
        expected_pods: Some(all),
        disruptions_allowed: Some(allowed),
        disrupted_pods: (!disrupted.is_empty()).then_some(disrupted),
        observed_generation: budget.metadata.generation,
        conditions: Some(vec![condition]),
    };
    (status, recheck)
}

fn condition(
    budget: &PodDisruptionBudget,
    expected: &Expected,
    allowed: i32,
    now: Timestamp,
) -> Condition {
    let (status, reason, message) = match expected {
        Expected::Unknown { why } => ("False", "SyncFailed", why.clone()),
        Expected::Known { .. } if allowed > 0 => ("True", "SufficientPods", String::new()),
        Expected::Known { .. } => ("False", "InsufficientPods", String::new()),
    };
    let known = budget
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref())
        .into_iter()
        .flatten()
        .find(|known| known.type_ == "DisruptionAllowed");
    let since = known.filter(|known| known.status == status);
    Condition {
        type_: "DisruptionAllowed".to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message,
        observed_generation: budget.metadata.generation,
        last_transition_time: since.map_or_else(
            || whole_seconds(now),
            |known| known.last_transition_time.clone(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of_size(replicas: i32) -> Workload {
        Workload::Known(Scale {
            uid: "d".into(),
            replicas,
        })
    }

    fn counted(spec: &Value, ready: usize, all: usize, workload: Workload) -> (i32, i32, i32) {
        let budget: PodDisruptionBudget =
            serde_json::from_value(json!({"metadata": {}, "spec": spec})).unwrap();
        let pods: Vec<Arc<Pod>> = (0..all)
            .map(|number| {
                let ready = if number < ready { "True" } else { "False" };
                Arc::new(
                    serde_json::from_value(json!({
                        "metadata": {"name": number.to_string()},
                        "status": {"conditions": [{"type": "Ready", "status": ready}]},
                    }))
                    .unwrap(),
                )
            })
            .collect();
        let expected = Expected::of(&budget, &pods, &vec![workload; all]);
        let (status, _) = status(&budget, &pods, &expected, Timestamp::UNIX_EPOCH);
        (
            status.expected_pods.unwrap(),
            status.desired_healthy.unwrap(),
            status.disruptions_allowed.unwrap(),
        )
    }

    #[test]
    fn what_is_well_beyond_what_must_stay_may_go() {
        for (spec, ready, all, workload, expected) in [
            (json!({"minAvailable": 2}), 3, 3, Workload::None, (3, 2, 1)),
            (json!({"minAvailable": 2}), 2, 3, Workload::None, (3, 2, 0)),
            (json!({"minAvailable": "50%"}), 3, 3, of_size(3), (3, 2, 1)),
            (json!({"maxUnavailable": 1}), 3, 3, of_size(3), (3, 2, 1)),
            (
                json!({"maxUnavailable": "25%"}),
                3,
                3,
                of_size(3),
                (3, 2, 1),
            ),
            (
                json!({"maxUnavailable": 1}),
                3,
                3,
                Workload::Unknown("it says no size".into()),
                (3, 3, 0),
            ),
            // Pods that nothing controls are not expected: none of them may go.
            (
                json!({"maxUnavailable": 1}),
                3,
                3,
                Workload::None,
                (0, 0, 0),
            ),
            (json!({"minAvailable": 0}), 0, 0, Workload::None, (0, 0, 0)),
        ] {
            assert_eq!(
                counted(&spec, ready, all, workload),
                expected,
                "{spec} {ready}/{all}"
            );
        }
    }
}
