//! Service.
//!
//! Which addresses and node ports are free is the server's knowledge; [`settle_addresses`] says what
//! a service asks for and [`wanted`] what must be allocated.

mod addresses;
mod validation;
mod warnings;

use jiff::Timestamp;
use serde_json::{Value, json};
use simcluster_machinery::field::Error;

pub use addresses::{
    Wanted, allocated_addresses, allocated_node_ports, set_cluster_ip, set_node_port,
    settle_addresses, wanted,
};

pub(crate) use validation::balanced;

use crate::meta::NameRule;
use crate::read::{Fill, Read, text_or};
use crate::rules::KindRules;
use crate::table::{self, AGE, Column, NAME, Row};

const SESSION_SECONDS: i64 = 10_800;

pub(crate) struct Service;

impl KindRules for Service {
    fn default(&self, service: &mut Value) {
        service.fill("spec.sessionAffinity", "None");
        match service.text("spec.sessionAffinity") {
            "None" => drop(service.take_field("spec.sessionAffinityConfig")),
            "ClientIP" => {
                service.fill(
                    "spec.sessionAffinityConfig.clientIP.timeoutSeconds",
                    SESSION_SECONDS,
                );
            }
            _ => {}
        }
        service.fill("spec.type", "ClusterIP");
        let kind = service.text("spec.type").to_owned();
        for port in service.items("spec.ports") {
            port.fill("protocol", "TCP");
            if port
                .at("targetPort")
                .is_none_or(|target| *target == 0 || target == "")
            {
                let number = port["port"].clone();
                port.put("targetPort", number);
            }
        }
        if is_external(&kind) || kind == "ClusterIP" && !service.lacks("spec.externalIPs") {
            service.fill("spec.externalTrafficPolicy", "Cluster");
        }
        if is_external(&kind) || kind == "ClusterIP" {
            service.fill("spec.internalTrafficPolicy", "Cluster");
        }
        if kind == "LoadBalancer" {
            service.fill("spec.allocateLoadBalancerNodePorts", true);
            for ingress in service.items("status.loadBalancer.ingress") {
                if !ingress.lacks("ip") {
                    ingress.fill("ipMode", "VIP");
                }
            }
        }
    }

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        crate::meta::keep(new, old, "status");
        addresses::drop_fields_of_old_type(new, old);
        crate::meta::carry_generation(new, old, false);
    }

    fn initial_status(&self) -> Value {
        json!({"loadBalancer": {}})
    }

    fn validate_create(&self, service: &Value) -> Vec<Error> {
        validation::service(service)
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<Error> {
        let mut errors = validation::update(new, old);
        errors.extend(validation::service(new));
        errors
    }

    fn validate_status_update(&self, new: &Value, _old: &Value) -> Vec<Error> {
        validation::status(new)
    }

    fn warnings(&self, new: &Value, _old: Option<&Value>) -> Vec<String> {
        warnings::of(new)
    }

    fn name_rule(&self) -> NameRule {
        NameRule::Label
    }

    fn has_status(&self) -> bool {
        true
    }

    fn selectable_fields(&self, service: &Value) -> Vec<(&'static str, String)> {
        ["spec.clusterIP", "spec.type"]
            .map(|path| (path, service.text(path).to_owned()))
            .to_vec()
    }

    fn columns(&self) -> &'static [Column] {
        const {
            &[
                NAME,
                Column::text("Type"),
                Column::text("Cluster-IP"),
                Column::text("External-IP"),
                Column::text("Port(s)"),
                AGE,
                Column::wide("Selector"),
            ]
        }
    }

    fn row(&self, service: &Value, now: Timestamp) -> Row {
        let address = service
            .texts("spec.clusterIPs")
            .first()
            .copied()
            .unwrap_or_default();
        Row::new(vec![
            table::name(service),
            json!(service.text("spec.type")),
            json!(text_or(address, "<none>")),
            json!(external_addresses(service)),
            json!(text_or(&ports(service), "<none>")),
            table::age(service, now),
            table::labels(service, "spec.selector"),
        ])
    }
}

/// Whether services of this type are reached from outside the cluster.
fn is_external(kind: &str) -> bool {
    matches!(kind, "NodePort" | "LoadBalancer")
}

fn external_addresses(service: &Value) -> String {
    let own = service.texts("spec.externalIPs");
    match service.text("spec.type") {
        "LoadBalancer" => {
            let ingress = service.list("status.loadBalancer.ingress").iter();
            let balanced = ingress.map(|one| text_or(one.text("ip"), one.text("hostname")));
            let mut all: Vec<&str> = balanced.filter(|one| !one.is_empty()).collect();
            all.extend(own);
            if all.is_empty() {
                "<pending>".to_owned()
            } else {
                all.join(",")
            }
        }
        "ExternalName" => service.text("spec.externalName").to_owned(),
        _ => text_or(&own.join(","), "<none>").to_owned(),
    }
}

fn ports(service: &Value) -> String {
    let texts = service.list("spec.ports").iter().map(|port| {
        let (number, protocol) = (port.integer("port").unwrap_or(0), port.text("protocol"));
        match port.integer("nodePort").unwrap_or(0) {
            0 => format!("{number}/{protocol}"),
            node_port => format!("{number}:{node_port}/{protocol}"),
        }
    });
    texts.collect::<Vec<_>>().join(",")
}
