//! What all our pods have in common: the restricted pod security level, no token, small volumes.

use k8s_openapi::api::core::v1::{
    Capabilities, Container, EmptyDirVolumeSource, EnvVar, EnvVarSource, KeyToPath,
    PersistentVolumeClaimVolumeSource, PodSecurityContext, PodSpec, ResourceRequirements,
    SeccompProfile, SecretKeySelector, SecretVolumeSource, SecurityContext, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::controller::validate::Validated;

/// The program in the operator's image.
pub(super) const PROGRAM: &str = "/mysql-job";
/// Readable for the group, which is the pod's own; nothing outside of the pod can see the volume.
const SECRET_MODE: i32 = 0o440;

/// A pod specification with nothing in it yet.
pub(super) fn spec(validated: &Validated) -> PodSpec {
    PodSpec {
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        security_context: Some(PodSecurityContext {
            run_as_user: Some(validated.run_as),
            run_as_group: Some(validated.run_as),
            run_as_non_root: Some(true),
            fs_group: Some(validated.run_as),
            fs_group_change_policy: Some("OnRootMismatch".to_owned()),
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".to_owned(),
                ..SeccompProfile::default()
            }),
            ..PodSecurityContext::default()
        }),
        ..PodSpec::default()
    }
}

/// A container at the restricted level.
pub(super) fn container(name: &str, image: &str, memory: (&str, &str)) -> Container {
    Container {
        name: name.to_owned(),
        image: Some(image.to_owned()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            capabilities: Some(Capabilities {
                drop: Some(vec!["ALL".to_owned()]),
                ..Capabilities::default()
            }),
            ..SecurityContext::default()
        }),
        resources: Some(ResourceRequirements {
            requests: Some(
                [("cpu", "50m"), ("memory", memory.0)]
                    .map(|(name, amount)| (name.to_owned(), Quantity(amount.to_owned())))
                    .into(),
            ),
            limits: Some([("memory".to_owned(), Quantity(memory.1.to_owned()))].into()),
            ..ResourceRequirements::default()
        }),
        ..Container::default()
    }
}

/// An init container of the operator's image. Directories that Kubernetes makes on a node belong to
/// root; where that is so, it runs as root with the one capability that handing them over needs.
pub(super) fn init_container(
    validated: &Validated,
    name: &str,
    arguments: Vec<String>,
) -> Container {
    let mut container = container(name, &validated.operator_image, ("16Mi", "64Mi"));
    container.command = Some(vec![PROGRAM.to_owned()]);
    container.args = Some(arguments);
    // What it says when it fails is told in the instance's status.
    container.termination_message_policy = Some("FallbackToLogsOnError".to_owned());
    if validated.hand_over {
        let context = container.security_context.get_or_insert_default();
        context.run_as_user = Some(0);
        context.run_as_non_root = Some(false);
        let capabilities = context.capabilities.get_or_insert_default();
        capabilities.add = Some(
            ["CHOWN", "DAC_OVERRIDE", "FOWNER"]
                .map(str::to_owned)
                .to_vec(),
        );
    }
    container
}

/// `--owner 999:999`
pub(super) fn owner(validated: &Validated) -> [String; 2] {
    ["--owner".to_owned(), format!("{0}:{0}", validated.run_as)]
}

/// A mount.
pub(super) fn mount(volume: &str, path: &str) -> VolumeMount {
    VolumeMount {
        name: volume.to_owned(),
        mount_path: path.to_owned(),
        ..VolumeMount::default()
    }
}

/// A mount of a directory of the volume.
pub(super) fn mount_part(volume: &str, path: &str, part: &str) -> VolumeMount {
    VolumeMount {
        sub_path: Some(part.to_owned()),
        ..mount(volume, path)
    }
}

/// A directory that ends with the pod.
pub(super) fn scratch(name: &str) -> Volume {
    Volume {
        name: name.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource::default()),
        ..Volume::default()
    }
}

/// The same in memory: it never reaches a disk.
pub(super) fn scratch_in_memory(name: &str) -> Volume {
    Volume {
        name: name.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource {
            medium: Some("Memory".to_owned()),
            size_limit: Some(Quantity("1Mi".to_owned())),
        }),
        ..Volume::default()
    }
}

/// A claim.
pub(super) fn claimed(name: &str, claim: String) -> Volume {
    Volume {
        name: name.to_owned(),
        persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
            claim_name: claim,
            ..PersistentVolumeClaimVolumeSource::default()
        }),
        ..Volume::default()
    }
}

/// Some keys of a Secret, as files.
pub(super) fn secret(name: &str, secret: String, items: &[(&str, &str)]) -> Volume {
    Volume {
        name: name.to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(secret),
            default_mode: Some(SECRET_MODE),
            items: Some(
                items
                    .iter()
                    .map(|(key, path)| KeyToPath {
                        key: (*key).to_owned(),
                        path: (*path).to_owned(),
                        mode: None,
                    })
                    .collect(),
            ),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    }
}

/// A plain variable.
pub(super) fn variable(name: &str, value: &str) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value: Some(value.to_owned()),
        value_from: None,
    }
}

/// A variable from a Secret.
pub(super) fn secret_variable(name: &str, secret: String, key: &str) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value: None,
        value_from: Some(EnvVarSource {
            secret_key_ref: Some(SecretKeySelector {
                name: secret,
                key: key.to_owned(),
                ..SecretKeySelector::default()
            }),
            ..EnvVarSource::default()
        }),
    }
}
