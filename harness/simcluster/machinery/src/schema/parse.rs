//! From JSON to [`Schema`]; lenient, see [`Schema::from_openapi`].

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use serde_json::{Map, Value};

use super::{
    AdditionalProperties, Bounds, GoType, Inner, ListType, MapType, Overlaid, PatchStrategy,
    Pattern, Schema, SchemaRef, Shape, Site, Type, ValidationRule, builtin,
};

pub(super) fn schema(value: &Value) -> SchemaRef {
    let Value::Object(map) = value else {
        return SchemaRef::new(Schema::default());
    };
    // Only the built-in definitions refer to others; a custom resource may not.
    if let Some(definition) = map
        .get("$ref")
        .and_then(Value::as_str)
        .and_then(builtin::definition)
    {
        if map.len() == 1 {
            return SchemaRef(Inner::Definition(definition));
        }
        let site = Site {
            default: map.get("default").cloned(),
            patch_strategy: patch_strategy(map),
            patch_merge_key: text(map, "x-kubernetes-patch-merge-key"),
            map_type: map_type(map),
            go: go_type(map),
        };
        let resolved = OnceLock::new();
        return SchemaRef(Inner::Overlaid(Arc::new(Overlaid {
            definition,
            site,
            resolved,
        })));
    }
    SchemaRef::new(plain(map))
}

pub(super) fn plain(map: &Map<String, Value>) -> Schema {
    let kind = map
        .get("type")
        .and_then(Value::as_str)
        .and_then(Type::parse);
    Schema {
        kind,
        format: text(map, "format"),
        nullable: flag(map, "nullable"),
        default: map.get("default").cloned(),
        properties: Arc::new(properties(map)),
        additional_properties: match map.get("additionalProperties") {
            Some(Value::Bool(allowed)) => AdditionalProperties::Allowed(*allowed),
            Some(value @ Value::Object(_)) => AdditionalProperties::Schema(schema(value)),
            _ => AdditionalProperties::Absent,
        },
        items: map
            .get("items")
            .filter(|items| items.is_object())
            .map(schema),
        required: Arc::new(texts(map, "required")),
        enumeration: Arc::new(match map.get("enum") {
            Some(Value::Array(values)) => values.clone(),
            _ => Vec::new(),
        }),
        bounds: bounds(map),
        all_of: schemas(map, "allOf"),
        any_of: schemas(map, "anyOf"),
        one_of: schemas(map, "oneOf"),
        not: map.get("not").filter(|not| not.is_object()).map(schema),
        list_type: match map.get("x-kubernetes-list-type").and_then(Value::as_str) {
            Some("atomic") => Some(ListType::Atomic),
            Some("set") => Some(ListType::Set),
            Some("map") => Some(ListType::Map),
            _ => None,
        },
        list_map_keys: Arc::new(texts(map, "x-kubernetes-list-map-keys")),
        map_type: map_type(map),
        patch_strategy: patch_strategy(map),
        patch_merge_key: text(map, "x-kubernetes-patch-merge-key"),
        int_or_string: flag(map, "x-kubernetes-int-or-string"),
        preserve_unknown_fields: flag(map, "x-kubernetes-preserve-unknown-fields"),
        embedded_resource: flag(map, "x-kubernetes-embedded-resource"),
        validations: Arc::new(validations(map)),
        definition: None,
        go: go_type(map),
        shape: shape(kind, map),
    }
}

fn shape(kind: Option<Type>, map: &Map<String, Value>) -> Shape {
    match (kind, map.get("format").and_then(Value::as_str)) {
        (Some(Type::String), Some("byte")) => Shape::Bytes,
        (Some(Type::String), _) => Shape::String,
        (Some(Type::Integer), Some("int32")) => Shape::Int32,
        (Some(Type::Integer), _) => Shape::Int64,
        (Some(Type::Number), _) => Shape::Float,
        (Some(Type::Boolean), _) => Shape::Bool,
        (Some(Type::Array), _) => Shape::List,
        (Some(Type::Object), _) if map.contains_key("additionalProperties") => Shape::Map,
        (Some(Type::Object), _) => Shape::Struct,
        (None, _) => Shape::Raw,
    }
}

fn properties(map: &Map<String, Value>) -> BTreeMap<String, SchemaRef> {
    match map.get("properties") {
        Some(Value::Object(properties)) => properties
            .iter()
            .map(|(name, value)| (name.clone(), schema(value)))
            .collect(),
        _ => BTreeMap::new(),
    }
}

fn bounds(map: &Map<String, Value>) -> Option<Arc<Bounds>> {
    let number = |key| map.get(key).and_then(Value::as_f64);
    let count = |key| map.get(key).and_then(Value::as_u64);
    let bounds = Bounds {
        minimum: number("minimum"),
        exclusive_minimum: flag(map, "exclusiveMinimum"),
        maximum: number("maximum"),
        exclusive_maximum: flag(map, "exclusiveMaximum"),
        multiple_of: number("multipleOf"),
        min_length: count("minLength"),
        max_length: count("maxLength"),
        pattern: text(map, "pattern")
            .filter(|source| !source.is_empty())
            .map(|source| Pattern {
                regex: crate::pattern::compile(&source).ok(),
                source,
            }),
        min_items: count("minItems"),
        max_items: count("maxItems"),
        unique_items: flag(map, "uniqueItems"),
        min_properties: count("minProperties"),
        max_properties: count("maxProperties"),
    };
    (bounds != Bounds::default()).then(|| Arc::new(bounds))
}

fn validations(map: &Map<String, Value>) -> Vec<ValidationRule> {
    let Some(Value::Array(rules)) = map.get("x-kubernetes-validations") else {
        return Vec::new();
    };
    let rule = |rule: &Value| {
        let rule = rule.as_object()?;
        Some(ValidationRule {
            rule: text(rule, "rule").unwrap_or_default(),
            message: text(rule, "message").unwrap_or_default(),
            message_expression: text(rule, "messageExpression").unwrap_or_default(),
            reason: text(rule, "reason"),
            field_path: text(rule, "fieldPath").unwrap_or_default(),
            optional_old_self: rule.get("optionalOldSelf").and_then(Value::as_bool),
        })
    };
    rules.iter().filter_map(rule).collect()
}

fn patch_strategy(map: &Map<String, Value>) -> PatchStrategy {
    let mut strategy = PatchStrategy::default();
    let words = map
        .get("x-kubernetes-patch-strategy")
        .and_then(Value::as_str)
        .unwrap_or("");
    for word in words.split(',') {
        match word {
            "merge" => strategy.merge = true,
            "replace" => strategy.replace = true,
            "retainKeys" => strategy.retain_keys = true,
            _ => {}
        }
    }
    strategy
}

fn map_type(map: &Map<String, Value>) -> Option<MapType> {
    match map.get("x-kubernetes-map-type").and_then(Value::as_str) {
        Some("atomic") => Some(MapType::Atomic),
        Some("granular") => Some(MapType::Granular),
        _ => None,
    }
}

fn go_type(map: &Map<String, Value>) -> Option<GoType> {
    let declared = map.get("x-go")?.as_str()?;
    let mut parts = declared.split(',');
    let name = parts.next()?;
    let options: Vec<&str> = parts.collect();
    Some(GoType {
        name: name.trim_start_matches('*').to_owned(),
        pointer: name.starts_with('*'),
        omit_empty: options.contains(&"omitempty"),
        omit_zero: options.contains(&"omitzero"),
    })
}

fn schemas(map: &Map<String, Value>, key: &str) -> Vec<SchemaRef> {
    match map.get(key) {
        Some(Value::Array(values)) => values.iter().map(schema).collect(),
        _ => Vec::new(),
    }
}

fn texts(map: &Map<String, Value>, key: &str) -> Vec<String> {
    match map.get(key) {
        Some(Value::Array(values)) => values
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
        _ => Vec::new(),
    }
}

fn text(map: &Map<String, Value>, key: &str) -> Option<String> {
    map.get(key).and_then(Value::as_str).map(str::to_owned)
}

fn flag(map: &Map<String, Value>, key: &str) -> bool {
    map.get(key).and_then(Value::as_bool).unwrap_or(false)
}
