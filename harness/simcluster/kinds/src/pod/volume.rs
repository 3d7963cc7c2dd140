//! What is wrong with the volumes of a pod.

use std::collections::BTreeSet;

use serde_json::Value;
use simcluster_machinery::field::{Error, Path};
use simcluster_machinery::name;

use super::container::descending_path;
use super::env::{validate_field_ref, validate_resource_ref};
use crate::checks::{object_name, one_of, required};
use crate::meta::complain;
use crate::read::Read;
use crate::resources;

const MODE: &str = "must be a number between 0 and 0777 (octal), both inclusive";
const FIELDS: [&str; 5] = [
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
];
const HOST_PATH_TYPES: [&str; 8] = [
    "",
    "BlockDevice",
    "CharDevice",
    "Directory",
    "DirectoryOrCreate",
    "File",
    "FileOrCreate",
    "Socket",
];

/// The volumes of a pod's spec (at `path`).
pub(super) fn validate_all(spec: &Value, path: &Path, errors: &mut Vec<Error>) {
    let mut names = BTreeSet::new();
    for (index, volume) in spec.list("volumes").iter().enumerate() {
        let path = path.child("volumes").index(index);
        let own_name = volume.text("name");
        let place = path.child("name");
        if own_name.is_empty() {
            errors.push(Error::required(&place, ""));
        } else {
            complain(errors, &place, own_name, name::dns1123_label(own_name));
        }
        if !names.insert(own_name) {
            errors.push(Error::duplicate(&place, own_name));
        }
        validate_source(volume, &path, errors);
    }
}

fn validate_source(volume: &Value, path: &Path, errors: &mut Vec<Error>) {
    let mut sources = volume
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(name, value)| *name != "name" && !value.is_null());
    let Some((kind, source)) = sources.next() else {
        errors.push(Error::required(path, "must specify a volume type"));
        return;
    };
    for (other, _) in sources {
        let detail = "may not specify more than 1 volume type";
        errors.push(Error::forbidden(&path.child(other), detail));
    }
    let path = path.child(kind);
    match kind.as_str() {
        "emptyDir" => validate_empty_dir(source, &path, errors),
        "hostPath" => {
            required(source, "path", &path, errors);
            if source.text("path").split('/').any(|part| part == "..") {
                let given = source.text("path");
                errors.push(Error::invalid(
                    &path.child("path"),
                    given,
                    "must not contain '..'",
                ));
            }
            one_of(source, "type", &HOST_PATH_TYPES, &path, errors);
        }
        "secret" => {
            required(source, "secretName", &path, errors);
            validate_files(source, &path, errors);
        }
        "configMap" => {
            required(source, "name", &path, errors);
            validate_files(source, &path, errors);
        }
        "persistentVolumeClaim" => required(source, "claimName", &path, errors),
        "downwardAPI" => {
            validate_mode(source, "defaultMode", &path, errors);
            validate_downward(source, &path, errors);
        }
        "projected" => validate_projected(source, &path, errors),
        "nfs" => {
            required(source, "server", &path, errors);
            required(source, "path", &path, errors);
            if !source.text("path").starts_with('/') && !source.lacks("path") {
                let given = source.text("path");
                errors.push(Error::invalid(
                    &path.child("path"),
                    given,
                    "must be an absolute path",
                ));
            }
        }
        "csi" => required(source, "driver", &path, errors),
        "ephemeral" => {
            let template = path.child("volumeClaimTemplate");
            match source.at("volumeClaimTemplate") {
                None => errors.push(Error::required(&template, "")),
                Some(claim) => crate::persistent_volume_claim::validate_spec(
                    &claim["spec"],
                    &template.child("spec"),
                    errors,
                ),
            }
        }
        _ => {}
    }
}

fn validate_empty_dir(source: &Value, path: &Path, errors: &mut Vec<Error>) {
    if let Some(limit) = source.at("sizeLimit").and_then(resources::parse)
        && limit.is_negative()
    {
        errors.push(Error::forbidden(
            &path.child("sizeLimit"),
            "SizeLimit field must be a valid resource quantity",
        ));
    }
}

fn validate_mode(source: &Value, field: &str, path: &Path, errors: &mut Vec<Error>) {
    if let Some(mode) = source
        .integer(field)
        .filter(|mode| !(0..=0o777).contains(mode))
    {
        errors.push(Error::invalid(&path.child(field), mode, MODE));
    }
}

fn validate_files(source: &Value, path: &Path, errors: &mut Vec<Error>) {
    validate_mode(source, "defaultMode", path, errors);
    for (index, item) in source.list("items").iter().enumerate() {
        validate_item(item, &path.child("items").index(index), errors);
    }
}

fn validate_item(item: &Value, path: &Path, errors: &mut Vec<Error>) {
    required(item, "key", path, errors);
    required(item, "path", path, errors);
    not_reserved_path(item.text("path"), &path.child("path"), errors);
    validate_mode(item, "mode", path, errors);
}

fn not_reserved_path(value: &str, path: &Path, errors: &mut Vec<Error>) {
    let before = errors.len();
    descending_path(value, path, errors);
    if value.starts_with("..") && errors.len() == before {
        errors.push(Error::invalid(path, value, "must not start with '..'"));
    }
}

fn validate_downward(source: &Value, path: &Path, errors: &mut Vec<Error>) {
    for (index, item) in source.list("items").iter().enumerate() {
        let path = path.child("items").index(index);
        required(item, "path", &path, errors);
        not_reserved_path(item.text("path"), &path.child("path"), errors);
        match (item.at("fieldRef"), item.at("resourceFieldRef")) {
            (Some(field), None) => {
                validate_field_ref(field, &FIELDS, &path.child("fieldRef"), errors);
            }
            (None, Some(resource)) => {
                let path = path.child("resourceFieldRef");
                validate_resource_ref(resource, true, &path, errors);
            }
            (None, None) => errors.push(Error::required(
                &path.child("fieldRef"),
                "one of fieldRef and resourceFieldRef is required",
            )),
            (Some(_), Some(_)) => errors.push(Error::invalid(
                &path,
                "resource",
                "fieldRef and resourceFieldRef can not be specified simultaneously",
            )),
        }
        validate_mode(item, "mode", &path, errors);
    }
}

fn validate_projected(source: &Value, path: &Path, errors: &mut Vec<Error>) {
    validate_mode(source, "defaultMode", path, errors);
    for (index, part) in source.list("sources").iter().enumerate() {
        let path = path.child("sources").index(index);
        let mut kinds = part
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(_, value)| !value.is_null());
        let Some((kind, part)) = kinds.next() else {
            continue;
        };
        for (other, _) in kinds {
            let detail = "may not specify more than 1 volume type per source";
            errors.push(Error::forbidden(&path.child(other), detail));
        }
        let path = path.child(kind);
        match kind.as_str() {
            "secret" | "configMap" => {
                required(part, "name", &path, errors);
                for (index, item) in part.list("items").iter().enumerate() {
                    validate_item(item, &path.child("items").index(index), errors);
                }
            }
            "downwardAPI" => validate_downward(part, &path, errors),
            "serviceAccountToken" => {
                if let Some(seconds) = part
                    .integer("expirationSeconds")
                    .filter(|seconds| *seconds < 600)
                {
                    errors.push(Error::invalid(
                        &path.child("expirationSeconds"),
                        seconds,
                        "may not specify a duration less than 10 minutes",
                    ));
                }
                required(part, "path", &path, errors);
                not_reserved_path(part.text("path"), &path.child("path"), errors);
            }
            "clusterTrustBundle" => object_name_if_given(part, &path, errors),
            _ => {}
        }
    }
}

fn object_name_if_given(part: &Value, path: &Path, errors: &mut Vec<Error>) {
    if !part.lacks("name") {
        object_name(part, "name", path, errors);
    }
}
