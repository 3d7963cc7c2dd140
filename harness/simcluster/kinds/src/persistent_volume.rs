//! PersistentVolume.

use jiff::Timestamp;
use serde_json::{Value, json};
use simcluster_machinery::field::{Error, Path};
use simcluster_machinery::name;
use simcluster_machinery::quantity::Quantity;

use crate::checks::{immutable, one_of, required};
use crate::meta::{self, complain};
use crate::pod::validate_node_selector;
use crate::read::{Fill, Read, text_or};
use crate::resources;
use crate::rules::KindRules;
use crate::table::{self, AGE, Column, NAME, Row};
use crate::warnings;

/// The sources a volume may have, in the order in which the API looks for them.
const SOURCES: [&str; 22] = [
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "hostPath",
    "glusterfs",
    "nfs",
    "rbd",
    "quobyte",
    "cephfs",
    "iscsi",
    "cinder",
    "fc",
    "flocker",
    "flexVolume",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "scaleIO",
    "local",
    "storageos",
    "csi",
];
/// The ways a volume may be mounted.
pub(crate) const ACCESS_MODES: [&str; 4] = [
    "ReadOnlyMany",
    "ReadWriteMany",
    "ReadWriteOnce",
    "ReadWriteOncePod",
];
/// What a volume holds.
pub(crate) const VOLUME_MODES: [&str; 2] = ["Block", "Filesystem"];
const RECLAIM_POLICIES: [&str; 3] = ["Delete", "Recycle", "Retain"];
const SINCE: &str = "status.lastPhaseTransitionTime";

pub(crate) struct PersistentVolume;

impl KindRules for PersistentVolume {
    fn default(&self, volume: &mut Value) {
        volume.fill("status.phase", "Pending");
        volume.fill("spec.persistentVolumeReclaimPolicy", "Retain");
        volume.fill("spec.volumeMode", "Filesystem");
        if let Some(Value::Object(host_path)) = volume.inner("spec.hostPath") {
            host_path.entry("type").or_insert_with(|| json!(""));
        }
    }

    fn prepare_create(&self, volume: &mut Value) {
        let mut status = json!({"phase": "Pending"});
        if let Some(time) = volume.at("metadata.creationTimestamp") {
            status["lastPhaseTransitionTime"] = time.clone();
        }
        volume["status"] = status;
    }

    fn stamp_status(&self, new: &mut Value, old: &Value, now: Timestamp) {
        if new.at("status.phase") == old.at("status.phase") {
            meta::keep(new, old, SINCE);
        } else {
            let now = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
            new.put(SINCE, now);
        }
    }

    fn validate_create(&self, volume: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        validate_spec(&volume["spec"], &Path::new("spec"), &mut errors);
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<Error> {
        let mut errors = self.validate_create(new);
        let path = Path::new("spec");
        let (new, old) = (&new["spec"], &old["spec"]);
        // A secret for growing may be named later.
        let mut given = new.clone();
        let secret = "csi.controllerExpandSecretRef";
        if old.at("csi").is_some() && old.at(secret).is_none() {
            given.take_field(secret);
        }
        if let Some(kind) = SOURCES.iter().find(|kind| given.at(kind) != old.at(kind)) {
            let detail = format!(
                "spec.persistentvolumesource is immutable after creation\n  \
                 core.PersistentVolumeSource{{\n- \t{kind}: {},\n+ \t{kind}: {},\n  }}\n",
                old.at(kind).unwrap_or(&Value::Null),
                new.at(kind).unwrap_or(&Value::Null),
            );
            errors.push(Error::forbidden(
                &path.child("persistentvolumesource"),
                detail,
            ));
        }
        // The server leaves the spec out of these paths.
        immutable(new, old, &["volumeMode"], &Path::root(), &mut errors);
        if old.at("nodeAffinity").is_some() {
            immutable(new, old, &["nodeAffinity"], &Path::root(), &mut errors);
        }
        let attributes = "volumeAttributesClassName";
        if old.at(attributes).is_some() && new.at(attributes).is_none() {
            let detail = "update from non-nil value to nil is forbidden";
            errors.push(Error::forbidden(&path.child(attributes), detail));
        }
        errors
    }

    fn warnings(&self, new: &Value, _old: Option<&Value>) -> Vec<String> {
        warnings::volume(new)
    }

    fn has_status(&self) -> bool {
        true
    }

    fn selectable_fields(&self, volume: &Value) -> Vec<(&'static str, String)> {
        vec![("name", volume.text("metadata.name").to_owned())]
    }

    fn columns(&self) -> &'static [Column] {
        const {
            &[
                NAME,
                Column::text("Capacity"),
                Column::text("Access Modes"),
                Column::text("Reclaim Policy"),
                Column::text("Status"),
                Column::text("Claim"),
                Column::text("StorageClass"),
                Column::text("VolumeAttributesClass"),
                Column::text("Reason"),
                AGE,
                Column::wide("VolumeMode"),
            ]
        }
    }

    fn row(&self, volume: &Value, now: Timestamp) -> Row {
        let text = |path: &str| json!(volume.text(path));
        let claim = match volume.at("spec.claimRef") {
            Some(claim) => format!("{}/{}", claim.text("namespace"), claim.text("name")),
            None => String::new(),
        };
        let unset = |path: &str| json!(text_or(volume.text(path), "<unset>"));
        Row::new(vec![
            table::name(volume),
            text("spec.capacity.storage"),
            json!(short_modes(&volume.texts("spec.accessModes"))),
            text("spec.persistentVolumeReclaimPolicy"),
            phase(volume),
            json!(claim),
            text("spec.storageClassName"),
            unset("spec.volumeAttributesClassName"),
            text("status.reason"),
            table::age(volume, now),
            unset("spec.volumeMode"),
        ])
    }
}

/// The phase of a volume or a claim, as tables show it.
pub(crate) fn phase(object: &Value) -> Value {
    let going = object.at("metadata.deletionTimestamp").is_some();
    json!(if going {
        "Terminating"
    } else {
        object.text("status.phase")
    })
}

/// Access modes as tables show them, without repetition: `RWO,ROX`.
pub(crate) fn short_modes(modes: &[&str]) -> String {
    let order = [
        ("ReadWriteOnce", "RWO"),
        ("ReadOnlyMany", "ROX"),
        ("ReadWriteMany", "RWX"),
        ("ReadWriteOncePod", "RWOP"),
    ];
    let present = order
        .iter()
        .filter(|(mode, _)| modes.contains(mode))
        .map(|(_, short)| *short);
    present.collect::<Vec<_>>().join(",")
}

/// Each access mode is one there is.
pub(crate) fn validate_access_modes(spec: &Value, path: &Path, errors: &mut Vec<Error>) {
    let path = path.child("accessModes");
    let modes = spec.texts("accessModes");
    for mode in &modes {
        if !ACCESS_MODES.contains(mode) {
            errors.push(Error::not_supported(&path, *mode, &ACCESS_MODES));
        }
    }
    let others = modes
        .iter()
        .any(|mode| *mode != "ReadWriteOncePod" && ACCESS_MODES.contains(mode));
    if others && modes.contains(&"ReadWriteOncePod") {
        let detail = "may not use ReadWriteOncePod with other access modes";
        errors.push(Error::forbidden(&path, detail));
    }
}

/// An amount that is there, and so not below zero.
pub(crate) fn not_negative(quantity: Quantity, path: &Path, errors: &mut Vec<Error>) {
    if quantity.is_negative() {
        let detail = "must be a valid resource quantity";
        errors.push(Error::invalid(path, quantity.milli_value() / 1000, detail));
    }
}

fn validate_spec(spec: &Value, path: &Path, errors: &mut Vec<Error>) {
    required(spec, "accessModes", path, errors);
    validate_access_modes(spec, path, errors);
    required(spec, "capacity", path, errors);
    let capacity = resources::quantities(spec, "capacity");
    let place = path.child("capacity");
    if !capacity.contains_key("storage") || capacity.len() > 1 {
        let given = spec.at("capacity").cloned().unwrap_or(Value::Null);
        errors.push(Error::not_supported(&place, given, &["storage"]));
    }
    for (name, quantity) in &capacity {
        not_negative(*quantity, &place.key(name), errors);
        if quantity.is_zero() || quantity.is_negative() {
            let detail = "must be greater than zero";
            errors.push(Error::invalid(
                &place.key(name),
                quantity.to_string(),
                detail,
            ));
        }
    }
    one_of(
        spec,
        "persistentVolumeReclaimPolicy",
        &RECLAIM_POLICIES,
        path,
        errors,
    );
    if let Some(selector) = spec.at("nodeAffinity") {
        let path = path.child("nodeAffinity");
        let path = path.child("required");
        if let Some(selector) = selector.at("required") {
            validate_node_selector(selector, &path, errors);
        } else {
            errors.push(Error::required(
                &path,
                "must specify required node constraints",
            ));
        }
    }
    validate_source(spec, path, errors);
    let class = spec.text("storageClassName");
    if !class.is_empty() {
        let place = path.child("storageClassName");
        complain(errors, &place, class, name::dns1123_subdomain(class));
    }
    one_of(spec, "volumeMode", &VOLUME_MODES, path, errors);
    if let Some(class) = spec.at("volumeAttributesClassName").and_then(Value::as_str) {
        let place = path.child("volumeAttributesClassName");
        if class.is_empty() {
            errors.push(Error::required(&place, "an empty string is disallowed"));
        } else {
            complain(errors, &place, class, name::dns1123_subdomain(class));
        }
        if spec.at("csi").is_none() {
            let detail = "has to be specified when using volumeAttributesClassName";
            errors.push(Error::required(&path.child("csi"), detail));
        }
    }
}

fn validate_source(spec: &Value, path: &Path, errors: &mut Vec<Error>) {
    let mut given = SOURCES.iter().filter(|kind| spec.at(kind).is_some());
    let Some(kind) = given.next() else {
        errors.push(Error::required(path, "must specify a volume type"));
        return;
    };
    for other in given {
        let detail = "may not specify more than 1 volume type";
        errors.push(Error::forbidden(&path.child(other), detail));
    }
    let (source, place) = (&spec[*kind], path.child(kind));
    match *kind {
        "hostPath" => {
            required(source, "path", &place, errors);
            no_backsteps(source, &place, errors);
            let all = !source.lacks("path")
                && source
                    .text("path")
                    .split('/')
                    .all(|part| matches!(part, "" | "."));
            if all && spec.text("persistentVolumeReclaimPolicy") == "Recycle" {
                errors.push(Error::forbidden(
                    &path.child("persistentVolumeReclaimPolicy"),
                    "may not be 'recycle' for a hostPath mount of '/'",
                ));
            }
        }
        "nfs" => {
            required(source, "server", &place, errors);
            required(source, "path", &place, errors);
            let given = source.text("path");
            if !given.starts_with('/') {
                let detail = "must be an absolute path";
                errors.push(Error::invalid(&place.child("path"), given, detail));
            }
        }
        "local" => {
            required(source, "path", &place, errors);
            no_backsteps(source, &place, errors);
            if spec.at("nodeAffinity.required").is_none() {
                let detail = "Local volume requires node affinity";
                errors.push(Error::required(&path.child("nodeAffinity"), detail));
            }
        }
        "csi" => {
            required(source, "driver", &place, errors);
            required(source, "volumeHandle", &place, errors);
        }
        _ => {}
    }
}

fn no_backsteps(source: &Value, path: &Path, errors: &mut Vec<Error>) {
    let given = source.text("path");
    if given.split('/').any(|part| part == "..") {
        errors.push(Error::invalid(
            &path.child("path"),
            given,
            "must not contain '..'",
        ));
    }
}
