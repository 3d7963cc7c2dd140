//! How a value is merged: as a whole, by fields, or by entries. Read from its schema, or from the
//! value itself where nothing is known.

use serde_json::{Map, Value};

use super::path::PathElement;
use crate::schema::{AdditionalProperties, ListType, MapType, Schema, SchemaRef, Shape, builtin};

/// What is known about a value.
#[derive(Clone, Copy, Debug)]
pub(super) enum Type<'a> {
    /// Nothing: it is what it looks like.
    Deduced,
    /// A schema; below `x-kubernetes-preserve-unknown-fields` objects are open.
    Known { schema: &'a Schema, open: bool },
}

/// How a value is merged.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind<'a> {
    Scalar(Scalar),
    List(List<'a>),
    Map(Fields<'a>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scalar {
    Numeric,
    String,
    Boolean,
    Untyped,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct List<'a> {
    schema: Option<&'a Schema>,
    open: bool,
    /// The list is one value.
    pub(super) atomic: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'a> {
    schema: Option<&'a Schema>,
    open: bool,
    /// The object is one value.
    pub(super) atomic: bool,
}

impl<'a> Type<'a> {
    pub(super) fn of(schema: &'a SchemaRef) -> Self {
        Self::Known {
            schema,
            open: schema.preserve_unknown_fields,
        }
    }

    fn below(schema: &'a SchemaRef, open: bool) -> Self {
        Self::Known {
            schema,
            open: open || schema.preserve_unknown_fields,
        }
    }

    /// How a value of this type is merged; where the type allows several kinds, `value` decides.
    pub(super) fn kind(self, value: Option<&Value>) -> Kind<'a> {
        use crate::schema::Type as Json;
        let (schema, open) = match self {
            Self::Deduced => return Self::deduced(None, false, false, value),
            Self::Known { schema, open } => (schema, open),
        };
        match schema.kind {
            Some(Json::Object) if schema.shape == Shape::Raw && schema.definition.is_some() => {
                Self::raw(schema, value)
            }
            Some(Json::Object) => {
                let atomic = schema.map_type == Some(MapType::Atomic);
                Kind::Map(Fields {
                    schema: Some(schema),
                    open,
                    atomic,
                })
            }
            Some(Json::Array) => Kind::List(List {
                schema: Some(schema),
                open,
                atomic: list_is_atomic(schema),
            }),
            Some(Json::Integer | Json::Number) => Kind::Scalar(Scalar::Numeric),
            Some(Json::Boolean) => Kind::Scalar(Scalar::Boolean),
            Some(Json::String) => Kind::Scalar(match schema.format.as_deref() {
                None | Some("" | "byte") => Scalar::String,
                Some(_) => Scalar::Untyped,
            }),
            None if schema.is_quantity() => Kind::Scalar(Scalar::Untyped),
            None => Self::deduced(Some(schema), open, list_is_atomic(schema), value),
        }
    }

    /// `RawExtension` is one value, whatever it holds; other raw objects are open.
    fn raw(schema: &'a Schema, value: Option<&Value>) -> Kind<'a> {
        let atomic = schema.type_name() == Some("RawExtension");
        match value {
            Some(Value::Array(_)) => Kind::List(List {
                schema: None,
                open: true,
                atomic: true,
            }),
            Some(Value::Object(_)) | None => Kind::Map(Fields {
                schema: None,
                open: true,
                atomic,
            }),
            Some(_) => Kind::Scalar(Scalar::Untyped),
        }
    }

    fn deduced(
        schema: Option<&'a Schema>,
        open: bool,
        atomic: bool,
        value: Option<&Value>,
    ) -> Kind<'a> {
        match value {
            Some(Value::Array(_)) => Kind::List(List {
                schema,
                open,
                atomic: atomic || schema.is_none(),
            }),
            Some(Value::Object(_)) | None => {
                let atomic = schema.is_some_and(|schema| schema.map_type == Some(MapType::Atomic));
                Kind::Map(Fields {
                    schema,
                    open,
                    atomic,
                })
            }
            Some(_) => Kind::Scalar(Scalar::Untyped),
        }
    }
}

fn list_is_atomic(schema: &Schema) -> bool {
    match schema.list_type {
        Some(ListType::Atomic) => true,
        Some(ListType::Set | ListType::Map) => false,
        None => !schema.patch_strategy.merge,
    }
}

impl<'a> List<'a> {
    /// What is known about the entries.
    pub(super) fn items(self) -> Type<'a> {
        match self.schema.and_then(|schema| schema.items.as_ref()) {
            Some(items) => Type::below(items, self.open),
            None => Type::Deduced,
        }
    }

    fn keys(self) -> Vec<&'a str> {
        let Some(schema) = self.schema else {
            return Vec::new();
        };
        match schema.list_type {
            Some(ListType::Map) => schema.list_map_keys.iter().map(String::as_str).collect(),
            None => schema.patch_merge_key.as_deref().into_iter().collect(),
            _ => Vec::new(),
        }
    }

    /// What tells the entry at `index` from the others.
    pub(super) fn element(self, index: usize, item: &Value) -> Result<PathElement, String> {
        let keys = self.keys();
        if keys.is_empty() {
            let refused = match item {
                Value::Object(_) => {
                    "associative list without keys has an element that's a map type"
                }
                Value::Array(_) => "not supported: associative list with lists as elements",
                Value::Null => {
                    "associative list without keys has an element that's an explicit null"
                }
                scalar => return Ok(PathElement::value(scalar.clone())),
            };
            return Err(format!("element {index}: {refused}"));
        }
        let fields = match item {
            Value::Object(fields) => fields,
            Value::Null => {
                return Err(format!(
                    "element {index}: associative list with keys may not have a \
                     null element"
                ));
            }
            _ => {
                return Err(format!(
                    "element {index}: associative list with keys may not have non-map elements"
                ));
            }
        };
        self.key(&keys, fields)
            .map_err(|error| format!("element {index}: {error}"))
    }

    fn key(self, keys: &[&str], fields: &Map<String, Value>) -> Result<PathElement, String> {
        let items = self.schema.and_then(|schema| schema.items.as_ref());
        let mut values = Vec::with_capacity(keys.len());
        for name in keys {
            let default = || {
                items?
                    .properties
                    .get(*name)
                    .and_then(|property| property.default.clone())
            };
            match fields.get(*name).cloned().or_else(default) {
                Some(value) => values.push(((*name).to_owned(), value)),
                None if keys.len() == 1 => {
                    return Err(format!(
                        "associative list with keys has an element that omits key field {name:?} \
                         (and doesn't have default value)"
                    ));
                }
                // One of several keys may be absent, which then tells entries apart.
                None => {}
            }
        }
        if values.is_empty() {
            let keys: Vec<String> = keys.iter().map(|key| format!("{key:?}")).collect();
            return Err(format!(
                "associative list with keys has an element that omits all key fields [{}] (and \
                 doesn't have default values for any key fields)",
                keys.join(" ")
            ));
        }
        Ok(PathElement::key(values))
    }
}

impl<'a> Fields<'a> {
    /// Whether the field is declared by name.
    pub(super) fn declares(self, name: &str) -> bool {
        self.schema.is_some_and(|schema| {
            schema.properties.contains_key(name)
                || (schema.embedded_resource && matches!(name, "apiVersion" | "kind" | "metadata"))
        })
    }

    /// What is known about the field; `None` when there may be no such field.
    pub(super) fn field(self, name: &str) -> Option<Type<'a>> {
        let Some(schema) = self.schema else {
            return Some(Type::Deduced);
        };
        if let Some(property) = schema.properties.get(name) {
            return Some(Type::below(property, self.open));
        }
        if schema.embedded_resource {
            match name {
                "apiVersion" | "kind" => return Some(Type::Deduced),
                "metadata" => {
                    let schema = builtin::definition(builtin::OBJECT_META)?.schema();
                    return Some(Type::Known {
                        schema,
                        open: false,
                    });
                }
                _ => {}
            }
        }
        match &schema.additional_properties {
            AdditionalProperties::Schema(values) => Some(Type::below(values, self.open)),
            AdditionalProperties::Allowed(true) => Some(Type::Deduced),
            AdditionalProperties::Allowed(false) => None,
            AdditionalProperties::Absent => {
                (self.open || schema.properties.is_empty()).then_some(Type::Deduced)
            }
        }
    }
}
