//! EndpointSlice.

use jiff::Timestamp;
use serde_json::{Value, json};
use simcluster_machinery::field::{Error, Path};
use simcluster_machinery::name;

use crate::addresses::{complaint, strict_complaint};
use crate::checks::{immutable, one_of, required_one_of};
use crate::endpoints::{first_few, validate_address};
use crate::meta::{complain, validate_labels};
use crate::read::{Fill, Read, text_or};
use crate::rules::KindRules;
use crate::table::{self, AGE, Column, NAME, Row};
use crate::warnings::ip;

const MAX_ENDPOINTS: usize = 1000;
const MAX_ADDRESSES: usize = 100;
const MAX_HINTS: usize = 8;
const MAX_PORTS: usize = 20_000;
const MAX_TOPOLOGY: usize = 16;

pub(crate) struct EndpointSlice;

impl KindRules for EndpointSlice {
    fn default(&self, slice: &mut Value) {
        for port in slice.items("ports") {
            if let Some(fields) = port.as_object_mut()
                && fields.get("name").is_none_or(Value::is_null)
            {
                fields.insert("name".to_owned(), json!(""));
            }
            port.fill("protocol", "TCP");
        }
    }

    fn validate_create(&self, slice: &Value) -> Vec<Error> {
        validate(slice, None)
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<Error> {
        let mut errors = validate(new, Some(old));
        immutable(new, old, &["addressType"], &Path::root(), &mut errors);
        errors
    }

    fn warnings(&self, new: &Value, _old: Option<&Value>) -> Vec<String> {
        let mut warnings = Vec::new();
        if new.text("addressType") == "FQDN" {
            warnings.push("spec.addressType: FQDN endpoints are deprecated".to_owned());
            return warnings;
        }
        for (index, endpoint) in new.list("endpoints").iter().enumerate() {
            let path = Path::new("endpoints").index(index).child("addresses");
            for (index, address) in endpoint.texts("addresses").into_iter().enumerate() {
                ip(address, &path.index(index), &mut warnings);
            }
        }
        warnings
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn bumps_generation(&self, new: &Value, old: &Value) -> bool {
        ["addressType", "endpoints", "ports"]
            .iter()
            .any(|field| new.at(field) != old.at(field))
    }

    fn columns(&self) -> &'static [Column] {
        const {
            &[
                NAME,
                Column::text("AddressType"),
                Column::text("Ports"),
                Column::text("Endpoints"),
                AGE,
            ]
        }
    }

    fn row(&self, slice: &Value, now: Timestamp) -> Row {
        let ports: Vec<String> = slice.list("ports").iter().map(port_text).collect();
        let addresses: Vec<String> = slice
            .list("endpoints")
            .iter()
            .flat_map(|endpoint| endpoint.texts("addresses"))
            .map(str::to_owned)
            .collect();
        let cell = |all: &[String]| json!(text_or(&first_few(all), "<unset>"));
        Row::new(vec![
            table::name(slice),
            json!(slice.text("addressType")),
            cell(&ports),
            cell(&addresses),
            table::age(slice, now),
        ])
    }
}

/// A whole slice; endpoints that were there before may stay as they are.
fn validate(slice: &Value, old: Option<&Value>) -> Vec<Error> {
    let mut errors = Vec::new();
    let types = ["FQDN", "IPv4", "IPv6"];
    required_one_of(slice, "addressType", &types, &Path::root(), &mut errors);
    validate_ports(slice.list("ports"), &mut errors);
    let (endpoints, path) = (slice.list("endpoints"), Path::new("endpoints"));
    if old.is_some_and(|old| old.list("endpoints") == endpoints) {
        return errors;
    }
    if endpoints.len() > MAX_ENDPOINTS {
        errors.push(Error::too_many(&path, endpoints.len(), MAX_ENDPOINTS));
        return errors;
    }
    for (index, endpoint) in endpoints.iter().enumerate() {
        let path = path.index(index);
        validate_endpoint(endpoint, slice.text("addressType"), &path, &mut errors);
    }
    errors
}

fn port_text(port: &Value) -> String {
    match port.integer("port") {
        Some(number) => number.to_string(),
        None => text_or(port.text("name"), "*").to_owned(),
    }
}

fn validate_endpoint(endpoint: &Value, address_type: &str, path: &Path, errors: &mut Vec<Error>) {
    let addresses = endpoint.texts("addresses");
    let list = path.child("addresses");
    if addresses.is_empty() {
        errors.push(Error::required(&list, "must contain at least 1 address"));
    } else if addresses.len() > MAX_ADDRESSES {
        errors.push(Error::too_many(&list, addresses.len(), MAX_ADDRESSES));
    }
    for (index, address) in addresses.into_iter().enumerate() {
        let path = list.index(index);
        let (why, wrong_family) = match address_type {
            "FQDN" => {
                validate_domain(address, &path, errors);
                continue;
            }
            "IPv4" => (
                complaint(address).map(str::to_owned),
                address.contains(':').then_some("must be an IPv4 address"),
            ),
            "IPv6" => (
                strict_complaint(address),
                (!address.contains(':')).then_some("must be an IPv6 address"),
            ),
            _ => continue,
        };
        if let Some(why) = why {
            errors.push(Error::invalid(&path, address, why));
            continue;
        }
        if let Some(detail) = wrong_family {
            // The server names the list and not the address.
            errors.push(Error::invalid(&list, address, detail));
        }
        validate_address(address, &path, errors);
    }
    if let Some(node) = endpoint.at("nodeName").and_then(Value::as_str) {
        let complaints = name::dns1123_subdomain(node);
        complain(errors, &path.child("nodeName"), node, complaints);
    }
    let topology = path.child("deprecatedTopology");
    let labels = endpoint.map("deprecatedTopology").count();
    if labels > MAX_TOPOLOGY {
        errors.push(Error::too_many(&topology, labels, MAX_TOPOLOGY));
    }
    validate_labels(endpoint, "deprecatedTopology", &topology, errors);
    if let Some(host) = endpoint.at("hostname").and_then(Value::as_str) {
        let complaints = name::dns1123_label(host);
        complain(errors, &path.child("hostname"), host, complaints);
    }
    validate_hints(endpoint, path, errors);
}

/// A name of a host with its domain.
fn validate_domain(text: &str, path: &Path, errors: &mut Vec<Error>) {
    if text.is_empty() {
        errors.push(Error::required(path, ""));
        return;
    }
    let text = text.strip_suffix('.').unwrap_or(text);
    let complaints = name::dns1123_subdomain(text);
    if !complaints.is_empty() {
        complain(errors, path, text, complaints);
        return;
    }
    if !text.contains('.') {
        let detail = "should be a domain with at least two segments separated by dots";
        errors.push(Error::invalid(path, text, detail));
    }
}

/// Where an endpoint should be used from.
fn validate_hints(endpoint: &Value, path: &Path, errors: &mut Vec<Error>) {
    for list in ["forZones", "forNodes"] {
        let path = path.child("hints").child(list);
        let hints = endpoint.list(&format!("hints.{list}"));
        if hints.len() > MAX_HINTS {
            errors.push(Error::too_many(&path, hints.len(), MAX_HINTS));
            return;
        }
        for (index, hint) in hints.iter().enumerate() {
            let place = path.index(index).child("name");
            let own = hint.text("name");
            if hints[..index].iter().any(|other| other.text("name") == own) {
                errors.push(Error::duplicate(&place, own));
            }
            let complaints = if list == "forZones" {
                name::label_value(own)
            } else {
                name::dns1123_subdomain(own)
            };
            complain(errors, &place, own, complaints);
        }
    }
}

fn validate_ports(ports: &[Value], errors: &mut Vec<Error>) {
    if ports.len() > MAX_PORTS {
        errors.push(Error::too_many(&Path::new("ports"), ports.len(), MAX_PORTS));
        return;
    }
    let mut names = std::collections::BTreeSet::new();
    for (index, port) in ports.iter().enumerate() {
        let path = Path::new("ports").index(index);
        let own_name = port.text("name");
        if !own_name.is_empty() {
            complain(
                errors,
                &path.child("name"),
                own_name,
                name::dns1123_label(own_name),
            );
        }
        if !names.insert(own_name) {
            errors.push(Error::duplicate(&path.child("name"), own_name));
        }
        one_of(port, "protocol", &["SCTP", "TCP", "UDP"], &path, errors);
        if let Some(protocol) = port.at("appProtocol").and_then(Value::as_str) {
            let complaints = name::qualified_name(protocol);
            complain(errors, &path.child("appProtocol"), protocol, complaints);
        }
    }
}
