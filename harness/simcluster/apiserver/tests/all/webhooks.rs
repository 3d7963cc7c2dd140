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

async fn register(world: &World, resource: &str, config: &Value, more: &Value) {
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
    let hook = Hook::start(|_| {
        let patch = json!([{"op": "add", "path": "/data/added", "value": "yes"}]);
        json!({"allowed": true, "patchType": "JSONPatch",
               "patch": STANDARD.encode(patch.to_string())})
    })
    .await;
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
async fn what_is_not_evaluated_of_a_webhook_answers_501() {
    let world = World::start();
    let hook = Hook::start(|_| json!({"allowed": true})).await;
    let more = json!({"matchConditions": [{"name": "c", "expression": "true"}]});
    register(
        &world,
        "validatingwebhookconfigurations",
        &hook.config,
        &more,
    )
    .await;
    assert_eq!(world.post(CONFIG_MAPS, &config_map("a")).await.code, 501);
}
