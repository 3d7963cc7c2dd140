//! What metadata may be, by examples.

use serde_json::json;

use super::*;

fn texts(errors: &[Error]) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

fn of(metadata: &Value) -> Vec<String> {
    let object = json!({ "metadata": metadata });
    texts(&validate(
        &object,
        Scope::Namespaced,
        NameRule::Subdomain,
        &Path::new("metadata"),
    ))
}

#[test]
fn a_generated_name_may_end_with_a_hyphen() {
    assert!(of(&json!({"generateName": "a-", "name": "a-x", "namespace": "n"})).is_empty());
    assert_eq!(
        of(&json!({"namespace": "n"})),
        ["metadata.name: Required value: name or generateName is required"]
    );
}

#[test]
fn a_cluster_scoped_object_has_no_namespace() {
    let object = json!({"metadata": {"name": "a", "namespace": "n"}});
    let errors = validate(
        &object,
        Scope::Cluster,
        NameRule::Label,
        &Path::new("metadata"),
    );
    assert_eq!(
        texts(&errors),
        ["metadata.namespace: Forbidden: not allowed on this type"]
    );
}

#[test]
fn owner_references_are_shown_in_go_s_order() {
    let owner = |name: &str, uid: &str| json!({"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid, "controller": true});
    let meta = json!({"name": "x", "namespace": "n",
        "ownerReferences": [owner("a", "1"), owner("b", "2")]});
    assert_eq!(
        of(&meta),
        [concat!(
            "metadata.ownerReferences: Invalid value: ",
            r#"[{"apiVersion":"v1","kind":"Pod","name":"a","uid":"1","controller":true},"#,
            r#"{"apiVersion":"v1","kind":"Pod","name":"b","uid":"2","controller":true}]: "#,
            "Only one reference can have Controller set to true. ",
            r#"Found "true" in references for Pod/a and Pod/b"#,
        )]
    );
}

#[test]
fn no_finalizer_is_added_to_an_object_that_is_being_deleted() {
    let old = json!({"metadata": {"name": "x", "resourceVersion": "1", "finalizers": ["a/b"],
        "deletionTimestamp": "2024-01-01T00:00:00Z"}});
    let mut new = old.clone();
    new["metadata"]["finalizers"] = json!(["a/b", "c/d"]);
    let errors = validate_update(&new, &old, &Path::new("metadata"));
    assert_eq!(
        texts(&errors),
        [
            "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being \
         deleted, found new finalizers []string{\"c/d\"}"
        ]
    );
    new["metadata"]["finalizers"] = json!([]);
    assert!(validate_update(&new, &old, &Path::new("metadata")).is_empty());
}

#[test]
fn the_generation_is_the_server_s() {
    let old = json!({"metadata": {"generation": 3}});
    let mut new = json!({"metadata": {"generation": 9}});
    carry_generation(&mut new, &old, true);
    assert_eq!(new["metadata"]["generation"], 4);
    carry_generation(&mut new, &json!({"metadata": {}}), false);
    assert_eq!(new, json!({"metadata": {}}));
}
