//! What the kind CustomResourceDefinition has beyond its schema.

use serde_json::{Value, json};
use simcluster_kinds::KindRules;
use simcluster_machinery::{crd, field::Error};

/// See the module's documentation.
pub(crate) struct DefinitionRules;

impl KindRules for DefinitionRules {
    fn finalizers_are_qualified(&self) -> bool {
        false
    }

    fn default(&self, definition: &mut Value) {
        crd::set_defaults(definition);
    }

    fn prepare_create(&self, definition: &mut Value) {
        definition["metadata"]["generation"] = 1.into();
        definition["status"] = json!({
            "acceptedNames": {"plural": "", "kind": ""},
            "conditions": null,
            "storedVersions": crd::initial_stored_versions(definition),
        });
    }

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        new["status"] = old["status"].clone();
        let generation = old["metadata"]["generation"].as_i64().unwrap_or(0);
        let bump = i64::from(new["spec"] != old["spec"]);
        new["metadata"]["generation"] = (generation + bump).into();
        let storage = crd::initial_stored_versions(new);
        if let Some(stored) = new["status"]["storedVersions"].as_array_mut() {
            for version in storage {
                if !stored.iter().any(|own| *own == version) {
                    stored.push(version.into());
                }
            }
        }
    }

    fn validate_create(&self, definition: &Value) -> Vec<Error> {
        crd::validate(definition)
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<Error> {
        crd::validate_update(new, old)
    }

    fn warnings(&self, new: &Value, old: Option<&Value>) -> Vec<String> {
        let before = old.map(unknown_formats).unwrap_or_default();
        let formats = unknown_formats(new).into_iter();
        formats
            .filter(|format| !before.contains(format))
            .map(|format| format!("unrecognized format {format:?}"))
            .collect()
    }

    fn has_status(&self) -> bool {
        true
    }

    fn has_generation(&self) -> bool {
        true
    }
}

/// Formats of texts that are checked.
const FORMATS: [&str; 26] = [
    "bsonobjectid",
    "byte",
    "cidr",
    "creditcard",
    "date",
    "datetime",
    "duration",
    "email",
    "hexcolor",
    "hostname",
    "ipv4",
    "ipv6",
    "isbn",
    "isbn10",
    "isbn13",
    "k8slongname",
    "k8sshortname",
    "mac",
    "password",
    "rgbcolor",
    "ssn",
    "uri",
    "uuid",
    "uuid3",
    "uuid4",
    "uuid5",
];

/// The formats in a definition's schemas that nothing is checked by, each once.
fn unknown_formats(definition: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for version in definition["spec"]["versions"]
        .as_array()
        .into_iter()
        .flatten()
    {
        collect(&version["schema"]["openAPIV3Schema"], &mut found);
    }
    found
}

fn collect(schema: &Value, found: &mut Vec<String>) {
    let format = schema["format"].as_str().unwrap_or_default();
    let known = match schema["type"].as_str().unwrap_or_default() {
        "" | "string" => FORMATS.contains(&format.replace('-', "").as_str()),
        "integer" => matches!(format, "int32" | "int64"),
        "number" => matches!(format, "float" | "double"),
        _ => false,
    };
    if !format.is_empty() && !known && !found.iter().any(|own| own == format) {
        found.push(format.to_owned());
    }
    for field in ["items", "additionalProperties", "not"] {
        if schema[field].is_object() {
            collect(&schema[field], found);
        }
    }
    for field in ["allOf", "anyOf", "oneOf"] {
        for one in schema[field].as_array().into_iter().flatten() {
            collect(one, found);
        }
    }
    for (_, property) in schema["properties"].as_object().into_iter().flatten() {
        collect(property, found);
    }
}
