//! What is legal in a pod and yet likely a mistake: `kubectl` shows these as warnings.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use simcluster_machinery::field::Path;

use crate::read::Read;
use crate::warnings::{
    claim_spec, fractional_bytes, name_of_host, node_label, node_selector_term, volume_source,
};

const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";
const ANNOTATIONS: [(&str, &str); 3] = [
    (
        "scheduler.alpha.kubernetes.io/critical-pod",
        "non-functional in v1.16+; use the \"priorityClassName\" field instead",
    ),
    (
        "security.alpha.kubernetes.io/sysctls",
        "non-functional in v1.11+; use the \"sysctls\" field instead",
    ),
    (
        "security.alpha.kubernetes.io/unsafe-sysctls",
        "non-functional in v1.11+; use the \"sysctls\" field instead",
    ),
];
const SECCOMP: &str = "non-functional in v1.27+; use the \"seccompProfile\" field instead";
const BYTES: [&str; 2] = ["memory", "ephemeral-storage"];
const KINDS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// Warnings about a pod that is new.
pub(super) fn of_pod(pod: &Value) -> Vec<String> {
    let why = "this is used in the Pod's hostname, which can result in surprising behavior";
    let mut warnings = name_of_host(pod, why);
    warnings.extend(of(pod, &Path::root(), false));
    warnings
}

/// Warnings about a template of pods (at `path`).
pub(crate) fn of_template(template: &Value, path: &Path) -> Vec<String> {
    of(template, path, true)
}

fn of(pod: &Value, path: &Path, is_template: bool) -> Vec<String> {
    let mut warnings = Vec::new();
    let (spec_path, spec) = (path.child("spec"), pod.get("spec").unwrap_or(&Value::Null));
    let annotations = path.child("metadata").child("annotations");
    of_nodes(spec, &spec_path, &mut warnings);
    for (key, why) in ANNOTATIONS {
        if has_annotation(pod, key) {
            warnings.push(format!("{}: {why}", annotations.key(key)));
        }
    }
    of_volumes(spec, &spec_path, &mut warnings);
    for (list, field) in [("hostAliases", "ip"), ("imagePullSecrets", "name")] {
        repeated(spec, list, field, &spec_path, &mut warnings);
    }
    for (index, secret) in spec.list("imagePullSecrets").iter().enumerate() {
        if secret.text("name").is_empty() {
            let place = spec_path.child("imagePullSecrets").index(index);
            warnings.push(format!("{}: invalid empty name \"\"", place.child("name")));
        }
    }
    let place = spec_path.child("overhead");
    fractional_bytes(spec, "overhead", &BYTES, &place, &mut warnings);
    if spec.at("securityContext.seccompProfile").is_none() && has_annotation(pod, SECCOMP_POD) {
        warnings.push(format!("{}: {SECCOMP}", annotations.key(SECCOMP_POD)));
    }
    for (container, place) in containers(spec, &spec_path) {
        of_annotations(pod, container, &annotations, is_template, &mut warnings);
        of_container(container, &place, &mut warnings);
    }
    of_ports(spec, &spec_path, &mut warnings);
    if spec
        .integer("terminationGracePeriodSeconds")
        .is_some_and(|seconds| seconds < 0)
    {
        warnings.push(format!(
            "{}: must be >= 0; negative values are invalid and will be treated as 1",
            spec_path.child("terminationGracePeriodSeconds")
        ));
    }
    of_affinity(spec, &spec_path, &mut warnings);
    warnings
}

fn has_annotation(pod: &Value, key: &str) -> bool {
    pod.map("metadata.annotations").any(|(own, _)| own == key)
}

/// All containers of a spec, with their places.
fn containers<'a>(spec: &'a Value, path: &Path) -> Vec<(&'a Value, Path)> {
    let lists = KINDS.iter().flat_map(|kind| {
        let all = spec.list(kind).iter().enumerate();
        all.map(|(index, one)| (one, path.child(kind).index(index)))
    });
    lists.collect()
}

/// Where a pod wants to run, by labels that are on their way out or select nothing.
fn of_nodes(spec: &Value, path: &Path, warnings: &mut Vec<String>) {
    for (key, _) in spec.map("nodeSelector") {
        if let Some(why) = node_label(key) {
            warnings.push(format!("{}: {why}", path.child("nodeSelector").key(key)));
        }
    }
    let place = path.child("affinity").child("nodeAffinity");
    let required = "requiredDuringSchedulingIgnoredDuringExecution";
    let preferred = "preferredDuringSchedulingIgnoredDuringExecution";
    let affinity = spec.at("affinity.nodeAffinity").unwrap_or(&Value::Null);
    let terms = affinity.list(&format!("{required}.nodeSelectorTerms"));
    for (index, term) in terms.iter().enumerate() {
        let place = place
            .child(required)
            .child("nodeSelectorTerms")
            .index(index);
        node_selector_term(term, &place, warnings);
    }
    for (index, term) in affinity.list(preferred).iter().enumerate() {
        let place = place.child(preferred).index(index).child("preference");
        node_selector_term(&term["preference"], &place, warnings);
    }
    for (index, spread) in spec.list("topologySpreadConstraints").iter().enumerate() {
        let place = path.child("topologySpreadConstraints").index(index);
        let key = spread.text("topologyKey");
        if let Some(why) = node_label(key) {
            warnings.push(format!("{}: {key} is {why}", place.child("topologyKey")));
        }
        no_selector(spread, &place, warnings);
    }
}

fn no_selector(term: &Value, path: &Path, warnings: &mut Vec<String>) {
    if term.at("labelSelector").is_none() {
        warnings.push(format!(
            "{}: a null labelSelector results in matching no pod",
            path.child("labelSelector")
        ));
    }
}

fn of_affinity(spec: &Value, path: &Path, warnings: &mut Vec<String>) {
    for kind in ["podAffinity", "podAntiAffinity"] {
        let place = path.child("affinity").child(kind);
        let affinity = spec.at("affinity").unwrap_or(&Value::Null);
        let required = "requiredDuringSchedulingIgnoredDuringExecution";
        let terms = affinity.list(&format!("{kind}.{required}"));
        for (index, term) in terms.iter().enumerate() {
            no_selector(term, &place.child(required).index(index), warnings);
        }
        let preferred = "preferredDuringSchedulingIgnoredDuringExecution";
        let terms = affinity.list(&format!("{kind}.{preferred}"));
        for (index, term) in terms.iter().enumerate() {
            let place = place.child(preferred).index(index).child("podAffinityTerm");
            no_selector(&term["podAffinityTerm"], &place, warnings);
        }
    }
}

fn of_volumes(spec: &Value, path: &Path, warnings: &mut Vec<String>) {
    let volumes = spec.list("volumes");
    for (index, volume) in volumes.iter().enumerate() {
        let place = path.child("volumes").index(index);
        volume_source(volume, &place, warnings);
        if let Some(template) = volume.at("ephemeral.volumeClaimTemplate.spec") {
            let place = place.child("ephemeral").child("volumeClaimTemplate");
            claim_spec(template, &place.child("spec"), warnings);
        }
    }
    let sources = |volume: &'_ Value| volume.list("projected.sources").to_vec();
    let tokens: BTreeSet<String> = volumes
        .iter()
        .flat_map(sources)
        .filter_map(|source| Some(source.at("serviceAccountToken")?.text("path").to_owned()))
        .collect();
    for (index, volume) in volumes.iter().enumerate() {
        let place = path.child("volumes").index(index);
        let place = place.child("projected").child("sources");
        for source in volume.list("projected.sources") {
            for (kind, word) in [
                ("configMap", "configMap"),
                ("secret", "secrets"),
                ("downwardAPI", "downwardAPI"),
            ] {
                let items = source.list(&format!("{kind}.items"));
                for (at, item) in items.iter().enumerate() {
                    let own = item.text("path");
                    if tokens.contains(own) {
                        warnings.push(format!(
                            "{}: has duplicated path with ServiceAccountToken {own:?}",
                            place.child(word).index(at)
                        ));
                    }
                }
            }
        }
    }
}

/// Entries of a list that name the same twice.
fn repeated(spec: &Value, list: &str, field: &str, path: &Path, warnings: &mut Vec<String>) {
    let mut seen = BTreeSet::new();
    for (index, entry) in spec.list(list).iter().enumerate() {
        let own = entry.text(field);
        if !seen.insert(own) {
            let place = path.child(list).index(index).child(field);
            warnings.push(format!("{place}: duplicate {field} {own:?}"));
        }
    }
}

/// Annotations that once said what fields say now.
fn of_annotations(
    pod: &Value,
    container: &Value,
    path: &Path,
    is_template: bool,
    warnings: &mut Vec<String>,
) {
    let own_name = container.text("name");
    let key = format!("{SECCOMP_CONTAINER}{own_name}");
    if container.at("securityContext.seccompProfile").is_none() && has_annotation(pod, &key) {
        warnings.push(format!("{}: {SECCOMP}", path.key(&key)));
    }
    let has_profile = pod.at("spec.securityContext.appArmorProfile").is_some()
        || container.at("securityContext.appArmorProfile").is_some();
    let key = format!("{APP_ARMOR}{own_name}");
    if is_template && !has_profile && has_annotation(pod, &key) {
        warnings.push(format!(
            "{}: deprecated since v1.30; use the \"appArmorProfile\" field instead",
            path.key(&key)
        ));
    }
}

fn of_container(container: &Value, path: &Path, warnings: &mut Vec<String>) {
    for name in BYTES {
        for list in ["limits", "requests"] {
            let place = path.child("resources").child(list);
            let list = format!("resources.{list}");
            fractional_bytes(container, &list, &[name], &place, warnings);
        }
    }
    let mut seen = BTreeSet::new();
    for (index, variable) in container.list("env").iter().enumerate() {
        let own_name = variable.text("name");
        // A value that builds on the one before hides nothing.
        let builds_on = format!("$({own_name})");
        let value = variable.text("value");
        let extends = value != builds_on && value.contains(&builds_on);
        if !seen.insert(own_name) && !extends {
            let place = path.child("env").index(index);
            warnings.push(format!(
                "{place}: hides previous definition of {own_name:?}, \
                 which may be dropped when using apply"
            ));
        }
    }
}

/// Ports of all containers that are the same, or may be.
fn of_ports(spec: &Value, path: &Path, warnings: &mut Vec<String>) {
    let mut known: BTreeMap<(i64, &str), Vec<(Path, &Value)>> = BTreeMap::new();
    for (container, place) in containers(spec, path) {
        for (index, port) in container.list("ports").iter().enumerate() {
            let place = place.child("ports").index(index);
            let number = |field: &str| port.integer(field).unwrap_or(0);
            let (host_ip, host_port) = (port.text("hostIP"), number("hostPort"));
            if !host_ip.is_empty() && host_port == 0 {
                warnings.push(format!(
                    "{place}: hostIP set without hostPort: {{Name:{} HostPort:0 \
                     ContainerPort:{} Protocol:{} HostIP:{host_ip}}}",
                    port.text("name"),
                    number("containerPort"),
                    port.text("protocol"),
                ));
            }
            let key = (number("containerPort"), port.text("protocol"));
            let others = known.entry(key).or_default();
            for (first, other) in others.iter() {
                let (ip, port) = (other.text("hostIP"), other.integer("hostPort").unwrap_or(0));
                let kind = if ip == host_ip && port == host_port {
                    "duplicate"
                } else if port == 0 || host_port == 0 {
                    "overlapping"
                } else if port == host_port && ip.is_empty() != host_ip.is_empty() {
                    "dangerously ambiguous"
                } else {
                    continue;
                };
                warnings.push(format!("{place}: {kind} port definition with {first}"));
            }
            others.push((place, port));
        }
    }
}
