//! The definition is what `deploy/crd.yml` says, and says what users rely on.

use super::*;

#[test]
fn the_definition_in_deploy_is_the_derived_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/crd.yml");
    let stored = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        stored == manifest().unwrap(),
        "deploy/crd.yml is out of date; update it with\n    \
         cargo run -q -p mysql-operator -- --print-crd > deploy/crd.yml"
    );
}

fn schema() -> serde_json::Value {
    serde_json::to_value(&crd().spec.versions[0].schema).unwrap()["openAPIV3Schema"].clone()
}

#[test]
fn the_names_are_the_ones_that_people_type() {
    let names = crd().spec.names;
    assert_eq!(crd().metadata.name.as_deref(), Some("mysqls.otus.homework"));
    assert_eq!(
        (names.kind.as_str(), names.plural.as_str()),
        ("MySQL", "mysqls")
    );
    assert_eq!(names.singular.as_deref(), Some("mysql"));
    assert_eq!(names.short_names, Some(vec!["ms".to_owned()]));
}

#[test]
fn leaving_a_field_out_is_refused() {
    let schema = schema();
    assert_eq!(schema["required"], serde_json::json!(["spec"]));
    assert_eq!(
        schema["properties"]["spec"]["required"],
        serde_json::json!(["database", "image", "storage_size"])
    );
    let rules = schema["properties"]["spec"]["x-kubernetes-validations"].to_string();
    assert!(rules.contains(r#""fieldPath":".password""#) && rules.contains("FieldValueRequired"));
}

#[test]
fn the_status_is_declared_and_so_not_pruned() {
    let schema = schema();
    assert_eq!(
        schema["properties"]["status"]["properties"]["message"]["type"],
        "string"
    );
    assert!(
        crd().spec.versions[0]
            .subresources
            .as_ref()
            .unwrap()
            .status
            .is_some()
    );
}

#[test]
fn a_database_may_have_a_dash_and_must_not_begin_with_one() {
    let schema = schema();
    let pattern = schema["properties"]["spec"]["properties"]["database"]["pattern"]
        .as_str()
        .unwrap();
    assert_eq!(pattern, "^[A-Za-z0-9_][A-Za-z0-9_-]*$");
}
