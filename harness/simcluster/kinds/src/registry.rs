//! Which rules belong to which kind.

use serde_json::Value;
use simcluster_machinery::kind::GroupVersionKind;

use crate::meta;
use crate::rbac::{Binding, Role};
use crate::rules::KindRules;
use crate::stored;
use crate::webhook_configuration::WebhookConfiguration;

/// A built-in kind with nothing special.
struct Plain;

impl KindRules for Plain {}

/// A custom resource. Its definition says more, and the server reads it.
struct Custom;

impl KindRules for Custom {
    fn has_status(&self) -> bool {
        false
    }

    fn has_generation(&self) -> bool {
        true
    }

    /// Everything but metadata and status counts.
    fn bumps_generation(&self, new: &Value, old: &Value) -> bool {
        let counted = |object: &Value| {
            let mut object = object.clone();
            if let Some(fields) = object.as_object_mut() {
                fields.remove("metadata");
                fields.remove("status");
            }
            object
        };
        counted(new) != counted(old)
    }

    fn prepare_status_update(&self, new: &mut Value, old: &Value) {
        meta::keep_all_but_status(new, old);
    }
}

/// Whether a group is one of Kubernetes' own. Others with the suffix belong to definitions of
/// custom resources.
fn is_builtin(group: &str) -> bool {
    const OWN: [&str; 4] = ["", "apps", "batch", "autoscaling"];
    const SUFFIXED: [&str; 18] = [
        "admissionregistration",
        "apiextensions",
        "apiregistration",
        "authentication",
        "authorization",
        "certificates",
        "coordination",
        "discovery",
        "events",
        "flowcontrol.apiserver",
        "internal.apiserver",
        "networking",
        "node",
        "rbac.authorization",
        "resource",
        "scheduling",
        "storage",
        "storagemigration",
    ];
    OWN.contains(&group)
        || group == "policy"
        || group
            .strip_suffix(".k8s.io")
            .is_some_and(|name| SUFFIXED.contains(&name))
}

/// The rules of a kind; those of a custom resource for kinds that are not built in.
pub fn rules(kind: &GroupVersionKind) -> &'static dyn KindRules {
    let group = kind.group.as_str();
    let known = match group {
        "" => core(&kind.kind),
        "apps" => apps(&kind.kind),
        "batch" => batch(&kind.kind),
        "rbac.authorization.k8s.io" => rbac(&kind.kind),
        _ => other(group, &kind.kind),
    };
    known.unwrap_or(if is_builtin(group) { &Plain } else { &Custom })
}

type Known = Option<&'static dyn KindRules>;

fn core(kind: &str) -> Known {
    Some(match kind {
        "ConfigMap" => &crate::config_map::ConfigMap,
        "Endpoints" => &crate::endpoints::Endpoints,
        "Event" => &crate::event::CORE,
        "LimitRange" => &crate::limit_range::LimitRange,
        "Namespace" => &crate::namespace::Namespace,
        "Node" => &crate::node::Node,
        "PersistentVolume" => &crate::persistent_volume::PersistentVolume,
        "PersistentVolumeClaim" => &crate::persistent_volume_claim::PersistentVolumeClaim,
        "Pod" => &crate::pod::Pod,
        "PodTemplate" => &stored::POD_TEMPLATE,
        "ReplicationController" => &crate::replication_controller::ReplicationController,
        "ResourceQuota" => &crate::resource_quota::ResourceQuota,
        "Secret" => &crate::secret::Secret,
        "Service" => &crate::service::Service,
        "ServiceAccount" => &crate::service_account::ServiceAccount,
        _ => return None,
    })
}

fn apps(kind: &str) -> Known {
    Some(match kind {
        "ControllerRevision" => &stored::CONTROLLER_REVISION,
        "DaemonSet" => &crate::daemon_set::DaemonSet,
        "Deployment" => &crate::deployment::Deployment,
        "ReplicaSet" => &crate::replica_set::ReplicaSet,
        "StatefulSet" => &crate::stateful_set::StatefulSet,
        _ => return None,
    })
}

fn batch(kind: &str) -> Known {
    Some(match kind {
        "CronJob" => &crate::cron_job::CronJob,
        "Job" => &crate::job::Job,
        _ => return None,
    })
}

fn rbac(kind: &str) -> Known {
    Some(match kind {
        "ClusterRole" => &Role { namespaced: false },
        "ClusterRoleBinding" => &Binding { namespaced: false },
        "Role" => &Role { namespaced: true },
        "RoleBinding" => &Binding { namespaced: true },
        _ => return None,
    })
}

fn other(group: &str, kind: &str) -> Known {
    Some(match (group, kind) {
        ("admissionregistration.k8s.io", "MutatingWebhookConfiguration") => {
            &WebhookConfiguration { mutating: true }
        }
        ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration") => {
            &WebhookConfiguration { mutating: false }
        }
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy") => {
            &crate::admission_policy::Policy
        }
        ("admissionregistration.k8s.io", "MutatingAdmissionPolicy") => {
            &crate::mutating_policy::Policy
        }
        ("admissionregistration.k8s.io", "MutatingAdmissionPolicyBinding") => {
            &crate::admission_binding::Binding { mutating: true }
        }
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding") => {
            &crate::admission_binding::Binding { mutating: false }
        }
        ("flowcontrol.apiserver.k8s.io", "FlowSchema") => &stored::FLOW_SCHEMA,
        ("flowcontrol.apiserver.k8s.io", _) => &stored::PRIORITY_LEVEL,
        ("networking.k8s.io", "ServiceCIDR") => &stored::SERVICE_CIDR,
        ("networking.k8s.io", "IPAddress") => &stored::IP_ADDRESS,
        ("resource.k8s.io", "ResourceClaim") => &stored::WITH_STATUS,
        ("resource.k8s.io", "DeviceClass" | "ResourceClaimTemplate") => &stored::NAMED,
        ("storage.k8s.io", "VolumeAttributesClass") => &stored::VOLUME_ATTRIBUTES_CLASS,
        ("storage.k8s.io", "CSIDriver") => &stored::CSI_DRIVER,
        ("storage.k8s.io", "CSIStorageCapacity") => &stored::CSI_STORAGE_CAPACITY,
        ("apiregistration.k8s.io", "APIService") => &stored::API_SERVICE,
        ("autoscaling", "HorizontalPodAutoscaler") => {
            &crate::horizontal_pod_autoscaler::HorizontalPodAutoscaler
        }
        ("certificates.k8s.io", "CertificateSigningRequest") => {
            &crate::certificate_signing_request::CertificateSigningRequest
        }
        ("coordination.k8s.io", "Lease") => &crate::lease::Lease,
        ("discovery.k8s.io", "EndpointSlice") => &crate::endpoint_slice::EndpointSlice,
        ("events.k8s.io", "Event") => &crate::event::NEW,
        ("networking.k8s.io", "Ingress") => &crate::ingress::Ingress,
        ("networking.k8s.io", "IngressClass") => &crate::ingress::IngressClass,
        ("networking.k8s.io", "NetworkPolicy") => &crate::network_policy::NetworkPolicy,
        ("node.k8s.io", "RuntimeClass") => &stored::RUNTIME_CLASS,
        ("policy", "PodDisruptionBudget") => &crate::pod_disruption_budget::PodDisruptionBudget,
        ("scheduling.k8s.io", "PriorityClass") => &crate::priority_class::PriorityClass,
        ("storage.k8s.io", "CSINode") => &stored::CSI_NODE,
        ("storage.k8s.io", "StorageClass") => &crate::storage_class::StorageClass,
        ("storage.k8s.io", "VolumeAttachment") => &stored::VOLUME_ATTACHMENT,
        _ => return None,
    })
}
