//! What the status of a workload may say: counts that fit each other and never go back.
//!
//! A job's status has more rules, which stand with jobs.

use serde_json::Value;
use simcluster_machinery::field::{Error, Path};

use crate::checks::non_negative;
use crate::read::Read;

/// A deployment's status.
pub(crate) fn deployment(new: &Value, old: &Value) -> Vec<Error> {
    let counts = [
        "observedGeneration",
        "replicas",
        "updatedReplicas",
        "readyReplicas",
        "availableReplicas",
        "unavailableReplicas",
        "collisionCount",
    ];
    let mut errors = of(new, &counts);
    at_most(new, "updatedReplicas", "replicas", &mut errors);
    at_most(new, "readyReplicas", "replicas", &mut errors);
    at_most(new, "availableReplicas", "replicas", &mut errors);
    at_most_of(
        new,
        "availableReplicas",
        "readyReplicas",
        "readyReplicas",
        &mut errors,
    );
    no_less_collisions(new, old, &mut errors);
    errors
}

/// A stateful set's status.
pub(crate) fn stateful_set(new: &Value, old: &Value) -> Vec<Error> {
    let counts = [
        "replicas",
        "readyReplicas",
        "currentReplicas",
        "updatedReplicas",
        "availableReplicas",
        "observedGeneration",
        "collisionCount",
    ];
    let mut errors = of(new, &counts);
    at_most(new, "readyReplicas", "replicas", &mut errors);
    at_most(new, "currentReplicas", "replicas", &mut errors);
    at_most(new, "updatedReplicas", "replicas", &mut errors);
    at_most(new, "availableReplicas", "replicas", &mut errors);
    at_most(new, "availableReplicas", "readyReplicas", &mut errors);
    no_less_collisions(new, old, &mut errors);
    errors
}

/// A daemon set's status.
pub(crate) fn daemon_set(new: &Value, old: &Value) -> Vec<Error> {
    let counts = [
        "currentNumberScheduled",
        "numberMisscheduled",
        "desiredNumberScheduled",
        "numberReady",
        "observedGeneration",
        "updatedNumberScheduled",
        "numberAvailable",
        "numberUnavailable",
        "collisionCount",
    ];
    let mut errors = of(new, &counts);
    no_less_collisions(new, old, &mut errors);
    errors
}

/// None of the counts is below zero.
fn of(object: &Value, counts: &[&str]) -> Vec<Error> {
    let mut errors = Vec::new();
    let status = object.get("status").unwrap_or(&Value::Null);
    non_negative(status, counts, &Path::new("status"), &mut errors);
    errors
}

fn at_most(object: &Value, field: &str, other: &str, errors: &mut Vec<Error>) {
    at_most_of(object, field, other, &format!("status.{other}"), errors);
}

fn at_most_of(object: &Value, field: &str, other: &str, words: &str, errors: &mut Vec<Error>) {
    let count = |field: &str| object.integer(&format!("status.{field}")).unwrap_or(0);
    if count(field) > count(other) {
        errors.push(Error::invalid(
            &Path::new("status").child(field),
            count(field),
            format!("cannot be greater than {words}"),
        ));
    }
}

/// How often names of revisions met is never forgotten.
fn no_less_collisions(new: &Value, old: &Value, errors: &mut Vec<Error>) {
    let count = |object: &Value| object.integer("status.collisionCount");
    let fewer = count(old).is_some_and(|before| count(new).is_none_or(|now| now < before));
    if fewer {
        errors.push(Error::invalid(
            &Path::new("status").child("collisionCount"),
            count(new).unwrap_or(0),
            "cannot be decremented",
        ));
    }
}
