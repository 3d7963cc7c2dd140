//! Which of a Service's backends the proxy of one node may use, and which it prefers. Pure.
//!
//! Policies (`internalTrafficPolicy`, `externalTrafficPolicy`) are kept also when nothing is left; hints of endpoints
//! are followed only where all of them have some, and some are for here.

use k8s_openapi::api::core::v1::ServiceSpec;

use crate::services::Backend;

/// Where the proxy is.
#[derive(Clone, Debug, Default)]
pub(super) struct Here {
    pub(super) node: String,
    pub(super) zone: Option<String>,
}

/// Those for connections to the Service's own address.
pub(super) fn inside<'a>(spec: &ServiceSpec, all: &'a [Backend], here: &Here) -> Vec<&'a Backend> {
    reached(spec.internal_traffic_policy.as_deref(), all, here)
}

/// Those for connections from outside, by a port of the node.
pub(super) fn outside<'a>(spec: &ServiceSpec, all: &'a [Backend], here: &Here) -> Vec<&'a Backend> {
    reached(spec.external_traffic_policy.as_deref(), all, here)
}

fn reached<'a>(policy: Option<&str>, all: &'a [Backend], here: &Here) -> Vec<&'a Backend> {
    if policy == Some("Local") {
        let is_here = |backend: &&Backend| backend.node.as_ref() == Some(&here.node);
        return all.iter().filter(is_here).collect();
    }
    hinted(all, |backend| &backend.for_nodes, Some(&here.node))
        .or_else(|| hinted(all, |backend| &backend.for_zones, here.zone.as_ref()))
        .unwrap_or_else(|| all.iter().collect())
}

/// Those that a hint names this place for; none where some have no hint, or no hint is for here.
fn hinted<'a>(
    all: &'a [Backend],
    hints: impl Fn(&Backend) -> &[String],
    here: Option<&String>,
) -> Option<Vec<&'a Backend>> {
    if all.iter().any(|backend| hints(backend).is_empty()) {
        return None;
    }
    let here = here?;
    let found: Vec<_> = all.iter().filter(|it| hints(it).contains(here)).collect();
    (!found.is_empty()).then_some(found)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, net::Ipv4Addr};

    use super::*;

    fn backend(number: u8, node: &str, zones: &[&str], nodes: &[&str]) -> Backend {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Backend {
            address: Ipv4Addr::new(10, 0, 0, number),
            hostname: None,
            ports: BTreeMap::new(),
            node: Some(node.to_owned()),
            for_nodes: list(nodes),
            for_zones: list(zones),
        }
    }

    fn used(spec: &ServiceSpec, all: &[Backend], zone: &str) -> Vec<u8> {
        let here = Here {
            node: "here".to_owned(),
            zone: Some(zone.to_owned()),
        };
        let found = inside(spec, all, &here).into_iter();
        found.map(|backend| backend.address.octets()[3]).collect()
    }

    #[test]
    fn a_local_policy_leaves_what_is_on_the_node_or_nothing() {
        let local = ServiceSpec {
            internal_traffic_policy: Some("Local".to_owned()),
            ..ServiceSpec::default()
        };
        let all = [backend(1, "here", &[], &[]), backend(2, "there", &[], &[])];
        assert_eq!(used(&local, &all, "z"), [1]);
        assert!(used(&local, &all[1..], "z").is_empty());
        let spec = ServiceSpec::default();
        assert_eq!(used(&spec, &all, "z"), [1, 2]);
        let here = Here {
            node: "here".to_owned(),
            zone: None,
        };
        assert_eq!(
            outside(&local, &all, &here).len(),
            2,
            "that is another policy"
        );
    }

    #[test]
    fn hints_are_followed_where_all_have_them_and_some_are_for_here() {
        let spec = ServiceSpec::default();
        let near = backend(1, "here", &["z"], &["here"]);
        let zone = backend(2, "there", &["z"], &["there"]);
        let far = backend(3, "far", &["y"], &["far"]);
        let all = [near.clone(), zone.clone(), far.clone()];
        assert_eq!(used(&spec, &all, "z"), [1]);
        assert_eq!(used(&spec, &[zone.clone(), far.clone()], "z"), [2]);
        assert_eq!(used(&spec, &[zone.clone(), far.clone()], "x"), [2, 3]);
        let unknown = backend(4, "there", &[], &[]);
        assert_eq!(used(&spec, &[near, zone, far, unknown], "z"), [1, 2, 3, 4]);
    }
}
