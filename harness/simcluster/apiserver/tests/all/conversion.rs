//! Custom resources whose versions only a webhook can convert.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use serde_json::{Value, json};

use crate::{
    custom::{DEFINITIONS, WIDGETS, definition, widget},
    hook::Hook,
    support::{World, names, revision},
};

const NEWER: &str = "/apis/example.com/v2/namespaces/default/widgets";

/// In version 2, `size` is called `extent`.
fn two_versions(config: &Value) -> Value {
    let mut definition = definition();
    let mut newer = definition["spec"]["versions"][0].clone();
    newer["name"] = "v2".into();
    newer["storage"] = false.into();
    newer["selectableFields"] = json!([{"jsonPath": ".spec.extent"}]);
    newer["additionalPrinterColumns"] = json!([]);
    newer["schema"]["openAPIV3Schema"]["properties"]["spec"] = json!({
        "type": "object", "required": ["extent"],
        "properties": {"extent": {"type": "integer", "maximum": 50},
                       "colour": {"type": "string", "default": "green"}},
    });
    definition["spec"]["versions"] = json!([definition["spec"]["versions"][0], newer]);
    definition["spec"]["conversion"] = json!({"strategy": "Webhook", "webhook": {
        "clientConfig": config, "conversionReviewVersions": ["v3", "v1"]}});
    definition
}

/// What a webhook for these definitions makes of an object.
fn renamed(object: &Value, to: &str) -> Value {
    let mut object = object.clone();
    let (from, into) = match to {
        "example.com/v2" => ("size", "extent"),
        _ => ("extent", "size"),
    };
    if let Some(spec) = object["spec"].as_object_mut()
        && let Some(value) = spec.remove(from)
    {
        spec.insert(into.to_owned(), value);
    }
    object["apiVersion"] = to.into();
    object
}

fn converted(request: &Value) -> Value {
    let to = request["desiredAPIVersion"].as_str().expect("it says so");
    let objects = request["objects"].as_array().expect("it has some");
    let objects: Vec<Value> = objects.iter().map(|one| renamed(one, to)).collect();
    json!({"result": {"status": "Success"}, "convertedObjects": objects})
}

async fn with_hook(answer: impl Fn(&Value) -> Value + Send + Sync + 'static) -> (World, Hook) {
    let world = World::start();
    let hook = Hook::reviewing("ConversionReview", answer).await;
    world
        .post(DEFINITIONS, &two_versions(&hook.config))
        .await
        .ok();
    (world, hook)
}

fn newer(name: &str, spec: &Value) -> Value {
    let mut object = widget(name, spec);
    object["apiVersion"] = "example.com/v2".into();
    object
}

#[tokio::test]
async fn an_object_is_read_and_written_in_every_version() {
    let (world, hook) = with_hook(converted).await;
    let made = world
        .post(NEWER, &newer("a", &json!({"extent": 3})))
        .await
        .ok();
    assert_eq!(made["apiVersion"], "example.com/v2");
    assert_eq!(made["spec"], json!({"extent": 3, "colour": "green"}));
    let stored = world.get(&format!("{WIDGETS}/a")).await.ok();
    assert_eq!(stored["spec"], json!({"size": 3, "colour": "green"}));
    assert_eq!(stored["metadata"]["uid"], made["metadata"]["uid"]);
    let path = format!("{NEWER}/a");
    let changed = world
        .patch("merge", &path, &json!({"spec": {"extent": 4}}))
        .await
        .ok();
    assert_eq!(
        (
            &changed["spec"]["extent"],
            &changed["metadata"]["generation"]
        ),
        (&json!(4), &json!(2))
    );
    assert_eq!(
        world.get(&format!("{WIDGETS}/a")).await.ok()["spec"]["size"],
        4
    );
    let status = world
        .patch(
            "merge",
            &format!("{path}/status"),
            &json!({"status": {"ready": true}}),
        )
        .await
        .ok();
    assert_eq!(status["status"]["ready"], true);
    // Each version validates by its own schema.
    let big = world
        .patch("merge", &path, &json!({"spec": {"extent": 51}}))
        .await;
    assert_eq!(big.code, 422, "{}", big.text);
    let first = &hook.asked()[0];
    assert_eq!(first["desiredAPIVersion"], "example.com/v1");
    assert_eq!(first["objects"][0]["spec"]["extent"], 3);
    world.delete(&path).await.ok();
    assert_eq!(world.get(&format!("{WIDGETS}/a")).await.code, 404);
}

#[tokio::test]
async fn lists_and_watches_are_converted_too() {
    let (world, _hook) = with_hook(converted).await;
    for size in [1, 2] {
        let object = widget(&format!("w{size}"), &json!({"size": size}));
        world.post(WIDGETS, &object).await.ok();
    }
    let list = world.get(NEWER).await.ok();
    assert_eq!(names(&list), ["w1", "w2"]);
    assert_eq!(list["apiVersion"], "example.com/v2");
    assert_eq!(
        list["items"][1]["spec"],
        json!({"extent": 2, "colour": "red"})
    );
    let selected = world
        .get(&format!("{NEWER}?fieldSelector=spec.extent%3D2"))
        .await
        .ok();
    assert_eq!(names(&selected), ["w2"]);
    let mut watch = world
        .watch(&format!(
            "{NEWER}?watch=true&resourceVersion={}",
            revision(&list)
        ))
        .await;
    let change = json!({"spec": {"size": 7}});
    world
        .patch("merge", &format!("{WIDGETS}/w1"), &change)
        .await
        .ok();
    let event = watch.next().await.unwrap();
    assert_eq!(event["type"], "MODIFIED");
    assert_eq!(event["object"]["spec"]["extent"], 7);
    world
        .delete(&format!("{NEWER}?fieldSelector=spec.extent%3D2"))
        .await
        .ok();
    let event = watch.next().await.unwrap();
    assert_eq!(
        (&event["type"], &event["object"]["spec"]["extent"]),
        (&json!("DELETED"), &json!(2))
    );
    assert_eq!(names(&world.get(WIDGETS).await.ok()), ["w1"]);
}

#[tokio::test]
async fn only_labels_and_annotations_of_the_metadata_are_the_webhooks() {
    let (world, _hook) = with_hook(|request| {
        let mut response = converted(request);
        for object in response["convertedObjects"].as_array_mut().unwrap() {
            object["metadata"]["labels"] = json!({"made": "here"});
            object["metadata"]["finalizers"] = json!(["example.com/never"]);
        }
        response
    })
    .await;
    world
        .post(WIDGETS, &widget("a", &json!({"size": 1})))
        .await
        .ok();
    let seen = world.get(&format!("{NEWER}/a")).await.ok();
    assert_eq!(seen["metadata"]["labels"], json!({"made": "here"}));
    assert!(seen["metadata"]["finalizers"].is_null());
}

#[tokio::test]
async fn a_failed_conversion_is_told_in_the_servers_words() {
    let broken = Arc::new(AtomicBool::new(true));
    let state = Arc::clone(&broken);
    let (world, hook) = with_hook(move |request| {
        if !state.load(Ordering::SeqCst) {
            return converted(request);
        }
        match request["objects"][0]["metadata"]["name"].as_str() {
            Some("refused") => {
                json!({"result": {"status": "Failed", "message": "no such colour"}})
            }
            Some("silent") => json!({"result": {"status": "Failed"}}),
            Some("few") => json!({"result": {"status": "Success"}, "convertedObjects": []}),
            Some("same") => {
                json!({"result": {"status": "Success"}, "convertedObjects": request["objects"]})
            }
            _ => {
                let mut response = converted(request);
                response["convertedObjects"][0]["metadata"]["name"] = "other".into();
                response
            }
        }
    })
    .await;
    let kind = "example.com/v1, Kind=Widget";
    for (name, why) in [
        ("refused", "failed: no such colour"),
        (
            "silent",
            "failed: response.result.status was 'Failed', not 'Success'",
        ),
        ("few", "returned 0 objects, expected 1"),
        (
            "same",
            "returned invalid object at index 0: invalid groupVersion (expected example.com/v2, \
             received example.com/v1)",
        ),
        (
            "renamed",
            "returned invalid object: must have the same name: renamed != other",
        ),
    ] {
        world
            .post(WIDGETS, &widget(name, &json!({"size": 1})))
            .await
            .ok();
        let seen = world.get(&format!("{NEWER}/{name}")).await;
        seen.fails(500, &format!("conversion webhook for {kind} {why}"));
        assert!(seen.body.get("reason").is_none(), "{}", seen.text);
    }
    // Nothing was remembered of what went wrong.
    broken.store(false, Ordering::SeqCst);
    assert_eq!(world.get(NEWER).await.ok()["items"][0]["spec"]["extent"], 1);

    let mut definition = two_versions(&hook.config);
    drop(hook);
    definition["metadata"]["name"] = "gadgets.example.com".into();
    definition["spec"]["names"] = json!({"plural": "gadgets", "kind": "Gadget"});
    definition["spec"]["conversion"]["webhook"]["clientConfig"] =
        json!({"service": {"name": "absent", "namespace": "default", "path": "/convert"}});
    world.post(DEFINITIONS, &definition).await.ok();
    let mut gadget = newer("a", &json!({"extent": 1}));
    gadget["kind"] = "Gadget".into();
    let path = NEWER.replace("widgets", "gadgets");
    world.post(&path, &gadget).await.fails(
        500,
        "conversion webhook for example.com/v2, Kind=Gadget failed: Post \
         \"https://absent.default.svc:443/convert?timeout=30s\": service \"absent\" not found",
    );
}
