//! From a request's body to an object of the kind that the path names.

use std::fmt::Write as _;

use bytes::Bytes;
use http::header;
use serde_json::Value;
use simcluster_machinery::{
    apply::packed,
    decode::{self, Decoded, Problem},
    field::{Error, Path},
    kind::GroupVersionKind,
    status::Status,
};

use super::{Failure, call::Call, protobuf, registry::Resource};

/// The media types of bodies, as a refusal lists them.
const ACCEPTED: [&str; 3] = [
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
];
const ACCEPTED_CUSTOM: [&str; 2] = ["application/json", "application/yaml"];

/// What to do about fields that nobody knows or that are given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldValidation {
    /// Nothing.
    Ignore,
    /// Tell the client in `Warning` headers.
    Warn,
    /// Refuse the request.
    Strict,
}

impl FieldValidation {
    /// From the query; anything unknown was refused before.
    pub(crate) fn of(call: &Call) -> Self {
        match call.query.get("fieldValidation") {
            "Strict" => Self::Strict,
            "Ignore" => Self::Ignore,
            _ => Self::Warn,
        }
    }
}

/// The body as JSON, whatever it was written in.
pub(crate) fn json(call: &Call) -> Result<Bytes, Failure> {
    let content_type = call.header(header::CONTENT_TYPE);
    let accepted: &[&str] = if call.resource.custom.is_some() {
        &ACCEPTED_CUSTOM
    } else {
        &ACCEPTED
    };
    read_as(call, content_type, accepted)?.map_err(|why| {
        if call.body.starts_with(b"k8s\0") || content_type.contains("protobuf") {
            Box::new(Status::bad_request(why))
        } else {
            unrecognized(&call.resource.kind, &why, &call.body)
        }
    })
}

/// The body as JSON, if it is of an accepted type; why it cannot be read is left to be told.
fn read_as(
    call: &Call,
    content_type: &str,
    accepted: &[&str],
) -> Result<Result<Bytes, String>, Failure> {
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    let media_type = media_type.to_ascii_lowercase();
    let media_type = match media_type.as_str() {
        "" => "application/json",
        other => other,
    };
    if !accepted.contains(&media_type) {
        return Err(Box::new(Status::unsupported_media_type(accepted)));
    }
    Ok(match media_type {
        "application/json" => Ok(call.body.clone()),
        "application/yaml" => decode::yaml(&call.body)
            .map(Bytes::from)
            .map_err(|error| error.to_string()),
        _ => protobuf::to_json(&call.body)
            .map(Bytes::from)
            .map_err(|error| error.to_string()),
    })
}

/// A body of which not even the type is known.
fn unrecognized(kind: &GroupVersionKind, why: &str, body: &[u8]) -> Failure {
    Box::new(Status::bad_request(format!(
        "the object provided is unrecognized (must be of type {}): {why} ({})",
        kind.kind,
        summary(body)
    )))
}

/// The beginning of a body: as text if it may be JSON, else in hexadecimal digits.
fn summary(body: &[u8]) -> String {
    const SHOWN: usize = 30;
    let shown = &body[..body.len().min(SHOWN)];
    let end = if body.len() > SHOWN { " ..." } else { "" };
    match shown.first() {
        None => "<empty>".to_owned(),
        Some(b'{') => format!("{}{end}", String::from_utf8_lossy(shown)),
        Some(_) => {
            let mut digits = String::with_capacity(2 * SHOWN + end.len());
            for byte in shown {
                _ = write!(digits, "{byte:02x}");
            }
            digits + end
        }
    }
}

/// YAML as JSON, with the bare words that YAML 1.1 reads as booleans.
fn yaml_to_json(body: &[u8]) -> Result<Bytes, Failure> {
    decode::yaml(body).map(Bytes::from).map_err(|error| {
        Box::new(Status::bad_request(format!(
            "error converting YAML to JSON: {error}"
        )))
    })
}

/// The object in the body of a create or an update.
pub(crate) fn object(call: &mut Call) -> Result<Value, Failure> {
    let body = json(call)?;
    let kind = call.resource.kind.clone();
    let resource = call.resource.clone();
    of_kind(call, &body, &kind, &resource)
}

/// An object of another kind than the resource's own, as subresources take them.
pub(crate) fn other(call: &mut Call, kind: &GroupVersionKind) -> Result<Value, Failure> {
    let body = json(call)?;
    let schema = simcluster_machinery::schema::builtin::schema(kind)
        .ok_or_else(|| Box::new(Status::internal(&format!("no schema for {kind}"))))?;
    check_type(&body, kind)?;
    let decoded = decode::typed(&body, &schema)
        .map_err(|error| cannot_be_handled(kind, &error.to_string()))?;
    let mut value = report(call, kind, decoded)?;
    set_type(&mut value, kind);
    Ok(value)
}

fn of_kind(
    call: &mut Call,
    body: &[u8],
    kind: &GroupVersionKind,
    resource: &Resource,
) -> Result<Value, Failure> {
    let decoded = if resource.custom.is_some() {
        check_custom_type(body, kind)?;
        decode::untyped(body).map_err(|error| cannot_be_handled(kind, &error.to_string()))?
    } else {
        check_type(body, kind)?;
        decode::typed(body, &resource.schema)
            .map_err(|error| cannot_be_handled(kind, &error.to_string()))?
    };
    finish(call, kind, resource, decoded)
}

/// What a patch made of an object, read as if it had been sent; `strategic` patches never become
/// text. Refusals show what `shown` gives.
pub(crate) fn patched(
    call: &mut Call,
    value: Value,
    problems: &[Problem],
    strategic: bool,
    shown: impl Fn() -> String,
) -> Result<Value, Failure> {
    let resource = call.resource.clone();
    let refuse = |why: String| {
        let error = Error::invalid(&Path::new("patch"), shown(), why);
        Box::new(Status::invalid("", "", "", &[error]))
    };
    let decoded = if let Some(version) = &resource.custom {
        let mut value = value;
        let problems = version
            .coerce(&mut value)
            .map_err(|error| Box::new(Status::bad_request(error.to_string())))?;
        Decoded { value, problems }
    } else {
        let text = |field: &str| value[field].as_str().unwrap_or_default();
        let claimed = GroupVersionKind::from_api_version(text("apiVersion"), text("kind"));
        if claimed != resource.kind {
            return Err(refuse(unknown_conversion(&claimed, &resource.kind)));
        }
        if strategic {
            decode::converted(value, &resource.schema)
        } else {
            decode::typed_value(value, &resource.schema)
        }
        .map_err(|error| refuse(error.to_string()))?
    };
    let all: Vec<Problem> = problems.iter().chain(&decoded.problems).cloned().collect();
    match FieldValidation::of(call) {
        FieldValidation::Strict if !all.is_empty() => {
            return Err(refuse(decode::strict_error(&all)));
        }
        FieldValidation::Warn => call.warnings.extend(all.iter().map(ToString::to_string)),
        FieldValidation::Ignore | FieldValidation::Strict => {}
    }
    let mut value = decoded.value;
    if resource.custom.is_none() {
        set_type(&mut value, &resource.kind);
    }
    Ok(value)
}

/// What a patch made of something of another kind than the resource's own.
pub(crate) fn patched_other(
    call: &mut Call,
    value: Value,
    problems: &[Problem],
    kind: &GroupVersionKind,
) -> Result<Value, Failure> {
    let schema = simcluster_machinery::schema::builtin::schema(kind)
        .ok_or_else(|| Box::new(Status::internal(&format!("no schema for {kind}"))))?;
    let shown = value.to_string();
    let refuse = |why: String| {
        let error = Error::invalid(&Path::new("patch"), shown.as_str(), why);
        Box::new(Status::invalid("", "", "", &[error]))
    };
    let decoded = decode::typed_value(value, &schema).map_err(|error| refuse(error.to_string()))?;
    let all: Vec<Problem> = problems.iter().chain(&decoded.problems).cloned().collect();
    match FieldValidation::of(call) {
        FieldValidation::Strict if !all.is_empty() => {
            return Err(refuse(decode::strict_error(&all)));
        }
        FieldValidation::Warn => call.warnings.extend(all.iter().map(ToString::to_string)),
        FieldValidation::Ignore | FieldValidation::Strict => {}
    }
    Ok(decoded.value)
}

/// What server-side apply made of an object.
pub(crate) fn merged(call: &mut Call, mut value: Value) -> Result<Value, Failure> {
    // They were written here, and nobody decodes them in that form.
    let managers = packed::take(&mut value);
    let kind = call.resource.kind.clone();
    let resource = call.resource.clone();
    let decoded = match &resource.custom {
        Some(_) => Decoded {
            value,
            problems: Vec::new(),
        },
        None => decode::typed_value(value, &resource.schema)
            .map_err(|error| cannot_be_handled(&kind, &error.to_string()))?,
    };
    let mut value = finish(call, &kind, &resource, decoded)?;
    packed::put_back(&mut value, managers);
    Ok(value)
}

/// The configuration of a server-side apply: kept as it was sent.
pub(crate) fn configuration(call: &mut Call) -> Result<Value, Failure> {
    let kind = call.resource.kind.clone();
    configuration_of(call, &kind)
}

/// The same of another kind than the resource's own.
pub(crate) fn configuration_of(call: &mut Call, kind: &GroupVersionKind) -> Result<Value, Failure> {
    let bad = |why: String| Box::new(Status::bad_request(format!("error decoding YAML: {why}")));
    let body = if call.body.first() == Some(&b'{') && decode::untyped(&call.body).is_ok() {
        call.body.clone()
    } else {
        yaml_to_json(&call.body).map_err(|failure| bad(failure.message))?
    };
    let decoded = decode::untyped(&body).map_err(|error| bad(error.to_string()))?;
    let value = report(call, kind, decoded)?;
    let text = |field: &str| value[field].as_str().unwrap_or_default();
    // A version that is not the path's is told by the engine.
    let claimed = GroupVersionKind::from_api_version(text("apiVersion"), text("kind"));
    if claimed.kind != kind.kind || claimed.group != kind.group || claimed.version.is_empty() {
        return Err(Box::new(Status::bad_request(format!(
            "invalid object type: {}/{}, Kind={}",
            claimed.group, claimed.version, claimed.kind
        ))));
    }
    Ok(value)
}

/// `DeleteOptions`, which any version of any group may call its own.
pub(crate) fn delete_options(call: &mut Call) -> Result<Value, Failure> {
    let kind = GroupVersionKind::new("", "v1", "DeleteOptions");
    let bad = |why: String| Box::new(Status::bad_request(why));
    let content_type = call.header(header::CONTENT_TYPE);
    let body = read_as(call, content_type, &ACCEPTED)?.map_err(bad)?;
    let claimed =
        decode::type_meta(&body).map_err(|why| bad(format!("couldn't get version/kind; {why}")))?;
    if !claimed.kind.is_empty() && claimed.kind != kind.kind {
        let version = match claimed.api_version.as_str() {
            "" => "meta.k8s.io/v1",
            own => own,
        };
        return Err(bad(format!(
            "no kind {:?} is registered for version {version:?} in scheme \
             \"k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme/register.go:27\"",
            claimed.kind,
        )));
    }
    let schema = simcluster_machinery::schema::builtin::delete_options();
    // Nobody tells of fields that these options do not have.
    decode::typed(&body, &schema)
        .map(|decoded| decoded.value)
        .map_err(|error| bad(error.to_string()))
}

fn finish(
    call: &mut Call,
    kind: &GroupVersionKind,
    resource: &Resource,
    mut decoded: Decoded,
) -> Result<Value, Failure> {
    if let Some(version) = &resource.custom {
        let problems = version
            .coerce(&mut decoded.value)
            .map_err(|error| Box::new(Status::bad_request(error.to_string())))?;
        decoded.problems.extend(problems);
    }
    let mut value = report(call, kind, decoded)?;
    if resource.custom.is_none() {
        set_type(&mut value, kind);
    }
    Ok(value)
}

fn set_type(value: &mut Value, kind: &GroupVersionKind) {
    if let Some(fields) = value.as_object_mut() {
        fields.insert("apiVersion".to_owned(), kind.api_version().into());
        fields.insert("kind".to_owned(), kind.kind.clone().into());
        let metadata = fields
            .entry("metadata")
            .or_insert_with(|| Value::Object(serde_json::Map::new()));
        if metadata.is_null() {
            *metadata = Value::Object(serde_json::Map::new());
        }
    }
}

fn report(call: &mut Call, kind: &GroupVersionKind, decoded: Decoded) -> Result<Value, Failure> {
    if !decoded.problems.is_empty() {
        match FieldValidation::of(call) {
            FieldValidation::Ignore => {}
            FieldValidation::Warn => call
                .warnings
                .extend(decoded.problems.iter().map(ToString::to_string)),
            FieldValidation::Strict => {
                let message = decode::strict_error(&decoded.problems);
                return Err(cannot_be_handled(kind, &message));
            }
        }
    }
    Ok(decoded.value)
}

fn cannot_be_handled(kind: &GroupVersionKind, why: &str) -> Failure {
    Box::new(Status::bad_request(format!(
        "{} in version {:?} cannot be handled as a {}: {why}",
        kind.kind, kind.version, kind.kind
    )))
}

/// The body may leave out its type, but not claim another one.
fn check_type(body: &[u8], kind: &GroupVersionKind) -> Result<(), Failure> {
    let claimed = decode::type_meta(body)
        .map_err(|why| unrecognized(kind, &format!("couldn't get version/kind; {why}"), body))?;
    let api_version = if claimed.api_version.is_empty() {
        kind.api_version()
    } else {
        claimed.api_version
    };
    let name = if claimed.kind.is_empty() {
        kind.kind.clone()
    } else {
        claimed.kind
    };
    if api_version == kind.api_version() && name == kind.kind {
        return Ok(());
    }
    let claimed = GroupVersionKind::from_api_version(&api_version, &name);
    let why = unknown_conversion(&claimed, kind);
    Err(Box::new(Status::bad_request(format!(
        "{} in version {:?} cannot be handled as a {}: {why}",
        claimed.kind, claimed.version, kind.kind
    ))))
}

/// Why an object of one kind is none of another.
fn unknown_conversion(claimed: &GroupVersionKind, kind: &GroupVersionKind) -> String {
    if simcluster_machinery::schema::builtin::schema(claimed).is_some() {
        format!(
            "converting ({}.{}) to ({}.{}): unknown conversion",
            claimed.version,
            claimed.kind,
            internal_package(&kind.group),
            kind.kind
        )
    } else {
        format!(
            "no kind {:?} is registered for version {:?} in scheme \
             \"k8s.io/kubernetes/pkg/api/legacyscheme/scheme.go:30\"",
            claimed.kind,
            claimed.api_version()
        )
    }
}

/// The Go package of a group's internal types.
fn internal_package(group: &str) -> &str {
    match group {
        "" => "core",
        other => other.split('.').next().unwrap_or(other),
    }
}

/// Custom resources must say what they are.
fn check_custom_type(body: &[u8], kind: &GroupVersionKind) -> Result<(), Failure> {
    let claimed = decode::type_meta(body)
        .map_err(|why| unrecognized(kind, &format!("couldn't get version/kind; {why}"), body))?;
    if claimed.kind.is_empty() {
        let why = "Object 'Kind' is missing in 'object has no kind field '";
        return Err(Box::new(Status::bad_request(why)));
    }
    if claimed.api_version == kind.api_version() {
        return Ok(());
    }
    let claimed = GroupVersionKind::from_api_version(&claimed.api_version, &claimed.kind);
    Err(Box::new(Status::bad_request(format!(
        "the API version in the data ({}) does not match the expected API version ({})",
        claimed.api_version(),
        kind.api_version()
    ))))
}
