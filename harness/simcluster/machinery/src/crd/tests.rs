//! The promises of validating definitions.

use serde_json::json;

use super::*;

fn crd(schema: &Value) -> Value {
    let mut crd = json!({
        "metadata": {"name": "hens.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": "hens", "kind": "Hen"},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": schema}
            }]
        },
        "status": {"storedVersions": ["v1"]}
    });
    set_defaults(&mut crd);
    crd
}

fn errors(crd: &Value) -> Vec<String> {
    let mut errors: Vec<String> = validate(crd).iter().map(ToString::to_string).collect();
    errors.sort();
    errors
}

fn with(properties: &Value) -> Value {
    crd(&json!({"type": "object", "properties": {"spec": {
        "type": "object", "properties": properties
    }}}))
}

#[test]
fn a_definition_gets_the_names_it_does_not_say() {
    let crd = crd(&json!({"type": "object"}));
    assert_eq!(crd["spec"]["names"]["singular"], "hen");
    assert_eq!(crd["spec"]["names"]["listKind"], "HenList");
    assert_eq!(crd["spec"]["conversion"], json!({"strategy": "None"}));
    assert_eq!(initial_stored_versions(&crd), ["v1"]);
    assert_eq!(errors(&crd), Vec::<String>::new());
}

#[test]
fn names_are_validated() {
    let mut crd = crd(&json!({"type": "object"}));
    crd["metadata"]["name"] = json!("wrong");
    assert_eq!(
        errors(&crd),
        ["metadata.name: Invalid value: \"wrong\": must be spec.names.plural+\".\"+spec.group"]
    );
    crd["metadata"]["name"] = json!("Hens.example.com");
    crd["spec"]["scope"] = json!("Everywhere");
    crd["spec"]["names"] = json!({"plural": "Hens", "kind": "bad kind"});
    set_defaults(&mut crd);
    let found = errors(&crd);
    assert_eq!(found.len(), 5, "{found:#?}");
    assert!(found[0].starts_with(
        "spec.names.kind: Invalid value: \"bad kind\": may have mixed case, but should otherwise \
         match: a DNS-1035 label"
    ));
    assert_eq!(
        found[4],
        "spec.scope: Unsupported value: \"Everywhere\": supported values: \"Cluster\", \
         \"Namespaced\""
    );
}

#[test]
fn exactly_one_version_stores() {
    let mut crd = crd(&json!({"type": "object"}));
    let mut second = crd["spec"]["versions"][0].clone();
    second["name"] = json!("v2");
    crd["spec"]["versions"].as_array_mut().unwrap().push(second);
    assert_eq!(
        errors(&crd),
        [
            "spec.versions: Invalid value: [{\"Name\":\"v1\",\"Served\":true,\"Storage\":true,\
             \"Deprecated\":false,\"DeprecationWarning\":null,\"Schema\":null,\"Subresources\":\
             null,\"AdditionalPrinterColumns\":null,\"SelectableFields\":null},{\"Name\":\"v2\",\
             \"Served\":true,\"Storage\":true,\"Deprecated\":false,\"DeprecationWarning\":null,\
             \"Schema\":null,\"Subresources\":null,\"AdditionalPrinterColumns\":null,\
             \"SelectableFields\":null}]: must have exactly one version marked as storage version",
            "status.storedVersions: Invalid value: [\"v1\"]: must have the storage version v2",
        ]
    );
}

#[test]
fn a_schema_must_be_there_and_structural() {
    let mut absent = crd(&json!({"type": "object"}));
    absent["spec"]["versions"][0]
        .as_object_mut()
        .unwrap()
        .remove("schema");
    assert_eq!(
        errors(&absent),
        ["spec.versions[0].schema.openAPIV3Schema: Required value"]
    );
    let place = "spec.validation.openAPIV3Schema.properties[spec].properties[a]";
    for (property, expected) in [
        (
            json!({}),
            "type: Required value: must not be empty for specified object fields",
        ),
        (
            json!({"type": "array"}),
            "items: Required value: must be specified",
        ),
        (
            json!({"type": "object", "anyOf": [{"type": "string"}]}),
            "anyOf[0].type: Forbidden: must be empty to be structural",
        ),
        (
            json!({"x-kubernetes-int-or-string": true,
                   "x-kubernetes-preserve-unknown-fields": true}),
            "x-kubernetes-preserve-unknown-fields: Invalid value: true: must be false if \
             x-kubernetes-int-or-string is true",
        ),
        (
            json!({"type": "string", "pattern": "(["}),
            "pattern: Invalid value: \"([\": must be a valid regular expression, but isn't: error \
             parsing regexp: missing closing ]: `[`",
        ),
        (
            json!({"type": "int"}),
            "type: Unsupported value: \"int\": supported values: \"array\", \"boolean\", \
             \"integer\", \"number\", \"object\", \"string\"",
        ),
        (
            json!({"type": "integer", "default": "no"}),
            "default: Invalid value: \"string\":  in body must be of type integer: \"string\"",
        ),
        (
            json!({"type": "array", "items": {"type": "object"}, "x-kubernetes-list-type": "map"}),
            "x-kubernetes-list-map-keys: Required value: must not be empty if \
             x-kubernetes-list-type is map",
        ),
        (
            json!({"type": "object", "uniqueItems": true}),
            "uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime \
             complexity becomes quadratic",
        ),
    ] {
        assert_eq!(
            errors(&with(&json!({"a": property}))),
            [format!("{place}.{expected}")]
        );
    }
    let root = crd(&json!({"type": "object", "anyOf": [{"properties": {"x": {}}}]}));
    assert_eq!(
        errors(&root),
        [
            "spec.validation.openAPIV3Schema.properties[x]: Required value: because it is defined in \
          spec.validation.openAPIV3Schema.anyOf[0].properties[x]"
        ]
    );
    let both = json!({"a": {"x-kubernetes-int-or-string": true, "anyOf": [
        {"type": "integer"}, {"type": "string"}
    ]}});
    assert!(errors(&with(&both)).is_empty());
}

#[test]
fn rules_are_compiled_when_the_definition_comes() {
    let mut bad = with(&json!({"a": {"type": "string"}}));
    bad["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["x-kubernetes-validations"] =
        json!([{"rule": "self.absent == 1"}]);
    assert_eq!(
        errors(&bad),
        [
            "spec.validation.openAPIV3Schema.properties[spec].x-kubernetes-validations[0].rule: \
          Invalid value: {\"Rule\":\"self.absent == 1\",\"Message\":\"\",\"MessageExpression\":\
          \"\",\"Reason\":null,\"FieldPath\":\"\",\"OptionalOldSelf\":null}: compilation failed: \
          ERROR: <input>:1:5: undefined field 'absent'\n | self.absent == 1\n | ....^"
        ]
    );
    let list = with(&json!({"a": {"type": "array", "items": {
        "type": "string", "x-kubernetes-validations": [{"rule": "self == oldSelf"}]
    }}}));
    assert_eq!(
        errors(&list),
        [
            "spec.validation.openAPIV3Schema.properties[spec].properties[a].items.\
          x-kubernetes-validations[0].rule: Invalid value: \"self == oldSelf\": oldSelf cannot be \
          used on the uncorrelatable portion of the schema within \
          spec.validation.openAPIV3Schema.properties[spec].properties[a]"
        ]
    );
}

#[test]
fn schemas_that_differ_are_told_by_version() {
    let mut crd = with(&json!({"a": {}}));
    let mut second = crd["spec"]["versions"][0].clone();
    second["name"] = json!("v2");
    second["storage"] = json!(false);
    second["schema"]["openAPIV3Schema"] = json!({"type": "object"});
    crd["spec"]["versions"].as_array_mut().unwrap().push(second);
    assert_eq!(
        errors(&crd),
        [
            "spec.versions[0].schema.openAPIV3Schema.properties[spec].properties[a].type: Required \
          value: must not be empty for specified object fields"
        ]
    );
}

#[test]
fn columns_scale_and_selectable_fields_are_validated() {
    let mut crd = with(&json!({"colour": {"type": "string"}, "map": {"type": "object"}}));
    let version = &mut crd["spec"]["versions"][0];
    version["additionalPrinterColumns"] =
        json!([{"name": "A", "type": "colour", "jsonPath": "spec.x"}]);
    version["subresources"] =
        json!({"scale": {"specReplicasPath": ".x", "statusReplicasPath": ".status.n"}});
    version["selectableFields"] =
        json!([{"jsonPath": ".spec.colour"}, {"jsonPath": ".spec.map"}, {"jsonPath": ".nope"}]);
    assert_eq!(
        errors(&crd),
        [
            "spec.additionalPrinterColumns[0].JSONPath: Invalid value: \"spec.x\": must be a \
             simple json path starting with .",
            "spec.additionalPrinterColumns[0].type: Invalid value: \"colour\": must be one of \
             boolean,date,integer,number,string",
            "spec.selectableFields[1].jsonPath: Invalid value: \".spec.map\": must point to a \
             field of type string, boolean or integer. Enum string fields and strings with \
             formats are allowed.",
            "spec.selectableFields[2].jsonPath: Invalid value: \".nope\": is an invalid path: \
             does not refer to a valid field",
            "spec.subresources.scale.specReplicasPath: Invalid value: \".x\": should be a json \
             path under .spec",
        ]
    );
}

#[test]
fn names_of_an_established_definition_stay() {
    let mut old = crd(&json!({"type": "object"}));
    let mut new = old.clone();
    new["spec"]["names"]["kind"] = json!("Cock");
    assert!(validate_update(&new, &old).is_empty());
    old["status"]["conditions"] = json!([{"type": "Established", "status": "True"}]);
    let errors = validate_update(&new, &old);
    assert_eq!(
        errors[0].to_string(),
        "spec.names.kind: Invalid value: \"Cock\": field is immutable"
    );
}
