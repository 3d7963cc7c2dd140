//! What is legal in an object and yet likely a mistake, where several kinds share it: labels of nodes
//! and volumes on their way out, addresses in odd forms, amounts that are no whole bytes.
//!
//! What is legal in a pod and yet likely a mistake stands with pods.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde_json::Value;
use simcluster_machinery::field::Path;
use simcluster_machinery::name;

use crate::network_policy;
use crate::read::Read;
use crate::resources::quantities;

/// Annotations by which claims and volumes once named their class.
const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";
const MOUNT_OPTIONS: &str = "volume.beta.kubernetes.io/mount-options";

const NODE_LABELS: [(&str, &str); 8] = [
    (
        "beta.kubernetes.io/arch",
        "deprecated since v1.14; use \"kubernetes.io/arch\" instead",
    ),
    (
        "beta.kubernetes.io/os",
        "deprecated since v1.14; use \"kubernetes.io/os\" instead",
    ),
    (
        "failure-domain.beta.kubernetes.io/region",
        "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead",
    ),
    (
        "failure-domain.beta.kubernetes.io/zone",
        "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead",
    ),
    (
        "beta.kubernetes.io/instance-type",
        "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead",
    ),
    ("app.kubernetes.io/created-by", "deprecated since v1.9"),
    (
        "scheduler.alpha.kubernetes.io/preferAvoidPods",
        "deprecated since v1.22; use Taints and Tolerations instead",
    ),
    (
        "node-role.kubernetes.io/master",
        "use \"node-role.kubernetes.io/control-plane\" instead",
    ),
];

/// Kinds of volumes that are on their way out, in the order in which the server looks for them.
const VOLUMES: [(&str, &str); 8] = [
    (
        "photonPersistentDisk",
        "deprecated in v1.11, non-functional in v1.16+",
    ),
    ("gitRepo", "deprecated in v1.11"),
    ("scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("flocker", "deprecated in v1.22, non-functional in v1.25+"),
    ("storageos", "deprecated in v1.22, non-functional in v1.25+"),
    ("quobyte", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("cephfs", "deprecated in v1.28, non-functional in v1.31+"),
];
const RBD: (&str, &str) = ("rbd", "deprecated in v1.28, non-functional in v1.31+");

/// What is said of a label of nodes that is on its way out.
pub(crate) fn node_label(key: &str) -> Option<&'static str> {
    NODE_LABELS
        .iter()
        .find(|(label, _)| *label == key)
        .map(|(_, why)| *why)
}

/// Labels on their way out, and values that no label has, in a term of a node selector (at `path`).
pub(crate) fn node_selector_term(term: &Value, path: &Path, warnings: &mut Vec<String>) {
    for (index, expression) in term.list("matchExpressions").iter().enumerate() {
        let path = path.child("matchExpressions").index(index);
        let key = expression.text("key");
        if let Some(why) = node_label(key) {
            warnings.push(format!("{}: {key} is {why}", path.child("key")));
        }
        for (index, value) in expression.texts("values").into_iter().enumerate() {
            for why in name::label_value(value) {
                let place = path.child("values").index(index);
                warnings.push(format!("{place}: {value} is invalid, {why}"));
            }
        }
    }
}

/// A kind of volume that is on its way out, in `source` (at `path`).
pub(crate) fn volume_source(source: &Value, path: &Path, warnings: &mut Vec<String>) {
    for (kind, why) in VOLUMES.into_iter().chain([RBD]) {
        if source.at(kind).is_some() {
            let word = if kind == "storageos" {
                "storageOS"
            } else {
                kind
            };
            warnings.push(format!("{}: {why}", path.child(word)));
        }
    }
}

/// Amounts of bytes in a list of resources (at `path`) that are no whole ones.
pub(crate) fn fractional_bytes(
    value: &Value,
    list: &str,
    names: &[&str],
    path: &Path,
    warnings: &mut Vec<String>,
) {
    let amounts = quantities(value, list);
    for name in names {
        if let Some(amount) = amounts.get(*name).filter(|one| !one.is_integer()) {
            warnings.push(format!(
                "{}: fractional byte value {:?} is invalid, must be an integer",
                path.key(name),
                amount.to_string()
            ));
        }
    }
}

/// The spec of a claim (at `path`).
pub(crate) fn claim_spec(spec: &Value, path: &Path, warnings: &mut Vec<String>) {
    let place = path.child("resources").child("requests");
    fractional_bytes(spec, "resources.requests", &["storage"], &place, warnings);
}

/// A claim.
pub(crate) fn claim(claim: &Value) -> Vec<String> {
    let mut warnings = Vec::new();
    annotation(
        claim,
        CLASS_ANNOTATION,
        "deprecated since v1.8; use \"storageClassName\" attribute instead",
        &mut warnings,
    );
    claim_spec(&claim["spec"], &Path::new("spec"), &mut warnings);
    warnings
}

/// A volume.
pub(crate) fn volume(volume: &Value) -> Vec<String> {
    let mut warnings = Vec::new();
    let path = Path::new("spec");
    let spec = volume.get("spec").unwrap_or(&Value::Null);
    for (index, term) in spec
        .list("nodeAffinity.required.nodeSelectorTerms")
        .iter()
        .enumerate()
    {
        let place = path
            .child("nodeAffinity")
            .child("required")
            .child("nodeSelectorTerms");
        node_selector_term(term, &place.index(index), &mut warnings);
    }
    annotation(
        volume,
        CLASS_ANNOTATION,
        "deprecated since v1.8; use \"storageClassName\" attribute instead",
        &mut warnings,
    );
    annotation(
        volume,
        MOUNT_OPTIONS,
        "deprecated since v1.31; use \"mountOptions\" attribute instead",
        &mut warnings,
    );
    let place = path.child("capacity");
    fractional_bytes(spec, "capacity", &["storage"], &place, &mut warnings);
    if spec.text("persistentVolumeReclaimPolicy") == "Recycle" {
        warnings.push(
            "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. \
             Instead, the recommended approach is to use dynamic provisioning."
                .to_owned(),
        );
    }
    volume_source(spec, &path, &mut warnings);
    warnings
}

/// An annotation that is on its way out.
pub(crate) fn annotation(object: &Value, key: &str, why: &str, warnings: &mut Vec<String>) {
    if object
        .map("metadata.annotations")
        .any(|(own, _)| own == key)
    {
        let place = Path::new("metadata").child("annotations").key(key);
        warnings.push(format!("{place}: {why}"));
    }
}

/// The name of an object whose pods are named after it, when that makes no name of a host.
pub(crate) fn name_of_pods(object: &Value) -> Vec<String> {
    let why = "this is used in Pod names and hostnames, which can result in surprising behavior";
    name_of_host(object, why)
}

/// A name that should be one of a host.
pub(crate) fn name_of_host(object: &Value, why: &str) -> Vec<String> {
    let complaints = name::dns1123_label(object.text("metadata.name"));
    if complaints.is_empty() {
        return Vec::new();
    }
    vec![format!(
        "metadata.name: {why}; a DNS label is recommended: [{}]",
        complaints.join(" ")
    )]
}

/// An address that is read, though it is not in the form it should have.
pub(crate) fn ip(text: &str, path: &Path, warnings: &mut Vec<String>) {
    let parsed = text.parse::<IpAddr>().ok();
    let plain = match parsed {
        Some(IpAddr::V6(address)) => address.to_ipv4_mapped(),
        Some(IpAddr::V4(_)) => None,
        None => without_zeros(text),
    };
    if let Some(plain) = plain {
        warnings.push(format!(
            "{path}: non-standard IP address {text:?} is invalid: use \"{plain}\""
        ));
    } else if let Some(IpAddr::V6(address)) = parsed
        && address.to_string() != text
    {
        warnings.push(format!(
            "{path}: IPv6 address {text:?} should be in RFC 5952 canonical format (\"{address}\")"
        ));
    }
}

/// A range of addresses that is read, though it is not in the form it should have.
pub(crate) fn cidr(text: &str, path: &Path, warnings: &mut Vec<String>) {
    let Some((address, bits)) = network_policy::cidr(text) else {
        return;
    };
    let masked = first_address(address, bits);
    if masked != address {
        warnings.push(format!(
            "{path}: CIDR value {text:?} is ambiguous in this context (should be \
             \"{masked}/{bits}\" or \"{address}/{}\"?)",
            if address.is_ipv4() { 32 } else { 128 }
        ));
    } else if address.is_ipv6() && format!("{address}/{bits}") != text {
        warnings.push(format!(
            "{path}: IPv6 CIDR value {text:?} should be in RFC 5952 canonical format \
             (\"{address}/{bits}\")"
        ));
    }
}

/// The first address of a range.
pub(crate) fn first_address(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(own) => {
            let mask = u32::MAX
                .checked_shl(32 - u32::from(bits.min(32)))
                .unwrap_or(0);
            Ipv4Addr::from(u32::from(own) & mask).into()
        }
        IpAddr::V6(own) => {
            let shift = 128 - u32::from(bits.min(128));
            let mask = u128::MAX.checked_shl(shift).unwrap_or(0);
            Ipv6Addr::from(u128::from(own) & mask).into()
        }
    }
}

/// An address of version 4 whose numbers begin with zeros, as Go once read them.
fn without_zeros(text: &str) -> Option<Ipv4Addr> {
    let parts: Vec<u8> = text
        .split('.')
        .map(|part| {
            let plain = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            plain.then(|| part.parse().ok()).flatten()
        })
        .collect::<Option<_>>()?;
    <[u8; 4]>::try_from(parts).ok().map(Ipv4Addr::from)
}
