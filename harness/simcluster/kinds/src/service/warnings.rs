//! What is legal in a service and yet likely a mistake.

use serde_json::Value;
use simcluster_machinery::field::Path;

use crate::read::Read;
use crate::warnings::{cidr, ip};

const HINTS: &str = "service.kubernetes.io/topology-aware-hints";

/// Warnings about a service, new or updated.
pub(super) fn of(service: &Value) -> Vec<String> {
    let mut warnings = Vec::new();
    let (spec, path) = (
        service.get("spec").unwrap_or(&Value::Null),
        Path::new("spec"),
    );
    if service
        .map("metadata.annotations")
        .any(|(key, _)| key == HINTS)
    {
        warnings.push(format!(
            "annotation {HINTS} is deprecated, please use service.kubernetes.io/topology-mode \
             instead"
        ));
    }
    let kind = spec.text("type");
    let headless = kind == "ClusterIP" && spec.text("clusterIP") == "None";
    let external = spec.texts("externalIPs");
    if !headless {
        addresses(spec, "clusterIPs", &path, &mut warnings);
    }
    if headless {
        if !spec.lacks("loadBalancerIP") {
            warnings.push("spec.loadBalancerIP is ignored for headless services".to_owned());
        }
        if !external.is_empty() {
            warnings.push("spec.externalIPs is ignored for headless services".to_owned());
        }
        if spec.text("sessionAffinity") != "None" {
            warnings.push("spec.SessionAffinity is ignored for headless services".to_owned());
        }
    }
    addresses(spec, "externalIPs", &path, &mut warnings);
    if !external.is_empty() && !headless && kind != "ExternalName" {
        let why = "is deprecated and may no longer be implemented in some clusters";
        warnings.push(format!("spec.externalIPs {why}"));
    }
    let balancer = spec.text("loadBalancerIP");
    ip(balancer, &path.child("loadBalancerIP"), &mut warnings);
    let ranges = spec.texts("loadBalancerSourceRanges");
    for (index, range) in ranges.into_iter().enumerate() {
        let place = path.child("loadBalancerSourceRanges").index(index);
        cidr(range, &place, &mut warnings);
    }
    if kind == "ExternalName" && !external.is_empty() {
        warnings.push(format!(
            "spec.externalIPs is ignored when spec.type is {kind:?}"
        ));
    }
    if kind != "ExternalName" && !spec.lacks("externalName") {
        let why = "is ignored when spec.type is not \"ExternalName\"";
        warnings.push(format!("spec.externalName {why}"));
    }
    if spec.text("trafficDistribution") == "PreferClose" {
        warnings.push(
            "spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\""
                .to_owned(),
        );
    }
    warnings
}

fn addresses(spec: &Value, list: &str, path: &Path, warnings: &mut Vec<String>) {
    for (index, address) in spec.texts(list).into_iter().enumerate() {
        ip(address, &path.child(list).index(index), warnings);
    }
}
