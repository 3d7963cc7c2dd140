//! Admission policies that change what is written.

use serde_json::{Value, json};

use crate::support::{Answer, CONFIG_MAPS, World};

const GROUP: &str = "/apis/admissionregistration.k8s.io/v1";

fn rules(resources: &str, groups: &str) -> Value {
    json!({"resourceRules": [{"apiGroups": [groups], "apiVersions": ["v1"],
        "resources": [resources], "operations": ["CREATE", "UPDATE"]}]})
}

fn apply(expression: &str) -> Value {
    json!({"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}})
}

fn patch(expression: &str) -> Value {
    json!({"patchType": "JSONPatch", "jsonPatch": {"expression": expression}})
}

fn policy(name: &str, mutations: &[Value], more: &Value) -> Value {
    let mut policy = json!({
        "metadata": {"name": name},
        "spec": {"matchConstraints": rules("configmaps", ""), "mutations": mutations,
            "reinvocationPolicy": "Never"},
    });
    for (field, value) in more.as_object().into_iter().flatten() {
        policy["spec"][field.as_str()] = value.clone();
    }
    policy
}

async fn in_force(world: &World, policy: &Value, binding: &Value) {
    let path = format!("{GROUP}/mutatingadmissionpolicies");
    world.post(&path, policy).await.ok();
    let name = &policy["metadata"]["name"];
    let mut spec = json!({"policyName": name});
    for (field, value) in binding.as_object().into_iter().flatten() {
        spec[field.as_str()] = value.clone();
    }
    let binding = json!({"metadata": {"name": name}, "spec": spec});
    let path = format!("{GROUP}/mutatingadmissionpolicybindings");
    world.post(&path, &binding).await.ok();
}

async fn create(world: &World, name: &str, data: &Value) -> Answer {
    let object = json!({"metadata": {"name": name}, "data": data});
    world.post(CONFIG_MAPS, &object).await
}

#[tokio::test]
async fn a_configuration_is_laid_over_what_is_written() {
    let world = World::start();
    let expression = "Object{metadata: Object.metadata{labels: {'made-by': \
                      request.userInfo.username, 'size': string(variables.size)}}, \
                      data: {?'copy': object.data[?'a']}}";
    let more = json!({"variables": [{"name": "size", "expression": "size(object.data)"}],
        "matchConditions": [{"name": "named", "expression": "object.metadata.name != 'plain'"}]});
    in_force(
        &world,
        &policy("labels", &[apply(expression)], &more),
        &json!({}),
    )
    .await;
    let made = create(&world, "x", &json!({"a": "1", "b": "2"})).await.ok();
    assert_eq!(
        (&made["metadata"]["labels"], &made["data"]),
        (
            &json!({"made-by": "kubernetes-admin", "size": "2"}),
            &json!({"a": "1", "b": "2", "copy": "1"})
        )
    );
    let plain = create(&world, "plain", &json!({})).await.ok();
    assert!(plain["metadata"]["labels"].is_null(), "{plain}");
    let path = format!("{CONFIG_MAPS}/x");
    let changed = world
        .patch("merge", &path, &json!({"data": {"c": "3"}}))
        .await;
    assert_eq!(changed.ok()["metadata"]["labels"]["size"], "4");
}

#[tokio::test]
async fn a_json_patch_is_applied_unless_its_test_fails() {
    let world = World::start();
    let first = "[JSONPatch{op: 'test', path: '/data/a', value: '1'}, \
                 JSONPatch{op: 'add', path: '/metadata/labels', value: Object.metadata.labels{}}, \
                 JSONPatch{op: 'add', path: '/metadata/labels/' + \
                 jsonpatch.escapeKey('example.com/x'), value: 'yes'}]";
    let second = "has(object.metadata.labels) ? [JSONPatch{op: 'copy', from: '/data/a', \
                  path: '/data/seen'}] : []";
    let both = [patch(first), patch(second)];
    in_force(&world, &policy("patches", &both, &json!({})), &json!({})).await;
    let made = create(&world, "x", &json!({"a": "1"})).await.ok();
    assert_eq!(
        (&made["metadata"]["labels"], &made["data"]),
        (
            &json!({"example.com/x": "yes"}),
            &json!({"a": "1", "seen": "1"})
        ),
        "the second mutation sees what the first one made"
    );
    let other = create(&world, "y", &json!({"a": "2"})).await.ok();
    assert_eq!(other["data"], json!({"a": "2"}));
}

#[tokio::test]
async fn lists_of_built_in_kinds_are_merged_by_their_keys() {
    let world = World::start();
    let sidecar = "Object{spec: Object.spec{initContainers: [Object.spec.initContainers{\
                   name: 'mesh', image: 'mesh:1', restartPolicy: 'Always'}]}}";
    let more = json!({"matchConstraints": rules("pods", "")});
    in_force(
        &world,
        &policy("mesh", &[apply(sidecar)], &more),
        &json!({}),
    )
    .await;
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [
        {"name": "c", "image": "c:1"}], "initContainers": [{"name": "first", "image": "f:1"}]}});
    let made = world
        .post("/api/v1/namespaces/default/pods", &pod)
        .await
        .ok();
    let names: Vec<&str> = (made["spec"]["initContainers"]
        .as_array()
        .into_iter()
        .flatten())
    .filter_map(|one| one["name"].as_str())
    .collect();
    assert_eq!(names, ["first", "mesh"]);
    assert_eq!(
        made["spec"]["initContainers"][1]["terminationMessagePath"], "/dev/termination-log",
        "what is added gets defaults"
    );
}

#[tokio::test]
async fn a_mutation_that_fails_refuses_the_write_or_not_as_its_policy_says() {
    let world = World::start();
    let fails = [apply("Object{data: {'x': object.data.absent}}")];
    in_force(&world, &policy("strict", &fails, &json!({})), &json!({})).await;
    let refused = create(&world, "x", &json!({"a": "1"})).await;
    let why = "policy 'strict' with binding 'strict' denied request: expression 'Object{data: \
               {'x': object.data.absent}}' resulted in error: no such key: absent";
    refused.fails(403, why);
    assert_eq!(refused.body["reason"], "Invalid");
    assert_eq!(refused.body["details"]["causes"], json!([{"message": why}]));
    let path = format!("{GROUP}/mutatingadmissionpolicies/strict");
    let lenient = json!({"spec": {"failurePolicy": "Ignore"}});
    world.patch("merge", &path, &lenient).await.ok();
    create(&world, "x", &json!({"a": "1"})).await.ok();
    let atomic = [apply(
        "Object{metadata: Object.metadata{managedFields: []}}",
    )];
    in_force(&world, &policy("whole", &atomic, &json!({})), &json!({})).await;
    let refused = create(&world, "y", &json!({})).await;
    assert!(
        refused.message().ends_with(
            "error applying patch: invalid ApplyConfiguration: may not mutate atomic arrays, \
             maps or structs: .metadata.managedFields"
        ),
        "{}",
        refused.text
    );
}

#[tokio::test]
async fn parameters_make_one_mutation_each() {
    let world = World::start();
    for (name, mark) in [("one", "1"), ("two", "2")] {
        let object = json!({"metadata": {"name": name, "labels": {"use": "marks"}},
            "data": {"mark": mark}});
        world.post(CONFIG_MAPS, &object).await.ok();
    }
    let expression = "Object{data: {params.metadata.name: params.data.mark}}";
    let more = json!({"paramKind": {"apiVersion": "v1", "kind": "ConfigMap"}});
    let binding = json!({"paramRef": {"selector": {"matchLabels": {"use": "marks"}},
        "parameterNotFoundAction": "Deny"}});
    in_force(
        &world,
        &policy("marks", &[apply(expression)], &more),
        &binding,
    )
    .await;
    let made = create(&world, "x", &json!({})).await.ok();
    assert_eq!(made["data"], json!({"one": "1", "two": "2"}));
}

#[tokio::test]
async fn a_policy_that_wants_it_sees_what_others_changed_after_it() {
    let world = World::start();
    let count = [apply("Object{data: {'count': string(size(object.data))}}")];
    let again = json!({"reinvocationPolicy": "IfNeeded"});
    in_force(&world, &policy("a-count", &count, &again), &json!({})).await;
    let add = [apply("Object{data: {'added': 'yes'}}")];
    in_force(&world, &policy("b-add", &add, &json!({})), &json!({})).await;
    let made = create(&world, "x", &json!({"a": "1"})).await.ok();
    assert_eq!(
        made["data"],
        json!({"a": "1", "added": "yes", "count": "3"}),
        "counted again, with what was added and the first count itself"
    );
}

#[tokio::test]
async fn mutations_are_validated_when_they_are_stored() {
    let world = World::start();
    let path = format!("{GROUP}/mutatingadmissionpolicies");
    for (mutations, complaint) in [
        (
            json!([]),
            "spec.mutations: Required value: mutations must contain at least one item",
        ),
        (
            json!([apply("'text'")]),
            "spec.mutations[0].applyConfiguration.expression: Invalid value: \"'text'\": must \
             evaluate to Object but got string",
        ),
        (
            json!([patch("Object{}")]),
            "must evaluate to list(JSONPatch) but got Object",
        ),
        (
            json!([apply("Other{}")]),
            "undeclared reference to 'Other' (in container '')",
        ),
        (
            json!([patch("[JSONPatch{op: 5}]")]),
            "expected type of field 'op' is 'string' but provided type is 'int'",
        ),
        (
            json!([{"patchType": "JSONPatch"}]),
            "spec.mutations[0].jsonPatch: Required value: must be specified when patchType is \
             JSONPatch",
        ),
    ] {
        let mut policy = policy("p", &[], &json!({}));
        policy["spec"]["mutations"] = mutations;
        let refused = world.post(&path, &policy).await;
        assert_eq!(refused.code, 422, "{}", refused.text);
        assert!(
            refused.message().contains(complaint),
            "{complaint}: {}",
            refused.text
        );
    }
}
