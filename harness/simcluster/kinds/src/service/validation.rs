//! What is wrong with a service, and what it may not change.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::{Value, json};
use simcluster_machinery::field::{Error, Path};
use simcluster_machinery::name;

use super::is_external;
use crate::addresses::{complaint, range_complaint};
use crate::checks::{one_of, port_number, port_number_or_name, required_one_of};
use crate::endpoints::validate_address;
use crate::meta::{complain, validate_labels};
use crate::read::Read;

const TYPES: [&str; 4] = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];
const SESSION_LIMIT: i64 = 86_400;

/// A whole service.
pub(super) fn service(service: &Value) -> Vec<Error> {
    let mut errors = Vec::new();
    let (spec, path) = (&service["spec"], Path::new("spec"));
    let kind = spec.text("type");
    let headless = spec.texts("clusterIPs").first() == Some(&"None");
    if spec.lacks("ports") && !headless && kind != "ExternalName" {
        errors.push(Error::required(&path.child("ports"), ""));
    }
    of_type(spec, headless, &path, &mut errors);
    ports(spec, &path, &mut errors);
    validate_labels(spec, "selector", &path.child("selector"), &mut errors);
    session_affinity(spec, &path, &mut errors);
    cluster_ips(spec, &path, &mut errors);
    for (index, address) in spec.texts("externalIPs").into_iter().enumerate() {
        let place = path.child("externalIPs").index(index);
        validate_address(address, &place, &mut errors);
    }
    required_one_of(spec, "type", &TYPES, &path, &mut errors);
    source_ranges(spec, &path, &mut errors);
    traffic(spec, kind, &path, &mut errors);
    errors
}

fn of_type(spec: &Value, headless: bool, path: &Path, errors: &mut Vec<Error>) {
    let kind = spec.text("type");
    match kind {
        "LoadBalancer" | "NodePort" if headless => errors.push(Error::invalid(
            &path.child("clusterIPs").index(0),
            "None",
            format!("may not be set to 'None' for {kind} services"),
        )),
        "ExternalName" => {
            for field in ["clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
                if !spec.lacks(field) {
                    let detail = "may not be set for ExternalName services";
                    errors.push(Error::forbidden(&path.child(field), detail));
                }
            }
            let target = spec.text("externalName");
            let place = path.child("externalName");
            if target.is_empty() {
                errors.push(Error::required(&place, ""));
            } else {
                let name = target.strip_suffix('.').unwrap_or(target);
                complain(errors, &place, name, name::dns1123_subdomain(name));
            }
        }
        _ => {}
    }
    if kind == "LoadBalancer" {
        let class = spec.text("loadBalancerClass");
        if spec.at("loadBalancerClass").is_some() {
            let place = path.child("loadBalancerClass");
            complain(errors, &place, class, name::qualified_name(class));
        }
        return;
    }
    for (field, words) in [
        ("loadBalancerClass", "loadBalancerClass"),
        (
            "allocateLoadBalancerNodePorts",
            "allocateLoadBalancerNodePorts",
        ),
        ("loadBalancerSourceRanges", "LoadBalancerSourceRanges"),
    ] {
        if !spec.lacks(field) {
            let detail = "may only be used when `type` is 'LoadBalancer'";
            errors.push(Error::forbidden(&path.child(words), detail));
        }
    }
}

fn ports(spec: &Value, path: &Path, errors: &mut Vec<Error>) {
    let ports = spec.list("ports");
    let mut names = BTreeSet::new();
    for (index, port) in ports.iter().enumerate() {
        let path = path.child("ports").index(index);
        let own_name = port.text("name");
        let place = path.child("name");
        if own_name.is_empty() {
            if ports.len() > 1 {
                errors.push(Error::required(&place, ""));
            }
        } else {
            complain(errors, &place, own_name, name::dns1123_label(own_name));
            if !names.insert(own_name) {
                errors.push(Error::duplicate(&place, own_name));
            }
        }
        port_number(
            port.integer("port").unwrap_or(0),
            &path.child("port"),
            errors,
        );
        required_one_of(port, "protocol", &PROTOCOLS, &path, errors);
        port_number_or_name(port, "targetPort", &path, errors);
        let protocol = port.text("appProtocol");
        if !protocol.is_empty() {
            complain(
                errors,
                &path.child("appProtocol"),
                protocol,
                name::qualified_name(protocol),
            );
        }
    }
    node_ports(spec, ports, path, errors);
    duplicates(ports, path, errors);
}

fn node_ports(spec: &Value, ports: &[Value], path: &Path, errors: &mut Vec<Error>) {
    let mut taken = BTreeSet::new();
    for (index, port) in ports.iter().enumerate() {
        let Some(number) = port.integer("nodePort").filter(|number| *number != 0) else {
            continue;
        };
        let path = path.child("ports").index(index).child("nodePort");
        if spec.text("type") == "ClusterIP" {
            let detail = "may not be used when `type` is 'ClusterIP'";
            errors.push(Error::forbidden(&path, detail));
        }
        if !taken.insert((port.text("protocol"), number)) {
            errors.push(Error::duplicate(&path, number));
        }
    }
}

fn duplicates(ports: &[Value], path: &Path, errors: &mut Vec<Error>) {
    let mut seen = BTreeSet::new();
    for (index, port) in ports.iter().enumerate() {
        let (protocol, number) = (port.text("protocol"), port.integer("port").unwrap_or(0));
        if !seen.insert((protocol, number)) {
            let shown = format!(
                "{{\"Name\":\"\",\"Protocol\":{},\"AppProtocol\":null,\"Port\":{number},\
                 \"TargetPort\":0,\"NodePort\":0}}",
                json!(protocol)
            );
            let mut error = Error::duplicate(&path.child("ports").index(index), Value::Null);
            error.shown = Some(shown);
            errors.push(error);
        }
    }
}

fn session_affinity(spec: &Value, path: &Path, errors: &mut Vec<Error>) {
    required_one_of(spec, "sessionAffinity", &["ClientIP", "None"], path, errors);
    let config = path.child("sessionAffinityConfig");
    match spec.text("sessionAffinity") {
        "ClientIP" => {
            let seconds = spec.integer("sessionAffinityConfig.clientIP.timeoutSeconds");
            if let Some(seconds) = seconds.filter(|one| !(1..=SESSION_LIMIT).contains(one)) {
                errors.push(Error::invalid(
                    &config.child("clientIP").child("timeoutSeconds"),
                    seconds,
                    format!("must be greater than 0 and less than {SESSION_LIMIT}"),
                ));
            }
        }
        "None" if spec.at("sessionAffinityConfig").is_some() => {
            let detail = "must not be set when session affinity is None";
            errors.push(Error::forbidden(&config, detail));
        }
        _ => {}
    }
}

fn cluster_ips(spec: &Value, path: &Path, errors: &mut Vec<Error>) {
    if spec.text("type") == "ExternalName" {
        return;
    }
    let addresses = spec.texts("clusterIPs");
    let (single, first) = (spec.text("clusterIP"), addresses.first().copied());
    match first {
        None if !single.is_empty() => {
            errors.push(Error::required(&path.child("clusterIPs"), ""));
        }
        Some(_) if single.is_empty() => {
            let detail = "must be empty when `clusterIP` is not specified";
            errors.push(Error::invalid(
                &path.child("clusterIPs"),
                json!(addresses),
                detail,
            ));
        }
        Some(first) if first != single => {
            let detail = "first value must match `clusterIP`";
            errors.push(Error::invalid(
                &path.child("clusterIPs"),
                json!(addresses),
                detail,
            ));
        }
        _ => {}
    }
    for (index, address) in addresses.iter().enumerate() {
        let place = path.child("clusterIPs").index(index);
        if *address == "None" {
            if addresses.len() > 1 {
                errors.push(Error::invalid(
                    &place,
                    *address,
                    "may not be set to 'None' when multiple clusterIPs are specified",
                ));
            }
        } else if let Some(why) = complaint(address) {
            errors.push(Error::invalid(&place, *address, why));
        }
    }
    let policies = ["PreferDualStack", "RequireDualStack", "SingleStack"];
    one_of(spec, "ipFamilyPolicy", &policies, path, errors);
    for (index, family) in spec.texts("ipFamilies").into_iter().enumerate() {
        if !matches!(family, "IPv4" | "IPv6") {
            let place = path.child("ipFamilies").index(index);
            errors.push(Error::not_supported(&place, family, &["IPv4", "IPv6"]));
        }
    }
}

/// From where a load balancer may be reached; the real server writes the field with a capital here.
fn source_ranges(spec: &Value, path: &Path, errors: &mut Vec<Error>) {
    let path = path.child("LoadBalancerSourceRanges");
    let ranges = spec.texts("loadBalancerSourceRanges");
    for (index, range) in ranges.into_iter().enumerate() {
        if let Some(why) = range_complaint(range.trim()) {
            errors.push(Error::invalid(&path.index(index), range, why));
        }
    }
}

fn traffic(spec: &Value, kind: &str, path: &Path, errors: &mut Vec<Error>) {
    let policy = spec.text("externalTrafficPolicy");
    let external = is_external(kind) || kind == "ClusterIP" && !spec.lacks("externalIPs");
    if !external && !policy.is_empty() {
        errors.push(Error::invalid(
            &path.child("externalTrafficPolicy"),
            policy,
            "may only be set for externally-accessible services",
        ));
    } else {
        one_of(
            spec,
            "externalTrafficPolicy",
            &["Cluster", "Local"],
            path,
            errors,
        );
    }
    let checks_health = kind == "LoadBalancer" && policy == "Local";
    if let Some(port) = spec
        .integer("healthCheckNodePort")
        .filter(|port| *port != 0)
        && !checks_health
    {
        let detail = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` \
                      is 'Local'";
        errors.push(Error::invalid(
            &path.child("healthCheckNodePort"),
            port,
            detail,
        ));
    }
    one_of(
        spec,
        "internalTrafficPolicy",
        &["Cluster", "Local"],
        path,
        errors,
    );
    let distributions = ["PreferClose", "PreferSameNode", "PreferSameZone"];
    one_of(spec, "trafficDistribution", &distributions, path, errors);
}

/// Where a load balancer is reached.
pub(super) fn status(service: &Value) -> Vec<Error> {
    let mut errors = Vec::new();
    let path = Path::new("status").child("loadBalancer").child("ingress");
    let all = service.list("status.loadBalancer.ingress");
    if !all.is_empty() && service.text("spec.type") != "LoadBalancer" {
        let detail = "may only be used when `spec.type` is \"LoadBalancer\"";
        errors.push(Error::forbidden(&path, detail));
        return errors;
    }
    for (index, ingress) in all.iter().enumerate() {
        let path = path.index(index);
        balanced(ingress, &path, &mut errors);
        let (mode, place) = (ingress.text("ipMode"), path.child("ipMode"));
        if !mode.is_empty() && ingress.lacks("ip") {
            let detail = "may not be specified when `ip` is not set";
            errors.push(Error::forbidden(&place, detail));
        } else {
            one_of(ingress, "ipMode", &["Proxy", "VIP"], &path, &mut errors);
        }
    }
    errors
}

/// An address or a name at which something is reached from outside.
pub(crate) fn balanced(ingress: &Value, path: &Path, errors: &mut Vec<Error>) {
    let (address, host) = (ingress.text("ip"), ingress.text("hostname"));
    if let Some(why) = complaint(address).filter(|_| !address.is_empty()) {
        errors.push(Error::invalid(&path.child("ip"), address, why));
    }
    if !host.is_empty() {
        let place = path.child("hostname");
        complain(errors, &place, host, name::dns1123_subdomain(host));
        if host.parse::<IpAddr>().is_ok() {
            let detail = "must be a DNS name, not an IP address";
            errors.push(Error::invalid(&place, host, detail));
        }
    }
}

/// An address that was given stays for as long as the service has one.
pub(super) fn update(new: &Value, old: &Value) -> Vec<Error> {
    let mut errors = Vec::new();
    let path = Path::new("spec");
    let both = |kind: &str| [new, old].iter().all(|one| one.text("spec.type") == kind);
    if both("LoadBalancer") {
        let class = "spec.loadBalancerClass";
        if new.at(class) != old.at(class) {
            let given = new.at(class).cloned().unwrap_or(Value::Null);
            let detail = "may not change once set";
            errors.push(Error::invalid(
                &path.child("loadBalancerClass"),
                given,
                detail,
            ));
        }
        let local = |one: &&Value| one.text("spec.externalTrafficPolicy") == "Local";
        let port = "spec.healthCheckNodePort";
        if [new, old].iter().all(local) && new.at(port) != old.at(port) {
            let place = path.child("healthCheckNodePort");
            errors.push(Error::forbidden(&place, "field is immutable"));
        }
    }
    let has_address = |service: &Value| {
        matches!(
            service.text("spec.type"),
            "ClusterIP" | "NodePort" | "LoadBalancer"
        )
    };
    if !has_address(new) || !has_address(old) {
        return errors;
    }
    for (field, list) in [
        ("clusterIPs", "spec.clusterIPs"),
        ("ipFamilies", "spec.ipFamilies"),
    ] {
        let (after, before) = (new.texts(list), old.texts(list));
        let (Some(first), Some(first_before)) = (after.first(), before.first()) else {
            continue;
        };
        if first != first_before {
            errors.push(Error::invalid(
                &Path::new("spec").child(field).index(0),
                json!(after),
                "may not change once set",
            ));
        }
    }
    errors
}
