//! What an autoscaler's status says: its conditions and what was measured. Pure.

use k8s_openapi::{
    api::autoscaling::v2::{
        ContainerResourceMetricStatus, HorizontalPodAutoscalerCondition,
        HorizontalPodAutoscalerStatus, MetricSpec, MetricStatus, MetricValueStatus,
        ResourceMetricStatus,
    },
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::Time},
};
use simcluster_placement::amount::Amount;

use super::replicas::Proposal;

/// A condition, before it has a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) kind: &'static str,
    pub(super) is: bool,
    pub(super) reason: String,
    pub(super) message: String,
}

impl Condition {
    pub(super) fn new(
        kind: &'static str,
        is: bool,
        reason: &str,
        message: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            is,
            reason: reason.to_owned(),
            message: message.into(),
        }
    }
}

/// Puts a condition in its place; its time is that of its last change.
pub(super) fn set(status: &mut HorizontalPodAutoscalerStatus, condition: Condition, now: &Time) {
    let conditions = status.conditions.get_or_insert_default();
    let is = if condition.is { "True" } else { "False" };
    let place = conditions
        .iter()
        .position(|own| own.type_ == condition.kind);
    let mut new = HorizontalPodAutoscalerCondition {
        type_: condition.kind.to_owned(),
        status: is.to_owned(),
        last_transition_time: Some(now.clone()),
        reason: Some(condition.reason),
        message: Some(condition.message),
    };
    match place {
        Some(place) => {
            if conditions[place].status == is {
                new.last_transition_time
                    .clone_from(&conditions[place].last_transition_time);
            }
            conditions[place] = new;
        }
        None => conditions.push(new),
    }
}

/// What was measured for a metric.
pub(super) fn measured(spec: &MetricSpec, proposal: &Proposal) -> MetricStatus {
    let average = Quantity(format!("{}m", proposal.average));
    let current = MetricValueStatus {
        average_utilization: proposal.utilization,
        average_value: Some(Amount::of(&average).to_quantity(false)),
        value: None,
    };
    MetricStatus {
        type_: spec.type_.clone(),
        resource: spec.resource.as_ref().map(|source| ResourceMetricStatus {
            name: source.name.clone(),
            current: current.clone(),
        }),
        container_resource: spec.container_resource.as_ref().map(|source| {
            ContainerResourceMetricStatus {
                name: source.name.clone(),
                container: source.container.clone(),
                current: current.clone(),
            }
        }),
        ..MetricStatus::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conditions_time_is_that_of_its_change() {
        let time = |text: &str| Time(text.parse().unwrap());
        let (first, second) = (time("2026-01-01T00:00:00Z"), time("2026-01-01T00:00:15Z"));
        let mut status = HorizontalPodAutoscalerStatus::default();
        let able = |is, reason: &str| Condition::new("AbleToScale", is, reason, "m");
        set(&mut status, able(true, "SucceededGetScale"), &first);
        set(&mut status, able(true, "ReadyForNewScale"), &second);
        let kept = status.conditions.as_ref().unwrap()[0].clone();
        assert_eq!(kept.last_transition_time, Some(first));
        assert_eq!(kept.reason.as_deref(), Some("ReadyForNewScale"));
        set(&mut status, able(false, "FailedGetScale"), &second);
        let all = status.conditions.unwrap();
        assert_eq!((all.len(), &*all[0].status), (1, "False"));
        assert_eq!(all[0].last_transition_time, Some(second));
    }
}
