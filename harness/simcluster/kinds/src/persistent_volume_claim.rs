//! PersistentVolumeClaim.

use jiff::Timestamp;
use serde_json::{Value, json};
use simcluster_machinery::field::{Error, Path};
use simcluster_machinery::name;

use crate::checks::{label_selector, one_of};
use crate::meta::{self, complain};
use crate::persistent_volume::{VOLUME_MODES, phase, short_modes, validate_access_modes};
use crate::read::{Fill, Read, text_or};
use crate::resources;
use crate::rules::KindRules;
use crate::table::{self, AGE, Column, NAME, Row};

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
        // Both ways to name what a volume is filled from say the same.
        for (from, to) in [
            ("dataSource", "dataSourceRef"),
            ("dataSourceRef", "dataSource"),
        ] {
            let (from, to) = (format!("spec.{from}"), format!("spec.{to}"));
            let elsewhere = claim.at(&format!("{from}.namespace")).is_some();
            if let Some(source) = claim.at(&from).cloned().filter(|_| !elsewhere) {
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
            resources::validate_quantity(&name, quantity, &path.key(&name), &mut errors);
        }
        errors
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
}

/// A claim may be given a volume and a class once, and grow when it is bound.
fn validate_spec_update(new: &Value, old: &Value, errors: &mut Vec<Error>) {
    let path = Path::new("spec");
    let mut after = new["spec"].clone();
    let before = &old["spec"];
    if before.lacks("volumeName") {
        meta::keep(&mut after, before, "volumeName");
    }
    if before.at("storageClassName").is_none() {
        meta::keep(&mut after, before, "storageClassName");
    }
    let bound = new.text("status.phase") == "Bound";
    if bound {
        meta::keep(&mut after, before, "resources.requests.storage");
        meta::keep(&mut after, before, "volumeAttributesClassName");
    }
    if after != *before {
        let detail = format!(
            "spec is immutable after creation except resources.requests and \
             volumeAttributesClassName for bound claims\n  core.PersistentVolumeClaimSpec{{\n- \
             \t{before},\n+ \t{},\n  }}\n",
            new["spec"]
        );
        errors.push(Error::forbidden(&path, detail));
        return;
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
}
