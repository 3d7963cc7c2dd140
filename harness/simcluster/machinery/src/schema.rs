//! Schemas: what the API knows about the shape of an object, for built-in kinds and custom
//! resources alike.
//!
//! A [`Schema`] is parsed once and then only read: by pruning, defaulting, validation, the patch
//! engines and server-side apply. It does not judge whether a schema is acceptable (see
//! [`crate::crd`]), nor does it look at objects.

pub mod builtin;
mod parse;

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use serde_json::Value;

/// A schema shared between its users. Built-in definitions refer to one another by name and may be
/// recursive; a reference is resolved when it is first looked at.
#[derive(Clone, Debug)]
pub struct SchemaRef(Inner);

#[derive(Clone, Debug)]
enum Inner {
    Inline(Arc<Schema>),
    Definition(&'static builtin::Definition),
    /// A reference with keywords beside it: the definition with these laid over.
    Overlaid(Arc<Overlaid>),
}

#[derive(Debug)]
struct Overlaid {
    definition: &'static builtin::Definition,
    site: Site,
    resolved: OnceLock<Schema>,
}

/// Keywords that stand beside a `$ref`.
#[derive(Debug, Default)]
struct Site {
    default: Option<Value>,
    patch_strategy: PatchStrategy,
    patch_merge_key: Option<String>,
    map_type: Option<MapType>,
    go: Option<GoType>,
}

impl SchemaRef {
    /// A schema of its own.
    pub fn new(schema: Schema) -> Self {
        Self(Inner::Inline(Arc::new(schema)))
    }
}

impl Deref for SchemaRef {
    type Target = Schema;

    fn deref(&self) -> &Schema {
        match &self.0 {
            Inner::Inline(schema) => schema,
            Inner::Definition(definition) => definition.schema(),
            Inner::Overlaid(overlaid) => overlaid.resolved.get_or_init(|| {
                let mut schema = overlaid.definition.schema().clone();
                let site = &overlaid.site;
                schema.default.clone_from(&site.default);
                schema.patch_strategy = site.patch_strategy;
                schema.patch_merge_key.clone_from(&site.patch_merge_key);
                if site.map_type.is_some() {
                    schema.map_type = site.map_type;
                }
                schema.go.clone_from(&site.go);
                schema
            }),
        }
    }
}

/// The schema of a custom resource with what every object has: `apiVersion`, `kind` and `metadata`.
pub fn custom_object(schema: &SchemaRef) -> SchemaRef {
    let text = || {
        let kind = Some(Type::String);
        SchemaRef::new(Schema {
            kind,
            ..Schema::default()
        })
    };
    let mut object = Schema::clone(schema);
    let mut properties = (*object.properties).clone();
    properties.insert("apiVersion".to_owned(), text());
    properties.insert("kind".to_owned(), text());
    properties.insert("metadata".to_owned(), builtin::object_meta());
    object.properties = Arc::new(properties);
    SchemaRef::new(object)
}

/// JSON types of a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Type {
    /// `array`
    Array,
    /// `boolean`
    Boolean,
    /// `integer`
    Integer,
    /// `number`
    Number,
    /// `object`
    Object,
    /// `string`
    String,
}

impl Type {
    /// The word in a schema.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Array => "array",
            Self::Boolean => "boolean",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Object => "object",
            Self::String => "string",
        }
    }

    /// From the word in a schema.
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "array" => Self::Array,
            "boolean" => Self::Boolean,
            "integer" => Self::Integer,
            "number" => Self::Number,
            "object" => Self::Object,
            "string" => Self::String,
            _ => return None,
        })
    }
}

/// How the entries of a list are told apart (`x-kubernetes-list-type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListType {
    /// The list is one value.
    Atomic,
    /// Each entry is its own key.
    Set,
    /// Entries are objects told apart by [`Schema::list_map_keys`].
    Map,
}

/// Whether the fields of an object have owners of their own (`x-kubernetes-map-type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapType {
    /// The object is one value.
    Atomic,
    /// Each field is for itself.
    Granular,
}

/// `x-kubernetes-patch-strategy`: how a strategic merge patch treats the field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PatchStrategy {
    /// Entries of the list are merged by [`Schema::patch_merge_key`], or as a set.
    pub merge: bool,
    /// The value is replaced as a whole.
    pub replace: bool,
    /// Only the fields named in `$retainKeys` survive.
    pub retain_keys: bool,
}

/// Whether an object may have fields besides its properties.
#[derive(Clone, Debug, Default)]
pub enum AdditionalProperties {
    /// The keyword is absent.
    #[default]
    Absent,
    /// `true` or `false`.
    Allowed(bool),
    /// Values of other fields follow this schema.
    Schema(SchemaRef),
}

/// How a built-in field is declared in Go; absent for custom resources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoType {
    /// The type as an error names it, without a leading `*`: `int32`, `v1.PullPolicy`.
    pub name: String,
    /// A pointer: a zero value is different from an absent one.
    pub pointer: bool,
    /// `omitempty`: a zero value is not written.
    pub omit_empty: bool,
    /// `omitzero`: a zero struct is not written.
    pub omit_zero: bool,
}

/// Bounds of numbers, strings, lists and maps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bounds {
    /// `minimum`
    pub minimum: Option<f64>,
    /// `exclusiveMinimum`
    pub exclusive_minimum: bool,
    /// `maximum`
    pub maximum: Option<f64>,
    /// `exclusiveMaximum`
    pub exclusive_maximum: bool,
    /// `multipleOf`
    pub multiple_of: Option<f64>,
    /// `minLength`
    pub min_length: Option<u64>,
    /// `maxLength`
    pub max_length: Option<u64>,
    /// `pattern`
    pub pattern: Option<Pattern>,
    /// `minItems`
    pub min_items: Option<u64>,
    /// `maxItems`
    pub max_items: Option<u64>,
    /// `uniqueItems`
    pub unique_items: bool,
    /// `minProperties`
    pub min_properties: Option<u64>,
    /// `maxProperties`
    pub max_properties: Option<u64>,
}

/// A regular expression with its source; `None` where it does not compile.
#[derive(Clone, Debug)]
pub struct Pattern {
    /// As written in the schema.
    pub source: String,
    /// Compiled once.
    pub regex: Option<regex::Regex>,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

/// One rule of `x-kubernetes-validations`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ValidationRule {
    /// The CEL expression that must hold.
    pub rule: String,
    /// What to say when it does not.
    pub message: String,
    /// A CEL expression for what to say.
    pub message_expression: String,
    /// The reason of the error, `FieldValueInvalid` unless given.
    pub reason: Option<String>,
    /// The field to blame, relative to the rule's place.
    pub field_path: String,
    /// Whether the rule also runs when there is no old value, which then is an empty optional.
    pub optional_old_self: Option<bool>,
}

/// What a value of a built-in kind is read as, decided once per schema.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Any JSON, kept as it is.
    #[default]
    Raw,
    /// A schema, or a list of schemas, or a boolean, or a list of strings.
    SchemaOr,
    Quantity,
    IntOrString,
    Time,
    MicroTime,
    Bytes,
    String,
    Int32,
    Int64,
    Float,
    Bool,
    List,
    Map,
    Struct,
}

/// The shape of a value.
#[derive(Clone, Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a keyword of its own"
)]
pub struct Schema {
    /// `type`; absent means any.
    pub kind: Option<Type>,
    /// `format`
    pub format: Option<String>,
    /// `nullable`
    pub nullable: bool,
    /// `default`
    pub default: Option<Value>,
    /// `properties`
    pub properties: Arc<BTreeMap<String, SchemaRef>>,
    /// `additionalProperties`
    pub additional_properties: AdditionalProperties,
    /// `items`
    pub items: Option<SchemaRef>,
    /// `required`, in the order written.
    pub required: Arc<Vec<String>>,
    /// `enum`, in the order written; empty when absent.
    pub enumeration: Arc<Vec<Value>>,
    /// Bounds, if there are any.
    pub bounds: Option<Arc<Bounds>>,
    /// `allOf`
    pub all_of: Vec<SchemaRef>,
    /// `anyOf`
    pub any_of: Vec<SchemaRef>,
    /// `oneOf`
    pub one_of: Vec<SchemaRef>,
    /// `not`
    pub not: Option<SchemaRef>,
    /// `x-kubernetes-list-type`
    pub list_type: Option<ListType>,
    /// `x-kubernetes-list-map-keys`
    pub list_map_keys: Arc<Vec<String>>,
    /// `x-kubernetes-map-type`
    pub map_type: Option<MapType>,
    /// `x-kubernetes-patch-strategy`
    pub patch_strategy: PatchStrategy,
    /// `x-kubernetes-patch-merge-key`
    pub patch_merge_key: Option<String>,
    /// `x-kubernetes-int-or-string`, and the built-in IntOrString.
    pub int_or_string: bool,
    /// `x-kubernetes-preserve-unknown-fields`
    pub preserve_unknown_fields: bool,
    /// `x-kubernetes-embedded-resource`
    pub embedded_resource: bool,
    /// `x-kubernetes-validations`
    pub validations: Arc<Vec<ValidationRule>>,
    /// The name of a built-in definition, `io.k8s.api.core.v1.Container`.
    pub definition: Option<&'static str>,
    /// How a built-in field is declared in Go.
    pub go: Option<GoType>,
    pub(crate) shape: Shape,
}

impl Schema {
    /// Parses `openAPIV3Schema` of a custom resource. Nothing is refused here: keywords of the
    /// wrong type count as absent, because validation of the definition reports them.
    pub fn from_openapi(value: &Value) -> SchemaRef {
        parse::schema(value)
    }

    /// The schema of whole objects of a custom resource: with `apiVersion`, `kind` and `metadata` as
    /// every object has them.
    pub fn of_objects(value: &Value) -> SchemaRef {
        let mut schema = Schema::clone(&parse::schema(value));
        let text = parse::schema(&serde_json::json!({"type": "string"}));
        let fields = Arc::make_mut(&mut schema.properties);
        fields.insert("apiVersion".to_owned(), text.clone());
        fields.insert("kind".to_owned(), text);
        fields.insert("metadata".to_owned(), builtin::object_meta());
        SchemaRef(Inner::Inline(Arc::new(schema)))
    }

    /// The schema of the field `name` of an object: its property, or what
    /// `additionalProperties` says.
    pub fn field(&self, name: &str) -> Option<&SchemaRef> {
        self.properties
            .get(name)
            .or(match &self.additional_properties {
                AdditionalProperties::Schema(schema) => Some(schema),
                _ => None,
            })
    }

    /// Whether the value is an object with named fields (a Go struct for built-in kinds).
    pub fn is_struct(&self) -> bool {
        !self.properties.is_empty()
    }

    /// Whether anything at all may stand here: no type, or an object about which nothing is said.
    pub fn is_free_form(&self) -> bool {
        self.properties.is_empty()
            && self.items.is_none()
            && matches!(
                self.additional_properties,
                AdditionalProperties::Absent | AdditionalProperties::Allowed(true)
            )
            && matches!(self.kind, None | Some(Type::Object))
            && !self.int_or_string
            && self.one_of.is_empty()
    }

    /// The last part of the definition's name, which is the Go type: `Container`.
    pub fn type_name(&self) -> Option<&'static str> {
        self.definition
            .map(|name| name.rsplit('.').next().unwrap_or(name))
    }

    /// Whether this is the definition with this name.
    pub fn is_definition(&self, name: &str) -> bool {
        self.definition == Some(name)
    }

    /// Whether this is the built-in `Quantity`.
    pub fn is_quantity(&self) -> bool {
        self.is_definition(builtin::QUANTITY)
    }
}
