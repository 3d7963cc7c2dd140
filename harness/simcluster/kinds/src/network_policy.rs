//! NetworkPolicy.

use std::net::IpAddr;

use jiff::Timestamp;
use serde_json::{Value, json};
use simcluster_machinery::field::{Error, Path};

use crate::addresses::range_complaint;
use crate::checks::{label_selector, one_of, port_number, port_number_or_name};
use crate::read::{Fill, Read};
use crate::rules::KindRules;
use crate::table::{self, AGE, Column, NAME, Row};
use crate::warnings;

pub(crate) struct NetworkPolicy;

impl KindRules for NetworkPolicy {
    fn default(&self, policy: &mut Value) {
        for rules in ["spec.ingress", "spec.egress"] {
            for rule in policy.items(rules) {
                for port in rule.items("ports") {
                    port.fill("protocol", "TCP");
                }
            }
        }
        if policy.lacks("spec.policyTypes") {
            let mut types = vec!["Ingress"];
            if !policy.lacks("spec.egress") {
                types.push("Egress");
            }
            policy.put("spec.policyTypes", types);
        }
    }

    fn validate_create(&self, policy: &Value) -> Vec<Error> {
        validate(policy, &[])
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<Error> {
        let known: Vec<&str> = blocks(old)
            .flat_map(|(_, block)| {
                let cidr = block.text("cidr");
                std::iter::once(cidr).chain(block.texts("except"))
            })
            .collect();
        validate(new, &known)
    }

    /// Ranges of addresses that are written in an odd way.
    fn warnings(&self, new: &Value, _old: Option<&Value>) -> Vec<String> {
        let mut warnings = Vec::new();
        for (path, block) in blocks(new) {
            warnings::cidr(block.text("cidr"), &path.child("cidr"), &mut warnings);
            for (index, except) in block.texts("except").into_iter().enumerate() {
                warnings::cidr(except, &path.child("except").index(index), &mut warnings);
            }
        }
        warnings
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn update_validates_whole_metadata(&self) -> bool {
        false
    }

    fn columns(&self) -> &'static [Column] {
        const { &[NAME, Column::text("Pod-Selector"), AGE] }
    }

    fn row(&self, policy: &Value, now: Timestamp) -> Row {
        Row::new(vec![
            table::name(policy),
            json!(table::selector(policy.at("spec.podSelector"))),
            table::age(policy, now),
        ])
    }
}

/// Blocks of addresses with their places.
fn blocks(policy: &Value) -> impl Iterator<Item = (Path, &Value)> {
    [("ingress", "from"), ("egress", "to")]
        .into_iter()
        .flat_map(move |(direction, peers)| {
            let rules = policy["spec"].list(direction).iter().enumerate();
            rules.flat_map(move |(at, rule)| {
                let all = rule.list(peers).iter().enumerate();
                all.filter_map(move |(index, peer)| {
                    let path = Path::new("spec").child(direction).index(at);
                    let path = path.child(peers).index(index).child("ipBlock");
                    Some((path, peer.at("ipBlock")?))
                })
            })
        })
}

fn validate(policy: &Value, known: &[&str]) -> Vec<Error> {
    let mut errors = Vec::new();
    let (spec, path) = (
        policy.get("spec").unwrap_or(&Value::Null),
        Path::new("spec"),
    );
    label_selector(
        spec.at("podSelector"),
        &path.child("podSelector"),
        &mut errors,
    );
    for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
        for (index, rule) in spec.list(direction).iter().enumerate() {
            let path = path.child(direction).index(index);
            for (index, port) in rule.list("ports").iter().enumerate() {
                let path = path.child("ports").index(index);
                let protocols = ["TCP", "UDP", "SCTP"];
                one_of(port, "protocol", &protocols, &path, &mut errors);
                validate_port(port, &path, &mut errors);
            }
            for (index, peer) in rule.list(peers).iter().enumerate() {
                let path = path.child(peers).index(index);
                validate_peer(peer, known, &path, &mut errors);
            }
        }
    }
    let types = spec.texts("policyTypes");
    if types.len() > 2 {
        let detail = "may not specify more than two policyTypes";
        let given = spec["policyTypes"].clone();
        let place = path.child("policyTypes");
        errors.push(Error::invalid(&place, given, detail));
        return errors;
    }
    for (index, one) in types.into_iter().enumerate() {
        if !matches!(one, "Ingress" | "Egress") {
            let place = path.child("policyTypes").index(index);
            errors.push(Error::not_supported(&place, one, &["Ingress", "Egress"]));
        }
    }
    errors
}

fn validate_port(port: &Value, path: &Path, errors: &mut Vec<Error>) {
    let place = path.child("endPort");
    let is_name = matches!(port.at("port"), Some(Value::String(_)));
    if let Some(end) = port.integer("endPort").filter(|_| is_name) {
        let detail = "may not be specified when `port` is non-numeric";
        errors.push(Error::invalid(&place, end, detail));
    }
    if port.at("port").is_some() {
        port_number_or_name(port, "port", path, errors);
    }
    let Some(end) = port.integer("endPort") else {
        return;
    };
    match port.at("port") {
        None => {
            let detail = "may not be specified when `port` is not specified";
            errors.push(Error::invalid(&place, end, detail));
        }
        Some(Value::String(_)) => {}
        Some(first) => {
            let first = first.as_i64().unwrap_or(0);
            if end < first {
                let detail = "must be greater than or equal to `port`";
                errors.push(Error::invalid(&place, first, detail));
            }
            port_number(end, &place, errors);
        }
    }
}

/// What is said of a text that is no network.
pub(crate) const NO_CIDR: &str = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";

/// A range of addresses: address and length of the prefix.
pub(crate) fn cidr(text: &str) -> Option<(IpAddr, u8)> {
    let (address, length) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let plain = length == "0" || !length.starts_with(['0', '+']);
    let length = (plain.then(|| length.parse().ok()).flatten()).filter(|length| *length <= most)?;
    Some((address, length))
}

fn contains(outer: (IpAddr, u8), inner: (IpAddr, u8)) -> bool {
    let bits = |address: IpAddr| match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()) << 96, 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    };
    let ((a, width), (b, other)) = (bits(outer.0), bits(inner.0));
    let mask = u128::MAX.checked_shl(128 - u32::from(outer.1)).unwrap_or(0);
    width == other && inner.1 > outer.1 && a & mask == b & mask
}

/// `known` are the ranges that were there before, whatever is wrong with them.
fn validate_block(block: &Value, known: &[&str], path: &Path, errors: &mut Vec<Error>) {
    let complain = |text: &str, path: &Path, errors: &mut Vec<Error>| {
        if let Some(why) = range_complaint(text).filter(|_| !known.contains(&text)) {
            errors.push(Error::invalid(path, text, why));
        }
    };
    let (text, place) = (block.text("cidr"), path.child("cidr"));
    if text.is_empty() {
        errors.push(Error::required(&place, ""));
        return;
    }
    complain(text, &place, errors);
    let Some(outer) = cidr(text) else { return };
    for (index, text) in block.texts("except").into_iter().enumerate() {
        let place = path.child("except").index(index);
        complain(text, &place, errors);
        if cidr(text).is_some_and(|inner| !contains(outer, inner)) {
            let detail = "must be a strict subset of `cidr`";
            errors.push(Error::invalid(&place, text, detail));
        }
    }
}

fn validate_peer(peer: &Value, known: &[&str], path: &Path, errors: &mut Vec<Error>) {
    let selectors = ["podSelector", "namespaceSelector"];
    let given = selectors
        .iter()
        .filter(|one| peer.at(one).is_some())
        .count();
    for selector in selectors {
        label_selector(peer.at(selector), &path.child(selector), errors);
    }
    if let Some(block) = peer.at("ipBlock") {
        validate_block(block, known, &path.child("ipBlock"), errors);
    }
    match (given, peer.at("ipBlock").is_some()) {
        (0, false) => errors.push(Error::required(path, "must specify a peer")),
        (1.., true) => errors.push(Error::forbidden(
            path,
            "may not specify both ipBlock and another peer",
        )),
        _ => {}
    }
}
