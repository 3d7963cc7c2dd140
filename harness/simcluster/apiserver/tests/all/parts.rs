//! Admission of what is sent to a part of an object.

use serde_json::{Value, json};

use crate::support::{Answer, World};

const GROUP: &str = "/apis/admissionregistration.k8s.io/v1";
const PODS: &str = "/api/v1/namespaces/default/pods";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

/// Refuses what does not hold of this part of a resource.
async fn demand(world: &World, operation: &str, resource: &str, expression: &str) {
    let (group, resource) = resource.split_once(':').unwrap_or(("", resource));
    let rule = json!({"apiGroups": [group], "apiVersions": ["v1"], "resources": [resource],
        "operations": [operation]});
    let policy = json!({"metadata": {"name": "demand"}, "spec": {
        "matchConstraints": {"resourceRules": [rule]},
        "validations": [{"expression": expression, "message": "no"}]}});
    let path = format!("{GROUP}/validatingadmissionpolicies");
    world.post(&path, &policy).await.ok();
    let binding = json!({"metadata": {"name": "here"},
        "spec": {"policyName": "demand", "validationActions": ["Deny"]}});
    let path = format!("{GROUP}/validatingadmissionpolicybindings");
    world.post(&path, &binding).await.ok();
}

#[track_caller]
fn refused(answer: &Answer) {
    let why = "ValidatingAdmissionPolicy 'demand' with binding 'here' denied request: no";
    assert!(
        answer.code == 422 && answer.message().ends_with(why),
        "{}",
        answer.text
    );
}

fn template() -> Value {
    json!({"metadata": {"labels": {"app": "x"}},
        "spec": {"containers": [{"name": "c", "image": "c:1"}]}})
}

async fn pod(world: &World, name: &str) {
    let mut pod = template();
    pod["metadata"]["name"] = name.into();
    world.post(PODS, &pod).await.ok();
}

async fn deployment(world: &World) {
    let object = json!({"metadata": {"name": "d"}, "spec": {"replicas": 1,
        "selector": {"matchLabels": {"app": "x"}}, "template": template()}});
    world.post(DEPLOYMENTS, &object).await.ok();
}

#[tokio::test]
async fn a_scale_is_judged_as_a_scale() {
    let world = World::start();
    deployment(&world).await;
    let rule = "object.spec.replicas <= 3 && request.kind.kind == 'Scale' && \
                request.subResource == 'scale' && oldObject.spec.replicas == 1";
    demand(&world, "UPDATE", "apps:deployments/scale", rule).await;
    let path = format!("{DEPLOYMENTS}/d/scale");
    let many = json!({"spec": {"replicas": 4}});
    refused(&world.patch("merge", &path, &many).await);
    let some = json!({"spec": {"replicas": 3}});
    world.patch("merge", &path, &some).await.ok();
    let whole = world
        .patch("merge", &format!("{DEPLOYMENTS}/d"), &many)
        .await
        .ok();
    assert_eq!(
        whole["spec"]["replicas"], 4,
        "the object itself is another thing"
    );
}

#[tokio::test]
async fn a_scale_can_be_changed_on_its_way() {
    let world = World::start();
    deployment(&world).await;
    let policy = json!({"metadata": {"name": "cap"}, "spec": {
        "matchConstraints": {"resourceRules": [{"apiGroups": ["apps"], "apiVersions": ["v1"],
            "resources": ["deployments/scale"], "operations": ["UPDATE"]}]},
        "reinvocationPolicy": "Never",
        "mutations": [{"patchType": "ApplyConfiguration", "applyConfiguration": {
            "expression": "Object{spec: Object.spec{replicas: 2}}"}}]}});
    let path = format!("{GROUP}/mutatingadmissionpolicies");
    world.post(&path, &policy).await.ok();
    let binding = json!({"metadata": {"name": "cap"}, "spec": {"policyName": "cap"}});
    let path = format!("{GROUP}/mutatingadmissionpolicybindings");
    world.post(&path, &binding).await.ok();
    let path = format!("{DEPLOYMENTS}/d/scale");
    let scale = world
        .patch("merge", &path, &json!({"spec": {"replicas": 9}}))
        .await
        .ok();
    assert_eq!(scale["spec"]["replicas"], 2);
    let object = world.get(&format!("{DEPLOYMENTS}/d")).await.ok();
    assert_eq!(object["spec"]["replicas"], 2);
}

#[tokio::test]
async fn bindings_evictions_and_tokens_are_judged() {
    let world = World::start();
    pod(&world, "a").await;
    demand(
        &world,
        "CREATE",
        "pods/binding",
        "object.target.name == 'good'",
    )
    .await;
    let binding = |node: &str| json!({"metadata": {"name": "a"}, "target": {"name": node}});
    let path = format!("{PODS}/a/binding");
    refused(&world.post(&path, &binding("bad")).await);
    world.post(&path, &binding("good")).await.ok();

    let world = World::start();
    pod(&world, "a").await;
    let rule = "request.name == 'a' && request.kind.kind != 'Eviction'";
    demand(&world, "CREATE", "pods/eviction", rule).await;
    let eviction = json!({"metadata": {"name": "a"}});
    let path = format!("{PODS}/a/eviction");
    refused(&world.post(&path, &eviction).await);

    let world = World::start();
    let path = "/api/v1/namespaces/default/serviceaccounts";
    world
        .post(path, &json!({"metadata": {"name": "s"}}))
        .await
        .ok();
    let rule = "object.spec.expirationSeconds < 1000";
    demand(&world, "CREATE", "serviceaccounts/token", rule).await;
    let token = |seconds: i64| json!({"spec": {"expirationSeconds": seconds}});
    let path = format!("{path}/s/token");
    refused(&world.post(&path, &token(3600)).await);
    world.post(&path, &token(900)).await.ok();
}

#[tokio::test]
async fn an_eviction_is_no_deletion_to_those_who_judge_deletions() {
    let world = World::start();
    pod(&world, "a").await;
    demand(&world, "DELETE", "pods", "false").await;
    refused(&world.delete(&format!("{PODS}/a")).await);
    let eviction = json!({"metadata": {"name": "a"}});
    world
        .post(&format!("{PODS}/a/eviction"), &eviction)
        .await
        .ok();
}

#[tokio::test]
async fn who_connects_to_a_pod_is_judged_by_how() {
    let world = World::start();
    pod(&world, "a").await;
    let rule = "request.operation == 'CONNECT' && object.kind == 'PodExecOptions' && \
                object.command[0] != 'sh' && request.name == 'a'";
    demand(&world, "CONNECT", "pods/exec", rule).await;
    let path = format!("{PODS}/a/exec?stdout=true&command=");
    refused(&world.post(&format!("{path}sh"), &json!(null)).await);
    let allowed = world.post(&format!("{path}ls"), &json!(null)).await;
    allowed.fails(400, "pod a does not have a host assigned");

    let world = World::start();
    pod(&world, "a").await;
    demand(
        &world,
        "CONNECT",
        "pods/portforward",
        "!(80 in object.ports)",
    )
    .await;
    let path = format!("{PODS}/a/portforward?ports=");
    refused(&world.post(&format!("{path}80"), &json!(null)).await);
    let allowed = world.post(&format!("{path}81"), &json!(null)).await;
    allowed.fails(400, "pod a does not have a host assigned");
}
