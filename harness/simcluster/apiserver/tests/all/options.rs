//! Options of requests that are read as the real server reads them, to the letter.

use std::time::Duration;

use http::Request;
use kube::client::Body;
use serde_json::{Value, json};

use crate::support::{Answer, CONFIG_MAPS, World, names};

const CUSTOM: &str = "/apis/example.com/v1/namespaces/default/widgets";

fn definition() -> Value {
    json!({
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {
                "openAPIV3Schema": {"type": "object",
                    "x-kubernetes-preserve-unknown-fields": true}},
                "subresources": {"scale": {"specReplicasPath": ".spec.replicas",
                    "statusReplicasPath": ".status.replicas"}}}],
        },
    })
}

async fn with_widgets() -> World {
    let world = World::start();
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    world.post(path, &definition()).await.ok();
    world
}

async fn raw(world: &World, method: &str, path: &str, media_type: &str, body: &str) -> Answer {
    let request = Request::builder().method(method).uri(path);
    let request = request.header("content-type", media_type);
    let body = Body::from(body.as_bytes().to_vec());
    world
        .send(request.body(body).expect("the path is one"))
        .await
}

#[tokio::test]
async fn a_watch_lasts_as_long_as_its_time_out_even_when_that_is_absurd() {
    let world = World::start();
    for seconds in ["-5", "10000000000"] {
        let path = format!("{CONFIG_MAPS}?watch=true&timeoutSeconds={seconds}");
        let ended = tokio::time::timeout(Duration::from_secs(120), world.get(&path)).await;
        let ended = ended.unwrap_or_else(|_| panic!("timeoutSeconds={seconds} has passed"));
        assert_eq!(ended.code, 200, "{}", ended.text);
    }
    let path = format!("{CONFIG_MAPS}?watch=true&timeoutSeconds={}", i64::MAX);
    // In nanoseconds of 64 bits that is just before now.
    assert_eq!(world.get(&path).await.code, 200);
}

#[tokio::test]
async fn numbers_and_durations_that_are_none_are_refused_in_gos_words() {
    let world = World::start();
    for (query, why) in [
        ("limit=x", "strconv.ParseInt: parsing \"x\": invalid syntax"),
        (
            "limit=99999999999999999999",
            "strconv.ParseInt: parsing \"99999999999999999999\": value out of range",
        ),
        (
            "timeout=abc",
            "invalid timeout specified in the request URL - time: invalid duration \"abc\"",
        ),
        (
            "timeout=5",
            "invalid timeout specified in the request URL - time: missing unit in duration \"5\"",
        ),
        (
            "timeout=5y",
            "invalid timeout specified in the request URL - time: unknown unit \"y\" in duration \
             \"5y\"",
        ),
    ] {
        let answer = world.get(&format!("{CONFIG_MAPS}?{query}")).await;
        answer.fails(400, why);
    }
    world.get(&format!("{CONFIG_MAPS}?timeout=0")).await.ok();
    world.config_map("a", &json!({})).await;
    let answer = world
        .delete(&format!("{CONFIG_MAPS}/a?gracePeriodSeconds=x"))
        .await;
    answer.fails(400, "strconv.ParseInt: parsing \"x\": invalid syntax");
}

#[tokio::test]
async fn the_options_of_a_deletion_are_read_from_its_body_alone_when_it_has_one() {
    let world = World::start();
    let path = format!("{CONFIG_MAPS}/a");
    world.config_map("a", &json!({})).await;
    for (body, why) in [
        (
            json!({"gracePeriodSeconds": "soon"}),
            "json: cannot unmarshal string into Go struct field \
             DeleteOptions.gracePeriodSeconds of type int64",
        ),
        (
            json!({"dryRun": "All"}),
            "json: cannot unmarshal string into Go struct field DeleteOptions.dryRun of type \
             []string",
        ),
        (
            json!({"kind": "Pod", "apiVersion": "v1"}),
            "no kind \"Pod\" is registered for version \"v1\" in scheme \
             \"k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme/register.go:27\"",
        ),
    ] {
        world.delete_with(&path, &body).await.fails(400, why);
    }
    let both = json!({"propagationPolicy": "Now", "orphanDependents": true});
    world.delete_with(&path, &both).await.fails(
        422,
        "DeleteOptions.meta.k8s.io \"\" is invalid: [propagationPolicy: Invalid value: \"Now\": \
         orphanDependents and deletionPropagation cannot be both set, propagationPolicy: \
         Unsupported value: \"Now\": supported values: \"Foreground\", \"Background\", \
         \"Orphan\", \"nil\"]",
    );
    assert_eq!(
        world
            .delete(&format!("{path}?propagationPolicy="))
            .await
            .code,
        422,
        "an empty policy is none that is known"
    );
    world.get(&path).await.ok();
    let dry = format!("{path}?dryRun=All");
    world.delete_with(&dry, &json!({})).await.ok();
    assert_eq!(world.get(&path).await.code, 404, "the query did not count");
}

#[tokio::test]
async fn options_of_a_log_are_numbers() {
    let world = World::start();
    let pods = "/api/v1/namespaces/default/pods";
    let pod = json!({"metadata": {"name": "p"},
        "spec": {"containers": [{"name": "c", "image": "i"}]}});
    world.post(pods, &pod).await.ok();
    let path = format!("{pods}/p/log?tailLines=all");
    let answer = world.get(&path).await;
    answer.fails(400, "strconv.ParseInt: parsing \"all\": invalid syntax");
}

#[tokio::test]
async fn a_deletion_that_has_only_begun_is_202_for_who_asks_in_the_old_way() {
    let world = World::start();
    let object = json!({"metadata": {"name": "a", "finalizers": ["example.com/x"]}});
    world.post(CONFIG_MAPS, &object).await.ok();
    let path = format!("{CONFIG_MAPS}/a");
    let old = format!("{path}?orphanDependents=false");
    assert_eq!(world.delete(&old).await.code, 202);
    assert_eq!(world.delete(&path).await.code, 200);
}

#[tokio::test]
async fn the_deletion_of_a_collection_keeps_the_rules_of_lists() {
    let world = World::start();
    for name in ["a", "b", "c"] {
        world.config_map(name, &json!({})).await;
    }
    let bad = format!("{CONFIG_MAPS}?resourceVersionMatch=Foo&resourceVersion=1");
    assert_eq!(world.delete(&bad).await.code, 422);
    let some = world.delete(&format!("{CONFIG_MAPS}?limit=2")).await.ok();
    assert_eq!(names(&some), ["a", "b"]);
    let left = world.get(CONFIG_MAPS).await.ok();
    assert_eq!(names(&left), ["c"], "{left}");
}

#[tokio::test]
async fn a_list_whose_revision_is_forgotten_can_go_on_with_what_there_is_now() {
    let world = World::start();
    for name in ["a", "b", "c"] {
        world.config_map(name, &json!({})).await;
    }
    let first = world.get(&format!("{CONFIG_MAPS}?limit=1")).await.ok();
    let token = first["metadata"]["continue"].as_str().unwrap_or_default();
    world.config_map("d", &json!({})).await;
    world.server.compact();
    let gone = world
        .get(&format!("{CONFIG_MAPS}?limit=5&continue={token}"))
        .await;
    assert_eq!(gone.code, 410, "{}", gone.text);
    let anew = gone.body["metadata"]["continue"]
        .as_str()
        .expect("the refusal says how to go on");
    let rest = world
        .get(&format!("{CONFIG_MAPS}?limit=5&continue={anew}"))
        .await
        .ok();
    assert_eq!(names(&rest), ["b", "c", "d"]);
}

#[tokio::test]
async fn a_continue_token_leads_nowhere_else() {
    use base64::Engine as _;
    let world = World::start();
    let token = json!({"v": "meta.k8s.io/v1", "rv": 1, "start": "../secrets/a"}).to_string();
    let token = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(token);
    let answer = world.get(&format!("{CONFIG_MAPS}?continue={token}")).await;
    answer.fails(
        400,
        "invalid continue token: continue key is not valid: ../secrets/a",
    );
}

#[tokio::test]
async fn a_watch_of_one_object_selects_no_other() {
    let world = World::start();
    world.config_map("a", &json!({})).await;
    let path = format!("{CONFIG_MAPS}/a?watch=true&timeoutSeconds=1&fieldSelector=metadata.name=b");
    world.get(&path).await.fails(
        400,
        "fieldSelector metadata.name doesn't match requested name",
    );
    let watch = format!("{CONFIG_MAPS}?watch=true&timeoutSeconds=1");
    world.get_as(&watch, "application/yaml").await.fails(
        406,
        "only the following media types are accepted: application/json;stream=watch, \
         application/vnd.kubernetes.protobuf;stream=watch",
    );
    world
        .get(&format!("{CONFIG_MAPS}/a?export=true"))
        .await
        .fails(
            400,
            "the export parameter, deprecated since v1.14, is no longer supported",
        );
}

#[tokio::test]
async fn an_owner_given_twice_is_kept_once_and_warned_of() {
    let world = World::start();
    let owner = json!({"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u"});
    let object = json!({"metadata": {"name": "a", "ownerReferences": [owner, owner]}});
    let answer = world.post(CONFIG_MAPS, &object).await;
    assert!(
        answer.warnings()[0].contains("duplicate UID(s) observed: u"),
        "{:?}",
        answer.warnings()
    );
    assert_eq!(answer.ok()["metadata"]["ownerReferences"], json!([owner]));
    let twice = json!([{"op": "add", "path": "/metadata/ownerReferences/-", "value": owner}]);
    let answer = world
        .patch("json", &format!("{CONFIG_MAPS}/a"), &twice)
        .await;
    assert!(
        answer.warnings()[0].contains("after mutating admission happens"),
        "{:?}",
        answer.warnings()
    );
    assert_eq!(answer.ok()["metadata"]["ownerReferences"], json!([owner]));
}

#[tokio::test]
async fn what_only_the_server_decides_is_owned_by_nobody() {
    let world = World::start();
    let object = json!({"metadata": {"name": "a", "deletionGracePeriodSeconds": 5,
        "deletionTimestamp": "2020-01-01T00:00:00Z"}});
    let made = world.post(CONFIG_MAPS, &object).await.ok();
    assert!(made["metadata"]["managedFields"].is_null(), "{made}");
}

#[tokio::test]
async fn a_field_manager_of_strange_characters_is_refused_by_each_of_them() {
    let world = World::start();
    let path = format!("{CONFIG_MAPS}?fieldManager=a%01b%02");
    let answer = world.post(&path, &json!({"metadata": {"name": "a"}})).await;
    answer.fails(
        422,
        "CreateOptions.meta.k8s.io \"\" is invalid: [fieldManager: Invalid value: \
         \"a\\x01b\\x02\": invalid character U+0001 (at position 1), fieldManager: Invalid value: \
         \"a\\x01b\\x02\": invalid character U+0002 (at position 3)]",
    );
    let empty = format!("{CONFIG_MAPS}?dryRun=");
    let answer = world
        .post(&empty, &json!({"metadata": {"name": "a"}}))
        .await;
    assert_eq!(answer.code, 422, "{}", answer.text);
}

#[tokio::test]
async fn custom_resources_must_say_what_they_are() {
    let world = with_widgets().await;
    let nameless = "Object 'Kind' is missing in 'object has no kind field '";
    let meta = json!({"name": "a"});
    for (body, code, why) in [
        (json!({"metadata": meta}), 400, nameless),
        (
            json!({"kind": "Widget", "metadata": meta}),
            400,
            "the API version in the data () does not match the expected API version \
             (example.com/v1)",
        ),
        (
            json!({"kind": "Widget", "apiVersion": "example.com/v2", "metadata": meta}),
            400,
            "the API version in the data (example.com/v2) does not match the expected API \
             version (example.com/v1)",
        ),
        (
            json!([]),
            400,
            "the object provided is unrecognized (must be of type Widget): couldn't get \
             version/kind; json parse error: json: cannot unmarshal array into Go value of type \
             struct { APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \
             \"json:\\\"kind,omitempty\\\"\" } (5b5d)",
        ),
    ] {
        world.post(CUSTOM, &body).await.fails(code, why);
    }
    let widget = json!({"kind": "Widget", "apiVersion": "example.com/v1", "metadata": meta});
    world.post(CUSTOM, &widget).await.ok();
    let path = format!("{CUSTOM}/a");
    let other = json!({"apiVersion": "example.com/v2"});
    world.patch("merge", &path, &other).await.fails(
        422,
        "Widget.example.com \"a\" is invalid: apiVersion: Invalid value: \"example.com/v2\": \
         must be example.com/v1",
    );
}

#[tokio::test]
async fn a_custom_resource_without_replicas_has_no_scale() {
    let world = with_widgets().await;
    let widget = json!({"kind": "Widget", "apiVersion": "example.com/v1",
        "metadata": {"name": "a"}});
    world.post(CUSTOM, &widget).await.ok();
    let scale = format!("{CUSTOM}/a/scale");
    world.get(&scale).await.fails(
        500,
        "Internal error occurred: the spec replicas field \".spec.replicas\" does not exist",
    );
    let wanted = json!({"spec": {"replicas": 2}});
    world.patch("merge", &scale, &wanted).await.ok();
    assert_eq!(world.get(&scale).await.ok()["spec"]["replicas"], 2);
}

#[tokio::test]
async fn a_body_that_is_no_object_is_shown_by_its_beginning() {
    let world = World::start();
    let long = format!("\"{}", "x".repeat(40));
    let answer = raw(&world, "POST", CONFIG_MAPS, "application/json", &long).await;
    assert_eq!(answer.code, 400);
    assert!(
        answer
            .message()
            .ends_with(&format!("(22{} ...)", "78".repeat(29))),
        "{}",
        answer.text
    );
    let answer = raw(&world, "POST", CONFIG_MAPS, "application/yaml", "a: b: c").await;
    assert!(
        answer
            .message()
            .starts_with("the object provided is unrecognized (must be of type ConfigMap): yaml: "),
        "{}",
        answer.text
    );
    let upper = raw(
        &world,
        "POST",
        CONFIG_MAPS,
        "Application/JSON; charset=utf-8",
        "{\"metadata\": {\"name\": \"a\"}}",
    );
    assert_eq!(upper.await.code, 201, "media types have no case");
}

#[tokio::test]
async fn a_finalizer_that_others_could_use_is_warned_of() {
    let world = with_widgets().await;
    let widget = json!({"kind": "Widget", "apiVersion": "example.com/v1",
        "metadata": {"name": "a", "finalizers": ["mine", "my.own", "example.com/mine"]}});
    let answer = world.post(CUSTOM, &widget).await;
    let warned = answer.warnings().join("\n");
    assert!(
        warned.contains(
            "metadata.finalizers: \\\"mine\\\": prefer a domain-qualified finalizer name to avoid"
        ) && warned.contains(
            "metadata.finalizers: \\\"my.own\\\": prefer a domain-qualified finalizer name \
             including a path (/) to avoid"
        ) && !warned.contains("example.com/mine"),
        "{warned} {}",
        answer.text
    );
    answer.ok();
}

#[tokio::test]
async fn an_operation_of_a_json_patch_with_too_much_is_warned_of() {
    let world = World::start();
    world.config_map("a", &json!({})).await;
    let patch = json!([{"op": "add", "path": "/data", "value": {"a": "b"}, "extra": 1}]);
    let answer = world
        .patch("json", &format!("{CONFIG_MAPS}/a"), &patch)
        .await;
    assert_eq!(
        answer.warnings(),
        ["299 - \"json patch unknown field \\\"[0].extra\\\"\""]
    );
}
