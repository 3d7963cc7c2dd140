//! What is wrong with the environment of a container.

use serde_json::Value;
use simcluster_machinery::field::{Error, Path};
use simcluster_machinery::name;

use crate::checks::{object_name, required};
use crate::meta::complain;
use crate::read::Read;

const FIELDS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
const RESOURCES: [&str; 6] = [
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];
/// Fields that the downward API knows, though not in every place.
const KNOWN: [&str; 14] = [
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.serviceAccountName",
    "spec.schedulerName",
    "status.phase",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
const SOURCES: [&str; 5] = [
    "fieldRef",
    "resourceFieldRef",
    "configMapKeyRef",
    "secretKeyRef",
    "fileKeyRef",
];

/// `env` and `envFrom` of a container (at `path`).
pub(super) fn validate(container: &Value, path: &Path, errors: &mut Vec<Error>) {
    for (index, variable) in container.list("env").iter().enumerate() {
        let path = path.child("env").index(index);
        let own_name = variable.text("name");
        if own_name.is_empty() {
            errors.push(Error::required(&path.child("name"), ""));
        } else {
            complain(
                errors,
                &path.child("name"),
                own_name,
                name::env_var_name(own_name),
            );
        }
        if let Some(source) = variable.at("valueFrom") {
            validate_source(variable, source, &path.child("valueFrom"), errors);
        }
    }
    let list = path.child("envFrom");
    for (index, source) in container.list("envFrom").iter().enumerate() {
        let path = list.index(index);
        let prefix = source.text("prefix");
        if !prefix.is_empty() {
            complain(
                errors,
                &path.child("prefix"),
                prefix,
                name::env_var_name(prefix),
            );
        }
        let mut given = 0;
        for kind in ["configMapRef", "secretRef"] {
            let Some(reference) = source.at(kind) else {
                continue;
            };
            given += 1;
            let path = path.child(kind);
            if reference.lacks("name") {
                required(reference, "name", &path, errors);
            } else {
                object_name(reference, "name", &path, errors);
            }
        }
        // The API says these of the list and not of the entry.
        match given {
            0 => {
                let detail = "must specify one of: `configMapRef` or `secretRef`";
                errors.push(Error::invalid(&list, "", detail));
            }
            1 => {}
            _ => errors.push(too_many(&list)),
        }
    }
}

fn too_many(path: &Path) -> Error {
    Error::invalid(
        path,
        "",
        "may not have more than one field specified at a time",
    )
}

fn validate_source(variable: &Value, source: &Value, path: &Path, errors: &mut Vec<Error>) {
    let given: Vec<&str> = SOURCES
        .into_iter()
        .filter(|kind| source.at(kind).is_some())
        .collect();
    for kind in &given {
        let (reference, path) = (&source[*kind], path.child(kind));
        match *kind {
            "fieldRef" => validate_field_ref(reference, &FIELDS, &path, errors),
            "resourceFieldRef" => validate_resource_ref(reference, false, &path, errors),
            "configMapKeyRef" | "secretKeyRef" => {
                object_name(reference, "name", &path, errors);
                validate_key(reference, &path, errors);
            }
            _ => {
                required(reference, "volumeName", &path, errors);
                required(reference, "path", &path, errors);
                validate_key(reference, &path, errors);
            }
        }
    }
    if given.is_empty() {
        errors.push(Error::invalid(
            path,
            "",
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, \
             `secretKeyRef` or `fileKeyRef`",
        ));
    } else if !variable.text("value").is_empty() {
        errors.push(Error::invalid(
            path,
            "",
            "may not be specified when `value` is not empty",
        ));
    } else if given.len() > 1 {
        errors.push(too_many(path));
    }
}

fn validate_key(reference: &Value, path: &Path, errors: &mut Vec<Error>) {
    let key = reference.text("key");
    if key.is_empty() {
        errors.push(Error::required(&path.child("key"), ""));
    } else {
        complain(errors, &path.child("key"), key, name::config_map_key(key));
    }
}

/// A reference to a field of the pod, of which only `allowed` may be named here.
pub(super) fn validate_field_ref(
    reference: &Value,
    allowed: &[&str],
    path: &Path,
    errors: &mut Vec<Error>,
) {
    if reference.text("apiVersion").is_empty() {
        errors.push(Error::required(&path.child("apiVersion"), ""));
        return;
    }
    let field = reference.text("fieldPath");
    let place = path.child("fieldPath");
    if field.is_empty() {
        errors.push(Error::required(&place, ""));
        return;
    }
    if let Some((map, key)) = field
        .strip_suffix("']")
        .and_then(|rest| rest.split_once("['"))
    {
        match map {
            "metadata.annotations" => {
                complain(
                    errors,
                    &place,
                    key,
                    name::qualified_name(&key.to_lowercase()),
                );
            }
            "metadata.labels" => complain(errors, &place, key, name::qualified_name(key)),
            _ => errors.push(Error::invalid(&place, map, "does not support subscript")),
        }
        return;
    }
    let field = if field == "spec.host" {
        "spec.nodeName"
    } else {
        field
    };
    if !KNOWN.contains(&field) {
        let detail = format!("error converting fieldPath: field label not supported: {field}");
        errors.push(Error::invalid(&place, field, detail));
    } else if !allowed.contains(&field) {
        errors.push(Error::not_supported(&place, field, allowed));
    }
}

/// A reference to a resource of a container, which a volume must name.
pub(super) fn validate_resource_ref(
    reference: &Value,
    in_volume: bool,
    path: &Path,
    errors: &mut Vec<Error>,
) {
    if in_volume && reference.text("containerName").is_empty() {
        errors.push(Error::required(&path.child("containerName"), ""));
        return;
    }
    let resource = reference.text("resource");
    if resource.is_empty() {
        errors.push(Error::required(&path.child("resource"), ""));
        return;
    }
    let huge = ["limits.hugepages-", "requests.hugepages-"];
    if !RESOURCES.contains(&resource) && !huge.iter().any(|prefix| resource.starts_with(prefix)) {
        errors.push(Error::not_supported(
            &path.child("resource"),
            resource,
            &RESOURCES,
        ));
    }
    let Some(divisor) = reference.at("divisor").and_then(Value::as_str) else {
        return;
    };
    let (allowed, words): (&[&str], _) = if matches!(resource, "limits.cpu" | "requests.cpu") {
        (
            &["", "0", "1", "1m"],
            "only divisor's values 1m and 1 are supported with the cpu resource",
        )
    } else {
        (
            &[
                "", "0", "1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti",
                "1Pi", "1Ei",
            ],
            "only divisor's values 1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei are \
             supported with the memory resource",
        )
    };
    if !allowed.contains(&divisor) {
        errors.push(Error::invalid(&path.child("divisor"), resource, words));
    }
}
