//! What is wrong with the spec of a pod or of a pod template.

use serde_json::Value;
use simcluster_machinery::field::{Error, Path};
use simcluster_machinery::name;

use super::{affinity, container, security, volume};
use crate::checks::{IMMUTABLE, required_one_of};
use crate::meta::{complain, validate_annotations, validate_labels};
use crate::read::Read;

const LARGEST_DEADLINE: i64 = 2_147_483_647;
const RESTART_POLICIES: [&str; 3] = ["Always", "OnFailure", "Never"];
const DNS_POLICIES: [&str; 4] = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];

/// A pod template (at `path`): its labels, annotations and spec.
pub(crate) fn template(template: &Value, path: &Path, errors: &mut Vec<Error>) {
    let meta = template.get("metadata").unwrap_or(&Value::Null);
    // Templates are older than `metadata` in paths: their maps stand at the template itself.
    validate_labels(meta, "labels", &path.child("labels"), errors);
    validate_annotations(meta, &path.child("annotations"), errors);
    spec(
        template.get("spec").unwrap_or(&Value::Null),
        &path.child("spec"),
        errors,
    );
    if !template.list("spec.ephemeralContainers").is_empty() {
        errors.push(Error::forbidden(
            &path.child("spec").child("ephemeralContainers"),
            "ephemeral containers not allowed in pod template",
        ));
    }
}

/// The spec of a pod that is no template (at `path`).
pub(super) fn pod_spec(pod: &Value, path: &Path, errors: &mut Vec<Error>) {
    spec(pod, path, errors);
    container::validate_image_spaces(pod, path, errors);
}

/// The spec of a pod or of a template (at `path`).
pub(crate) fn spec(spec: &Value, path: &Path, errors: &mut Vec<Error>) {
    volume::validate_all(spec, path, errors);
    container::validate_all(spec, path, errors);
    required_one_of(spec, "restartPolicy", &RESTART_POLICIES, path, errors);
    required_one_of(spec, "dnsPolicy", &DNS_POLICIES, path, errors);
    validate_dns_config(spec, path, errors);
    validate_labels(spec, "nodeSelector", &path.child("nodeSelector"), errors);
    if let Some(context) = spec.at("securityContext") {
        security::validate_pod(context, &path.child("securityContext"), errors);
    }
    for (index, secret) in spec.list("imagePullSecrets").iter().enumerate() {
        if secret.text("name").is_empty() {
            let path = path.child("imagePullSecrets").index(index).child("name");
            errors.push(Error::required(&path, ""));
        }
    }
    affinity::validate(spec, path, errors);
    for (field, rule) in NAMES {
        let text = spec.text(field);
        if !text.is_empty() {
            complain(errors, &path.child(field), text, rule(text));
        }
    }
    if let Some(seconds) = spec.integer("activeDeadlineSeconds")
        && !(1..=LARGEST_DEADLINE).contains(&seconds)
    {
        errors.push(Error::invalid(
            &path.child("activeDeadlineSeconds"),
            seconds,
            name::out_of_range(1, LARGEST_DEADLINE),
        ));
    }
    for (index, gate) in spec.list("readinessGates").iter().enumerate() {
        let kind = gate.text("conditionType");
        let path = path
            .child("readinessGates")
            .index(index)
            .child("conditionType");
        complain(errors, &path, kind, name::qualified_name(kind));
    }
    for (index, gate) in spec.list("schedulingGates").iter().enumerate() {
        let own_name = gate.text("name");
        let place = path.child("schedulingGates").index(index);
        complain(errors, &place, own_name, name::qualified_name(own_name));
        if spec.list("schedulingGates")[..index].contains(gate) {
            errors.push(Error::duplicate(&place, own_name));
        }
    }
    if !spec.list("schedulingGates").is_empty() && !spec.text("nodeName").is_empty() {
        errors.push(Error::forbidden(
            &path.child("nodeName"),
            "cannot be set until all schedulingGates have been cleared",
        ));
    }
}

type Rule = fn(&str) -> Vec<String>;

const NAMES: [(&str, Rule); 6] = [
    ("serviceAccountName", name::dns1123_subdomain),
    ("nodeName", name::dns1123_subdomain),
    ("hostname", name::dns1123_label),
    ("subdomain", name::dns1123_label),
    ("priorityClassName", name::dns1123_subdomain),
    ("runtimeClassName", name::dns1123_subdomain),
];

fn validate_dns_config(spec: &Value, path: &Path, errors: &mut Vec<Error>) {
    let path = path.child("dnsConfig");
    let config = spec.at("dnsConfig");
    if spec.text("dnsPolicy") == "None" {
        match config {
            None => errors.push(Error::required(
                &path,
                "must provide `dnsConfig` when `dnsPolicy` is None",
            )),
            Some(config) if config.lacks("nameservers") => errors.push(Error::required(
                &path.child("nameservers"),
                "must provide at least one DNS nameserver when `dnsPolicy` is None",
            )),
            Some(_) => {}
        }
    }
    let servers = config
        .map(|config| config.texts("nameservers"))
        .unwrap_or_default();
    for (index, server) in servers.into_iter().enumerate() {
        if server.parse::<std::net::IpAddr>().is_err() {
            errors.push(Error::invalid(
                &path.child("nameservers").index(index),
                server,
                "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
            ));
        }
    }
}

/// What a pod that exists already may not change in its status.
pub(super) fn status_update(new: &Value, old: &Value, errors: &mut Vec<Error>) {
    let path = Path::new("status");
    if new.text("spec.nodeName") != old.text("spec.nodeName") {
        let place = Path::new("status").child("nodeName");
        errors.push(Error::forbidden(&place, "may not be changed directly"));
    }
    if let Some(class) = new.at("status.qosClass")
        && new.at("status.qosClass") != old.at("status.qosClass")
        && old.at("status.qosClass").is_some()
    {
        errors.push(Error::invalid(
            &path.child("qosClass"),
            class.clone(),
            IMMUTABLE,
        ));
    }
    if old.text("spec.restartPolicy") == "Always" {
        return;
    }
    for list in ["containerStatuses", "initContainerStatuses"] {
        validate_terminated_stay(new, old, list, &path.child(list), errors);
    }
}

/// A container that ended for good does not come back.
fn validate_terminated_stay(
    new: &Value,
    old: &Value,
    list: &str,
    path: &Path,
    errors: &mut Vec<Error>,
) {
    let field = format!("status.{list}");
    let retries = old.text("spec.restartPolicy") == "OnFailure";
    for (index, before) in old.list(&field).iter().enumerate() {
        let Some(ended) = before.at("state.terminated") else {
            continue;
        };
        let restarts_always = ["containers", "initContainers"]
            .iter()
            .flat_map(|kind| old.list(&format!("spec.{kind}")))
            .any(|container| {
                container.text("name") == before.text("name")
                    && !container.text("restartPolicy").is_empty()
            });
        if restarts_always || retries && ended.integer("exitCode") != Some(0) {
            continue;
        }
        let after = new
            .list(&field)
            .iter()
            .find(|one| one.text("name") == before.text("name"));
        if after.is_some_and(|after| after.at("state.terminated").is_none()) {
            errors.push(Error::forbidden(
                &path.index(index).child("state"),
                "may not be transitioned to non-terminated state",
            ));
        }
    }
}
