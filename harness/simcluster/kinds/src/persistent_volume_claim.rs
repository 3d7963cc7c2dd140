//! PersistentVolumeClaim.

use jiff::Timestamp;
use serde_json::{Value, json};
use simcluster_machinery::field::{Error, Path};
use simcluster_machinery::name;

use crate::checks::{IMMUTABLE, immutable, label_selector, one_of, required};
use crate::meta::{self, complain};
use crate::persistent_volume::{
    VOLUME_MODES, not_negative, phase, short_modes, validate_access_modes,
};
use crate::read::{Fill, Read, text_or};
use crate::resources;
use crate::rules::KindRules;
use crate::table::{self, AGE, Column, NAME, Row};
use crate::warnings;

const CLAIM: &str = "PersistentVolumeClaim";
const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";

pub(crate) struct PersistentVolumeClaim;

/// Defaults of a claim, also of one that is a template.
pub(crate) fn defaults(claim: &mut Value) {
    claim.fill("status.phase", "Pending");
    claim.object("spec.resources");
    claim.fill("spec.volumeMode", "Filesystem");
}

impl KindRules for PersistentVolumeClaim {
    fn default(&self, claim: &mut Value) {
        defaults(claim);
        resources::round_list(claim, "spec.resources.requests");
        resources::round_list(claim, "spec.resources.limits");
    }

    fn prepare_create(&self, claim: &mut Value) {
        claim["status"] = self.initial_status();
        // The older field is for claims and snapshots alone.
        let strange = |source: &Value| !is_claim_or_snapshot(source);
        if claim.at("spec.dataSource").is_some_and(strange) {
            claim.take_field("spec.dataSource");
        }
        // Both ways to name what a volume is filled from say the same.
        for (from, to) in [
            ("dataSource", "dataSourceRef"),
            ("dataSourceRef", "dataSource"),
        ] {
            let (from, to) = (format!("spec.{from}"), format!("spec.{to}"));
            let elsewhere = claim.at(&format!("{from}.namespace")).is_some();
            let fits = |source: &Value| {
                !elsewhere && (to != "spec.dataSource" || is_claim_or_snapshot(source))
            };
            if let Some(source) = claim.at(&from).cloned().filter(fits) {
                claim.fill(&to, source);
            }
        }
    }

    fn initial_status(&self) -> Value {
        json!({"phase": "Pending"})
    }

    fn validate_create(&self, claim: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        validate_spec(&claim["spec"], &Path::new("spec"), &mut errors);
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<Error> {
        let mut errors = self.validate_create(new);
        validate_spec_update(new, old, &mut errors);
        errors
    }

    fn validate_status_update(&self, new: &Value, _old: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        let path = Path::new("status").child("capacity");
        for (name, quantity) in resources::quantities(new, "status.capacity") {
            not_negative(quantity, &path.key(&name), &mut errors);
        }
        errors
    }

    fn warnings(&self, new: &Value, _old: Option<&Value>) -> Vec<String> {
        warnings::claim(new)
    }

    fn has_status(&self) -> bool {
        true
    }

    fn selectable_fields(&self, claim: &Value) -> Vec<(&'static str, String)> {
        vec![("name", claim.text("metadata.name").to_owned())]
    }

    fn columns(&self) -> &'static [Column] {
        const {
            &[
                NAME,
                Column::text("Status"),
                Column::text("Volume"),
                Column::text("Capacity"),
                Column::text("Access Modes"),
                Column::text("StorageClass"),
                Column::text("VolumeAttributesClass"),
                AGE,
                Column::wide("VolumeMode"),
            ]
        }
    }

    fn row(&self, claim: &Value, now: Timestamp) -> Row {
        let volume = claim.text("spec.volumeName");
        let (capacity, modes) = if volume.is_empty() {
            ("", String::new())
        } else {
            (
                claim.text("status.capacity.storage"),
                short_modes(&claim.texts("status.accessModes")),
            )
        };
        let unset = |path: &str| json!(text_or(claim.text(path), "<unset>"));
        Row::new(vec![
            table::name(claim),
            phase(claim),
            json!(volume),
            json!(capacity),
            json!(modes),
            json!(class(claim).unwrap_or_default()),
            unset("spec.volumeAttributesClassName"),
            table::age(claim, now),
            unset("spec.volumeMode"),
        ])
    }
}

/// The storage class that a claim names; `None` when it leaves that to the cluster.
pub(crate) fn class(claim: &Value) -> Option<&str> {
    let annotations = claim.at("metadata.annotations");
    let annotated = annotations.and_then(|all| all.get(CLASS_ANNOTATION)?.as_str());
    annotated.or_else(|| claim.at("spec.storageClassName")?.as_str())
}

/// The spec of a claim (at `path`).
pub(crate) fn validate_spec(spec: &Value, path: &Path, errors: &mut Vec<Error>) {
    if spec.lacks("accessModes") {
        let detail = "at least 1 access mode is required";
        errors.push(Error::required(&path.child("accessModes"), detail));
    }
    label_selector(spec.at("selector"), &path.child("selector"), errors);
    validate_access_modes(spec, path, errors);
    let place = path.child("resources").key("storage");
    match resources::quantities(spec, "resources.requests").get("storage") {
        None => errors.push(Error::required(&place, "")),
        Some(size) if size.is_zero() || size.is_negative() => {
            errors.push(Error::invalid(
                &place,
                size.to_string(),
                "must be greater than zero",
            ));
        }
        Some(_) => {}
    }
    let class = spec.text("storageClassName");
    if !class.is_empty() {
        let place = path.child("storageClassName");
        complain(errors, &place, class, name::dns1123_subdomain(class));
    }
    one_of(spec, "volumeMode", &VOLUME_MODES, path, errors);
    for field in ["dataSource", "dataSourceRef"] {
        if let Some(source) = spec.at(field) {
            validate_source(source, &path.child(field), errors);
        }
    }
    if let (Some(source), Some(other)) = (spec.at("dataSource"), spec.at("dataSourceRef")) {
        let same = ["apiGroup", "kind", "name"].map(|field| source.at(field) == other.at(field));
        let detail = if other.text("namespace").is_empty() {
            same.contains(&false).then_some("must match dataSourceRef")
        } else {
            Some("may not be specified when dataSourceRef.namespace is specified")
        };
        if let Some(detail) = detail {
            // The server shows the path where a value should stand.
            let shown = path.child("dataSource").to_string();
            errors.push(Error::invalid(path, shown, detail));
        }
    }
    let class = spec.text("volumeAttributesClassName");
    if !class.is_empty() {
        let place = path.child("volumeAttributesClassName");
        complain(errors, &place, class, name::dns1123_subdomain(class));
    }
}

/// What a volume is filled from.
fn validate_source(source: &Value, path: &Path, errors: &mut Vec<Error>) {
    required(source, "name", path, errors);
    required(source, "kind", path, errors);
    let (group, kind) = (source.text("apiGroup"), source.text("kind"));
    if group.is_empty() {
        if kind != CLAIM {
            let detail = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
            errors.push(Error::invalid(path, kind, detail));
        }
    } else {
        let complaints = name::dns1123_subdomain(group);
        complain(errors, &path.child("apiGroup"), group, complaints);
    }
    let namespace = source.text("namespace");
    if !namespace.is_empty() {
        let complaints = name::dns1123_label(namespace);
        complain(errors, &path.child("namespace"), namespace, complaints);
    }
}

/// Whether a volume may be filled from it by the older of the two fields.
fn is_claim_or_snapshot(source: &Value) -> bool {
    matches!(
        (source.text("apiGroup"), source.text("kind")),
        ("", CLAIM) | ("snapshot.storage.k8s.io", "VolumeSnapshot")
    )
}

/// A claim may be given a volume and a class once, and grow when it is bound.
fn validate_spec_update(new: &Value, old: &Value, errors: &mut Vec<Error>) {
    let path = Path::new("spec");
    let mut after = new["spec"].clone();
    let before = &old["spec"];
    let class_of = |claim: &Value| {
        let annotations = claim.at("metadata.annotations");
        let class = annotations.and_then(|all| all.get(CLASS_ANNOTATION)?.as_str());
        class.map(str::to_owned)
    };
    let (class, class_before) = (class_of(new), class_of(old));
    let named = new.at("spec.storageClassName").and_then(Value::as_str);
    let unnamed_before = before.at("storageClassName").is_none();
    // A class that an annotation named may move into the field.
    let moved = class_before.is_some()
        && unnamed_before
        && named == class_before.as_deref()
        && (class.is_none() || class == class_before);
    if !moved && class.as_deref().unwrap_or("") != class_before.as_deref().unwrap_or("") {
        let place = Path::new("metadata").child("annotations");
        let value = class.clone().unwrap_or_default();
        let place = place.child(CLASS_ANNOTATION);
        errors.push(Error::invalid(&place, value, IMMUTABLE));
    }
    let fits = class_before.is_none() || named == class_before.as_deref();
    if moved || unnamed_before && named.is_some() && fits {
        meta::keep(&mut after, before, "storageClassName");
    }
    if before.lacks("volumeName") {
        meta::keep(&mut after, before, "volumeName");
    }
    if new.text("status.phase") == "Bound" {
        meta::keep(&mut after, before, "resources.requests.storage");
        if after.at("volumeAttributesClassName").is_some() {
            meta::keep(&mut after, before, "volumeAttributesClassName");
        }
    }
    if after != *before {
        let detail = format!(
            "spec is immutable after creation except resources.requests and \
             volumeAttributesClassName for bound claims\n  core.PersistentVolumeClaimSpec{{\n- \
             \t{before},\n+ \t{},\n  }}\n",
            new["spec"]
        );
        errors.push(Error::forbidden(&path, detail));
    }
    let size = |claim: &Value, list: &str| resources::quantities(claim, list).remove("storage");
    let requested = size(new, "spec.resources.requests");
    if requested < size(old, "spec.resources.requests") && requested <= size(old, "status.capacity")
    {
        errors.push(Error::forbidden(
            &path.child("resources").child("requests").child("storage"),
            "field can not be less than status.capacity",
        ));
    }
    // The server leaves the spec out of this path.
    immutable(&new["spec"], before, &["volumeMode"], &Path::root(), errors);
    let attributes = "volumeAttributesClassName";
    if before.at(attributes).is_some() && before.at(attributes) != new["spec"].at(attributes) {
        let to = match new["spec"].at(attributes).and_then(Value::as_str) {
            None => "nil",
            Some("") => "an empty string",
            Some(_) => return,
        };
        let detail = format!("update from non-nil value to {to} is forbidden");
        errors.push(Error::forbidden(&path.child(attributes), detail));
    }
}
