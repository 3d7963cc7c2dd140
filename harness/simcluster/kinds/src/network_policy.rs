//! NetworkPolicy.

use jiff::Timestamp;
use serde_json::{Value, json};
use simcluster_machinery::field::{Error, Path};

use crate::checks::{label_selector, one_of, port_number_or_name};
use crate::read::{Fill, Read};
use crate::rules::KindRules;
use crate::table::{self, AGE, Column, NAME, Row};

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
                    one_of(
                        port,
                        "protocol",
                        &["SCTP", "TCP", "UDP"],
                        &path,
                        &mut errors,
                    );
                    if port.at("port").is_some() {
                        port_number_or_name(port, "port", &path, &mut errors);
                    }
                }
                for (index, peer) in rule.list(peers).iter().enumerate() {
                    validate_peer(peer, &path.child(peers).index(index), &mut errors);
                }
            }
        }
        let types = spec.texts("policyTypes");
        for (index, one) in types.into_iter().enumerate() {
            if !matches!(one, "Ingress" | "Egress") {
                let place = path.child("policyTypes").index(index);
                errors.push(Error::not_supported(&place, one, &["Egress", "Ingress"]));
            }
        }
        errors
    }

    fn has_generation(&self) -> bool {
        true
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

fn validate_peer(peer: &Value, path: &Path, errors: &mut Vec<Error>) {
    let selectors = ["podSelector", "namespaceSelector"];
    let given = selectors
        .iter()
        .filter(|one| peer.at(one).is_some())
        .count();
    for selector in selectors {
        label_selector(peer.at(selector), &path.child(selector), errors);
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
