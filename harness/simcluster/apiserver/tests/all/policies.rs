//! Admission policies in CEL.

use serde_json::{Value, json};

use crate::support::{Answer, CONFIG_MAPS, World};

const GROUP: &str = "/apis/admissionregistration.k8s.io/v1";

fn policy(spec: &Value) -> Value {
    let mut policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": "limits"},
        "spec": {"matchConstraints": {"resourceRules": [{
            "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"],
            "operations": ["CREATE", "UPDATE", "DELETE"]}]}},
    });
    for (name, value) in spec.as_object().into_iter().flatten() {
        policy["spec"][name.as_str()] = value.clone();
    }
    policy
}

fn binding(name: &str, spec: &Value) -> Value {
    let mut binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": name},
        "spec": {"policyName": "limits", "validationActions": ["Deny"]},
    });
    for (name, value) in spec.as_object().into_iter().flatten() {
        binding["spec"][name.as_str()] = value.clone();
    }
    binding
}

async fn in_force(policy_spec: &Value, binding_spec: &Value) -> World {
    let world = World::start();
    let path = format!("{GROUP}/validatingadmissionpolicies");
    world.post(&path, &policy(policy_spec)).await.ok();
    bind(&world, "here", binding_spec).await.ok();
    world
}

async fn bind(world: &World, name: &str, spec: &Value) -> Answer {
    let path = format!("{GROUP}/validatingadmissionpolicybindings");
    world.post(&path, &binding(name, spec)).await
}

async fn create(world: &World, name: &str, data: &Value) -> Answer {
    let object = json!({"metadata": {"name": name}, "data": data});
    world.post(CONFIG_MAPS, &object).await
}

#[tokio::test]
async fn what_a_policy_forbids_is_refused_in_its_words() {
    let world = in_force(
        &json!({
            "variables": [
                {"name": "size", "expression": "size(object.data)"},
                {"name": "double", "expression": "variables.size * 2"},
            ],
            "matchConditions": [
                {"name": "not-deleted", "expression": "request.operation != 'DELETE'"}],
            "validations": [
                {"expression": "variables.double <= 4",
                 "messageExpression": "'too many: ' + string(variables.size)",
                 "reason": "Forbidden"},
                {"expression": "!object.metadata.name.startsWith('x')", "message": "no x"},
                {"expression": "oldObject == null || object.data == oldObject.data"},
            ],
        }),
        &json!({}),
    )
    .await;
    create(&world, "a", &json!({"a": "1", "b": "2"})).await.ok();
    let denied = "ValidatingAdmissionPolicy 'limits' with binding 'here' denied request";
    let many = create(&world, "b", &json!({"a": "1", "b": "2", "c": "3"})).await;
    many.fails(
        403,
        &format!("configmaps \"b\" is forbidden: {denied}: too many: 3"),
    );
    assert_eq!(many.body["reason"], "Forbidden");
    assert_eq!(
        many.body["details"]["causes"],
        json!([{"message": format!("{denied}: too many: 3")}])
    );
    let named = create(&world, "x", &json!({"a": "1"})).await;
    named.fails(
        422,
        &format!("configmaps \"x\" is forbidden: {denied}: no x"),
    );
    assert_eq!(named.body["reason"], "Invalid");
    let path = format!("{CONFIG_MAPS}/a");
    let changed = world
        .patch("merge", &path, &json!({"data": {"a": "2"}}))
        .await;
    changed.fails(
        422,
        &format!(
            "configmaps \"a\" is forbidden: {denied}: failed expression: oldObject == null || \
             object.data == oldObject.data"
        ),
    );
    world.delete(&path).await.ok();
}

#[tokio::test]
async fn a_policy_that_fails_denies_or_not_as_it_says() {
    let spec = json!({
        "variables": [{"name": "mark", "expression": "object.data.mark"}],
        "validations": [{"expression": "variables.mark == 'yes'"}],
    });
    let world = in_force(&spec, &json!({})).await;
    create(&world, "a", &json!({"mark": "yes"})).await.ok();
    create(&world, "b", &json!({"a": "b"})).await.fails(
        422,
        "configmaps \"b\" is forbidden: ValidatingAdmissionPolicy 'limits' with binding 'here' \
         denied request: expression 'variables.mark == 'yes'' resulted in error: composited \
         variable \"mark\" fails to evaluate: no such key: mark",
    );
    let path = format!("{GROUP}/validatingadmissionpolicies/limits");
    world
        .patch(
            "merge",
            &path,
            &json!({"spec": {"failurePolicy": "Ignore"}}),
        )
        .await
        .ok();
    create(&world, "b", &json!({"a": "b"})).await.ok();
    assert_eq!(create(&world, "c", &json!({"mark": "no"})).await.code, 422);
}

#[tokio::test]
async fn a_binding_warns_and_narrows() {
    let world = in_force(
        &json!({"validations": [{"expression": "false", "message": "never"}]}),
        &json!({"validationActions": ["Warn", "Audit"],
                "matchResources": {"objectSelector": {"matchLabels": {"watched": "yes"}}}}),
    )
    .await;
    let warned = create(&world, "a", &json!({})).await;
    assert!(warned.warnings().is_empty(), "it is not selected");
    let object = json!({"metadata": {"name": "b", "labels": {"watched": "yes"}}});
    let warned = world.post(CONFIG_MAPS, &object).await;
    assert_eq!(
        warned.warnings(),
        [
            "299 - \"Validation failed for ValidatingAdmissionPolicy 'limits' with binding 'here': never\""
        ]
    );
    warned.ok();
}

#[tokio::test]
async fn parameters_are_found_by_name_or_selector() {
    let world = in_force(
        &json!({
            "paramKind": {"apiVersion": "v1", "kind": "Secret"},
            "validations": [{"expression": "size(object.data) <= int(params.metadata.labels.max)",
                             "messageExpression": "'at most ' + params.metadata.labels.max"}],
        }),
        &json!({"paramRef": {"name": "limit", "parameterNotFoundAction": "Deny"}}),
    )
    .await;
    create(&world, "a", &json!({"a": "1"})).await.fails(
        422,
        "configmaps \"a\" is forbidden: ValidatingAdmissionPolicy 'limits' with binding 'here' \
         denied request: failed to configure binding: no params found for policy binding with \
         `Deny` parameterNotFoundAction",
    );
    let secret = |name: &str, max: &str| json!({"metadata": {"name": name, "labels": {"max": max, "kind": "limit"}}});
    let secrets = "/api/v1/namespaces/default/secrets";
    world.post(secrets, &secret("limit", "1")).await.ok();
    create(&world, "a", &json!({"a": "1"})).await.ok();
    let two = create(&world, "b", &json!({"a": "1", "b": "2"})).await;
    assert!(two.message().ends_with("at most 1"), "{}", two.text);
    world
        .delete(&format!("{GROUP}/validatingadmissionpolicybindings/here"))
        .await
        .ok();
    world.post(secrets, &secret("other", "0")).await.ok();
    let selector = json!({"paramRef": {"selector": {"matchLabels": {"kind": "limit"}},
                                       "parameterNotFoundAction": "Allow"}});
    bind(&world, "all", &selector).await.ok();
    let none = create(&world, "b", &json!({"a": "1"})).await;
    assert!(none.message().ends_with("at most 0"), "{}", none.text);
}

#[tokio::test]
async fn policies_and_bindings_are_validated() {
    let world = World::start();
    let path = format!("{GROUP}/validatingadmissionpolicies");
    let bad = policy(&json!({
        "variables": [{"name": "a-b", "expression": "1"}],
        "validations": [
            {"expression": "object.spec.x +", "message": "a\nb", "reason": "Odd"},
            {"expression": "variables.none == 1", "messageExpression": "1"},
            {"expression": "params.x == 1"},
        ],
    }));
    let refused = world.post(&path, &bad).await;
    assert_eq!(refused.code, 422);
    for part in [
        "spec.variables[0].name: Invalid value: \"a-b\": name is not a valid CEL identifier",
        "spec.validations[0].expression: Invalid value: \"object.spec.x +\": compilation failed: ",
        "spec.validations[0].message: Invalid value: \"a\\nb\": message must not contain line breaks",
        "spec.validations[0].reason: Unsupported value: \"Odd\": supported values: \"Forbidden\", \
         \"Invalid\", \"RequestEntityTooLarge\", \"Unauthorized\"",
        "undefined field 'none'",
        "spec.validations[1].messageExpression: Invalid value: \"1\": must evaluate to string but got \
         int",
        "undeclared reference to 'params'",
    ] {
        assert!(refused.message().contains(part), "{part}: {}", refused.text);
    }
    let none = json!({"apiVersion": "admissionregistration.k8s.io/v1",
                      "kind": "ValidatingAdmissionPolicy", "metadata": {"name": "none"},
                      "spec": {}});
    let none = world.post(&path, &none).await;
    assert!(
        none.message().contains(
            "spec.validations: Required value: validations or auditAnnotations must contain at \
             least one item"
        ) && none
            .message()
            .contains("spec.matchConstraints: Required value"),
        "{}",
        none.text
    );
    let both = bind(
        &world,
        "b",
        &json!({"validationActions": ["Deny", "Warn", "Odd"]}),
    )
    .await;
    assert!(
        both.message()
            .contains("must not contain both Deny and Warn")
            && both
                .message()
                .contains("spec.validationActions[2]: Unsupported value: \"Odd\""),
        "{}",
        both.text
    );
}

#[tokio::test]
async fn a_policy_may_ask_what_somebody_may_do() {
    let world = in_force(
        &json!({"validations": [
            {"expression": "authorizer.group('').resource('secrets').namespace('default')\
                            .check('get').allowed()",
             "message": "who writes must read secrets"},
            {"expression": "!authorizer.serviceAccount('default', 'default').path('/metrics')\
                            .check('get').allowed()", "message": "the service account may not"},
            {"expression": "authorizer.requestResource.check('create').allowed() && \
                            !authorizer.requestResource.subresource('x').check('odd').errored()",
             "message": "the request itself"},
        ]}),
        &json!({}),
    )
    .await;
    create(&world, "a", &json!({})).await.ok();
    let group = "/apis/rbac.authorization.k8s.io/v1";
    let role = json!({"metadata": {"name": "writer"}, "rules": [
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create"]}]});
    let path = format!("{group}/namespaces/default/roles");
    world.post(&path, &role).await.ok();
    let binding = json!({"metadata": {"name": "jan"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "writer"},
        "subjects": [{"kind": "User", "name": "jan"}]});
    let path = format!("{group}/namespaces/default/rolebindings");
    world.post(&path, &binding).await.ok();
    let refused = create(&world.as_user("jan"), "b", &json!({})).await;
    assert!(
        refused.message().ends_with("who writes must read secrets"),
        "{}",
        refused.text
    );
    let wrong = policy(&json!({"validations": [
        {"expression": "authorizer.resource('pods').check('get').allowed()"}]}));
    let path = format!("{GROUP}/validatingadmissionpolicies");
    let refused = world.post(&path, &wrong).await;
    assert!(
        refused.message().contains(
            "found no matching overload for 'resource' applied to \
             'kubernetes.authorization.Authorizer.(string)'"
        ),
        "{}",
        refused.text
    );
}
