//! The promises of validation by schema.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::arbitrary;

fn errors(schema: &Value, value: &Value) -> Vec<String> {
    let schema = Schema::from_openapi(schema);
    let errors = validate(value, None, &schema, &Path::root());
    errors.iter().map(ToString::to_string).collect()
}

fn spec(properties: &Value) -> Value {
    json!({"type": "object", "properties": {"spec": {"type": "object", "properties": properties}}})
}

#[test]
fn required_fields_and_types_are_told_with_their_paths() {
    let mut schema = spec(&json!({
        "name": {"type": "string"}, "length": {"type": "integer"},
        "sails": {"type": "array", "items": {"type": "string"}}
    }));
    schema["required"] = json!(["spec"]);
    schema["properties"]["spec"]["required"] = json!(["name", "length"]);
    assert_eq!(errors(&schema, &json!({})), ["spec: Required value"]);
    assert_eq!(
        errors(&schema, &json!({"spec": {}})),
        ["spec.name: Required value", "spec.length: Required value"]
    );
    assert_eq!(
        errors(
            &schema,
            &json!({"spec": {"name": 5, "length": "long", "sails": {}}})
        ),
        [
            "spec.length: Invalid value: \"string\": spec.length in body must be of type integer: \
             \"string\"",
            "spec.name: Invalid value: \"integer\": spec.name in body must be of type string: \
             \"integer\"",
            "spec.sails: Invalid value: \"object\": spec.sails in body must be of type array: \
             \"object\"",
        ]
    );
    assert_eq!(
        errors(
            &schema,
            &json!({"spec": {"name": "x", "length": 1.5, "sails": [1]}})
        ),
        [
            "spec.length: Invalid value: \"number\": spec.length in body must be of type integer: \
             \"number\"",
            "<nil>: Invalid value: \"\": Checked value must be of type integer (default format) in \
             spec.length",
            "spec.sails[0]: Invalid value: \"integer\": spec.sails[0] in body must be of type \
             string: \"integer\"",
        ]
    );
}

#[test]
fn bounds_have_their_words() {
    let schema = spec(&json!({
        "mode": {"type": "string", "enum": ["slow", "fast"]},
        "code": {"type": "string", "pattern": "^[a-z]{3}$"},
        "n": {"type": "integer", "minimum": 1, "maximum": 10},
        "word": {"type": "string", "minLength": 2, "maxLength": 4},
        "list": {"type": "array", "minItems": 1, "maxItems": 2, "items": {"type": "string"}},
        "half": {"type": "number", "multipleOf": 0.5},
        "ex": {"type": "integer", "minimum": 0, "exclusiveMinimum": true}
    }));
    for (spec, expected) in [
        (
            json!({"mode": "warp"}),
            "spec.mode: Unsupported value: \"warp\": supported values: \"slow\", \"fast\"",
        ),
        (
            json!({"code": "abcd"}),
            "spec.code: Invalid value: \"abcd\": spec.code in body should match '^[a-z]{3}$'",
        ),
        (
            json!({"n": 11}),
            "spec.n: Invalid value: 11: spec.n in body should be less than or equal to 10",
        ),
        (
            json!({"word": "abcde"}),
            "spec.word: Too long: may not be more than 4 bytes",
        ),
        (
            json!({"word": "a"}),
            "spec.word: Invalid value: \"a\": spec.word in body should be at least 2 chars long",
        ),
        (
            json!({"list": []}),
            "spec.list: Invalid value: 0: spec.list in body should have at least 1 items",
        ),
        (
            json!({"list": ["a", "b", "c"]}),
            "spec.list: Too many: 3: must have at most 2 items",
        ),
        (
            json!({"half": 0.7}),
            "spec.half: Invalid value: 0.7: spec.half in body should be a multiple of 0.5",
        ),
        (
            json!({"ex": 0}),
            "spec.ex: Invalid value: 0: spec.ex in body should be greater than 0",
        ),
    ] {
        assert_eq!(errors(&schema, &json!({"spec": spec})), [expected]);
    }
    let mut schema = schema;
    schema["properties"]["spec"]["minProperties"] = json!(1);
    assert_eq!(
        errors(&schema, &json!({"spec": {}})),
        ["spec: Invalid value: 0: spec in body should have at least 1 properties"]
    );
}

#[test]
fn int_or_string_takes_both_and_null_only_where_it_may() {
    let schema = spec(&json!({
        "v": {"x-kubernetes-int-or-string": true},
        "list": {"type": "array", "nullable": true, "items": {"type": "string"}}
    }));
    assert!(errors(&schema, &json!({"spec": {"v": 5, "list": null}})).is_empty());
    assert!(errors(&schema, &json!({"spec": {"v": "50%"}})).is_empty());
    assert_eq!(
        errors(&schema, &json!({"spec": {"v": [1]}})),
        [
            "spec.v: Invalid value: \"array\": spec.v in body must be of type integer,string: \"array\""
        ]
    );
    assert_eq!(
        errors(&schema, &json!({"spec": {"v": 1.5}})),
        [
            "spec.v: Invalid value: \"number\": spec.v in body must be of type integer,string: \
          \"number\""
        ]
    );
    assert_eq!(
        errors(&schema, &json!({"spec": {"list": [null]}})),
        [
            "spec.list[0]: Invalid value: \"null\": spec.list[0] in body must be of type string: \
          \"null\""
        ]
    );
}

#[test]
fn formats_are_checked_and_unknown_ones_ignored() {
    let schema = spec(&json!({
        "when": {"type": "string", "format": "date-time"},
        "odd": {"type": "string", "format": "unheard-of"}
    }));
    assert_eq!(
        errors(
            &schema,
            &json!({"spec": {"when": "yesterday", "odd": "anything"}})
        ),
        [
            "spec.when: Invalid value: \"yesterday\": spec.when in body must be of type date-time: \
          \"yesterday\""
        ]
    );
}

#[test]
fn alternatives_tell_which_failed_least() {
    let schema = spec(&json!({"v": {
        "x-kubernetes-preserve-unknown-fields": true,
        "oneOf": [{"required": ["a"]}, {"required": ["b"]}]
    }}));
    assert_eq!(
        errors(&schema, &json!({"spec": {"v": {}}})),
        [
            "<nil>: Invalid value: \"\": \"spec.v\" must validate one and only one schema \
             (oneOf). Found none valid",
            "spec.v.a: Required value",
        ]
    );
    assert_eq!(
        errors(&schema, &json!({"spec": {"v": {"a": 1, "b": 2}}})),
        [
            "<nil>: Invalid value: \"\": \"spec.v\" must validate one and only one schema (oneOf). \
          Found 2 valid alternatives"
        ]
    );
    assert!(errors(&schema, &json!({"spec": {"v": {"a": 1}}})).is_empty());
    let schema = spec(&json!({"v": {"type": "integer", "not": {"enum": [3]}}}));
    assert_eq!(
        errors(&schema, &json!({"spec": {"v": 3}})),
        ["<nil>: Invalid value: \"\": \"spec.v\" must not validate the schema (not)"]
    );
}

#[test]
fn an_update_is_forgiven_what_has_not_changed() {
    let schema = Schema::from_openapi(&spec(&json!({
        "a": {"type": "string", "maxLength": 1}, "b": {"type": "integer", "minimum": 5},
        "list": {
            "type": "array", "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["k"],
            "items": {"type": "object", "properties": {
                "k": {"type": "string"}, "v": {"type": "integer", "maximum": 1}
            }}
        }
    })));
    let old = json!({"spec": {"a": "long", "b": 6, "list": [{"k": "x", "v": 9}]}});
    let new =
        json!({"spec": {"a": "long", "b": 2, "list": [{"k": "y", "v": 8}, {"k": "x", "v": 9}]}});
    let errors = validate(&new, Some(&old), &schema, &Path::root());
    let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(
        errors,
        [
            "spec.b: Invalid value: 2: spec.b in body should be greater than or equal to 5",
            "spec.list[0].v: Invalid value: 8: spec.list[0].v in body should be less than or \
             equal to 1",
        ]
    );
    assert!(validate(&old, Some(&old), &schema, &Path::root()).is_empty());
}

#[test]
fn entries_of_sets_and_keyed_lists_must_differ() {
    let schema = Schema::from_openapi(&spec(&json!({
        "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "slots": {
            "type": "array", "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["id"],
            "items": {"type": "object", "properties": {"id": {"type": "string"}}}
        }
    })));
    let value =
        json!({"spec": {"tags": ["a", "b", "a", "a"], "slots": [{"id": "x"}, {"id": "x"}]}});
    let errors = validate_list_types(&value, &schema, &Path::root());
    let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(
        errors,
        [
            "spec.slots[1]: Duplicate value: {\"id\":\"x\"}",
            "spec.tags[2]: Duplicate value: \"a\"",
        ]
    );
}

proptest! {
    #[test]
    fn no_schema_and_no_value_panic(schema in arbitrary::schema(), value in arbitrary::value()) {
        let schema = Schema::from_openapi(&schema);
        validate(&value, None, &schema, &Path::root());
        prop_assert!(validate(&value, Some(&value), &schema, &Path::root()).is_empty());
    }

    #[test]
    fn pruning_and_defaulting_twice_is_doing_it_once(
        schema in arbitrary::schema(), value in arbitrary::object(),
    ) {
        let schema = Schema::from_openapi(&schema);
        let mut once = value;
        crate::prune::prune(&mut once, &schema);
        crate::default::fill_in(&mut once, &schema);
        let mut twice = once.clone();
        crate::prune::prune(&mut twice, &schema);
        crate::default::fill_in(&mut twice, &schema);
        // Only what a default brought in may be pruned the second time.
        crate::prune::prune(&mut once, &schema);
        crate::default::fill_in(&mut once, &schema);
        prop_assert_eq!(once, twice);
    }
}
