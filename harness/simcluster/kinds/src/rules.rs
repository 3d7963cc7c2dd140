//! The interface between the API server and a kind: what may be asked of every kind, with the
//! answers of a kind that has nothing special.

use jiff::Timestamp;
use serde_json::{Value, json};
use simcluster_machinery::field::{Error, Path};

use crate::meta::{self, NameRule, Scope};
use crate::read::Read;
use crate::table::{Column, NAME_AND_AGE, Row};

/// What one kind has beyond its schema. Every method has the answer of a plain kind.
pub trait KindRules: Sync {
    /// Fills in what the client left out. Runs on every object that a client sends, also on updates
    /// and on results of patches; running it twice changes nothing.
    fn default(&self, _object: &mut Value) {}

    /// Makes a new object ready to be stored: the status a client sent is dropped, the generation
    /// begins. The server has filled in `metadata.name`, `uid` and `creationTimestamp` before.
    fn prepare_create(&self, object: &mut Value) {
        meta::begin_generation(object, self.has_generation());
        if self.has_status() {
            object["status"] = self.initial_status();
        }
    }

    /// Makes an update ready to be stored: the status stays as it was, the generation follows the
    /// spec.
    fn prepare_update(&self, new: &mut Value, old: &Value) {
        if self.has_status() {
            meta::keep(new, old, "status");
        }
        meta::carry_generation(new, old, self.bumps_generation(new, old));
    }

    /// Makes an update of the status ready: the spec stays as it was. Labels, annotations and
    /// finalizers may be changed this way for built-in kinds, not for custom resources.
    fn prepare_status_update(&self, new: &mut Value, old: &Value) {
        meta::keep_for_status_update(new, old);
    }

    /// Writes the times that the server sets when a status changes. Runs after
    /// [`KindRules::prepare_status_update`].
    fn stamp_status(&self, _new: &mut Value, _old: &Value, _now: Timestamp) {}

    /// What is wrong with a new object, besides its metadata.
    fn validate_create(&self, _object: &Value) -> Vec<Error> {
        Vec::new()
    }

    /// What is wrong with an update, besides its metadata: the object itself, and what may not
    /// change.
    fn validate_update(&self, new: &Value, _old: &Value) -> Vec<Error> {
        self.validate_create(new)
    }

    /// What is wrong with an update of the status.
    fn validate_status_update(&self, _new: &Value, _old: &Value) -> Vec<Error> {
        Vec::new()
    }

    /// All that is wrong with a new object, metadata first.
    fn check_create(&self, object: &Value, scope: Scope) -> Vec<Error> {
        let path = Path::new("metadata");
        let mut errors = meta::validate(object, scope, self.name_rule(), &path);
        if self.finalizers_are_qualified() {
            errors.extend(meta::validate_standard_finalizers(object, &path));
        }
        errors.extend(self.validate_create(object));
        errors
    }

    /// All that is wrong with an update, metadata first.
    fn check_update(&self, new: &Value, old: &Value, scope: Scope) -> Vec<Error> {
        let path = Path::new("metadata");
        let mut errors = of_metadata(new, old, scope);
        if self.update_validates_whole_metadata() {
            errors.extend(meta::validate(new, scope, self.name_rule(), &path));
            if self.finalizers_are_qualified() {
                errors.extend(meta::validate_standard_finalizers(new, &path));
            }
        }
        errors.extend(self.validate_update(new, old));
        errors
    }

    /// All that is wrong with an update of the status, metadata first.
    fn check_status_update(&self, new: &Value, old: &Value) -> Vec<Error> {
        let namespaced = old.at("metadata.namespace").is_some();
        let scope = if namespaced {
            Scope::Namespaced
        } else {
            Scope::Cluster
        };
        let mut errors = of_metadata(new, old, scope);
        errors.extend(self.validate_status_update(new, old));
        errors
    }

    /// What is legal in a new object or an update, and yet likely a mistake.
    fn warnings(&self, _new: &Value, _old: Option<&Value>) -> Vec<String> {
        Vec::new()
    }

    /// What any request to the kind is warned of, because the kind is on its way out.
    fn deprecation(&self) -> Option<&'static str> {
        None
    }

    /// Whether an update is held against all rules of metadata, or only against those of updates.
    fn update_validates_whole_metadata(&self) -> bool {
        true
    }

    /// Whether finalizers must have a domain or be Kubernetes' own.
    fn finalizers_are_qualified(&self) -> bool {
        true
    }

    /// Which names the kind allows.
    fn name_rule(&self) -> NameRule {
        NameRule::Subdomain
    }

    /// Whether the kind has a status that only the status subresource writes.
    fn has_status(&self) -> bool {
        false
    }

    /// The status of a new object, as Go writes the zero value of its type.
    fn initial_status(&self) -> Value {
        json!({})
    }

    /// Whether the kind counts changes of its spec in `metadata.generation`.
    fn has_generation(&self) -> bool {
        false
    }

    /// Whether this update is a change that `metadata.generation` counts. Asked after the update
    /// was prepared.
    fn bumps_generation(&self, new: &Value, old: &Value) -> bool {
        self.has_generation() && new.get("spec") != old.get("spec")
    }

    /// The fields a field selector may name, besides `metadata.name` and `metadata.namespace`, with
    /// this object's values.
    fn selectable_fields(&self, _object: &Value) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// The name under which `selectable_fields` knows a label that clients may write otherwise
    /// (a Pod's `spec.host` is `spec.nodeName`).
    fn selectable_alias<'a>(&self, label: &'a str) -> &'a str {
        label
    }

    /// What a client is told who selects by a field that the kind does not offer.
    fn unknown_field_message(&self, label: &str) -> String {
        let own = self.selectable_fields(&Value::Null);
        if own.is_empty() {
            format!(
                "{label:?} is not a known field selector: \
                 only \"metadata.name\", \"metadata.namespace\""
            )
        } else {
            format!("field label not supported: {label}")
        }
    }

    /// The columns of a table of this kind.
    fn columns(&self) -> &'static [Column] {
        NAME_AND_AGE
    }

    /// This object's row: as many cells as columns. Ages are counted up to `now`.
    fn row(&self, object: &Value, _now: Timestamp) -> Row {
        let created = object["metadata"]["creationTimestamp"].clone();
        Row::new(vec![crate::table::name(object), created])
    }
}

/// What is wrong with the metadata of an update. A real server's generic code and its kind's own
/// code both look at it, and the causes of both are in its answer.
fn of_metadata(new: &Value, old: &Value, scope: Scope) -> Vec<Error> {
    let path = Path::new("metadata");
    let mut errors = meta::validate(new, scope, NameRule::PathSegment, &path);
    let of_update = meta::validate_update(new, old, &path);
    errors.extend(of_update.iter().cloned());
    errors.extend(of_update);
    errors
}
