//! Custom resources.

use serde_json::{Value, json};

use crate::support::{World, names};

pub(crate) const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
pub(crate) const WIDGETS: &str = "/apis/example.com/v1/namespaces/default/widgets";

pub(crate) fn definition() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget", "shortNames": ["wd"]},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "subresources": {"status": {}},
                "additionalPrinterColumns": [{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}],
                "selectableFields": [{"jsonPath": ".spec.colour"}],
                "schema": {"openAPIV3Schema": {
                    "type": "object",
                    "properties": {
                        "spec": {
                            "type": "object", "required": ["size"],
                            "properties": {
                                "size": {"type": "integer", "minimum": 1},
                                "colour": {"type": "string", "default": "red"},
                            },
                            "x-kubernetes-validations": [
                                {"rule": "self.size < 100", "message": "too big"},
                                {"rule": "self.size >= oldSelf.size", "message": "must not shrink"},
                            ],
                        },
                        "status": {"type": "object", "properties": {"ready": {"type": "boolean"}}},
                    },
                }},
            }],
        },
    })
}

pub(crate) fn widget(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name}, "spec": spec})
}

async fn defined() -> World {
    let world = World::start();
    world.post(DEFINITIONS, &definition()).await.ok();
    world
}

#[tokio::test]
async fn a_definition_is_established_and_served_at_once() {
    let world = World::start();
    let created = world.post(DEFINITIONS, &definition()).await.ok();
    assert_eq!(created["status"]["storedVersions"], json!(["v1"]));
    let seen = world
        .get(&format!("{DEFINITIONS}/widgets.example.com"))
        .await
        .ok();
    let conditions = seen["status"]["conditions"].as_array().unwrap();
    for kind in ["NamesAccepted", "Established"] {
        assert!(
            conditions
                .iter()
                .any(|one| one["type"] == kind && one["status"] == "True")
        );
    }
    assert_eq!(seen["status"]["acceptedNames"]["listKind"], "WidgetList");
    let list = world.get(WIDGETS).await.ok();
    assert_eq!(
        (&list["kind"], &list["metadata"]["continue"]),
        (&json!("WidgetList"), &json!(""))
    );
    let resources = world.get("/apis/example.com/v1").await.ok();
    assert_eq!(resources["resources"][0]["shortNames"], json!(["wd"]));
}

#[tokio::test]
async fn objects_are_defaulted_pruned_and_validated() {
    let world = defined().await;
    let made = world
        .post(WIDGETS, &widget("a", &json!({"size": 3, "extra": true})))
        .await;
    assert_eq!(
        made.warnings(),
        ["299 - \"unknown field \\\"spec.extra\\\"\""]
    );
    let made = made.ok();
    assert_eq!(made["spec"], json!({"size": 3, "colour": "red"}));
    assert_eq!(made["metadata"]["generation"], 1);
    let missing = world.post(WIDGETS, &widget("b", &json!({}))).await;
    assert!(
        missing.message().contains("spec.size: Required value"),
        "{}",
        missing.text
    );
    let wrong = world
        .post(WIDGETS, &widget("b", &json!({"size": "x"})))
        .await;
    assert!(
        wrong.message().contains(
            "spec.size: Invalid value: \"string\": spec.size in body must be of type integer"
        ),
        "{}",
        wrong.text
    );
    let big = world
        .post(WIDGETS, &widget("b", &json!({"size": 100})))
        .await;
    assert!(big.message().contains("too big"), "{}", big.text);
    let shrunk = world
        .patch(
            "merge",
            &format!("{WIDGETS}/a"),
            &json!({"spec": {"size": 2}}),
        )
        .await;
    assert!(
        shrunk.message().contains("must not shrink"),
        "{}",
        shrunk.text
    );
}

#[tokio::test]
async fn the_status_is_written_apart() {
    let world = defined().await;
    let mut object = widget("a", &json!({"size": 3}));
    object["status"] = json!({"ready": true});
    let made = world.post(WIDGETS, &object).await.ok();
    assert!(made.get("status").is_none());
    let path = format!("{WIDGETS}/a");
    let change = json!({"status": {"ready": true}, "spec": {"size": 50}});
    let status = world
        .patch("merge", &format!("{path}/status"), &change)
        .await
        .ok();
    assert_eq!(
        (&status["status"]["ready"], &status["spec"]["size"]),
        (&json!(true), &json!(3))
    );
    assert_eq!(status["metadata"]["generation"], 1);
    let spec = world
        .patch(
            "merge",
            &path,
            &json!({"status": null, "spec": {"size": 4}}),
        )
        .await
        .ok();
    assert_eq!(
        (&spec["status"]["ready"], &spec["metadata"]["generation"]),
        (&json!(true), &json!(2))
    );
}

#[tokio::test]
async fn updates_must_name_a_revision_and_kind() {
    let world = defined().await;
    world
        .post(WIDGETS, &widget("a", &json!({"size": 3})))
        .await
        .ok();
    let blind = world
        .put(&format!("{WIDGETS}/a"), &widget("a", &json!({"size": 4})))
        .await;
    assert_eq!(blind.code, 422);
    assert!(
        blind.message().contains(
            "metadata.resourceVersion: Invalid value: 0: must be specified for an update"
        ),
        "{}",
        blind.text
    );
    let mut odd = widget("b", &json!({"size": 3}));
    odd["kind"] = "Gadget".into();
    world.post(WIDGETS, &odd).await.fails(
        422,
        "Gadget.example.com \"b\" is invalid: kind: Invalid value: \"Gadget\": must be Widget",
    );
}

#[tokio::test]
async fn printer_columns_and_selectable_fields_are_served() {
    let world = defined().await;
    world
        .post(WIDGETS, &widget("a", &json!({"size": 3})))
        .await
        .ok();
    world
        .post(WIDGETS, &widget("b", &json!({"size": 4, "colour": "blue"})))
        .await
        .ok();
    let table = world
        .get_as(WIDGETS, "application/json;as=Table;v=v1;g=meta.k8s.io")
        .await
        .ok();
    assert_eq!(table["columnDefinitions"][1]["name"], "Size");
    assert_eq!(table["rows"][1]["cells"], json!(["b", 4]));
    let blue = world
        .get(&format!("{WIDGETS}?fieldSelector=spec.colour%3Dblue"))
        .await
        .ok();
    assert_eq!(names(&blue), ["b"]);
    assert_eq!(
        world
            .get(&format!("{WIDGETS}?fieldSelector=spec.size%3D3"))
            .await
            .code,
        400
    );
}

#[tokio::test]
async fn objects_go_with_their_definition() {
    let world = defined().await;
    let mut held = widget("held", &json!({"size": 1}));
    held["metadata"]["finalizers"] = json!(["example.com/f"]);
    world.post(WIDGETS, &held).await.ok();
    world
        .post(WIDGETS, &widget("free", &json!({"size": 1})))
        .await
        .ok();
    let path = format!("{DEFINITIONS}/widgets.example.com");
    let marked = world.delete(&path).await.ok();
    assert_eq!(
        marked["metadata"]["finalizers"],
        json!(["customresourcecleanup.apiextensions.k8s.io"])
    );
    assert_eq!(names(&world.get(WIDGETS).await.ok()), ["held"]);
    let late = world
        .post(WIDGETS, &widget("late", &json!({"size": 1})))
        .await;
    late.fails(
        405,
        "create not allowed while custom resource definition is terminating",
    );
    world
        .patch(
            "merge",
            &format!("{WIDGETS}/held"),
            &json!({"metadata": {"finalizers": null}}),
        )
        .await
        .ok();
    assert_eq!(world.get(&path).await.code, 404);
    assert_eq!(world.get(WIDGETS).await.text, "404 page not found\n");
}

#[tokio::test]
async fn names_in_use_are_a_condition() {
    let world = defined().await;
    let mut other = definition();
    other["metadata"]["name"] = "widgetz.example.com".into();
    other["spec"]["names"] = json!({"plural": "widgetz", "singular": "widgetz", "kind": "Widget"});
    world.post(DEFINITIONS, &other).await.ok();
    let seen = world
        .get(&format!("{DEFINITIONS}/widgetz.example.com"))
        .await
        .ok();
    let conditions = seen["status"]["conditions"].as_array().unwrap();
    let names = conditions
        .iter()
        .find(|one| one["type"] == "NamesAccepted")
        .unwrap();
    assert_eq!(
        (&names["status"], &names["reason"]),
        (&json!("False"), &json!("ListKindConflict"))
    );
    assert_eq!(world.get("/apis/example.com/v1/widgetz").await.code, 404);
}

#[tokio::test]
async fn versions_show_the_same_object() {
    let world = World::start();
    let mut two = definition();
    let mut old = two["spec"]["versions"][0].clone();
    old["name"] = "v1beta1".into();
    old["storage"] = false.into();
    old["deprecated"] = true.into();
    two["spec"]["versions"].as_array_mut().unwrap().push(old);
    world.post(DEFINITIONS, &two).await.ok();
    world
        .post(WIDGETS, &widget("a", &json!({"size": 3})))
        .await
        .ok();
    let path = "/apis/example.com/v1beta1/namespaces/default/widgets/a";
    let seen = world.get(path).await;
    assert_eq!(
        seen.warnings(),
        ["299 - \"example.com/v1beta1 Widget is deprecated; use example.com/v1 Widget\""]
    );
    let seen = seen.ok();
    assert_eq!(
        (&seen["apiVersion"], &seen["spec"]["size"]),
        (&json!("example.com/v1beta1"), &json!(3))
    );
    let mut watch = world
        .watch("/apis/example.com/v1beta1/widgets?watch=true")
        .await;
    assert_eq!(
        watch.next().await.unwrap()["object"]["apiVersion"],
        "example.com/v1beta1"
    );
}

#[tokio::test]
async fn formats_that_nothing_checks_are_warned_of() {
    let world = World::start();
    let mut odd = definition();
    let properties = &mut odd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];
    properties["spec"]["properties"]["colour"]["format"] = "rgb-color".into();
    properties["spec"]["properties"]["size"]["format"] = "int8".into();
    properties["spec"]["properties"]["shape"] = json!({"type": "string", "format": "round"});
    let made = world.post(DEFINITIONS, &odd).await;
    let mut warnings = made.warnings();
    warnings.sort_unstable();
    assert_eq!(
        warnings,
        [
            "299 - \"unrecognized format \\\"int8\\\"\"",
            "299 - \"unrecognized format \\\"round\\\"\"",
        ]
    );
    made.ok();
    let path = format!("{DEFINITIONS}/widgets.example.com");
    let label = json!({"metadata": {"labels": {"a": "b"}}});
    let same = world.patch("merge", &path, &label).await;
    assert!(same.warnings().is_empty(), "they were there before");
    let conversion = json!({"spec": {"conversion": {"strategy": "Webhook", "webhook": {
        "conversionReviewVersions": ["v1"], "clientConfig": {"url": "http://x/y?z"}}}}});
    let refused = world.patch("merge", &path, &conversion).await;
    for part in [
        "spec.conversion.webhookClientConfig.url: Invalid value: \"http\": 'https' is the only \
         allowed URL scheme",
        "spec.conversion.webhookClientConfig.url: Invalid value: \"z\": query parameters",
    ] {
        assert!(refused.message().contains(part), "{}", refused.text);
    }
}
