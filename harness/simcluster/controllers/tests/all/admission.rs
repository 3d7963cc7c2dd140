//! What the controllers say of admission policies.

use serde_json::{Value, json};
use simcluster_controllers::Controller;

use crate::world::World;

const POLICIES: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies";

fn policy(name: &str, expression: &str) -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {"resourceRules": [{"apiGroups": ["apps"], "apiVersions": ["v1"],
                "operations": ["CREATE"], "resources": ["deployments", "deployments/status"]}]},
            "validations": [{"expression": expression}],
        },
    })
}

#[tokio::test]
async fn a_policy_is_told_of_fields_that_its_objects_do_not_have() {
    let world = World::only([Controller::AdmissionPolicyStatus]);
    let checked =
        |policy: &Value| policy["status"]["observedGeneration"] == policy["metadata"]["generation"];
    world
        .post(POLICIES, &policy("good", "object.spec.replicas > 1"))
        .await;
    let good = world.until_one(POLICIES, "good", checked).await;
    assert_eq!(
        good["status"],
        json!({"observedGeneration": 1, "typeChecking": {}})
    );
    world
        .post(POLICIES, &policy("odd", "object.spec.replica > 1"))
        .await;
    let odd = world.until_one(POLICIES, "odd", checked).await;
    assert_eq!(
        odd["status"]["typeChecking"]["expressionWarnings"],
        json!([{
            "fieldRef": "spec.validations[0].expression",
            "warning": "apps/v1, Kind=Deployment: ERROR: <input>:1:12: undefined field 'replica'\n | \
                        object.spec.replica > 1\n | ...........^\n",
        }])
    );
}
