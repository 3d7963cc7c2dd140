//! Addresses and node ports of services.
//!
//! What is in use stands in the stored services themselves, so nothing can get out of step. The
//! caller holds the lock that orders writes of services.

use std::{collections::HashSet, net::Ipv4Addr};

use serde_json::{Value, json};
use simcluster_kinds::service;
use simcluster_machinery::field::{Error, Path};

use super::{Failure, Inner, call::Call};

/// The ports that services of type NodePort get.
const NODE_PORTS: std::ops::RangeInclusive<u16> = 30_000..=32_767;
/// Addresses at the beginning of the range are only given to those who ask for them.
const RESERVED: u32 = 256;

/// The range of addresses that services get: a network and the length of its prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceRange {
    /// The first address.
    pub network: Ipv4Addr,
    /// How many bits all addresses share.
    pub prefix: u8,
}

impl Default for ServiceRange {
    fn default() -> Self {
        Self {
            network: Ipv4Addr::new(10, 96, 0, 0),
            prefix: 12,
        }
    }
}

impl ServiceRange {
    fn size(self) -> u32 {
        1_u32
            .checked_shl(32 - u32::from(self.prefix))
            .unwrap_or(u32::MAX)
    }

    /// The address of this number.
    pub fn nth(self, number: u32) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.network).wrapping_add(number))
    }

    fn contains(self, address: Ipv4Addr) -> bool {
        let offset = u32::from(address).wrapping_sub(u32::from(self.network));
        offset > 0 && offset < self.size() - 1
    }
}

struct InUse {
    addresses: HashSet<String>,
    ports: HashSet<u16>,
}

fn in_use(server: &Inner, except: &str) -> InUse {
    let snapshot = server.store.read().snapshot("/services");
    let mut used = InUse {
        addresses: HashSet::new(),
        ports: HashSet::new(),
    };
    for (key, object) in &snapshot.objects {
        if &**key != except {
            used.addresses
                .extend(service::allocated_addresses(object.value()));
            used.ports
                .extend(service::allocated_node_ports(object.value()));
        }
    }
    used
}

/// Gives a service the addresses and ports that it needs, or says why it cannot have them.
pub(crate) fn allocate(call: &Call, new: &mut Value, old: Option<&Value>) -> Result<(), Failure> {
    service::settle_addresses(new, old);
    let wanted = service::wanted(new, old);
    if wanted == service::Wanted::default() {
        return Ok(());
    }
    let name = new["metadata"]["name"].as_str().unwrap_or_default();
    let key = format!("{}/{name}", call.route.namespace);
    let mut used = in_use(&call.server, &key);
    let range = call.server.config.service_range;
    let mut errors = Vec::new();

    if let Some(address) = &wanted.cluster_ip
        && let Err(error) = check_address(address, range, &used)
    {
        errors.push(error);
    }
    if wanted.any_cluster_ip {
        let free = (RESERVED..range.size() - 1)
            .chain(1..RESERVED.min(range.size() - 1))
            .map(|number| range.nth(number).to_string())
            .find(|address| !used.addresses.contains(address));
        match free {
            Some(address) => service::set_cluster_ip(new, &address),
            None => errors.push(Error::invalid(
                &Path::new("spec").child("clusterIPs"),
                json!([]),
                "failed to allocate a serviceIP: range is full",
            )),
        }
    }
    for &(index, port) in &wanted.node_ports {
        match check_port(index, port, &used) {
            Ok(()) => drop(used.ports.insert(port)),
            Err(error) => errors.push(error),
        }
    }
    for &index in &wanted.any_node_ports {
        match NODE_PORTS
            .into_iter()
            .find(|port| !used.ports.contains(port))
        {
            Some(port) => {
                used.ports.insert(port);
                service::set_node_port(new, index, port);
            }
            None => errors.push(Error::invalid(
                &port_path(index),
                0,
                "failed to allocate a nodePort: range is full",
            )),
        }
    }
    call.refuse_invalid(new, &errors)
}

fn check_address(address: &str, range: ServiceRange, used: &InUse) -> Result<(), Error> {
    let refuse = |why: String| {
        let detail = format!("failed to allocate IP {address}: {why}");
        Err(Error::invalid(
            &Path::new("spec").child("clusterIPs"),
            json!([address]),
            detail,
        ))
    };
    // What is no address at all is refused by validation.
    let Ok(parsed) = address.parse::<Ipv4Addr>() else {
        return Ok(());
    };
    if !range.contains(parsed) {
        return refuse(format!(
            "the provided IP ({address}) is not in the valid range. \
             The range of valid IPs is {}/{}",
            range.network, range.prefix
        ));
    }
    if used.addresses.contains(address) {
        return refuse("provided IP is already allocated".to_owned());
    }
    Ok(())
}

fn port_path(index: usize) -> Path {
    Path::new("spec")
        .child("ports")
        .index(index)
        .child("nodePort")
}

fn check_port(index: usize, port: u16, used: &InUse) -> Result<(), Error> {
    let refuse = |why: String| Err(Error::invalid(&port_path(index), port, why));
    if !NODE_PORTS.contains(&port) {
        return refuse(format!(
            "provided port is not in the valid range. The range of valid ports is {}-{}",
            NODE_PORTS.start(),
            NODE_PORTS.end()
        ));
    }
    if used.ports.contains(&port) {
        return refuse("provided port is already allocated".to_owned());
    }
    Ok(())
}
