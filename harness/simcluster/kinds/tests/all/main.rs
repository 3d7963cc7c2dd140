//! What the built-in kinds promise, by examples: an object in, the whole object or the texts out.

mod admission;
mod cluster;
mod config;
mod networking;
mod pods;
mod policies;
mod quotas;
mod scaling;
mod storage;
mod updates;
mod warnings;
mod workloads;

use jiff::Timestamp;
use serde_json::{Value, json};
use simcluster_kinds::{KindRules, Scope, rules};
use simcluster_machinery::decode;
use simcluster_machinery::kind::GroupVersionKind;
use simcluster_machinery::schema::builtin;

/// The rules of an object's kind.
fn rules_of(object: &Value) -> &'static dyn KindRules {
    rules(&kind_of(object))
}

fn kind_of(object: &Value) -> GroupVersionKind {
    let text = |field: &str| object[field].as_str().expect("examples say what they are");
    GroupVersionKind::from_api_version(text("apiVersion"), text("kind"))
}

/// An object from YAML, as the server decodes it, with the kind's defaults.
fn defaulted(yaml: &str) -> Value {
    let object: Value = serde_yaml::from_str(yaml).expect("examples are YAML");
    decoded(object)
}

/// The same for an object that is there already.
fn decoded(object: Value) -> Value {
    let schema = builtin::schema(&kind_of(&object)).expect("examples are of built-in kinds");
    let mut object = decode::typed_value(object, &schema)
        .expect("examples have the right types")
        .value;
    rules_of(&object).default(&mut object);
    object
}

/// A new object, as the server stores it.
fn created(yaml: &str) -> Value {
    let mut object = defaulted(yaml);
    object["metadata"]["uid"] = json!("uid-1");
    object["metadata"]["creationTimestamp"] = json!("2024-05-01T10:00:00Z");
    rules_of(&object).prepare_create(&mut object);
    object
}

/// What is said about a new object, its metadata included.
fn refused(yaml: &str) -> Vec<String> {
    let object = created(yaml);
    let errors = rules_of(&object).check_create(&object, scope_of(&object));
    texts(&errors)
}

fn scope_of(object: &Value) -> Scope {
    match object["metadata"]["namespace"] {
        Value::Null => Scope::Cluster,
        _ => Scope::Namespaced,
    }
}

fn texts(errors: &[simcluster_machinery::field::Error]) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

/// A stored object, changed by `change` and updated: the result, and what is said about it.
fn updated(old: &Value, change: impl FnOnce(&mut Value)) -> (Value, Vec<String>) {
    let mut old = old.clone();
    old["metadata"]["resourceVersion"] = json!("1");
    let mut new = old.clone();
    change(&mut new);
    let mut new = decoded(new);
    let rules = rules_of(&old);
    simcluster_kinds::carry_server_fields(&mut new, &old);
    rules.prepare_update(&mut new, &old);
    let errors = rules.check_update(&new, &old, scope_of(&old));
    (new, texts(&errors))
}

/// The cells of an object's row, an hour after the examples were created.
fn cells(object: &Value) -> Vec<Value> {
    let now: Timestamp = "2024-05-01T11:00:00Z".parse().expect("a time");
    let rules = rules_of(object);
    let row = rules.row(object, now);
    assert_eq!(
        row.cells.len(),
        rules.columns().len(),
        "a cell for each column"
    );
    row.cells
}

#[test]
fn every_kind_with_rules_has_a_cell_for_each_column() {
    for resource in builtin::resources() {
        let gvk = resource.gvk();
        let object =
            json!({"apiVersion": gvk.api_version(), "kind": gvk.kind, "metadata": {"name": "x"}});
        cells(&object);
    }
}

#[test]
fn defaults_are_the_same_when_filled_in_twice() {
    for yaml in [
        workloads::DEPLOYMENT,
        workloads::JOB,
        networking::SERVICE,
        pods::POD,
    ] {
        let once = defaulted(yaml);
        assert_eq!(decoded(once.clone()), once);
    }
}

#[test]
fn an_object_with_nothing_in_it_is_judged_and_not_stumbled_over() {
    for resource in builtin::resources() {
        let gvk = resource.gvk();
        if builtin::schema(&gvk).is_none() {
            continue;
        }
        let bare = json!({"apiVersion": gvk.api_version(), "kind": gvk.kind,
            "metadata": {"name": "x", "namespace": "n", "resourceVersion": "1"}});
        let rules = rules(&gvk);
        let mut object = decoded(bare);
        rules.prepare_create(&mut object);
        rules.check_create(&object, Scope::Namespaced);
        rules.warnings(&object, None);
        rules.selectable_fields(&object);
        let again = decoded(object.clone());
        assert_eq!(again, object, "{gvk}: what is stored is whole");
        let mut new = again;
        rules.prepare_update(&mut new, &object);
        assert_eq!(
            new, object,
            "{gvk}: an update without a change changes nothing"
        );
        rules.check_update(&new, &object, Scope::Namespaced);
        rules.prepare_status_update(&mut new, &object);
        assert_eq!(new, object, "{gvk}: nor does one of the status");
        rules.check_status_update(&new, &object);
    }
}
