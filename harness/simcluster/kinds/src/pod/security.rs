//! What is wrong with the security contexts of a pod and its containers.

use serde_json::Value;
use simcluster_machinery::field::{Error, Path};
use simcluster_machinery::name;

use crate::checks::one_of;
use crate::read::Read;

const LARGEST_ID: i64 = 2_147_483_647;

/// The security context of a container in the pod with this spec.
pub(super) fn validate_container(
    spec: &Value,
    context: &Value,
    path: &Path,
    errors: &mut Vec<Error>,
) {
    validate_ids(context, &["runAsUser", "runAsGroup"], path, errors);
    one_of(context, "procMount", &["Default", "Unmasked"], path, errors);
    if context.text("procMount") == "Unmasked" && spec.at("hostUsers") != Some(&Value::Bool(false))
    {
        let detail = "`hostUsers` must be false to use `Unmasked`";
        errors.push(Error::invalid(&path.child("procMount"), "Unmasked", detail));
    }
    validate_seccomp(context, path, errors);
    if context.at("allowPrivilegeEscalation") == Some(&Value::Bool(false)) {
        let mut conflict = |detail: &str| {
            errors.push(Error::invalid_shown(path, shown(context), detail));
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

/// A container's security context as the API shows it: in the order of its declaration.
fn shown(context: &Value) -> String {
    const FIELDS: [(&str, &str); 12] = [
        ("Capabilities", "capabilities"),
        ("Privileged", "privileged"),
        ("SELinuxOptions", "seLinuxOptions"),
        ("WindowsOptions", "windowsOptions"),
        ("RunAsUser", "runAsUser"),
        ("RunAsGroup", "runAsGroup"),
        ("RunAsNonRoot", "runAsNonRoot"),
        ("ReadOnlyRootFilesystem", "readOnlyRootFilesystem"),
        ("AllowPrivilegeEscalation", "allowPrivilegeEscalation"),
        ("ProcMount", "procMount"),
        ("SeccompProfile", "seccompProfile"),
        ("AppArmorProfile", "appArmorProfile"),
    ];
    let fields: Vec<String> = FIELDS
        .iter()
        .map(|(shown, field)| match (*field, context.at(field)) {
            ("capabilities", Some(sets)) => format!(
                "\"Capabilities\":{{\"Add\":{},\"Drop\":{}}}",
                sets["add"], sets["drop"]
            ),
            (_, value) => format!("{shown:?}:{}", value.unwrap_or(&Value::Null)),
        })
        .collect();
    format!("{{{}}}", fields.join(","))
}

/// The security context of the pod with this spec.
pub(super) fn validate_pod(spec: &Value, context: &Value, path: &Path, errors: &mut Vec<Error>) {
    validate_ids(
        context,
        &["fsGroup", "runAsUser", "runAsGroup"],
        path,
        errors,
    );
    for (index, group) in context.list("supplementalGroups").iter().enumerate() {
        let path = path.child("supplementalGroups").index(index);
        validate_id(group.as_i64().unwrap_or(0), &path, errors);
    }
    if spec.flag("shareProcessNamespace") && spec.flag("hostPID") {
        errors.push(Error::invalid(
            &path.child("shareProcessNamespace"),
            true,
            "ShareProcessNamespace and HostPID cannot both be enabled",
        ));
    }
    validate_sysctls(context, &path.child("sysctls"), errors);
    one_of(
        context,
        "fsGroupChangePolicy",
        &["Always", "OnRootMismatch"],
        path,
        errors,
    );
    validate_seccomp(context, path, errors);
    validate_app_armor(context, path, errors);
    one_of(
        context,
        "supplementalGroupsPolicy",
        &["Merge", "Strict"],
        path,
        errors,
    );
}

/// Host namespaces do not go with a user namespace of one's own.
pub(super) fn validate_host_users(spec: &Value, path: &Path, errors: &mut Vec<Error>) {
    if spec.at("hostUsers") != Some(&Value::Bool(false)) {
        return;
    }
    // Two of these paths are written so in the API.
    for (field, shown) in [
        ("hostNetwork", "hostNetwork"),
        ("hostPID", "HostPID"),
        ("hostIPC", "HostIPC"),
    ] {
        if spec.flag(field) {
            let detail = "when `pod.Spec.HostUsers` is false";
            errors.push(Error::forbidden(&path.child(shown), detail));
        }
    }
}

fn validate_sysctls(context: &Value, path: &Path, errors: &mut Vec<Error>) {
    let list = context.list("sysctls");
    for (index, sysctl) in list.iter().enumerate() {
        let (own_name, place) = (sysctl.text("name"), path.index(index).child("name"));
        if own_name.is_empty() {
            errors.push(Error::required(&place, ""));
        } else if !is_sysctl(own_name) {
            let detail = format!(
                "must have at most {SYSCTL_LENGTH} characters and match regex \
                 ^({SYSCTL_PART}[\\./])*{SYSCTL_PART}$"
            );
            errors.push(Error::invalid(&place, own_name, detail));
        } else if list[..index].iter().any(|one| one.text("name") == own_name) {
            errors.push(Error::duplicate(&place, own_name));
        }
    }
}

const SYSCTL_LENGTH: usize = 253;
const SYSCTL_PART: &str = "[a-z0-9]([-_a-z0-9]*[a-z0-9])?";

fn is_sysctl(own_name: &str) -> bool {
    let end = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    own_name.len() <= SYSCTL_LENGTH
        && own_name.split(['.', '/']).all(|part| {
            part.starts_with(end)
                && part.ends_with(end)
                && part.chars().all(|c| end(c) || matches!(c, '-' | '_'))
        })
}

fn validate_app_armor(context: &Value, path: &Path, errors: &mut Vec<Error>) {
    let Some(profile) = context.at("appArmorProfile") else {
        return;
    };
    let path = path.child("appArmorProfile");
    let local = profile.text("localhostProfile");
    let place = path.child("localhostProfile");
    match profile.text("type") {
        "Localhost" if local.trim().is_empty() => errors.push(Error::required(
            &place,
            "must be set when AppArmor type is Localhost",
        )),
        "Localhost" if local.trim() != local => errors.push(Error::invalid(
            &place,
            local,
            "must not be padded with whitespace",
        )),
        "RuntimeDefault" | "Unconfined" if profile.at("localhostProfile").is_some() => {
            let detail = "can only be set when AppArmor type is Localhost";
            errors.push(Error::invalid(&place, local, detail));
        }
        "Localhost" | "RuntimeDefault" | "Unconfined" => {}
        "" => errors.push(Error::required(
            &path.child("type"),
            "type is required when appArmorProfile is set",
        )),
        other => errors.push(Error::not_supported(
            &path.child("type"),
            other,
            &["Localhost", "RuntimeDefault", "Unconfined"],
        )),
    }
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
