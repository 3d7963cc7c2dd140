//! Endpoints.

use std::net::IpAddr;

use jiff::Timestamp;
use serde_json::{Value, json};
use simcluster_machinery::field::{Error, Path};
use simcluster_machinery::name;

use crate::addresses::{complaint, sloppy};
use crate::checks::{port_number, required_one_of};
use crate::meta::complain;
use crate::read::{Fill, Read};
use crate::rules::KindRules;
use crate::table::{self, AGE, Column, NAME, Row};
use crate::warnings::ip;

const SHOWN: usize = 3;

pub(crate) struct Endpoints;

impl KindRules for Endpoints {
    fn default(&self, endpoints: &mut Value) {
        for subset in endpoints.items("subsets") {
            for port in subset.items("ports") {
                port.fill("protocol", "TCP");
            }
        }
    }

    fn validate_create(&self, endpoints: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        for (index, subset) in endpoints.list("subsets").iter().enumerate() {
            validate_subset(subset, &Path::new("subsets").index(index), &mut errors);
        }
        errors
    }

    /// What was there before may stay as it is.
    fn validate_update(&self, new: &Value, old: &Value) -> Vec<Error> {
        if new.list("subsets") == old.list("subsets") {
            return Vec::new();
        }
        self.validate_create(new)
    }

    fn warnings(&self, new: &Value, _old: Option<&Value>) -> Vec<String> {
        let mut warnings = Vec::new();
        for (path, address) in addresses(new) {
            ip(address.text("ip"), &path.child("ip"), &mut warnings);
        }
        warnings
    }

    fn deprecation(&self) -> Option<&'static str> {
        Some("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice")
    }

    fn columns(&self) -> &'static [Column] {
        const { &[NAME, Column::text("Endpoints"), AGE] }
    }

    fn row(&self, endpoints: &Value, now: Timestamp) -> Row {
        Row::new(vec![
            table::name(endpoints),
            json!(summary(endpoints)),
            table::age(endpoints, now),
        ])
    }
}

/// All addresses, with their places.
fn addresses(endpoints: &Value) -> impl Iterator<Item = (Path, &Value)> {
    let subsets = endpoints.list("subsets").iter().enumerate();
    subsets.flat_map(|(index, subset)| {
        ["addresses", "notReadyAddresses"]
            .into_iter()
            .flat_map(move |list| {
                let path = Path::new("subsets").index(index).child(list);
                let all = subset.list(list).iter().enumerate();
                all.map(move |(at, one)| (path.index(at), one))
            })
    })
}

fn validate_subset(subset: &Value, path: &Path, errors: &mut Vec<Error>) {
    if subset.lacks("addresses") && subset.lacks("notReadyAddresses") {
        errors.push(Error::required(
            path,
            "must specify `addresses` or `notReadyAddresses`",
        ));
    }
    for list in ["addresses", "notReadyAddresses"] {
        for (index, address) in subset.list(list).iter().enumerate() {
            let path = path.child(list).index(index);
            let ip = address.text("ip");
            if let Some(why) = complaint(ip) {
                errors.push(Error::invalid(&path.child("ip"), ip, why));
            }
            let host = address.text("hostname");
            if !host.is_empty() {
                let complaints = name::dns1123_label(host);
                complain(errors, &path.child("hostname"), host, complaints);
            }
            if let Some(node) = address.at("nodeName").and_then(Value::as_str) {
                let complaints = name::dns1123_subdomain(node);
                complain(errors, &path.child("nodeName"), node, complaints);
            }
            validate_address(ip, &path.child("ip"), errors);
        }
    }
    let ports = subset.list("ports");
    for (index, port) in ports.iter().enumerate() {
        let path = path.child("ports").index(index);
        let own_name = port.text("name");
        if !own_name.is_empty() {
            complain(
                errors,
                &path.child("name"),
                own_name,
                name::dns1123_label(own_name),
            );
        } else if ports.len() > 1 {
            errors.push(Error::required(&path.child("name"), ""));
        }
        port_number(
            port.integer("port").unwrap_or(0),
            &path.child("port"),
            errors,
        );
        required_one_of(port, "protocol", &["SCTP", "TCP", "UDP"], &path, errors);
        if let Some(protocol) = port.at("appProtocol").and_then(Value::as_str) {
            let complaints = name::qualified_name(protocol);
            complain(errors, &path.child("appProtocol"), protocol, complaints);
        }
    }
}

/// An address that a client can be sent to: neither this machine nor nobody.
pub(crate) fn validate_address(text: &str, path: &Path, errors: &mut Vec<Error>) {
    let Some(address) = sloppy(text) else {
        let detail = "must be a valid IP address";
        errors.push(Error::invalid(path, text, detail));
        return;
    };
    let mut refuse = |detail: String| errors.push(Error::invalid(path, text, detail));
    if address.is_unspecified() {
        refuse(format!("may not be unspecified ({text})"));
    }
    if address.is_loopback() {
        refuse("may not be in the loopback range (127.0.0.0/8, ::1/128)".to_owned());
    }
    let (link_local, to_many) = match address {
        IpAddr::V4(address) => (
            address.is_link_local(),
            address.octets().starts_with(&[224, 0, 0]),
        ),
        IpAddr::V6(address) => (
            address.is_unicast_link_local(),
            address.segments()[0] & 0xff0f == 0xff02,
        ),
    };
    if link_local {
        refuse("may not be in the link-local range (169.254.0.0/16, fe80::/10)".to_owned());
    }
    if to_many {
        let detail = "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)";
        refuse(detail.to_owned());
    }
}

fn summary(endpoints: &Value) -> String {
    let subsets = endpoints.list("subsets");
    if subsets.is_empty() {
        return "<none>".to_owned();
    }
    let mut all = Vec::new();
    for subset in subsets {
        let addresses: Vec<&str> = subset
            .list("addresses")
            .iter()
            .map(|address| address.text("ip"))
            .collect();
        if subset.lacks("ports") {
            all.extend(addresses.iter().map(|&address| address.to_owned()));
        }
        for port in subset.list("ports") {
            let number = port.integer("port").unwrap_or(0);
            all.extend(addresses.iter().map(|address| {
                if address.contains(':') {
                    format!("[{address}]:{number}")
                } else {
                    format!("{address}:{number}")
                }
            }));
        }
    }
    first_few(&all)
}

/// The first of many texts, and how many more there are.
pub(crate) fn first_few(all: &[String]) -> String {
    let text = all[..all.len().min(SHOWN)].join(",");
    match all.len().saturating_sub(SHOWN) {
        0 => text,
        more => format!("{text} + {more} more..."),
    }
}
