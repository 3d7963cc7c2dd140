//! The promises of reading request bodies.

use serde_json::json;

use super::*;
use crate::kind::GroupVersionKind;
use crate::schema::builtin;

fn schema(group: &str, kind: &str) -> SchemaRef {
    builtin::schema(&GroupVersionKind::new(group, "v1", kind)).unwrap()
}

fn config_map(body: &str) -> Result<Decoded, DecodeError> {
    typed(body.as_bytes(), &schema("", "ConfigMap"))
}

#[test]
fn unknown_and_duplicate_fields_are_told_in_the_order_of_the_document() {
    let body = r#"{"metadata":{"name":"fv","name":"fv","lables":{}},"Data":{"a":"1"},
                   "data":{"a":"1","a":"2"}}"#;
    let decoded = config_map(body).unwrap();
    assert_eq!(
        strict_error(&decoded.problems),
        "strict decoding error: duplicate field \"metadata.name\", \
         unknown field \"metadata.lables\", unknown field \"Data\", duplicate field \"data.a\""
    );
    assert_eq!(
        decoded.value,
        json!({"metadata": {"name": "fv"}, "data": {"a": "2"}})
    );
}

#[test]
fn a_value_of_the_wrong_type_is_named_with_its_struct_and_path() {
    let error = config_map(r#"{"data":{"n":5}}"#).unwrap_err();
    assert_eq!(
        error.to_string(),
        "json: cannot unmarshal number into Go struct field ConfigMap.data of type string"
    );
    let deployment = schema("apps", "Deployment");
    for (body, expected) in [
        (
            r#"{"spec":{"template":{"spec":{"containers":{}}}}}"#,
            "json: cannot unmarshal object into Go struct field \
             PodSpec.spec.template.spec.containers of type []v1.Container",
        ),
        (
            r#"{"spec":{"replicas":"many"}}"#,
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of \
             type int32",
        ),
        (
            r#"{"spec":{"replicas":1.5}}"#,
            "json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas \
             of type int32",
        ),
        (
            r#"{"spec":{"template":{"spec":{"containers":[5]}}}}"#,
            "json: cannot unmarshal number into Go struct field \
             PodSpec.spec.template.spec.containers of type v1.Container",
        ),
        (
            r#"{"spec":{"template":{"spec":{"restartPolicy":[]}}}}"#,
            "json: cannot unmarshal array into Go struct field \
             PodSpec.spec.template.spec.restartPolicy of type v1.RestartPolicy",
        ),
        (
            r#"{"metadata":{"creationTimestamp":"yesterday"}}"#,
            "parsing time \"yesterday\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \
             \"yesterday\" as \"2006\"",
        ),
    ] {
        let error = typed(body.as_bytes(), &deployment).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn a_built_in_object_comes_out_as_go_writes_it() {
    let body = json!({
        "metadata": {"name": "p", "labels": {}, "creationTimestamp": null, "annotations": null},
        "spec": {
            "hostNetwork": false, "automountServiceAccountToken": false, "nodeName": "",
            "activeDeadlineSeconds": null,
            "containers": [{
                "name": "c", "image": "", "args": [], "tty": false,
                "resources": {"limits": {"memory": "1.5Gi", "cpu": 0.5}},
                "securityContext": {},
                "ports": [{"containerPort": 80, "hostPort": 0}],
                "livenessProbe": {"httpGet": {"port": "http"}, "periodSeconds": 0}
            }],
            "volumes": [{"name": "v", "emptyDir": {}}]
        },
        "status": {"conditions": [{
            "type": "Ready", "status": "True", "lastTransitionTime": "2024-01-01T02:00:00+02:00"
        }]}
    });
    let decoded = typed(body.to_string().as_bytes(), &schema("", "Pod")).unwrap();
    assert!(decoded.problems.is_empty());
    assert_eq!(
        decoded.value,
        json!({
            "metadata": {"name": "p"},
            "spec": {
                "automountServiceAccountToken": false,
                "containers": [{
                    "name": "c",
                    "resources": {"limits": {"memory": "1536Mi", "cpu": "500m"}},
                    "securityContext": {},
                    "ports": [{"containerPort": 80}],
                    "livenessProbe": {"httpGet": {"port": "http"}}
                }],
                "volumes": [{"name": "v", "emptyDir": {}}]
            },
            "status": {"conditions": [{
                "type": "Ready", "status": "True", "lastProbeTime": null,
                "lastTransitionTime": "2024-01-01T00:00:00Z"
            }]}
        })
    );
}

#[test]
fn required_fields_are_there_even_when_nobody_gave_them() {
    let decoded = typed(b"{}", &schema("rbac.authorization.k8s.io", "Role")).unwrap();
    assert_eq!(decoded.value, json!({"metadata": {}, "rules": null}));
    let decoded = typed(br#"{"spec":{"containers":[{}]}}"#, &schema("", "Pod")).unwrap();
    assert_eq!(
        decoded.value,
        json!({"metadata": {}, "status": {}, "spec": {"containers": [
            {"name": "", "resources": {}}
        ]}})
    );
}

#[test]
fn secrets_are_checked_to_be_base64() {
    let secret = schema("", "Secret");
    let error = typed(br#"{"data":{"a":"abc"}}"#, &secret).unwrap_err();
    assert_eq!(error.to_string(), "illegal base64 data at input byte 3");
}

#[test]
fn a_definition_may_hold_schemas_inside_of_schemas() {
    let body = json!({"spec": {"versions": [{"name": "v1", "schema": {"openAPIV3Schema": {
        "type": "object", "properties": {"a": {
            "type": "array", "items": {"type": "string", "default": null},
            "additionalProperties": false
        }}
    }}}]}});
    let crd = schema("apiextensions.k8s.io", "CustomResourceDefinition");
    let decoded = typed(body.to_string().as_bytes(), &crd).unwrap();
    assert!(decoded.problems.is_empty(), "{:?}", decoded.problems);
    let a = &decoded.value["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["a"];
    assert_eq!(a["items"]["type"], "string");
    assert_eq!(a["additionalProperties"], false);
}

#[test]
fn text_that_is_no_json_is_described_as_go_does() {
    for (body, expected) in [
        (
            "{\"metadata\": {\"name\": \"x\"",
            "unexpected end of JSON input",
        ),
        ("", "unexpected end of JSON input"),
        (
            "{a}",
            "invalid character 'a' looking for beginning of object key string",
        ),
        ("{\"a\" 1}", "invalid character '1' after object key"),
        (
            "{\"a\": 1]",
            "invalid character ']' after object key:value pair",
        ),
        ("[1 2]", "invalid character '2' after array element"),
        ("tru", "unexpected end of JSON input"),
        (
            "nul1",
            "invalid character '1' in literal null (expecting 'l')",
        ),
        ("{} x", "invalid character 'x' after top-level value"),
        (
            "'a'",
            "invalid character '\\'' looking for beginning of value",
        ),
        ("01", "invalid character '1' after top-level value"),
    ] {
        assert_eq!(
            untyped(body.as_bytes()).unwrap_err().to_string(),
            expected,
            "{body}"
        );
    }
}

#[test]
fn version_and_kind_are_read_first() {
    let meta = type_meta(br#"{"kind":"Pod","apiVersion":"v1","spec":5}"#).unwrap();
    assert_eq!(
        (meta.api_version.as_str(), meta.kind.as_str()),
        ("v1", "Pod")
    );
    assert_eq!(
        type_meta(br#"{"kind":5}"#).unwrap_err(),
        "json parse error: json: cannot unmarshal number into Go struct field .kind of type string"
    );
    assert_eq!(
        type_meta(b"").unwrap_err(),
        "json parse error: unexpected end of JSON input"
    );
}

#[test]
fn the_result_of_a_patch_is_read_like_a_body() {
    let decoded = typed_value(
        json!({"metadata": {"name": "fv", "colour": "red"}, "dat": {}}),
        &schema("", "ConfigMap"),
    )
    .unwrap();
    assert_eq!(
        strict_error(&decoded.problems),
        "strict decoding error: unknown field \"dat\", unknown field \"metadata.colour\""
    );
}

#[test]
fn all_built_in_schemas_can_be_walked() {
    for resource in builtin::resources() {
        let schema = builtin::schema(&resource.gvk());
        let schema = schema.unwrap_or_else(|| panic!("{} has no schema", resource.gvk()));
        typed(b"{}", &schema).unwrap();
    }
}

#[test]
fn a_strategic_patch_tells_wrong_types_in_words_of_its_own() {
    let deployment = schema("apps", "Deployment");
    for (value, expected) in [
        (
            json!({"spec": {"replicas": "many"}}),
            "unrecognized type: int32",
        ),
        (
            json!({"spec": {"replicas": 1.5}}),
            "cannot convert float64 to int32",
        ),
        (json!({"spec": {"paused": 1}}), "unrecognized type: bool"),
        (
            json!({"metadata": {"name": 5}}),
            "cannot convert int64 to string",
        ),
        (
            json!({"spec": {"template": {"spec": {"containers": {}}}}}),
            "cannot restore slice from map",
        ),
        (json!({"spec": []}), "cannot restore struct from: slice"),
    ] {
        assert_eq!(
            converted(value, &deployment).unwrap_err().to_string(),
            expected
        );
    }
}
