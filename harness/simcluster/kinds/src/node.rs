//! Node.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Value, json};
use simcluster_machinery::field::{Error, Path};
use simcluster_machinery::name;

use crate::checks::one_of;
use crate::meta::{self, complain};
use crate::read::{Fill, Read, text_or};
use crate::resources;
use crate::rules::KindRules;
use crate::table::{self, AGE, Column, NAME, Row};

const ROLE_PREFIX: &str = "node-role.kubernetes.io/";
const ROLE: &str = "kubernetes.io/role";

pub(crate) struct Node;

impl KindRules for Node {
    fn default(&self, node: &mut Value) {
        if node.lacks("status.allocatable")
            && let Some(capacity) = node.at("status.capacity").cloned()
        {
            node.put("status.allocatable", capacity);
        }
        for list in ["status.capacity", "status.allocatable"] {
            resources::round_list(node, list);
        }
    }

    /// A node comes with its status: its agent knows it best.
    fn prepare_create(&self, _node: &mut Value) {}

    fn validate_create(&self, node: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        let path = Path::new("spec").child("taints");
        let mut seen = BTreeSet::new();
        for (index, taint) in node.list("spec.taints").iter().enumerate() {
            let path = path.index(index);
            let key = taint.text("key");
            complain(
                &mut errors,
                &path.child("key"),
                key,
                name::qualified_name(key),
            );
            let complaints = name::label_value(taint.text("value"));
            if !complaints.is_empty() {
                let detail = complaints.join(";");
                errors.push(Error::invalid(
                    &path.child("value"),
                    taint.text("value"),
                    detail,
                ));
            }
            let effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
            if taint.lacks("effect") {
                errors.push(Error::required(&path.child("effect"), ""));
            }
            one_of(taint, "effect", &effects, &path, &mut errors);
            if !seen.insert((taint.text("effect"), key)) {
                let shown = format!(
                    "{{\"Key\":{},\"Value\":{},\"Effect\":{},\"TimeAdded\":{}}}",
                    json!(key),
                    json!(taint.text("value")),
                    json!(taint.text("effect")),
                    taint["timeAdded"],
                );
                errors.push(Error {
                    shown: Some(shown),
                    ..Error::duplicate(&path, "")
                });
            }
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<Error> {
        let mut errors = self.validate_create(new);
        if !old.lacks("spec.providerID") && new.at("spec.providerID") != old.at("spec.providerID") {
            let path = Path::new("spec").child("providerID");
            let detail = "node updates may not change providerID except from \"\" to valid";
            errors.push(Error::forbidden(&path, detail));
        }
        if !old.lacks("spec.podCIDRs") && new.at("spec.podCIDRs") != old.at("spec.podCIDRs") {
            let path = Path::new("spec").child("podCIDRs");
            let detail = "node updates may not change podCIDR except from \"\" to valid";
            errors.push(Error::forbidden(&path, detail));
        }
        errors
    }

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        meta::keep(new, old, "status");
        meta::carry_generation(new, old, false);
    }

    fn has_status(&self) -> bool {
        true
    }

    fn selectable_fields(&self, node: &Value) -> Vec<(&'static str, String)> {
        vec![(
            "spec.unschedulable",
            node.flag("spec.unschedulable").to_string(),
        )]
    }

    fn columns(&self) -> &'static [Column] {
        const {
            &[
                NAME,
                Column::text("Status"),
                Column::text("Roles"),
                AGE,
                Column::text("Version"),
                Column::wide("Internal-IP"),
                Column::wide("External-IP"),
                Column::wide("OS-Image"),
                Column::wide("Kernel-Version"),
                Column::wide("Container-Runtime"),
            ]
        }
    }

    fn row(&self, node: &Value, now: Timestamp) -> Row {
        let info = |field: &str| {
            json!(text_or(
                node.text(&format!("status.nodeInfo.{field}")),
                "<unknown>"
            ))
        };
        let address = |kind: &str| {
            let addresses = node.list("status.addresses");
            let found = addresses.iter().find(|one| one.text("type") == kind);
            json!(found.map_or("<none>", |one| one.text("address")))
        };
        Row::new(vec![
            table::name(node),
            json!(status(node)),
            json!(text_or(&roles(node), "<none>")),
            table::age(node, now),
            json!(node.text("status.nodeInfo.kubeletVersion")),
            address("InternalIP"),
            address("ExternalIP"),
            info("osImage"),
            info("kernelVersion"),
            info("containerRuntimeVersion"),
        ])
    }
}

fn status(node: &Value) -> String {
    let conditions = node.list("status.conditions");
    let ready = conditions
        .iter()
        .find(|condition| condition.text("type") == "Ready");
    let word = match ready.map(|condition| condition.text("status")) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    };
    let closed = if node.flag("spec.unschedulable") {
        ",SchedulingDisabled"
    } else {
        ""
    };
    format!("{word}{closed}")
}

fn roles(node: &Value) -> String {
    let roles: BTreeSet<&str> = node
        .map("metadata.labels")
        .filter_map(|(key, value)| match key.strip_prefix(ROLE_PREFIX) {
            Some(role) => Some(role),
            None if key == ROLE => value.as_str(),
            None => None,
        })
        .filter(|role| !role.is_empty())
        .collect();
    roles.into_iter().collect::<Vec<_>>().join(",")
}
