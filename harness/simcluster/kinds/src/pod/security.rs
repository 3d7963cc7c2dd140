//! What is wrong with the security contexts of a pod and its containers.

use serde_json::Value;
use simcluster_machinery::field::{Error, Path};
use simcluster_machinery::name;

use crate::checks::one_of;
use crate::read::Read;

const LARGEST_ID: i64 = 2_147_483_647;

/// The security context of a container.
pub(super) fn validate_container(context: &Value, path: &Path, errors: &mut Vec<Error>) {
    validate_ids(context, &["runAsUser", "runAsGroup"], path, errors);
    validate_seccomp(context, path, errors);
    one_of(context, "procMount", &["Default", "Unmasked"], path, errors);
    if context.at("allowPrivilegeEscalation") == Some(&Value::Bool(false)) {
        let mut conflict = |detail: &str| {
            errors.push(Error::invalid(path, context.clone(), detail));
        };
        if context.flag("privileged") {
            conflict("cannot set `allowPrivilegeEscalation` to false and `privileged` to true");
        }
        if context.texts("capabilities.add").contains(&"CAP_SYS_ADMIN") {
            conflict(
                "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN",
            );
        }
    }
}

/// The security context of a pod.
pub(super) fn validate_pod(context: &Value, path: &Path, errors: &mut Vec<Error>) {
    validate_ids(
        context,
        &["runAsUser", "runAsGroup", "fsGroup"],
        path,
        errors,
    );
    for (index, group) in context.list("supplementalGroups").iter().enumerate() {
        let path = path.child("supplementalGroups").index(index);
        validate_id(group.as_i64().unwrap_or(0), &path, errors);
    }
    validate_seccomp(context, path, errors);
    one_of(
        context,
        "fsGroupChangePolicy",
        &["Always", "OnRootMismatch"],
        path,
        errors,
    );
    one_of(
        context,
        "supplementalGroupsPolicy",
        &["Merge", "Strict"],
        path,
        errors,
    );
}

fn validate_ids(context: &Value, fields: &[&str], path: &Path, errors: &mut Vec<Error>) {
    for field in fields {
        if let Some(id) = context.integer(field) {
            validate_id(id, &path.child(field), errors);
        }
    }
}

fn validate_id(id: i64, path: &Path, errors: &mut Vec<Error>) {
    if !(0..=LARGEST_ID).contains(&id) {
        errors.push(Error::invalid(path, id, name::out_of_range(0, LARGEST_ID)));
    }
}

fn validate_seccomp(context: &Value, path: &Path, errors: &mut Vec<Error>) {
    let Some(profile) = context.at("seccompProfile") else {
        return;
    };
    let path = path.child("seccompProfile");
    let kind = profile.text("type");
    let local = profile.text("localhostProfile");
    match kind {
        "Localhost" if local.is_empty() => errors.push(Error::required(
            &path.child("localhostProfile"),
            "must be set when seccomp type is Localhost",
        )),
        "RuntimeDefault" | "Unconfined" if !local.is_empty() => errors.push(Error::invalid(
            &path.child("localhostProfile"),
            local,
            "can only be set when seccomp type is Localhost",
        )),
        "Localhost" | "RuntimeDefault" | "Unconfined" => {}
        "" => errors.push(Error::required(
            &path.child("type"),
            "type is required when seccompProfile is set",
        )),
        _ => errors.push(Error::not_supported(
            &path.child("type"),
            kind,
            &["Localhost", "RuntimeDefault", "Unconfined"],
        )),
    }
}
