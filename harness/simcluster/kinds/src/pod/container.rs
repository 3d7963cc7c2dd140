//! What is wrong with the containers of a pod.

use std::collections::BTreeSet;

use serde_json::Value;
use simcluster_machinery::field::{Error, Path};
use simcluster_machinery::name;

use super::{env, handler, security};
use crate::checks::{one_of, port_number, required, required_one_of};
use crate::meta::complain;
use crate::read::Read;
use crate::resources;

const PULL_POLICIES: [&str; 3] = ["Always", "IfNotPresent", "Never"];
const MESSAGE_POLICIES: [&str; 2] = ["File", "FallbackToLogsOnError"];
const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];

/// The containers of a pod's spec (at `path`).
pub(super) fn validate_all(spec: &Value, path: &Path, errors: &mut Vec<Error>) {
    let containers = spec.list("containers");
    if containers.is_empty() {
        errors.push(Error::required(&path.child("containers"), ""));
    }
    let mut names = BTreeSet::new();
    for (index, container) in containers.iter().enumerate() {
        let path = path.child("containers").index(index);
        validate(spec, container, &path, errors);
        unique_name(container, &path, &mut names, errors);
        handler::validate(spec, container, &path, errors);
    }
    validate_host_ports(containers, &path.child("containers"), errors);
    let path_of_init = path.child("initContainers");
    for (index, container) in spec.list("initContainers").iter().enumerate() {
        let path = path_of_init.index(index);
        validate(spec, container, &path, errors);
        unique_name(container, &path, &mut names, errors);
        let list = path_of_init.clone();
        validate_host_ports(std::slice::from_ref(container), &list, errors);
        if container.text("restartPolicy") == "Always" {
            handler::validate(spec, container, &path, errors);
        } else {
            handler::validate_absent(container, &path, errors);
        }
    }
    validate_ephemeral(spec, path, &mut names, errors);
    if spec.flag("hostNetwork") {
        validate_host_network(containers, &path.child("containers"), errors);
    }
}

/// What is put into a running pod to look at it: it serves nothing, so it has no ports, probes or
/// resources.
fn validate_ephemeral<'a>(
    spec: &'a Value,
    path: &Path,
    names: &mut BTreeSet<&'a str>,
    errors: &mut Vec<Error>,
) {
    const FORBIDDEN: &str = "cannot be set for an Ephemeral Container";
    let targets: Vec<&str> = names.iter().copied().collect();
    for (index, container) in spec.list("ephemeralContainers").iter().enumerate() {
        let path = path.child("ephemeralContainers").index(index);
        validate(spec, container, &path, errors);
        unique_name(container, &path, names, errors);
        let target = container.text("targetContainerName");
        if !target.is_empty() && !targets.contains(&target) {
            errors.push(Error::not_found(&path.child("targetContainerName"), target));
        }
        for field in [
            "lifecycle",
            "livenessProbe",
            "ports",
            "readinessProbe",
            "resizePolicy",
            "resources",
            "startupProbe",
        ] {
            if !container.lacks(field) {
                errors.push(Error::forbidden(&path.child(field), FORBIDDEN));
            }
        }
        for (index, mount) in container.list("volumeMounts").iter().enumerate() {
            for field in ["subPath", "subPathExpr"] {
                if !mount.lacks(field) {
                    let place = path.child("volumeMounts").index(index).child(field);
                    errors.push(Error::forbidden(&place, FORBIDDEN));
                }
            }
        }
    }
}

/// Images of pods (not of templates) have no space around them.
pub(super) fn validate_image_spaces(spec: &Value, path: &Path, errors: &mut Vec<Error>) {
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        for (index, container) in spec.list(list).iter().enumerate() {
            image_space(container, &path.child(list).index(index), errors);
        }
    }
}

fn image_space(container: &Value, path: &Path, errors: &mut Vec<Error>) {
    let image = container.text("image");
    if image.trim() != image {
        let detail = "must not have leading or trailing whitespace";
        errors.push(Error::invalid(&path.child("image"), image, detail));
    }
}

fn unique_name<'a>(
    container: &'a Value,
    path: &Path,
    names: &mut BTreeSet<&'a str>,
    errors: &mut Vec<Error>,
) {
    let own_name = container.text("name");
    if !own_name.is_empty() && !names.insert(own_name) {
        errors.push(Error::duplicate(&path.child("name"), own_name));
    }
}

fn validate(spec: &Value, container: &Value, path: &Path, errors: &mut Vec<Error>) {
    let own_name = container.text("name");
    let place = path.child("name");
    if own_name.is_empty() {
        errors.push(Error::required(&place, ""));
    } else {
        complain(errors, &place, own_name, name::dns1123_label(own_name));
    }
    required(container, "image", path, errors);
    required_one_of(
        container,
        "terminationMessagePolicy",
        &MESSAGE_POLICIES,
        path,
        errors,
    );
    validate_ports(container, path, errors);
    env::validate(container, path, errors);
    validate_mounts(spec, container, path, errors);
    required_one_of(container, "imagePullPolicy", &PULL_POLICIES, path, errors);
    if let Some(requirements) = container.at("resources") {
        errors.extend(resources::validate_requirements(
            requirements,
            &path.child("resources"),
        ));
    }
    validate_claims(spec, container, &path.child("resources"), errors);
    validate_resize(spec, container, &path.child("resizePolicy"), errors);
    if let Some(context) = container.at("securityContext") {
        security::validate_container(spec, context, &path.child("securityContext"), errors);
    }
    one_of(
        container,
        "restartPolicy",
        &["Always", "OnFailure", "Never"],
        path,
        errors,
    );
}

/// Claims of devices are those of the pod.
fn validate_claims(spec: &Value, container: &Value, path: &Path, errors: &mut Vec<Error>) {
    let known: BTreeSet<&str> = spec
        .list("resourceClaims")
        .iter()
        .map(|claim| claim.text("name"))
        .collect();
    let mut used = BTreeSet::new();
    for (index, claim) in container.list("resources.claims").iter().enumerate() {
        let path = path.child("claims").index(index);
        let own_name = claim.text("name");
        if own_name.is_empty() {
            errors.push(Error::required(&path, ""));
            continue;
        }
        if !used.insert((own_name, claim.text("request"))) {
            errors.push(Error::duplicate(&path, own_name));
        }
        if !known.contains(own_name) {
            errors.push(Error::not_found(&path, own_name));
        }
    }
}

fn validate_resize(spec: &Value, container: &Value, path: &Path, errors: &mut Vec<Error>) {
    const RESTARTS: [&str; 2] = ["NotRequired", "RestartContainer"];
    let mut seen = BTreeSet::new();
    for (index, policy) in container.list("resizePolicy").iter().enumerate() {
        let (resource, restart) = (policy.text("resourceName"), policy.text("restartPolicy"));
        if !seen.insert(resource) {
            errors.push(Error::duplicate(&path.index(index), resource));
        }
        for (word, known) in [(resource, ["cpu", "memory"]), (restart, RESTARTS)] {
            if word.is_empty() {
                errors.push(Error::required(path, ""));
            } else if !known.contains(&word) {
                errors.push(Error::not_supported(path, word, &known));
            }
        }
        if spec.text("restartPolicy") == "Never" && restart != "NotRequired" {
            let detail = "must be 'NotRequired' when `restartPolicy` is 'Never'";
            errors.push(Error::invalid(path, restart, detail));
        }
    }
}

/// The image is there and has no space around it.
pub(super) fn validate_image(container: &Value, path: &Path, errors: &mut Vec<Error>) {
    required(container, "image", path, errors);
    image_space(container, path, errors);
}

fn validate_ports(container: &Value, path: &Path, errors: &mut Vec<Error>) {
    let mut names = BTreeSet::new();
    for (index, port) in container.list("ports").iter().enumerate() {
        let path = path.child("ports").index(index);
        let own_name = port.text("name");
        if !own_name.is_empty() {
            let complaints = name::port_name(own_name);
            if complaints.is_empty() && !names.insert(own_name) {
                errors.push(Error::duplicate(&path.child("name"), own_name));
            }
            complain(errors, &path.child("name"), own_name, complaints);
        }
        match port.integer("containerPort").unwrap_or(0) {
            0 => errors.push(Error::required(&path.child("containerPort"), "")),
            number => port_number(number, &path.child("containerPort"), errors),
        }
        if let Some(number) = port.integer("hostPort").filter(|number| *number != 0) {
            port_number(number, &path.child("hostPort"), errors);
        }
        required_one_of(port, "protocol", &PROTOCOLS, &path, errors);
    }
}

fn validate_host_ports(containers: &[Value], path: &Path, errors: &mut Vec<Error>) {
    let mut taken = BTreeSet::new();
    for (index, container) in containers.iter().enumerate() {
        let path = path.index(index).child("ports");
        for (index, port) in container.list("ports").iter().enumerate() {
            let host_port = port.integer("hostPort").unwrap_or(0);
            let (protocol, ip) = (port.text("protocol"), port.text("hostIP"));
            let key = format!("{protocol}/{ip}/{host_port}");
            if host_port != 0 && !taken.insert(key.clone()) {
                let place = path.index(index).child("hostPort");
                errors.push(Error::duplicate(&place, key));
            }
        }
    }
}

/// In the host's network a port is the host's.
fn validate_host_network(containers: &[Value], path: &Path, errors: &mut Vec<Error>) {
    for (index, container) in containers.iter().enumerate() {
        let path = path.index(index).child("ports");
        for (index, port) in container.list("ports").iter().enumerate() {
            let host_port = port.integer("hostPort").unwrap_or(0);
            if host_port != 0 && port.integer("containerPort") != Some(host_port) {
                errors.push(Error::invalid(
                    &path.index(index).child("hostPort"),
                    host_port,
                    "must match `containerPort` when `hostNetwork` is true",
                ));
            }
        }
    }
}

fn validate_mounts(spec: &Value, container: &Value, path: &Path, errors: &mut Vec<Error>) {
    let volumes: BTreeSet<&str> = spec
        .list("volumes")
        .iter()
        .map(|volume| volume.text("name"))
        .collect();
    let mut mount_paths = BTreeSet::new();
    let list = path.child("volumeMounts");
    for (index, mount) in container.list("volumeMounts").iter().enumerate() {
        let path = list.index(index);
        let volume = mount.text("name");
        if volume.is_empty() {
            errors.push(Error::required(&path.child("name"), ""));
        }
        if !volumes.contains(volume) {
            errors.push(Error::not_found(&path.child("name"), volume));
        }
        let mount_path = mount.text("mountPath");
        if mount_path.is_empty() {
            errors.push(Error::required(&path.child("mountPath"), ""));
        }
        if !mount_paths.insert(mount_path) {
            errors.push(Error::invalid(
                &path.child("mountPath"),
                mount_path,
                "must be unique",
            ));
        }
        // What follows the API says of the list and not of the entry.
        descending_path(mount.text("subPath"), &list.child("subPath"), errors);
        if !mount.text("subPath").is_empty() && !mount.text("subPathExpr").is_empty() {
            errors.push(Error::invalid(
                &path.child("subPathExpr"),
                mount.text("subPathExpr"),
                "subPathExpr and subPath are mutually exclusive",
            ));
        }
        let expression = mount.text("subPathExpr");
        descending_path(expression, &list.child("subPathExpr"), errors);
        let propagations = ["Bidirectional", "HostToContainer", "None"];
        one_of(mount, "mountPropagation", &propagations, &list, errors);
        if mount.text("mountPropagation") == "Bidirectional"
            && !container
                .at("securityContext.privileged")
                .is_some_and(|flag| flag == true)
        {
            errors.push(Error::forbidden(
                &list.child("mountPropagation"),
                "Bidirectional mount propagation is available only to privileged containers",
            ));
        }
        validate_recursive_read_only(mount, &list.child("recursiveReadOnly"), errors);
    }
    validate_devices(spec, container, &mount_paths, path, errors);
}

fn validate_recursive_read_only(mount: &Value, path: &Path, errors: &mut Vec<Error>) {
    match mount.text("recursiveReadOnly") {
        "" | "Disabled" => {}
        "Enabled" | "IfPossible" => {
            if !mount.flag("readOnly") {
                let detail = "may only be specified when readOnly is true";
                errors.push(Error::forbidden(path, detail));
            }
            if !matches!(mount.text("mountPropagation"), "" | "None") {
                let detail = "may only be specified when mountPropagation is None or not specified";
                errors.push(Error::forbidden(path, detail));
            }
        }
        other => errors.push(Error::not_supported(
            path,
            other,
            &["Disabled", "Enabled", "IfPossible"],
        )),
    }
}

fn validate_devices(
    spec: &Value,
    container: &Value,
    mount_paths: &BTreeSet<&str>,
    path: &Path,
    errors: &mut Vec<Error>,
) {
    let mut device_paths = BTreeSet::new();
    for (index, device) in container.list("volumeDevices").iter().enumerate() {
        let path = path.child("volumeDevices").index(index);
        let (own_name, device_path) = (device.text("name"), device.text("devicePath"));
        required(device, "name", &path, errors);
        let volume = spec
            .list("volumes")
            .iter()
            .find(|one| one.text("name") == own_name);
        match volume {
            None => errors.push(Error::not_found(&path.child("name"), own_name)),
            Some(volume)
                if volume.at("persistentVolumeClaim").is_none()
                    && volume.at("ephemeral").is_none() =>
            {
                let detail = "can only use volume source type of PersistentVolumeClaim or \
                              Ephemeral for block mode";
                errors.push(Error::invalid(&path.child("name"), own_name, detail));
            }
            Some(_) => {}
        }
        required(device, "devicePath", &path, errors);
        let place = path.child("devicePath");
        if !device_paths.insert(device_path) {
            errors.push(Error::invalid(&place, device_path, "must be unique"));
        }
        if device_path.split('/').any(|part| part == "..") {
            let detail = "can not contain backsteps ('..')";
            errors.push(Error::invalid(&place, device_path, detail));
        }
        if mount_paths.contains(device_path) {
            let detail = "must not already exist as a path in volumeMounts";
            errors.push(Error::invalid(&place, device_path, detail));
        }
    }
}

/// A relative path that does not climb out.
pub(super) fn descending_path(value: &str, path: &Path, errors: &mut Vec<Error>) {
    if value.starts_with('/') {
        errors.push(Error::invalid(path, value, "must be a relative path"));
    }
    if value.split('/').any(|part| part == "..") {
        errors.push(Error::invalid(path, value, "must not contain '..'"));
    }
}
