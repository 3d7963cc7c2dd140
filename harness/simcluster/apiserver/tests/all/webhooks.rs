//! Admission webhooks.

use std::net::Ipv4Addr;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{
    hook::Hook,
    support::{CONFIG_MAPS, World},
};

const CONFIGURATIONS: &str = "/apis/admissionregistration.k8s.io/v1";

pub(crate) async fn register(world: &World, resource: &str, config: &Value, more: &Value) {
    let kind = match resource {
        "mutatingwebhookconfigurations" => "MutatingWebhookConfiguration",
        _ => "ValidatingWebhookConfiguration",
    };
    let mut hook = json!({
        "name": "ask.example.com", "clientConfig": config, "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"],
                   "operations": ["CREATE", "UPDATE", "DELETE"]}],
    });
    for (name, value) in more.as_object().into_iter().flatten() {
        hook[name.as_str()] = value.clone();
    }
    let body = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": kind,
        "metadata": {"name": "ask"}, "webhooks": [hook],
    });
    let path = format!("{CONFIGURATIONS}/{resource}");
    world.post(&path, &body).await.ok();
}

fn config_map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "b"}})
}

#[tokio::test]
async fn a_mutating_webhook_changes_what_is_written() {
    let world = World::start();
    let hook = Hook::adding().await;
    let resource = "mutatingwebhookconfigurations";
    register(&world, resource, &hook.config, &json!({})).await;
    let made = world.post(CONFIG_MAPS, &config_map("a")).await.ok();
    assert_eq!(made["data"], json!({"a": "b", "added": "yes"}));
    let owned = made["metadata"]["managedFields"][0]["fieldsV1"]["f:data"].clone();
    assert!(
        owned["f:added"].is_null(),
        "the client did not send it: {owned}"
    );
    let asked = hook.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0]["operation"], "CREATE");
    assert_eq!(asked[0]["resource"]["resource"], "configmaps");
    assert_eq!(asked[0]["namespace"], "default");
    assert_eq!(asked[0]["userInfo"]["username"], "kubernetes-admin");
    assert_eq!(asked[0]["object"]["data"]["a"], "b");
    assert!(asked[0]["oldObject"].is_null());
}

#[tokio::test]
async fn a_validating_webhook_refuses_in_its_own_words() {
    let world = World::start();
    let hook = Hook::start(|request| {
        let name = if request["operation"] == "DELETE" {
            &request["oldObject"]["metadata"]["name"]
        } else {
            &request["object"]["metadata"]["name"]
        };
        match (name.as_str(), request["operation"].as_str()) {
            (Some("bad"), _) => json!({"allowed": false,
                "status": {"code": 403, "reason": "Forbidden", "message": "no bad names"}}),
            (_, Some("DELETE")) => json!({"allowed": false}),
            _ => json!({"allowed": true, "warnings": ["mind the gap"]}),
        }
    })
    .await;
    let resource = "validatingwebhookconfigurations";
    register(&world, resource, &hook.config, &json!({})).await;
    let words = "admission webhook \"ask.example.com\" denied the request: no bad names";
    world
        .post(CONFIG_MAPS, &config_map("bad"))
        .await
        .fails(403, words);
    let made = world.post(CONFIG_MAPS, &config_map("good")).await;
    assert_eq!(made.warnings(), ["299 - \"mind the gap\""]);
    made.ok();
    let path = format!("{CONFIG_MAPS}/good");
    let more = json!({"data": {"c": "d"}});
    world.patch("merge", &path, &more).await.ok();
    let update = hook.asked().pop().expect("it was asked");
    assert_eq!(update["operation"], "UPDATE");
    assert_eq!(update["oldObject"]["data"], json!({"a": "b"}));
    assert_eq!(update["object"]["data"], json!({"a": "b", "c": "d"}));
    let words = "admission webhook \"ask.example.com\" denied the request without explanation";
    world.delete(&path).await.fails(400, words);
    world.get(&path).await.ok();
}

#[tokio::test]
async fn a_webhook_that_nobody_answers_fails_or_is_ignored_as_its_policy_says() {
    for (policy, code) in [("Fail", 500), ("Ignore", 201)] {
        let world = World::start();
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let free = free.expect("a port is free");
        let port = free.local_addr().expect("it has an address").port();
        drop(free);
        let config = json!({"url": format!("https://127.0.0.1:{port}/ask")});
        let more = json!({"failurePolicy": policy, "timeoutSeconds": 3});
        register(&world, "validatingwebhookconfigurations", &config, &more).await;
        let answer = world.post(CONFIG_MAPS, &config_map("a")).await;
        assert_eq!(answer.code, code, "{}", answer.text);
        if policy == "Fail" {
            let words = format!(
                "Internal error occurred: failed calling webhook \"ask.example.com\": failed to \
                 call webhook: Post \"https://127.0.0.1:{port}/ask?timeout=3s\": dial tcp \
                 127.0.0.1:{port}: connect: connection refused"
            );
            assert_eq!(answer.message(), words);
        }
    }
}

#[tokio::test]
async fn a_webhook_is_asked_only_of_what_it_selects() {
    let world = World::start();
    let hook = Hook::start(|_| json!({"allowed": false})).await;
    let more = json!({"objectSelector": {"matchLabels": {"ask": "me"}}});
    register(
        &world,
        "validatingwebhookconfigurations",
        &hook.config,
        &more,
    )
    .await;
    world.post(CONFIG_MAPS, &config_map("a")).await.ok();
    let secrets = "/api/v1/namespaces/default/secrets";
    let labelled = json!({"metadata": {"name": "s", "labels": {"ask": "me"}}});
    world.post(secrets, &labelled).await.ok();
    assert_eq!(hook.asked(), Vec::<Value>::new());
    let mut selected = config_map("b");
    selected["metadata"]["labels"] = json!({"ask": "me"});
    assert_eq!(world.post(CONFIG_MAPS, &selected).await.code, 400);
}

#[tokio::test]
async fn conditions_say_whether_a_webhook_is_asked() {
    let world = World::start();
    let hook = Hook::start(|_| json!({"allowed": true})).await;
    let resource = "validatingwebhookconfigurations";
    let conditions = json!({"matchConditions": [
        {"name": "not-b", "expression": "object.metadata.name != 'b'"},
        {"name": "admins", "expression": "'system:masters' in request.userInfo.groups"},
        {"name": "marked", "expression": "object.data.mark == 'yes'"},
    ]});
    register(&world, resource, &hook.config, &conditions).await;
    let marked = |name: &str, mark: &str| {
        let mut map = config_map(name);
        map["data"]["mark"] = mark.into();
        map
    };
    world.post(CONFIG_MAPS, &marked("a", "yes")).await.ok();
    world.post(CONFIG_MAPS, &marked("c", "no")).await.ok();
    // One that does not hold decides, whatever fails besides.
    world.post(CONFIG_MAPS, &config_map("b")).await.ok();
    assert_eq!(hook.asked().len(), 1);
    world.post(CONFIG_MAPS, &config_map("d")).await.fails(
        403,
        "configmaps \"d\" is forbidden: expression 'object.data.mark == 'yes'' resulted in error: \
         no such key: mark",
    );
    let path = format!("{CONFIGURATIONS}/{resource}/ask");
    let ignore = json!([{"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Ignore"}]);
    world.patch("json", &path, &ignore).await.ok();
    world.post(CONFIG_MAPS, &config_map("d")).await.ok();
    assert_eq!(hook.asked().len(), 1);
    let bad = json!([{"op": "replace", "path": "/webhooks/0/matchConditions", "value": [
        {"name": "a", "expression": "request.nothing == 1"}, {"name": "a", "expression": "1"}]}]);
    let refused = world.patch("json", &path, &bad).await;
    assert_eq!(refused.code, 422);
    for part in [
        "webhooks[0].matchConditions[0].expression: Invalid value: \"request.nothing == 1\": \
         compilation failed: ERROR: <input>:1:8: undefined field 'nothing'",
        "webhooks[0].matchConditions[1].expression: Invalid value: \"1\": must evaluate to bool but \
         got int",
        "webhooks[0].matchConditions[1].name: Duplicate value: \"a\"",
    ] {
        assert!(refused.message().contains(part), "{}", refused.text);
    }
}

#[tokio::test]
async fn a_webhook_is_shown_the_version_that_it_knows() {
    let world = World::start();
    let hook = Hook::start(|request| {
        let patch = json!([{"op": "add", "path": "/spec/maxReplicas", "value": 7}]);
        assert_eq!(request["object"]["apiVersion"], "autoscaling/v1");
        json!({"allowed": true, "patchType": "JSONPatch",
               "patch": STANDARD.encode(patch.to_string())})
    })
    .await;
    let rules = |policy: &str| {
        json!({"matchPolicy": policy, "rules": [{
            "apiGroups": ["autoscaling"], "apiVersions": ["v1"],
            "resources": ["horizontalpodautoscalers"], "operations": ["CREATE"]}]})
    };
    let resource = "mutatingwebhookconfigurations";
    register(&world, resource, &hook.config, &rules("Exact")).await;
    let scaler = |name: &str| {
        json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
               "metadata": {"name": name},
               "spec": {"maxReplicas": 3, "scaleTargetRef": {
                   "apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}}})
    };
    let scalers = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers";
    world.post(scalers, &scaler("a")).await.ok();
    assert!(hook.asked().is_empty(), "it knows no other version");
    let path = format!("{CONFIGURATIONS}/{resource}/ask");
    let equivalent =
        json!([{"op": "replace", "path": "/webhooks/0/matchPolicy", "value": "Equivalent"}]);
    world.patch("json", &path, &equivalent).await.ok();
    let made = world.post(scalers, &scaler("b")).await.ok();
    assert_eq!(made["apiVersion"], "autoscaling/v2");
    assert_eq!(made["spec"]["maxReplicas"], 7);
    let asked = hook.asked();
    assert_eq!(asked[0]["kind"]["version"], "v1");
    assert_eq!(asked[0]["requestKind"]["version"], "v2");
}

#[tokio::test]
async fn a_mutating_webhook_may_refuse_a_deletion_but_not_change_it() {
    let world = World::start();
    let hook = Hook::start(|request| match request["name"].as_str() {
        Some("kept") => json!({"allowed": false, "status": {"message": "kept"}}),
        Some("odd") if request["operation"] == "DELETE" => {
            assert!(request["object"].is_null());
            assert_eq!(request["oldObject"]["metadata"]["name"], "odd");
            let patch = json!([{"op": "add", "path": "/data", "value": {}}]);
            json!({"allowed": true, "patchType": "JSONPatch",
                   "patch": STANDARD.encode(patch.to_string())})
        }
        _ => json!({"allowed": true}),
    })
    .await;
    for name in ["kept", "odd", "free"] {
        world.post(CONFIG_MAPS, &config_map(name)).await.ok();
    }
    let resource = "mutatingwebhookconfigurations";
    register(&world, resource, &hook.config, &json!({})).await;
    let delete = async |name: &str| world.delete(&format!("{CONFIG_MAPS}/{name}")).await;
    delete("kept").await.fails(
        400,
        "admission webhook \"ask.example.com\" denied the request: kept",
    );
    delete("odd").await.fails(
        500,
        "Internal error occurred: admission webhook \"ask.example.com\" attempted to modify the \
         object, which is not supported for this operation",
    );
    delete("free").await.ok();
}
