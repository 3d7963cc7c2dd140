//! Pod.
//!
//! Defaults, validation and what an update may change stand in modules of their own; the templates
//! of workloads use the same ones.

mod affinity;
mod container;
pub(crate) mod defaults;
mod env;
mod handler;
mod qos;
mod resize;
mod security;
mod table;
mod update;
pub(crate) mod validation;
mod volume;
pub(crate) mod warnings;

use jiff::Timestamp;
use serde_json::{Value, json};
use simcluster_machinery::field::{Error, Path};

pub use resize::{prepare_resize, validate_resize};

pub(crate) use affinity::{validate_node_selector, validate_tolerations};

use crate::meta;
use crate::read::{Fill, Read};
use crate::rules::KindRules;
use crate::table::{Column, Row};

pub(crate) struct Pod;

impl KindRules for Pod {
    fn default(&self, pod: &mut Value) {
        defaults::pod(pod);
    }

    fn prepare_create(&self, pod: &mut Value) {
        meta::begin_generation(pod, true);
        let mut status = json!({"phase": "Pending", "qosClass": qos::class(&pod["spec"])});
        if !pod.list("spec.schedulingGates").is_empty() {
            status["conditions"] = json!([{
                "type": "PodScheduled",
                "status": "False",
                "reason": "SchedulingGated",
                "message": "Scheduling is blocked due to non-empty scheduling gates",
                "lastProbeTime": null,
                "lastTransitionTime": pod["metadata"]["creationTimestamp"],
            }]);
        }
        pod["status"] = status;
    }

    fn prepare_status_update(&self, new: &mut Value, old: &Value) {
        meta::keep_for_status_update(new, old);
        // The status subresource neither deletes nor changes who owns the pod.
        for field in ["metadata.ownerReferences", "metadata.deletionTimestamp"] {
            meta::keep(new, old, field);
        }
        if let Some(class) = old.at("status.qosClass") {
            new.fill("status.qosClass", class.clone());
        }
    }

    fn validate_create(&self, pod: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        validation::pod_spec(&pod["spec"], &Path::new("spec"), &mut errors);
        if !pod.list("spec.ephemeralContainers").is_empty() {
            errors.push(Error::forbidden(
                &Path::new("spec").child("ephemeralContainers"),
                "cannot be set on create",
            ));
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        validation::spec(&new["spec"], &Path::new("spec"), &mut errors);
        update::validate(&new["spec"], &old["spec"], &mut errors);
        errors
    }

    fn validate_status_update(&self, new: &Value, old: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        validation::status_update(new, old, &mut errors);
        errors
    }

    fn warnings(&self, pod: &Value, old: Option<&Value>) -> Vec<String> {
        // Pods are updated by programs more than by people: the server says nothing then.
        if old.is_some() {
            return Vec::new();
        }
        warnings::of_pod(pod)
    }

    fn has_status(&self) -> bool {
        true
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn selectable_fields(&self, pod: &Value) -> Vec<(&'static str, String)> {
        let text = |path: &'static str| (path, pod.text(path).to_owned());
        vec![
            text("spec.nodeName"),
            text("spec.restartPolicy"),
            text("spec.schedulerName"),
            text("spec.serviceAccountName"),
            ("spec.hostNetwork", pod.flag("spec.hostNetwork").to_string()),
            text("status.phase"),
            ("status.podIP", pod.text("status.podIP").to_owned()),
            ("status.podIPs", pod.text("status.podIP").to_owned()),
            text("status.nominatedNodeName"),
        ]
    }

    fn selectable_alias<'a>(&self, label: &'a str) -> &'a str {
        if label == "spec.host" {
            "spec.nodeName"
        } else {
            label
        }
    }

    fn columns(&self) -> &'static [Column] {
        table::COLUMNS
    }

    fn row(&self, pod: &Value, now: Timestamp) -> Row {
        table::row(pod, now)
    }
}

/// Makes an update through the `ephemeralcontainers` subresource ready: only that list is taken.
pub fn prepare_ephemeral_containers_update(new: &mut Value, old: &Value) {
    let mut kept = old.clone();
    meta::keep(&mut kept, new, "metadata");
    meta::keep(&mut kept, new, "spec.ephemeralContainers");
    let changed = kept["spec"] != old["spec"];
    meta::carry_generation(&mut kept, old, changed);
    *new = kept;
}

/// What is wrong with an update through the `ephemeralcontainers` subresource.
pub fn validate_ephemeral_containers_update(new: &Value, old: &Value) -> Vec<Error> {
    let mut errors = Vec::new();
    validation::spec(&new["spec"], &Path::new("spec"), &mut errors);
    update::validate_ephemeral(new, old, &mut errors);
    errors
}

/// How many seconds a pod that is being deleted may take: what the request says, else what the pod
/// says; none when it is on no node or has ended.
pub fn deletion_grace_seconds(pod: &Value, requested: Option<i64>) -> i64 {
    let ended = matches!(pod.text("status.phase"), "Failed" | "Succeeded");
    if pod.text("spec.nodeName").is_empty() || ended {
        return 0;
    }
    let seconds = requested.or_else(|| pod.integer("spec.terminationGracePeriodSeconds"));
    match seconds.unwrap_or(0) {
        negative if negative < 0 => 1,
        seconds => seconds,
    }
}
