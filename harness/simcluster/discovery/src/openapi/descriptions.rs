//! What Kubernetes says about each kind and field, for `kubectl explain`.
//!
//! The texts come with `k8s-openapi`, which has them from Kubernetes' own document. Custom resources
//! bring their own.

use std::sync::LazyLock;

use schemars::SchemaGenerator;
use serde_json::{Map, Value};

/// Schemas that say something, by the names of their definitions.
static SPOKEN: LazyLock<Map<String, Value>> = LazyLock::new(all);

/// Adds what is known of the definition `name` and its fields; what it says itself, it keeps.
pub(super) fn describe(name: &str, schema: &mut Value) {
    let Some(spoken) = SPOKEN.get(name) else {
        return;
    };
    let Some(schema) = schema.as_object_mut() else {
        return;
    };
    add(schema, spoken);
    let fields = schema.get_mut("properties").and_then(Value::as_object_mut);
    for (field, of_field) in fields.into_iter().flatten() {
        if let Some(of_field) = of_field.as_object_mut() {
            add(of_field, &spoken["properties"][field]);
        }
    }
}

fn add(schema: &mut Map<String, Value>, spoken: &Value) {
    if let Some(text) = spoken.get("description") {
        schema.entry("description").or_insert_with(|| text.clone());
    }
}

/// Makes all schemas that can be reached from the kinds.
fn all() -> Map<String, Value> {
    let mut generator = SchemaGenerator::default();
    macro_rules! reach {
        ($($module:path: $($kind:ident)+;)+) => {
            $({
                use $module as module;
                $(let _reference = generator.subschema_for::<module::$kind>();)+
            })+
        };
    }
    reach! {
        k8s_openapi::api::core::v1: Binding ComponentStatus ConfigMap Endpoints Event LimitRange
            Namespace Node PersistentVolume PersistentVolumeClaim Pod PodTemplate
            ReplicationController ResourceQuota Secret Service ServiceAccount;
        k8s_openapi::api::admissionregistration::v1: MutatingAdmissionPolicy
            MutatingAdmissionPolicyBinding MutatingWebhookConfiguration ValidatingAdmissionPolicy
            ValidatingAdmissionPolicyBinding ValidatingWebhookConfiguration;
        k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1:
            CustomResourceDefinition;
        k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1: APIService;
        k8s_openapi::api::apps::v1: ControllerRevision DaemonSet Deployment ReplicaSet StatefulSet;
        k8s_openapi::api::authentication::v1: SelfSubjectReview TokenRequest TokenReview;
        k8s_openapi::api::authorization::v1: LocalSubjectAccessReview SelfSubjectAccessReview
            SelfSubjectRulesReview SubjectAccessReview;
        k8s_openapi::api::autoscaling::v1: HorizontalPodAutoscaler Scale;
        k8s_openapi::api::autoscaling::v2: HorizontalPodAutoscaler;
        k8s_openapi::api::batch::v1: CronJob Job;
        k8s_openapi::api::certificates::v1: CertificateSigningRequest;
        k8s_openapi::api::coordination::v1: Lease;
        k8s_openapi::api::discovery::v1: EndpointSlice;
        k8s_openapi::api::events::v1: Event;
        k8s_openapi::api::flowcontrol::v1: FlowSchema PriorityLevelConfiguration;
        k8s_openapi::api::networking::v1: IPAddress Ingress IngressClass NetworkPolicy ServiceCIDR;
        k8s_openapi::api::node::v1: RuntimeClass;
        k8s_openapi::api::policy::v1: Eviction PodDisruptionBudget;
        k8s_openapi::api::rbac::v1: ClusterRole ClusterRoleBinding Role RoleBinding;
        k8s_openapi::api::resource::v1: DeviceClass ResourceClaim ResourceClaimTemplate
            ResourceSlice;
        k8s_openapi::api::scheduling::v1: PriorityClass;
        k8s_openapi::api::storage::v1: CSIDriver CSINode CSIStorageCapacity StorageClass
            VolumeAttachment VolumeAttributesClass;
    }
    generator.take_definitions(false)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use simcluster_machinery::schema::builtin;

    use super::*;

    #[test]
    fn every_built_in_kind_and_every_field_of_it_is_described() {
        let mut silent = Vec::new();
        for resource in builtin::resources() {
            let Some(definition) = builtin::definition_of(&resource.gvk()) else {
                continue;
            };
            let mut schema = definition.json();
            describe(definition.name, &mut schema);
            let fields = schema["properties"].as_object().into_iter().flatten();
            silent.extend(
                fields
                    .chain([(&String::new(), &schema)])
                    .filter(|(_, schema)| schema.get("description").is_none())
                    .map(|(field, _)| format!("{}.{field}", definition.name)),
            );
        }
        // Kubernetes' own document is silent here.
        let known = ["io.k8s.api.certificates.v1.CertificateSigningRequest.metadata"];
        assert_eq!(silent, known);
    }

    #[test]
    fn what_a_schema_says_itself_it_keeps() {
        let mut schema = json!({"description": "mine", "properties": {"data": {}, "more": {}}});
        describe("io.k8s.api.core.v1.ConfigMap", &mut schema);
        assert_eq!(schema["description"], "mine");
        let text = schema["properties"]["data"]["description"].as_str();
        assert!(text.unwrap().starts_with("Data contains"), "{text:?}");
        assert_eq!(schema["properties"]["more"], json!({}));
    }
}
