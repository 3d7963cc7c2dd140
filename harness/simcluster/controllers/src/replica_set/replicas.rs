//! What the controller needs of a kind that keeps a number of equal pods: a ReplicaSet, or what can be shown as one.
//!
//! A ReplicationController is the older form of the same thing. It does NOT decide anything.

use std::borrow::Cow;

use k8s_openapi::{
    api::{
        apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetSpec, ReplicaSetStatus},
        core::v1::{
            ReplicationController, ReplicationControllerCondition, ReplicationControllerStatus,
        },
    },
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};

use crate::objects::Kind;

/// A kind that keeps a number of equal pods.
pub(super) trait Replicas: Kind {
    /// How the controller calls itself in events.
    const CONTROLLER: &'static str;
    /// The object as a ReplicaSet.
    fn as_set(&self) -> Cow<'_, ReplicaSet>;
    /// The object with this status; nothing if it has it already.
    fn with_status(&self, status: ReplicaSetStatus) -> Option<Self>;
}

impl Replicas for ReplicaSet {
    const CONTROLLER: &'static str = "replicaset-controller";

    fn as_set(&self) -> Cow<'_, ReplicaSet> {
        Cow::Borrowed(self)
    }

    fn with_status(&self, status: ReplicaSetStatus) -> Option<Self> {
        (self.status.as_ref() != Some(&status)).then(|| {
            let mut new = self.clone();
            new.status = Some(status);
            new
        })
    }
}

impl Replicas for ReplicationController {
    const CONTROLLER: &'static str = "replication-controller";

    fn as_set(&self) -> Cow<'_, ReplicaSet> {
        Cow::Owned(ReplicaSet {
            metadata: self.metadata.clone(),
            spec: self.spec.clone().map(|spec| ReplicaSetSpec {
                min_ready_seconds: spec.min_ready_seconds,
                replicas: spec.replicas,
                selector: LabelSelector {
                    match_labels: spec.selector,
                    match_expressions: None,
                },
                template: spec.template,
            }),
            status: self.status.clone().map(|status| ReplicaSetStatus {
                available_replicas: status.available_replicas,
                conditions: status
                    .conditions
                    .map(|all| all.into_iter().map(condition_of_set).collect()),
                fully_labeled_replicas: status.fully_labeled_replicas,
                observed_generation: status.observed_generation,
                ready_replicas: status.ready_replicas,
                replicas: status.replicas,
                terminating_replicas: None,
            }),
        })
    }

    fn with_status(&self, status: ReplicaSetStatus) -> Option<Self> {
        let status = ReplicationControllerStatus {
            available_replicas: status.available_replicas,
            conditions: status
                .conditions
                .map(|all| all.into_iter().map(own_condition).collect()),
            fully_labeled_replicas: status.fully_labeled_replicas,
            observed_generation: status.observed_generation,
            ready_replicas: status.ready_replicas,
            replicas: status.replicas,
        };
        (self.status.as_ref() != Some(&status)).then(|| {
            let mut new = self.clone();
            new.status = Some(status);
            new
        })
    }
}

fn condition_of_set(condition: ReplicationControllerCondition) -> ReplicaSetCondition {
    ReplicaSetCondition {
        last_transition_time: condition.last_transition_time,
        message: condition.message,
        reason: condition.reason,
        status: condition.status,
        type_: condition.type_,
    }
}

fn own_condition(condition: ReplicaSetCondition) -> ReplicationControllerCondition {
    ReplicationControllerCondition {
        last_transition_time: condition.last_transition_time,
        message: condition.message,
        reason: condition.reason,
        status: condition.status,
        type_: condition.type_,
    }
}
