//! Custom resource definitions: their defaults, and all that can be wrong with one.
//!
//! Definitions come in the form of `apiextensions.k8s.io/v1`, read by schema. What holds for the
//! metadata of every object is checked elsewhere; here only that the name is made of plural and
//! group.

mod defaults;
mod names;
mod openapi;
mod rules;
mod structural;
mod versions;

use serde_json::{Map, Value, json};

use crate::field::{Error, Path};
use crate::name;
use crate::webhook_client::{validate_service, validate_url};

pub use versions::schema_place;

type Object = Map<String, Value>;

/// Fills in what a definition need not say: singular, list kind, conversion, stored versions.
pub fn set_defaults(crd: &mut Value) {
    let kind = text(crd, "/spec/names/kind").to_owned();
    if let Some(names) = crd
        .pointer_mut("/spec/names")
        .and_then(Value::as_object_mut)
    {
        let mut fill = |field: &str, value: String| {
            if names
                .get(field)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .is_empty()
            {
                names.insert(field.to_owned(), Value::String(value));
            }
        };
        if !kind.is_empty() {
            fill("singular", kind.to_lowercase());
            fill("listKind", format!("{kind}List"));
        }
    }
    let Some(spec) = crd.get_mut("spec").and_then(Value::as_object_mut) else {
        return;
    };
    let conversion = spec
        .entry("conversion")
        .or_insert_with(|| json!({"strategy": "None"}));
    if let Some(service) = conversion.pointer_mut("/webhook/clientConfig/service")
        && let Some(service) = service.as_object_mut()
    {
        service.entry("port").or_insert(json!(443));
    }
}

/// The versions that a new definition has stored objects in: the storage version, or versions, so
/// that too many of them are told as such.
pub fn initial_stored_versions(crd: &Value) -> Vec<String> {
    let versions = crd.pointer("/spec/versions").and_then(Value::as_array);
    let storage = |version: &&Value| version.get("storage") == Some(&Value::Bool(true));
    let versions = versions.into_iter().flatten().find(storage);
    versions
        .map(|version| text(version, "/name").to_owned())
        .into_iter()
        .collect()
}

/// All that is wrong with a new definition.
pub fn validate(crd: &Value) -> Vec<Error> {
    let mut errors = Vec::new();
    let name = text(crd, "/metadata/name");
    let expected = format!(
        "{}.{}",
        text(crd, "/spec/names/plural"),
        text(crd, "/spec/group")
    );
    if name != expected {
        let path = Path::new("metadata").child("name");
        errors.push(Error::invalid(
            &path,
            name,
            "must be spec.names.plural+\".\"+spec.group",
        ));
    }
    errors.extend(spec(crd));
    errors.extend(status(crd));
    errors.extend(approval(crd));
    errors
}

/// All that is wrong with a definition that replaces another.
pub fn validate_update(crd: &Value, old: &Value) -> Vec<Error> {
    let mut errors = spec(crd);
    let mut immutable = |pointer: &str, path: &Path| {
        let (new, old) = (text(crd, pointer), text(old, pointer));
        if new != old {
            errors.push(Error::invalid(path, new, "field is immutable"));
        }
    };
    let spec = Path::new("spec");
    if is_established(old) {
        immutable("/spec/scope", &spec.child("scope"));
        immutable("/spec/names/kind", &spec.child("names").child("kind"));
    }
    immutable("/spec/group", &spec.child("group"));
    immutable("/spec/names/plural", &spec.child("names").child("plural"));
    errors.extend(status(crd));
    errors
}

/// Whether the definition's names were accepted once and its objects are served.
pub fn is_established(crd: &Value) -> bool {
    let conditions = crd.pointer("/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().any(|condition| {
        text(condition, "/type") == "Established" && text(condition, "/status") == "True"
    })
}

fn spec(crd: &Value) -> Vec<Error> {
    let path = Path::new("spec");
    let mut errors = Vec::new();
    let group = text(crd, "/spec/group");
    let complaints = name::dns1123_subdomain(group);
    if group.is_empty() {
        errors.push(Error::required(&path.child("group"), ""));
    } else if !complaints.is_empty() {
        errors.push(Error::invalid(
            &path.child("group"),
            group,
            complaints.join(","),
        ));
    } else if !group.contains('.') {
        let why = "should be a domain with at least one dot";
        errors.push(Error::invalid(&path.child("group"), group, why));
    }
    match text(crd, "/spec/scope") {
        "" => errors.push(Error::required(&path.child("scope"), "")),
        "Cluster" | "Namespaced" => {}
        other => {
            let supported = ["Cluster", "Namespaced"];
            errors.push(Error::not_supported(
                &path.child("scope"),
                other,
                &supported,
            ));
        }
    }
    errors.extend(versions::validate(crd, &path));
    errors.extend(names::validate_required(
        crd.pointer("/spec/names"),
        &path.child("names"),
    ));
    errors.extend(names::validate(
        crd.pointer("/spec/names"),
        &path.child("names"),
    ));
    errors.extend(conversion(
        crd.pointer("/spec/conversion"),
        &path.child("conversion"),
    ));
    errors
}

fn status(crd: &Value) -> Vec<Error> {
    let path = Path::new("status");
    let accepted = path.child("acceptedNames");
    let mut errors = names::validate(crd.pointer("/status/acceptedNames"), &accepted);
    let path = path.child("storedVersions");
    let stored: Vec<&str> = strings(crd.pointer("/status/storedVersions"));
    if stored.is_empty() {
        let why = "must have at least one stored version";
        errors.push(Error::invalid(&path, json!(stored), why));
        return errors;
    }
    let versions = crd.pointer("/spec/versions").and_then(Value::as_array);
    let versions: Vec<&Value> = versions.into_iter().flatten().collect();
    for version in &versions {
        let name = text(version, "/name");
        if version.get("storage") == Some(&Value::Bool(true)) && !stored.contains(&name) {
            let why = format!("must have the storage version {name}");
            errors.push(Error::invalid(&path, json!(stored), why));
        }
    }
    for (index, name) in stored.iter().enumerate() {
        if !versions
            .iter()
            .any(|version| text(version, "/name") == *name)
        {
            let why = format!(
                "missing from spec.versions; {name} was previously a storage version, and must \
                 remain in spec.versions until a storage migration ensures no data remains \
                 persisted in {name} and removes {name} from status.storedVersions"
            );
            errors.push(Error::invalid(&path.index(index), *name, why));
        }
    }
    errors
}

/// Groups of the community need an approval.
fn approval(crd: &Value) -> Option<Error> {
    const ANNOTATION: &str = "api-approved.kubernetes.io";
    let group = text(crd, "/spec/group");
    let protected = ["k8s.io", "kubernetes.io"]
        .iter()
        .any(|domain| group == *domain || group.ends_with(&format!(".{domain}")));
    if !protected {
        return None;
    }
    let path = Path::new("metadata").child("annotations").key(ANNOTATION);
    let annotations = crd.pointer("/metadata/annotations");
    let value = annotations
        .and_then(|all| all.get(ANNOTATION))
        .and_then(Value::as_str);
    let hint = "see https://github.com/kubernetes/enhancements/pull/1111";
    match value {
        None | Some("") => {
            let why =
                format!("protected groups must have approval annotation {ANNOTATION:?}, {hint}");
            Some(Error::required(&path, why))
        }
        Some(value) if value.starts_with("unapproved") || value.contains("://") => None,
        Some(value) => {
            let why = format!(
                "protected groups must have approval annotation {ANNOTATION:?} with either a URL \
                 or a reason starting with \"unapproved\", {hint}"
            );
            Some(Error::invalid(&path, value, why))
        }
    }
}

fn conversion(conversion: Option<&Value>, path: &Path) -> Vec<Error> {
    let mut errors = Vec::new();
    let Some(conversion) = conversion.filter(|conversion| conversion.is_object()) else {
        return errors;
    };
    let webhook = conversion
        .get("webhook")
        .filter(|webhook| !webhook.is_null());
    let config = webhook.and_then(|webhook| webhook.get("clientConfig"));
    let config = config.filter(|config| !config.is_null());
    let reviews = webhook.and_then(|webhook| webhook.get("conversionReviewVersions"));
    let reviews = strings(reviews);
    let config_path = path.child("webhookClientConfig");
    let reviews_path = path.child("conversionReviewVersions");
    match text(conversion, "/strategy") {
        "" => errors.push(Error::required(&path.child("strategy"), "")),
        "Webhook" => {
            let has = |field: &str| {
                config
                    .and_then(|config| config.get(field))
                    .is_some_and(|one| !one.is_null())
            };
            if config.is_none() {
                let why = "required when strategy is set to Webhook";
                errors.push(Error::required(&config_path, why));
            } else if has("url") == has("service") {
                let why = "exactly one of url or service is required";
                errors.push(Error::required(&config_path, why));
            } else if let Some(config) = config {
                if let Some(url) = config.get("url").and_then(Value::as_str) {
                    errors.extend(validate_url(url, &config_path.child("url")));
                }
                if let Some(service) = config.get("service").filter(|one| one.is_object()) {
                    errors.extend(validate_service(service, &config_path.child("service")));
                }
            }
            errors.extend(review_versions(&reviews, &reviews_path));
        }
        strategy => {
            if strategy != "None" {
                let supported = ["None", "Webhook"];
                let path = path.child("strategy");
                errors.push(Error::not_supported(&path, strategy, &supported));
            }
            let why = "should not be set when strategy is not set to Webhook";
            if config.is_some() {
                errors.push(Error::forbidden(&config_path, why));
            }
            if !reviews.is_empty() {
                errors.push(Error::forbidden(&reviews_path, why));
            }
        }
    }
    errors
}

fn review_versions(versions: &[&str], path: &Path) -> Vec<Error> {
    if versions.is_empty() {
        return vec![Error::required(path, "")];
    }
    let mut errors = Vec::new();
    for (index, version) in versions.iter().enumerate() {
        if versions[..index].contains(version) {
            errors.push(Error::invalid(
                &path.index(index),
                *version,
                "duplicate version",
            ));
            continue;
        }
        let complaints = name::dns1035_label(version).into_iter();
        errors.extend(complaints.map(|why| Error::invalid(&path.index(index), *version, why)));
    }
    if !versions
        .iter()
        .any(|version| matches!(*version, "v1" | "v1beta1"))
    {
        let why = "must include at least one of v1, v1beta1";
        errors.push(Error::invalid(path, json!(versions), why));
    }
    errors
}

/// The text at a place, empty when there is none.
fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn strings(value: Option<&Value>) -> Vec<&str> {
    let items = value.and_then(Value::as_array);
    items
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

/// A keyword that is there, and says something.
fn keyword<'a>(schema: &'a Object, name: &str) -> Option<&'a Value> {
    schema.get(name).filter(|value| !value.is_null())
}

fn word<'a>(schema: &'a Object, name: &str) -> &'a str {
    keyword(schema, name)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn flag(schema: &Object, name: &str) -> bool {
    keyword(schema, name)
        .and_then(Value::as_bool)
        .unwrap_or(false)
}

fn object<'a>(schema: &'a Object, name: &str) -> Option<&'a Object> {
    keyword(schema, name).and_then(Value::as_object)
}

fn list<'a>(schema: &'a Object, name: &str) -> &'a [Value] {
    keyword(schema, name)
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
