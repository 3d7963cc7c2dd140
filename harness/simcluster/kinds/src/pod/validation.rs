//! What is wrong with the spec of a pod or of a pod template.

use serde_json::Value;
use simcluster_machinery::field::{Error, Path};
use simcluster_machinery::name;

use super::{affinity, container, security, volume};
use crate::checks::{IMMUTABLE, one_of, required_one_of};
use crate::meta::{complain, validate_annotations, validate_labels};
use crate::read::Read;

const LARGEST_DEADLINE: i64 = 2_147_483_647;
const RESTART_POLICIES: [&str; 3] = ["Always", "OnFailure", "Never"];
/// What the C library's resolver can hold.
const NAME_SERVERS: usize = 3;
const SEARCHES: usize = 32;
const SEARCH_CHARACTERS: usize = 2048;
const DNS_POLICIES: [&str; 4] = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];

/// A pod template (at `path`): its labels, annotations and spec.
pub(crate) fn template(template: &Value, path: &Path, errors: &mut Vec<Error>) {
    template_metadata(template, path, errors);
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

/// The labels and annotations of a pod template (at `path`).
pub(crate) fn template_metadata(template: &Value, path: &Path, errors: &mut Vec<Error>) {
    let meta = template.get("metadata").unwrap_or(&Value::Null);
    // Templates are older than `metadata` in paths: their maps stand at the template itself.
    validate_labels(meta, "labels", &path.child("labels"), errors);
    validate_annotations(meta, &path.child("annotations"), errors);
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
    validate_labels(spec, "nodeSelector", &path.child("nodeSelector"), errors);
    if let Some(context) = spec.at("securityContext") {
        security::validate_pod(spec, context, &path.child("securityContext"), errors);
    }
    affinity::validate(spec, path, errors);
    validate_dns_config(spec, path, errors);
    validate_gates(spec, path, errors);
    affinity::validate_spread(spec, path, errors);
    security::validate_host_users(spec, path, errors);
    let mut check_name = |field: &str, rule: Rule| {
        let text = spec.text(field);
        if !text.is_empty() {
            complain(errors, &path.child(field), text, rule(text));
        }
    };
    check_name("serviceAccountName", name::dns1123_subdomain);
    check_name("nodeName", name::dns1123_subdomain);
    if let Some(seconds) = spec.integer("activeDeadlineSeconds")
        && !(1..=LARGEST_DEADLINE).contains(&seconds)
    {
        errors.push(Error::invalid(
            &path.child("activeDeadlineSeconds"),
            seconds,
            name::out_of_range(1, LARGEST_DEADLINE),
        ));
    }
    let mut check_name = |field: &str, rule: Rule| {
        let text = spec.text(field);
        if !text.is_empty() {
            complain(errors, &path.child(field), text, rule(text));
        }
    };
    check_name("hostname", name::dns1123_label);
    check_name("subdomain", name::dns1123_label);
    affinity::validate_tolerations(spec, path, errors);
    validate_host_aliases(spec, path, errors);
    for field in ["priorityClassName", "runtimeClassName"] {
        let text = spec.text(field);
        if !text.is_empty() {
            complain(
                errors,
                &path.child(field),
                text,
                name::dns1123_subdomain(text),
            );
        }
    }
    let policies = ["PreemptLowerPriority", "Never"];
    one_of(spec, "preemptionPolicy", &policies, path, errors);
    let os = spec.text("os.name");
    if spec.at("os").is_some() && os.is_empty() {
        errors.push(Error::required(
            &path.child("os").child("name"),
            "cannot be empty",
        ));
    } else if !os.is_empty() && !matches!(os, "linux" | "windows") {
        let place = path.child("os");
        errors.push(Error::not_supported(&place, os, &["linux", "windows"]));
    }
    if !spec.list("schedulingGates").is_empty() && !spec.text("nodeName").is_empty() {
        errors.push(Error::forbidden(
            &path.child("nodeName"),
            "cannot be set until all schedulingGates have been cleared",
        ));
    }
}

/// What a pod waits for, before it is scheduled and before it is ready.
fn validate_gates(spec: &Value, path: &Path, errors: &mut Vec<Error>) {
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
}

type Rule = fn(&str) -> Vec<String>;

fn validate_host_aliases(spec: &Value, path: &Path, errors: &mut Vec<Error>) {
    for (index, alias) in spec.list("hostAliases").iter().enumerate() {
        let path = path.child("hostAliases").index(index);
        ip(alias.text("ip"), &path.child("ip"), errors);
        for (index, host) in alias.texts("hostnames").into_iter().enumerate() {
            let place = path.child("hostnames").index(index);
            complain(errors, &place, host, name::dns1123_subdomain(host));
        }
    }
}

fn ip(text: &str, path: &Path, errors: &mut Vec<Error>) {
    if let Some(why) = crate::addresses::complaint(text) {
        errors.push(Error::invalid(path, text, why));
    }
}

fn validate_dns_config(spec: &Value, path: &Path, errors: &mut Vec<Error>) {
    let path = path.child("dnsConfig");
    let config = spec.at("dnsConfig");
    if spec.text("dnsPolicy") == "None" {
        match config {
            None => errors.push(Error::required(
                &path,
                "must provide `dnsConfig` when `dnsPolicy` is None",
            )),
            Some(config) if config.lacks("nameservers") => {
                errors.push(Error::required(
                    &path.child("nameservers"),
                    "must provide at least one DNS nameserver when `dnsPolicy` is None",
                ));
                return;
            }
            Some(_) => {}
        }
    }
    let Some(config) = config else { return };
    let servers = config.texts("nameservers");
    if servers.len() > NAME_SERVERS {
        errors.push(Error::invalid(
            &path.child("nameservers"),
            config["nameservers"].clone(),
            format!("must not have more than {NAME_SERVERS} nameservers"),
        ));
    }
    for (index, server) in servers.into_iter().enumerate() {
        ip(server, &path.child("nameservers").index(index), errors);
    }
    let searches = config.texts("searches");
    if searches.len() > SEARCHES {
        errors.push(Error::invalid(
            &path.child("searches"),
            config["searches"].clone(),
            format!("must not have more than {SEARCHES} search paths"),
        ));
    }
    if searches.join(" ").len() > SEARCH_CHARACTERS {
        let detail = format!(
            "must not have more than {SEARCH_CHARACTERS} characters (including spaces) in the \
             search list"
        );
        let list = config["searches"].clone();
        errors.push(Error::invalid(&path.child("searches"), list, detail));
    }
    for (index, search) in searches.into_iter().enumerate() {
        if search != "." {
            let search = search.strip_suffix('.').unwrap_or(search);
            let place = path.child("searches").index(index);
            let complaints = name::dns1123_subdomain_with_underscore(search);
            complain(errors, &place, search, complaints);
        }
    }
    for (index, option) in config.list("options").iter().enumerate() {
        if option.text("name").is_empty() {
            let place = path.child("options").index(index);
            errors.push(Error::required(&place, "must not be empty"));
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
