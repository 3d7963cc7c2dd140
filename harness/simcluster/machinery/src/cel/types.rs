//! Types of CEL expressions, and of the functions that rules may call.

use std::{collections::BTreeMap, fmt};

use super::{authorizer, value::escape};
use crate::schema::{AdditionalProperties, Schema, SchemaRef, Type};

/// The type of an expression.
#[derive(Clone, Debug)]
pub(super) enum Ty {
    /// Anything; what is done with it shows when it runs.
    Dyn,
    Null,
    Bool,
    Int,
    Uint,
    Double,
    String,
    Bytes,
    Duration,
    Timestamp,
    List(Box<Ty>),
    /// Keys are strings or whatever a literal has; values are of one type.
    Map(Box<Ty>),
    /// An object with declared fields; `true` when it has metadata.
    Object(SchemaRef, bool),
    Metadata,
    Optional(Box<Ty>),
    /// What other expressions gave, by name.
    Results(BTreeMap<String, Ty>),
    /// A type of an extension library: `kubernetes.Quantity`.
    Library(&'static str),
    /// What a mutation makes: `Object`, a part of it such as `Object.spec`, or `JSONPatch`.
    Message(String),
}

impl Ty {
    /// The type of values that follow a schema.
    pub(super) fn of(schema: &SchemaRef, is_object: bool) -> Self {
        if schema.int_or_string {
            return Self::Dyn;
        }
        match schema.kind {
            None => Self::Dyn,
            Some(Type::Boolean) => Self::Bool,
            Some(Type::Integer) => Self::Int,
            Some(Type::Number) => Self::Double,
            Some(Type::String) => match schema.format.as_deref() {
                Some("date" | "date-time") => Self::Timestamp,
                Some("duration") => Self::Duration,
                Some("byte") => Self::Bytes,
                _ => Self::String,
            },
            Some(Type::Array) => {
                let each = schema.items.as_ref();
                let each = each.map_or(Self::Dyn, |each| Self::of(each, each.embedded_resource));
                Self::List(Box::new(each))
            }
            Some(Type::Object) => match &schema.additional_properties {
                AdditionalProperties::Schema(values) if schema.properties.is_empty() => {
                    Self::Map(Box::new(Self::of(values, values.embedded_resource)))
                }
                AdditionalProperties::Allowed(true) if schema.properties.is_empty() => {
                    Self::Map(Box::new(Self::Dyn))
                }
                _ if schema.properties.is_empty()
                    && schema.preserve_unknown_fields
                    && !is_object =>
                {
                    Self::Dyn
                }
                _ => Self::Object(schema.clone(), is_object || schema.embedded_resource),
            },
        }
    }

    /// The type of a field; nothing when there is no such field.
    pub(super) fn field(&self, name: &str) -> Option<Self> {
        match self {
            Self::Dyn => Some(Self::Dyn),
            Self::Map(value) => Some((**value).clone()),
            Self::Optional(inner) => Some(Self::Optional(Box::new(inner.field(name)?))),
            Self::Metadata => matches!(name, "name" | "generateName").then_some(Self::String),
            Self::Object(_, true) if matches!(name, "apiVersion" | "kind") => Some(Self::String),
            Self::Object(_, true) if name == "metadata" => Some(Self::Metadata),
            Self::Results(results) => results.get(name).cloned(),
            Self::Object(schema, _) => property(schema, name),
            _ => None,
        }
    }

    /// Whether fields can be selected from it at all.
    pub(super) fn has_fields(&self) -> bool {
        match self {
            Self::Dyn | Self::Map(_) | Self::Object(..) | Self::Metadata | Self::Results(_) => true,
            Self::Optional(inner) => inner.has_fields(),
            _ => false,
        }
    }

    /// The type of what a macro such as `all` goes through: entries of lists, keys of maps.
    pub(super) fn element(&self) -> Self {
        match self {
            Self::List(element) => (**element).clone(),
            Self::Map(_) => Self::String,
            _ => Self::Dyn,
        }
    }

    /// Whether a value of this type may stand where `other` is expected.
    pub(super) fn fits(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::List(left), Self::List(right)) | (Self::Map(left), Self::Map(right)) => {
                left.fits(right)
            }
            (Self::Optional(left), Self::Optional(right)) => left.fits(right),
            (Self::Dyn, _)
            | (_, Self::Dyn)
            | (Self::Map(_), Self::Object(..))
            | (Self::Object(..), Self::Map(_))
            | (Self::Null, Self::Object(..) | Self::Duration | Self::Timestamp | Self::Map(_))
            | (Self::Object(..) | Self::Duration | Self::Timestamp | Self::Map(_), Self::Null) => {
                true
            }
            (Self::Library(left), Self::Library(right)) => left == right,
            (Self::Message(left), Self::Message(right)) => left == right,
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }

    pub(super) fn is_number(&self) -> bool {
        matches!(self, Self::Int | Self::Uint | Self::Double)
    }
}

fn property(schema: &Schema, name: &str) -> Option<Ty> {
    let mut properties = schema.properties.iter();
    let (_, property) = properties.find(|(own, _)| escape(own).as_deref() == Some(name))?;
    Some(Ty::of(property, property.embedded_resource))
}

impl fmt::Display for Ty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dyn => f.write_str("dyn"),
            Self::Null => f.write_str("null"),
            Self::Bool => f.write_str("bool"),
            Self::Int => f.write_str("int"),
            Self::Uint => f.write_str("uint"),
            Self::Double => f.write_str("double"),
            Self::String => f.write_str("string"),
            Self::Bytes => f.write_str("bytes"),
            Self::Duration => f.write_str("google.protobuf.Duration"),
            Self::Timestamp => f.write_str("google.protobuf.Timestamp"),
            Self::List(element) => write!(f, "list({element})"),
            Self::Map(value) => write!(f, "map(string, {value})"),
            Self::Object(..) | Self::Metadata | Self::Results(_) => f.write_str("object"),
            Self::Optional(inner) => write!(f, "optional_type({inner})"),
            Self::Library(name) => f.write_str(name),
            Self::Message(name) => f.write_str(name),
        }
    }
}

const QUANTITY: Ty = Ty::Library("kubernetes.Quantity");
const URL: Ty = Ty::Library("kubernetes.URL");
const IP: Ty = Ty::Library("net.IP");
const CIDR: Ty = Ty::Library("net.CIDR");
const SEMVER: Ty = Ty::Library("kubernetes.Semver");
const FORMAT: Ty = Ty::Library("kubernetes.NamedFormat");

/// Functions by name, with their signatures: the receiver before a dot, arguments, the result after
/// a colon. Letters: b bool, i int, u uint, d double, s string, y bytes, D duration, T timestamp,
/// L list, M map, * anything, S a list of strings, O an optional, and the libraries' Q quantity,
/// U url, P ip, C cidr, V semver, F format, and of the authorizer A itself, H its check of a path,
/// G of a group, R of a resource, and E its decision.
const FUNCTIONS: [(&str, &str); 143] = [
    ("path", "A.s:H"),
    ("group", "A.s:G"),
    ("serviceAccount", "A.ss:A"),
    ("resource", "G.s:R"),
    ("subresource", "R.s:R"),
    ("namespace", "R.s:R"),
    ("name", "R.s:R"),
    ("fieldSelector", "R.s:R"),
    ("labelSelector", "R.s:R"),
    ("check", "H.s:E R.s:E"),
    ("allowed", "E.:b"),
    ("errored", "E.:b"),
    ("reason", "E.:s"),
    ("error", "E.:s"),
    ("size", "s:i y:i L:i M:i s.:i y.:i L.:i M.:i"),
    ("contains", "s.s:b L.*:b"),
    ("startsWith", "s.s:b"),
    ("endsWith", "s.s:b"),
    ("matches", "s.s:b ss:b"),
    ("string", "*:s"),
    ("int", "*:i"),
    ("uint", "*:u"),
    ("double", "*:d"),
    ("bytes", "s:y y:y"),
    ("bool", "*:b"),
    ("dyn", "*:*"),
    ("type", "*:*"),
    ("duration", "s:D D:D"),
    ("timestamp", "s:T T:T i:T"),
    ("getFullYear", "T.:i T.s:i"),
    ("getMonth", "T.:i T.s:i"),
    ("getDayOfYear", "T.:i T.s:i"),
    ("getDayOfMonth", "T.:i T.s:i"),
    ("getDate", "T.:i T.s:i"),
    ("getDayOfWeek", "T.:i T.s:i"),
    ("getHours", "T.:i T.s:i D.:i"),
    ("getMinutes", "T.:i T.s:i D.:i"),
    ("getSeconds", "T.:i T.s:i D.:i"),
    ("getMilliseconds", "T.:i T.s:i D.:i"),
    ("charAt", "s.i:s"),
    ("indexOf", "s.s:i s.si:i L.*:i"),
    ("lastIndexOf", "s.s:i s.si:i L.*:i"),
    ("lowerAscii", "s.:s"),
    ("upperAscii", "s.:s"),
    ("replace", "s.ss:s s.ssi:s"),
    ("split", "s.s:S s.si:S"),
    ("join", "L.:s L.s:s"),
    ("substring", "s.i:s s.ii:s"),
    ("trim", "s.:s"),
    ("reverse", "s.:s"),
    ("format", "s.L:s"),
    ("strings.quote", "s:s"),
    ("find", "s.s:s"),
    ("findAll", "s.s:S s.si:S"),
    ("isSorted", "L.:b"),
    ("sum", "L.:*"),
    ("min", "L.:*"),
    ("max", "L.:*"),
    ("slice", "L.ii:L"),
    ("flatten", "L.:L L.i:L"),
    ("distinct", "L.:L"),
    ("sort", "L.:L"),
    ("first", "L.:O"),
    ("last", "L.:O"),
    ("lists.range", "i:L"),
    ("sets.contains", "LL:b"),
    ("sets.equivalent", "LL:b"),
    ("sets.intersects", "LL:b"),
    ("math.greatest", "*:* **:* ***:* ****:*"),
    ("math.least", "*:* **:* ***:* ****:*"),
    ("math.ceil", "d:d"),
    ("math.floor", "d:d"),
    ("math.round", "d:d"),
    ("math.trunc", "d:d"),
    ("math.abs", "*:*"),
    ("math.sign", "*:*"),
    ("math.sqrt", "*:d"),
    ("math.isNaN", "d:b"),
    ("math.isInf", "d:b"),
    ("math.isFinite", "d:b"),
    ("math.bitAnd", "**:*"),
    ("math.bitOr", "**:*"),
    ("math.bitXor", "**:*"),
    ("math.bitNot", "*:*"),
    ("math.bitShiftLeft", "*i:*"),
    ("math.bitShiftRight", "*i:*"),
    ("base64.encode", "y:s"),
    ("base64.decode", "s:y"),
    ("url", "s:U"),
    ("isURL", "s:b"),
    ("getScheme", "U.:s"),
    ("getHost", "U.:s"),
    ("getHostname", "U.:s"),
    ("getPort", "U.:s"),
    ("getEscapedPath", "U.:s"),
    ("getQuery", "U.:M"),
    ("quantity", "s:Q"),
    ("isQuantity", "s:b"),
    ("sign", "Q.:i"),
    ("isInteger", "Q.:b"),
    ("asInteger", "Q.:i"),
    ("asApproximateFloat", "Q.:d"),
    ("isGreaterThan", "Q.Q:b V.V:b"),
    ("isLessThan", "Q.Q:b V.V:b"),
    ("compareTo", "Q.Q:i V.V:i"),
    ("add", "Q.Q:Q Q.i:Q"),
    ("sub", "Q.Q:Q Q.i:Q"),
    ("ip", "s:P C.:P"),
    ("isIP", "s:b"),
    ("ip.isCanonical", "s:b"),
    ("cidr", "s:C"),
    ("isCIDR", "s:b"),
    ("family", "P.:i"),
    ("isUnspecified", "P.:b"),
    ("isLoopback", "P.:b"),
    ("isLinkLocalMulticast", "P.:b"),
    ("isLinkLocalUnicast", "P.:b"),
    ("isGlobalUnicast", "P.:b"),
    ("containsIP", "C.P:b C.s:b"),
    ("containsCIDR", "C.C:b C.s:b"),
    ("masked", "C.:C"),
    ("prefixLength", "C.:i"),
    ("semver", "s:V sb:V"),
    ("isSemver", "s:b sb:b"),
    ("major", "V.:i"),
    ("minor", "V.:i"),
    ("patch", "V.:i"),
    ("format.named", "s:O"),
    ("validate", "F.s:O"),
    ("format.dns1123Label", ":F"),
    ("format.dns1123Subdomain", ":F"),
    ("format.dns1035Label", ":F"),
    ("format.qualifiedName", ":F"),
    ("format.labelValue", ":F"),
    ("format.uri", ":F"),
    ("format.uuid", ":F"),
    ("jsonpatch.escapeKey", "s:s"),
    ("optional.of", "*:O"),
    ("optional.none", ":O"),
    ("optional.ofNonZeroValue", "*:O"),
    ("hasValue", "O.:b"),
    ("value", "O.:*"),
    ("orValue", "O.*:*"),
];

fn letter(letter: char) -> Ty {
    match letter {
        'b' => Ty::Bool,
        'i' => Ty::Int,
        'u' => Ty::Uint,
        'd' => Ty::Double,
        's' => Ty::String,
        'y' => Ty::Bytes,
        'D' => Ty::Duration,
        'T' => Ty::Timestamp,
        'L' => Ty::List(Box::new(Ty::Dyn)),
        'M' => Ty::Map(Box::new(Ty::Dyn)),
        'S' => Ty::List(Box::new(Ty::String)),
        'O' => Ty::Optional(Box::new(Ty::Dyn)),
        'Q' => QUANTITY,
        'U' => URL,
        'P' => IP,
        'C' => CIDR,
        'V' => SEMVER,
        'F' => FORMAT,
        'A' => Ty::Library(authorizer::AUTHORIZER),
        'H' => Ty::Library(authorizer::PATH_CHECK),
        'G' => Ty::Library(authorizer::GROUP_CHECK),
        'R' => Ty::Library(authorizer::RESOURCE_CHECK),
        'E' => Ty::Library(authorizer::DECISION),
        _ => Ty::Dyn,
    }
}

/// The result of a call, or nothing when no signature fits.
fn overload(signature: &str, receiver: Option<&Ty>, arguments: &[Ty]) -> Option<Ty> {
    let (parameters, result) = signature.split_once(':')?;
    let (own, parameters) = match parameters.split_once('.') {
        Some((own, parameters)) => (Some(own), parameters),
        None => (None, parameters),
    };
    let fits = match (own.and_then(|own| own.chars().next()), receiver) {
        (None, None) => true,
        (Some(own), Some(receiver)) => {
            let own = letter(own);
            receiver.fits(&own) || (matches!(own, Ty::Map(_)) && matches!(receiver, Ty::Object(..)))
        }
        _ => false,
    };
    let parameters: Vec<Ty> = parameters.chars().map(letter).collect();
    let pairs = || arguments.iter().zip(&parameters);
    let matched = fits
        && parameters.len() == arguments.len()
        && pairs().all(|(argument, parameter)| argument.fits(parameter));
    matched.then(|| result.chars().next().map_or(Ty::Dyn, letter))
}

/// What a call of a library function gives: unknown name, no fitting signature, or a type.
pub(super) enum Call {
    Unknown,
    NoOverload,
    Gives(Ty),
}

/// The type of a call.
pub(super) fn call(name: &str, receiver: Option<&Ty>, arguments: &[Ty]) -> Call {
    // `or` of optionals keeps their type.
    if name == "or" && matches!(receiver, Some(Ty::Optional(_) | Ty::Dyn)) {
        return Call::Gives(receiver.cloned().unwrap_or(Ty::Dyn));
    }
    let Some((_, signatures)) = FUNCTIONS.iter().find(|(known, _)| *known == name) else {
        return Call::Unknown;
    };
    let mut signatures = signatures.split(' ');
    match signatures.find_map(|signature| overload(signature, receiver, arguments)) {
        Some(Ty::Optional(_)) if name == "optional.of" => Call::Gives(Ty::Optional(Box::new(
            arguments.first().cloned().unwrap_or(Ty::Dyn),
        ))),
        Some(result) => Call::Gives(result),
        None => Call::NoOverload,
    }
}
