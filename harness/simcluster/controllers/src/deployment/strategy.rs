//! What a deployment's strategy allows: how many pods more, how many fewer. Pure.

use k8s_openapi::{api::apps::v1::Deployment, apimachinery::pkg::util::intstr::IntOrString};

pub(super) fn is_paused(deployment: &Deployment) -> bool {
    deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.paused)
        .unwrap_or_default()
}

pub(super) fn is_recreate(deployment: &Deployment) -> bool {
    deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.strategy.as_ref()?.type_.as_deref())
        .is_some_and(|strategy| strategy == "Recreate")
}

pub(super) fn replicas(deployment: &Deployment) -> i32 {
    deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.replicas)
        .unwrap_or(1)
}

/// How many pods there may be beyond the wanted number.
pub(super) fn max_surge(deployment: &Deployment) -> i32 {
    bounds(deployment).0
}

/// How many of the wanted pods may be missing.
pub(super) fn max_unavailable(deployment: &Deployment) -> i32 {
    bounds(deployment).1.min(replicas(deployment))
}

/// Surge is rounded up, unavailability down; were both nothing, no step could be made, so that one may be missing.
fn bounds(deployment: &Deployment) -> (i32, i32) {
    if is_recreate(deployment) {
        return (0, 0);
    }
    let rolling = deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.strategy.as_ref()?.rolling_update.as_ref());
    let wanted = replicas(deployment);
    let surge = rolling.and_then(|rolling| rolling.max_surge.as_ref());
    let unavailable = rolling.and_then(|rolling| rolling.max_unavailable.as_ref());
    let surge = resolve(surge, wanted, true);
    let unavailable = resolve(unavailable, wanted, false);
    if surge == 0 && unavailable == 0 {
        (0, 1)
    } else {
        (surge, unavailable)
    }
}

/// A number, or a share of `whole`; absent means a quarter.
pub(crate) fn resolve(value: Option<&IntOrString>, whole: i32, round_up: bool) -> i32 {
    match value {
        Some(IntOrString::Int(number)) => *number,
        Some(IntOrString::String(text)) => percent(text, whole, round_up),
        None => percent("25%", whole, round_up),
    }
}

fn percent(text: &str, whole: i32, round_up: bool) -> i32 {
    let percent: i64 = text
        .strip_suffix('%')
        .and_then(|number| number.parse().ok())
        .unwrap_or_default();
    let hundredths = percent * i64::from(whole);
    let share = if round_up {
        (hundredths + 99) / 100
    } else {
        hundredths / 100
    };
    i32::try_from(share).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn bounds_of(replicas: i32, rolling: &Value) -> (i32, i32) {
        let deployment: Deployment = serde_json::from_value(json!({
            "metadata": {},
            "spec": {
                "replicas": replicas, "selector": {}, "template": {},
                "strategy": {"type": "RollingUpdate", "rollingUpdate": rolling},
            },
        }))
        .unwrap();
        (max_surge(&deployment), max_unavailable(&deployment))
    }

    #[test]
    fn surge_rounds_up_and_unavailability_down() {
        for (replicas, rolling, expected) in [
            (1, json!({"maxSurge": 1, "maxUnavailable": 0}), (1, 0)),
            (
                2,
                json!({"maxSurge": "25%", "maxUnavailable": "25%"}),
                (1, 0),
            ),
            (
                10,
                json!({"maxSurge": "25%", "maxUnavailable": "25%"}),
                (3, 2),
            ),
            (3, json!({"maxSurge": 0, "maxUnavailable": "10%"}), (0, 1)),
            (2, json!({"maxSurge": 0, "maxUnavailable": 5}), (0, 2)),
        ] {
            assert_eq!(
                bounds_of(replicas, &rolling),
                expected,
                "{replicas} {rolling}"
            );
        }
    }
}
