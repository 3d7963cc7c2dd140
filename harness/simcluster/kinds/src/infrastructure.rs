//! What may be stored of kinds that only drivers and container runtimes read: CSI drivers and
//! nodes, attachments of volumes, classes of runtimes. Nothing is done with them here.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use simcluster_machinery::field::{Error, Path};
use simcluster_machinery::name;
use simcluster_machinery::quantity::Quantity;

use crate::checks::{IMMUTABLE, NEGATIVE, immutable, label_selector, non_negative, selector_json};
use crate::meta::{complain, validate_labels};
use crate::pod::validate_tolerations;
use crate::read::{Fill, Read};
use crate::resources::{self, validate_requirements};
use crate::warnings::node_label;

const DRIVER_NAME_LIMIT: usize = 63;
const NODE_ID_LIMIT: usize = 256;
/// The size of what somebody is told to provision by, and of what an attachment says.
const METADATA_LIMIT: usize = 256 * 1024;
const MESSAGE_LIMIT: usize = 1024;
const PARAMETERS_LIMIT: usize = 512;
const SHORTEST_PERIOD: i64 = 10;
const SHORTEST_TOKEN: i64 = 600;
const LONGEST_TOKEN: i64 = 1 << 32;

fn driver_name(own: &str, path: &Path, errors: &mut Vec<Error>) {
    if own.is_empty() {
        errors.push(Error::required(path, ""));
        return;
    }
    if own.len() > DRIVER_NAME_LIMIT {
        errors.push(Error::too_long(path, DRIVER_NAME_LIMIT));
    }
    complain(
        errors,
        path,
        own,
        name::dns1123_subdomain(&own.to_lowercase()),
    );
}

pub(crate) fn runtime_class(class: &Value) -> Vec<Error> {
    let mut errors = Vec::new();
    let (handler, path) = (class.text("handler"), Path::new("handler"));
    if handler.is_empty() {
        errors.push(Error::required(&path, ""));
    } else {
        complain(&mut errors, &path, handler, name::dns1123_label(handler));
    }
    if let Some(overhead) = class.at("overhead.podFixed") {
        let limits = json!({"limits": overhead});
        errors.extend(validate_requirements(&limits, &Path::new("overhead")));
    }
    if let Some(scheduling) = class.at("scheduling") {
        let path = Path::new("scheduling");
        let place = path.child("nodeSelector");
        validate_labels(scheduling, "nodeSelector", &place, &mut errors);
        validate_tolerations(scheduling, &path, &mut errors);
    }
    errors
}

pub(crate) fn runtime_class_update(new: &Value, old: &Value) -> Vec<Error> {
    let mut errors = Vec::new();
    immutable(new, old, &["handler"], &Path::root(), &mut errors);
    errors
}

pub(crate) fn csi_driver(driver: &Value) -> Vec<Error> {
    let mut errors = Vec::new();
    csi_driver_spec(&driver["spec"], &mut errors);
    errors
}

fn csi_driver_spec(spec: &Value, errors: &mut Vec<Error>) {
    let path = Path::new("spec");
    let policies = ["File", "None", "ReadWriteOnceWithFSType"];
    let policy = spec.text("fsGroupPolicy");
    if !policies.contains(&policy) {
        let place = path.child("fsGroupPolicy");
        errors.push(Error::not_supported(&place, policy, &policies));
    }
    let mut audiences: Vec<&str> = Vec::new();
    for (index, token) in spec.list("tokenRequests").iter().enumerate() {
        let path = path.child("tokenRequests").index(index);
        let audience = token.text("audience");
        if audiences.contains(&audience) {
            errors.push(Error::duplicate(&path.child("audience"), audience));
            continue;
        }
        audiences.push(audience);
        let place = path.child("expirationSeconds");
        match token.integer("expirationSeconds") {
            Some(seconds) if seconds < SHORTEST_TOKEN => {
                let detail = "may not specify a duration less than 10 minutes";
                errors.push(Error::invalid(&place, seconds, detail));
            }
            Some(seconds) if seconds > LONGEST_TOKEN => {
                let detail = "may not specify a duration larger than 2^32 seconds";
                errors.push(Error::invalid(&place, seconds, detail));
            }
            _ => {}
        }
    }
    for mode in spec.texts("volumeLifecycleModes") {
        let modes = ["Persistent", "Ephemeral"];
        if !modes.contains(&mode) {
            let place = path.child("volumeLifecycleModes");
            errors.push(Error::not_supported(&place, mode, &modes));
        }
    }
    let period = spec.integer("nodeAllocatableUpdatePeriodSeconds");
    if let Some(seconds) = period.filter(|seconds| *seconds < SHORTEST_PERIOD) {
        let detail = format!("must be greater than or equal to {SHORTEST_PERIOD} seconds");
        let place = path.child("nodeAllocatableUpdatePeriodSeconds");
        errors.push(Error::invalid(&place, seconds, detail));
    }
    let in_secrets = spec.at("serviceAccountTokenInSecrets");
    if let Some(given) = in_secrets.filter(|_| spec.lacks("tokenRequests")) {
        let detail = "serviceAccountTokenInSecrets is set but no tokenRequests are specified";
        let place = path.child("serviceAccountTokenInSecrets");
        errors.push(Error::invalid(&place, given.clone(), detail));
    }
}

pub(crate) fn csi_storage_capacity(capacity: &Value) -> Vec<Error> {
    let mut errors = Vec::new();
    let topology = Path::new("nodeTopology");
    label_selector(capacity.at("nodeTopology"), &topology, &mut errors);
    let class = capacity.text("storageClassName");
    let complaints = name::dns1123_subdomain(class);
    complain(
        &mut errors,
        &Path::new("storageClassName"),
        class,
        complaints,
    );
    let amount = capacity.at("capacity").and_then(resources::parse);
    if let Some(amount) = amount.filter(Quantity::is_negative) {
        let place = Path::new("capacity");
        errors.push(Error::invalid(&place, amount.to_string(), NEGATIVE));
    }
    errors
}

pub(crate) fn csi_storage_capacity_update(new: &Value, old: &Value) -> Vec<Error> {
    let mut errors = csi_storage_capacity(new);
    if new.at("nodeTopology") != old.at("nodeTopology") {
        let shown = selector_json(new.at("nodeTopology"));
        let place = Path::new("nodeTopology");
        errors.push(Error::invalid_shown(&place, shown, IMMUTABLE));
    }
    let class = ["storageClassName"];
    immutable(new, old, &class, &Path::root(), &mut errors);
    errors
}

/// Labels of nodes that are on their way out.
pub(crate) fn csi_storage_capacity_warnings(capacity: &Value) -> Vec<String> {
    let path = Path::new("nodeTopology");
    let expressions = capacity.list("nodeTopology.matchExpressions").iter();
    let by_expression = expressions.enumerate().filter_map(|(index, one)| {
        let (key, why) = (one.text("key"), node_label(one.text("key"))?);
        let place = path.child("matchExpressions").index(index).child("key");
        Some(format!("{place}: {key} is {why}"))
    });
    let by_label = capacity
        .map("nodeTopology.matchLabels")
        .filter_map(|(key, _)| {
            let place = path.child("matchLabels").child(key);
            Some(format!("{place}: {}", node_label(key)?))
        });
    by_expression.chain(by_label).collect()
}

/// Tokens that a driver would better find among secrets.
pub(crate) fn csi_driver_warnings(new: &Value, old: Option<&Value>) -> Vec<String> {
    let (tokens, in_secrets) = ("spec.tokenRequests", "spec.serviceAccountTokenInSecrets");
    let unchanged = old.is_some_and(|old| old.at(tokens) == new.at(tokens));
    if new.lacks(tokens) || new.at(in_secrets).is_some() || unchanged {
        return Vec::new();
    }
    vec![
        "spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true \
         to prevent possible logging of tokens in volume attributes"
            .to_owned(),
    ]
}

pub(crate) fn csi_driver_update(new: &Value, old: &Value) -> Vec<Error> {
    let mut errors = Vec::new();
    csi_driver_spec(&new["spec"], &mut errors);
    let (attach, path) = ("attachRequired", Path::new("spec"));
    if new["spec"][attach] != old["spec"][attach] {
        let place = path.child("attachedRequired");
        errors.push(Error::invalid(
            &place,
            new["spec"][attach].clone(),
            IMMUTABLE,
        ));
    }
    let modes = ["volumeLifecycleModes"];
    immutable(&new["spec"], &old["spec"], &modes, &path, &mut errors);
    errors
}

pub(crate) fn csi_node(node: &Value) -> Vec<Error> {
    let mut errors = Vec::new();
    let mut names: Vec<&str> = Vec::new();
    for (index, driver) in node.list("spec.drivers").iter().enumerate() {
        let path = Path::new("spec").child("drivers").index(index);
        let (own, id) = (driver.text("name"), driver.text("nodeID"));
        driver_name(own, &path.child("name"), &mut errors);
        let place = path.child("nodeID");
        if id.is_empty() {
            errors.push(Error::required(&place, ""));
        } else if id.len() > NODE_ID_LIMIT {
            let detail = format!("must be {NODE_ID_LIMIT} characters or less");
            errors.push(Error::invalid(&place, id, detail));
        }
        if let Some(allocatable) = driver.at("allocatable") {
            non_negative(
                allocatable,
                &["count"],
                &path.child("allocatable"),
                &mut errors,
            );
        }
        if names.contains(&own) {
            errors.push(Error::duplicate(&path.child("name"), own));
        }
        names.push(own);
        let keys = driver.texts("topologyKeys");
        for (at, key) in keys.iter().enumerate() {
            if key.is_empty() {
                errors.push(Error::required(&path, ""));
            }
            if keys[..at].contains(key) {
                errors.push(Error::duplicate(&path, *key));
            }
            complain(&mut errors, &path, key, name::qualified_name(key));
        }
    }
    errors
}

pub(crate) fn csi_node_update(new: &Value, old: &Value) -> Vec<Error> {
    let mut errors = csi_node(new);
    for before in old.list("spec.drivers") {
        for after in new.list("spec.drivers") {
            let counted = |driver: &Value| {
                let mut driver = driver.clone();
                driver.take_field("allocatable");
                driver
            };
            let (now, then) = (counted(after), counted(before));
            if after.text("name") == before.text("name") && now != then {
                let path = Path::new("spec").child("drivers");
                let shown = driver_json(after);
                errors.push(Error::invalid_shown(&path, shown, IMMUTABLE));
            }
        }
    }
    errors
}

/// A driver of a node, without what it may hold, as JSON of the type that the server has inside.
fn driver_json(driver: &Value) -> String {
    format!(
        "{{\"Name\":{},\"NodeID\":{},\"TopologyKeys\":{},\"Allocatable\":null}}",
        driver["name"],
        driver["nodeID"],
        driver.at("topologyKeys").unwrap_or(&Value::Null),
    )
}

pub(crate) fn volume_attachment(attachment: &Value) -> Vec<Error> {
    let mut errors = Vec::new();
    let (spec, path) = (&attachment["spec"], Path::new("spec"));
    let attacher = spec.text("attacher");
    driver_name(attacher, &path.child("attacher"), &mut errors);
    let place = path.child("source");
    let volume = spec.at("source.persistentVolumeName");
    let exactly = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
    match (volume, spec.at("source.inlineVolumeSpec")) {
        (None, None) => errors.push(Error::required(&place, exactly)),
        (Some(_), Some(_)) => errors.push(Error::forbidden(&place, exactly)),
        (Some(own), None) if own == "" => {
            let detail = "must specify non empty persistentVolumeName";
            errors.push(Error::required(
                &place.child("persistentVolumeName"),
                detail,
            ));
        }
        _ => {}
    }
    let node = spec.text("nodeName");
    complain(
        &mut errors,
        &path.child("nodeName"),
        node,
        name::dns1123_subdomain(node),
    );
    if let Some(own) = volume.and_then(Value::as_str) {
        let place = place.child("persistentVolumeName");
        complain(&mut errors, &place, own, name::dns1123_subdomain(own));
    }
    errors
}

pub(crate) fn volume_attachment_update(new: &Value, old: &Value) -> Vec<Error> {
    let mut errors = volume_attachment(new);
    immutable(new, old, &["spec"], &Path::root(), &mut errors);
    errors
}

/// What the status of an attachment may say.
pub(crate) fn volume_attachment_status(attachment: &Value) -> Vec<Error> {
    let mut errors = Vec::new();
    let (status, path) = (&attachment["status"], Path::new("status"));
    let size = status
        .map("attachmentMetadata")
        .map(|(key, value)| key.len() + value.as_str().map_or(0, str::len));
    if size.sum::<usize>() > METADATA_LIMIT {
        let place = path.child("attachmentMetadata");
        errors.push(Error::too_long(&place, METADATA_LIMIT));
    }
    for field in ["attachError", "detachError"] {
        let (Some(error), path) = (status.at(field), path.child(field)) else {
            continue;
        };
        if error.text("message").len() > MESSAGE_LIMIT {
            // The server names the other limit.
            errors.push(Error::too_long(&path.child("message"), METADATA_LIMIT));
        }
        if let Some(code) = error.integer("errorCode").filter(|code| *code < 0) {
            let detail = name::out_of_range(0, i64::from(i32::MAX));
            errors.push(Error::invalid(&path.child("errorCode"), code, detail));
        }
    }
    errors
}

/// What somebody who provisions volumes is told.
pub(crate) fn parameters(class: &Value, errors: &mut Vec<Error>) {
    let path = Path::new("parameters");
    let all: Vec<_> = class.map("parameters").collect();
    if all.len() > PARAMETERS_LIMIT {
        errors.push(Error::too_long(&path, PARAMETERS_LIMIT));
        return;
    }
    if all.iter().any(|(name, _)| name.is_empty()) {
        errors.push(Error::invalid(&path, "", "field can not be empty."));
    }
    let sizes = all.iter();
    let sizes = sizes.map(|(name, value)| name.len() + value.as_str().map_or(0, str::len));
    if sizes.sum::<usize>() > METADATA_LIMIT {
        errors.push(Error::too_long(&path, METADATA_LIMIT));
    }
}

/// The topologies in which a class may provision.
pub(crate) fn allowed_topologies(class: &Value, errors: &mut Vec<Error>) {
    let path = Path::new("allowedTopologies");
    let mut terms: Vec<BTreeMap<&str, Vec<&str>>> = Vec::new();
    for (index, term) in class.list("allowedTopologies").iter().enumerate() {
        let mut keys = BTreeMap::new();
        for (at, expression) in term.list("matchLabelExpressions").iter().enumerate() {
            let place = path.index(index).child("matchLabelExpressions").index(at);
            let (key, mut values) = (expression.text("key"), expression.texts("values"));
            if values.is_empty() {
                errors.push(Error::required(&place.child("values"), ""));
            }
            for (n, value) in values.iter().enumerate() {
                if values[..n].contains(value) {
                    errors.push(Error::duplicate(&place.child("values").index(n), *value));
                }
            }
            complain(errors, &place.child("key"), key, name::qualified_name(key));
            values.sort_unstable();
            values.dedup();
            if keys.insert(key, values).is_some() {
                errors.push(Error::duplicate(&place.child("key"), key));
            }
        }
        if terms.contains(&keys) {
            let place = path.index(index).child("matchLabelExpressions");
            errors.push(Error::duplicate(&place, ""));
        }
        terms.push(keys);
    }
}

pub(crate) fn volume_attributes_class(class: &Value) -> Vec<Error> {
    let mut errors = Vec::new();
    let (driver, path) = (class.text("driverName"), Path::new("driverName"));
    if driver.is_empty() {
        errors.push(Error::required(&path, ""));
    } else {
        let complaints = name::qualified_name(&driver.to_lowercase());
        complain(&mut errors, &path, driver, complaints);
    }
    parameters(class, &mut errors);
    if class.lacks("parameters") {
        let detail = "must contain at least one key/value pair";
        errors.push(Error::required(&Path::new("parameters"), detail));
    }
    errors
}

pub(crate) fn volume_attributes_class_update(new: &Value, old: &Value) -> Vec<Error> {
    let changed = ["driverName", "parameters"]
        .into_iter()
        .filter(|field| new.at(field) != old.at(field));
    let changed = changed.map(|field| {
        let detail = format!("updates to {field} are forbidden.");
        Error::forbidden(&Path::new(field), detail)
    });
    changed.chain(volume_attributes_class(new)).collect()
}
