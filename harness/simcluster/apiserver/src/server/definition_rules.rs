//! What the kind CustomResourceDefinition has beyond its schema.

use serde_json::{Value, json};
use simcluster_kinds::KindRules;
use simcluster_machinery::{crd, field::Error};

/// See the module's documentation.
pub(crate) struct DefinitionRules;

impl KindRules for DefinitionRules {
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

    fn has_status(&self) -> bool {
        true
    }

    fn has_generation(&self) -> bool {
        true
    }
}
