//! Namespace.

use jiff::Timestamp;
use serde_json::{Value, json};
use simcluster_machinery::field::{Error, Path};
use simcluster_machinery::name;

use crate::meta::{self, NameRule};
use crate::read::{Fill, Read};
use crate::rules::KindRules;
use crate::table::{self, AGE, Column, NAME, Row};

const NAME_LABEL: &str = "kubernetes.io/metadata.name";
const FINALIZER: &str = "kubernetes";

pub(crate) struct Namespace;

impl KindRules for Namespace {
    fn default(&self, namespace: &mut Value) {
        let own_name = namespace.text("metadata.name").to_owned();
        if !own_name.is_empty()
            && let Some(labels) = namespace.object("metadata.labels")
        {
            labels.insert(NAME_LABEL.to_owned(), json!(own_name));
        }
    }

    fn prepare_create(&self, namespace: &mut Value) {
        // A generated name is known only now.
        self.default(namespace);
        namespace["status"] = json!({"phase": "Active"});
        let mut finalizers = namespace.list("spec.finalizers").to_vec();
        if !finalizers.iter().any(|one| one == FINALIZER) {
            finalizers.push(json!(FINALIZER));
        }
        namespace.put("spec.finalizers", finalizers);
    }

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        for field in ["spec.finalizers", "status"] {
            meta::keep(new, old, field);
        }
        meta::carry_generation(new, old, false);
    }

    fn validate_status_update(&self, new: &Value, _old: &Value) -> Vec<Error> {
        let path = Path::new("status").child("Phase");
        let phase = new.text("status.phase");
        let going = new.at("metadata.deletionTimestamp").is_some();
        let detail = match (going, phase) {
            (false, "Active") | (true, "Terminating") => return Vec::new(),
            (false, _) => "may only be 'Active' if `deletionTimestamp` is empty",
            (true, _) => "may only be 'Terminating' if `deletionTimestamp` is not empty",
        };
        vec![Error::invalid(&path, phase, detail)]
    }

    fn name_rule(&self) -> NameRule {
        NameRule::Label
    }

    fn has_status(&self) -> bool {
        true
    }

    fn selectable_fields(&self, namespace: &Value) -> Vec<(&'static str, String)> {
        vec![
            ("name", namespace.text("metadata.name").to_owned()),
            ("status.phase", namespace.text("status.phase").to_owned()),
        ]
    }

    fn columns(&self) -> &'static [Column] {
        const { &[NAME, Column::text("Status"), AGE] }
    }

    fn row(&self, namespace: &Value, now: Timestamp) -> Row {
        Row::new(vec![
            table::name(namespace),
            json!(namespace.text("status.phase")),
            table::age(namespace, now),
        ])
    }
}

/// Makes an update through the `finalize` subresource ready: only the spec's finalizers are taken.
pub fn prepare_finalize(new: &mut Value, old: &Value) {
    let mut kept = old.clone();
    meta::keep(&mut kept, new, "spec.finalizers");
    meta::keep(&mut kept, new, "metadata.resourceVersion");
    *new = kept;
}

/// What is wrong with an update through the `finalize` subresource.
pub fn validate_finalize(namespace: &Value) -> Vec<Error> {
    let path = Path::new("spec").child("finalizers");
    let mut errors = Vec::new();
    for (index, finalizer) in namespace.texts("spec.finalizers").into_iter().enumerate() {
        let path = path.index(index);
        meta::complain(
            &mut errors,
            &path,
            finalizer,
            name::qualified_name(finalizer),
        );
        if !finalizer.contains('/') && finalizer != FINALIZER {
            let detail = "name is neither a standard finalizer name nor is it fully qualified";
            errors.push(Error::invalid(&path, finalizer, detail));
        }
    }
    errors
}
