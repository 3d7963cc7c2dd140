//! The schema of a version: which keywords may stand in it, and together with which.

use serde_json::{Value, json};

use super::{Object, defaults, flag, keyword, list, object, rules, structural, word};
use crate::field::{Error, Path};
use crate::schema::Schema;

const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];

/// Keywords that may stand at the root beside a status subresource, and what Go calls them.
const AT_ROOT: [(&str, &str); 22] = [
    ("description", "Description"),
    ("type", "Type"),
    ("format", "Format"),
    ("title", "Title"),
    ("maximum", "Maximum"),
    ("exclusiveMaximum", "ExclusiveMaximum"),
    ("minimum", "Minimum"),
    ("exclusiveMinimum", "ExclusiveMinimum"),
    ("maxLength", "MaxLength"),
    ("minLength", "MinLength"),
    ("pattern", "Pattern"),
    ("maxItems", "MaxItems"),
    ("minItems", "MinItems"),
    ("uniqueItems", "UniqueItems"),
    ("multipleOf", "MultipleOf"),
    ("required", "Required"),
    ("items", "Items"),
    ("properties", "Properties"),
    ("externalDocs", "ExternalDocs"),
    ("example", "Example"),
    (
        "x-kubernetes-preserve-unknown-fields",
        "XPreserveUnknownFields",
    ),
    ("x-kubernetes-validations", "XValidations"),
];

/// All that is wrong with the schema of a version. `path` is the place of the schema's wrapper.
pub(super) fn validate(schema: &Object, status: bool, path: &Path) -> Vec<Error> {
    let place = path.child("openAPIV3Schema");
    let mut errors = Vec::new();
    if status {
        errors.extend(root_with_status(schema, path));
    }
    if flag(schema, "nullable") {
        let path = path.child("openAPIV3Schema.nullable");
        errors.push(Error::forbidden(
            &path,
            "nullable cannot be true at the root",
        ));
    }
    let before = errors.len();
    errors.extend(structural::validate(schema, &place));
    if errors.len() == before {
        errors.extend(defaults::validate(schema, &place));
    }
    let is_structural = errors.len() == before;
    let mut walk = Walk { errors: Vec::new() };
    let context = Context {
        root: true,
        ..Context::default()
    };
    walk.schema(schema, &place, &context);
    let keywords = walk.errors;
    // Rules are compiled only where the schema they speak of is sound.
    let sound = keywords.is_empty() && is_structural;
    errors.extend(keywords);
    if sound {
        let parsed = Schema::from_openapi(&Value::Object(schema.clone()));
        errors.extend(rules::validate(&parsed, &place));
    }
    errors
}

fn root_with_status(schema: &Object, path: &Path) -> Option<Error> {
    let kind = word(schema, "type");
    if !kind.is_empty() && kind != "object" {
        let path = path.child("openAPIV3Schema.type");
        let why = "only \"object\" is allowed as the type at the root of the schema if the status \
                   subresource is enabled";
        return Some(Error::invalid(&path, kind, why));
    }
    let allowed = |name: &str| AT_ROOT.iter().any(|(allowed, _)| *allowed == name);
    let said = |value: &Value| !matches!(value, Value::Null | Value::Bool(false));
    schema
        .iter()
        .find(|(name, value)| said(value) && !allowed(name))
        .map(|_| {
            let names: Vec<&str> = AT_ROOT.iter().map(|(_, name)| *name).collect();
            let names = names.join(" ");
            let why = format!(
                "only [{names}] fields are allowed at the root of the schema if the status \
             subresource is enabled"
            );
            Error::invalid(
                &path.child("openAPIV3Schema"),
                Value::Object(schema.clone()),
                why,
            )
        })
}

/// What the place of a schema forbids in it.
#[derive(Clone, Default)]
struct Context {
    root: bool,
    inside_metadata: bool,
    /// Why no default may stand here.
    no_default: Option<String>,
}

struct Walk {
    errors: Vec<Error>,
}

impl Walk {
    fn push(&mut self, error: Error) {
        self.errors.push(error);
    }

    fn forbid(&mut self, path: &Path, name: &str, why: &str) {
        self.push(Error::forbidden(&path.child(name), why));
    }

    fn schema(&mut self, schema: &Object, path: &Path, context: &Context) {
        self.unsupported(schema, path, context);
        if flag(schema, "uniqueItems") {
            let why = "uniqueItems cannot be set to true since the runtime complexity becomes \
                       quadratic";
            self.forbid(path, "uniqueItems", why);
        }
        self.children(schema, path, context);
        self.extensions(schema, path);
        self.list_type(schema, path);
        self.keys(schema, path);
        rules::validate_form(schema, path, &mut self.errors);
    }

    fn unsupported(&mut self, schema: &Object, path: &Path, context: &Context) {
        let kind = word(schema, "type");
        if !kind.is_empty() && !TYPES.contains(&kind) {
            self.push(Error::not_supported(&path.child("type"), kind, &TYPES));
        }
        if let (Some(_), Some(why)) = (keyword(schema, "default"), &context.no_default) {
            self.forbid(path, "default", &format!("must not be set {why}"));
        }
        for name in [
            "id",
            "additionalItems",
            "patternProperties",
            "definitions",
            "dependencies",
            "$ref",
        ] {
            if keyword(schema, name).is_some() {
                self.forbid(path, name, &format!("{name} is not supported"));
            }
        }
        if kind == "null" {
            let why = "type cannot be set to null, use nullable as an alternative";
            self.forbid(path, "type", why);
        }
        if keyword(schema, "items").is_some_and(Value::is_array) {
            self.forbid(
                path,
                "items",
                "items must be a schema object and not an array",
            );
        }
        if context.inside_metadata && flag(schema, "x-kubernetes-embedded-resource") {
            let why = "must not be used inside of resource meta";
            self.forbid(path, "x-kubernetes-embedded-resource", why);
        }
    }

    fn children(&mut self, schema: &Object, path: &Path, context: &Context) {
        let below = Context {
            root: false,
            ..context.clone()
        };
        let properties = object(schema, "properties");
        if let Some(additional) = keyword(schema, "additionalProperties") {
            let place = path.child("additionalProperties");
            if properties.is_some_and(|all| !all.is_empty()) && *additional != json!(true) {
                let why = "additionalProperties and properties are mutual exclusive";
                self.push(Error::forbidden(&place, why));
            }
            if let Value::Object(values) = additional {
                let mut below = below.clone();
                if below.inside_metadata {
                    let why = "inside additionalProperties applying to object metadata";
                    below.no_default = Some(why.to_owned());
                }
                self.schema(values, &place, &below);
            }
        }
        let embedded = flag(schema, "x-kubernetes-embedded-resource");
        for (name, property) in properties.into_iter().flatten() {
            let Value::Object(property) = property else {
                continue;
            };
            let mut below = below.clone();
            let of_object = matches!(name.as_str(), "metadata" | "kind" | "apiVersion");
            if of_object && (context.root || embedded) {
                below.inside_metadata = true;
                if context.root {
                    below.no_default = Some(format!("in top-level {name}"));
                }
            }
            self.schema(property, &path.child("properties").key(name), &below);
        }
        if let Some(not) = object(schema, "not") {
            self.schema(not, &path.child("not"), &below);
        }
        for name in ["allOf", "oneOf", "anyOf"] {
            for (index, one) in list(schema, name).iter().enumerate() {
                if let Value::Object(one) = one {
                    self.schema(one, &path.child(name).index(index), &below);
                }
            }
        }
        if let Some(items) = object(schema, "items") {
            self.schema(items, &path.child("items"), &below);
        }
    }

    fn extensions(&mut self, schema: &Object, path: &Path) {
        let kind = word(schema, "type");
        if keyword(schema, "x-kubernetes-preserve-unknown-fields") == Some(&json!(false)) {
            let path = path.child("x-kubernetes-preserve-unknown-fields");
            self.push(Error::invalid(&path, false, "must be true or undefined"));
        }
        for (name, expected) in [
            ("x-kubernetes-map-type", "object"),
            ("x-kubernetes-list-type", "array"),
        ] {
            if keyword(schema, name).is_none() || kind == expected {
                continue;
            }
            let why = format!("must be {expected} if {name} is specified");
            let path = path.child("type");
            self.push(if kind.is_empty() {
                Error::required(&path, why)
            } else {
                Error::invalid(&path, kind, why)
            });
        }
        if let Some(Value::String(map_type)) = keyword(schema, "x-kubernetes-map-type") {
            let supported = ["atomic", "granular"];
            if !supported.contains(&map_type.as_str()) {
                let path = path.child("x-kubernetes-map-type");
                self.push(Error::not_supported(&path, map_type.as_str(), &supported));
            }
        }
    }

    fn list_type(&mut self, schema: &Object, path: &Path) {
        let list_type = keyword(schema, "x-kubernetes-list-type").and_then(Value::as_str);
        let items = object(schema, "items");
        if let (Some("set"), Some(items), "array") = (list_type, items, word(schema, "type")) {
            let why = "must be atomic as item of a list with x-kubernetes-list-type=set";
            let shown = keyword(items, "x-kubernetes-list-type")
                .cloned()
                .unwrap_or_default();
            let path = path.child("items");
            let atomic = |name: &str| word(items, name) == "atomic";
            match word(items, "type") {
                "array" if !shown.is_null() && !atomic("x-kubernetes-list-type") => {
                    self.push(Error::invalid(
                        &path.child("x-kubernetes-list-type"),
                        shown,
                        why,
                    ));
                }
                "object" if !atomic("x-kubernetes-map-type") => {
                    self.push(Error::invalid(
                        &path.child("x-kubernetes-map-type"),
                        shown,
                        why,
                    ));
                }
                _ => {}
            }
        }
        let place = path.child("x-kubernetes-list-type");
        let supported = ["atomic", "set", "map"];
        if let Some(list_type) = list_type
            && !supported.contains(&list_type)
        {
            self.push(Error::not_supported(&place, list_type, &supported));
        }
        if !list(schema, "x-kubernetes-list-map-keys").is_empty() {
            let why = "must be map if x-kubernetes-list-map-keys is non-empty";
            match list_type {
                None => self.push(Error::required(&place, why)),
                Some("map") => {}
                Some(other) => self.push(Error::invalid(&place, other, why)),
            }
        }
        if matches!(list_type, Some("set" | "map"))
            && items.is_some_and(|items| flag(items, "nullable"))
        {
            let list_type = list_type.unwrap_or_default();
            let why = format!("cannot be nullable when x-kubernetes-list-type is {list_type}");
            self.push(Error::forbidden(
                &path.child("items").child("nullable"),
                why,
            ));
        }
    }

    fn keys(&mut self, schema: &Object, path: &Path) {
        if word(schema, "x-kubernetes-list-type") != "map" {
            return;
        }
        let keys = list(schema, "x-kubernetes-list-map-keys");
        let keys_path = path.child("x-kubernetes-list-map-keys");
        if keys.is_empty() {
            let why = "must not be empty if x-kubernetes-list-type is map";
            self.push(Error::required(&keys_path, why));
        }
        let items_path = path.child("items");
        let Some(items) = object(schema, "items") else {
            let why = "must have a schema if x-kubernetes-list-type is map";
            self.push(Error::required(&items_path, why));
            return;
        };
        let kind = word(items, "type");
        if kind != "object" {
            let why = "must be object if parent array's x-kubernetes-list-type is map";
            self.push(Error::invalid(&items_path.child("type"), kind, why));
            return;
        }
        let required = list(items, "required");
        for (index, key) in keys.iter().enumerate() {
            let name = key.as_str().unwrap_or_default();
            let property = object(items, "properties").and_then(|all| all.get(name));
            let Some(Value::Object(property)) = property else {
                let why = "entries must all be names of item properties";
                self.push(Error::invalid(&keys_path, json!(keys), why));
                continue;
            };
            let place = items_path.child("properties").key(name);
            if matches!(word(property, "type"), "array" | "object") {
                let why = "must be a scalar type if parent array's x-kubernetes-list-type is map";
                self.push(Error::invalid(&place.child("type"), kind, why));
            }
            if keys[..index].contains(key) {
                let why = "must not contain duplicate entries";
                self.push(Error::invalid(&keys_path, json!(keys), why));
            }
            let in_keys = "this property is in x-kubernetes-list-map-keys, so it";
            if !required.contains(key) && keyword(property, "default").is_none() {
                let why = format!("{in_keys} must have a default or be a required property");
                self.push(Error::required(&place.child("default"), why));
            }
            if flag(property, "nullable") {
                let why = format!("{in_keys} cannot be nullable");
                self.push(Error::forbidden(&place.child("nullable"), why));
            }
        }
    }
}
