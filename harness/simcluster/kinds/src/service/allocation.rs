//! Who holds which cluster IP and node port.
//!
//! The server keeps one [`Allocator`] and draws the random numbers; a service that could not be
//! stored gives back what it was given.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use serde_json::{Value, json};
use simcluster_machinery::field::{Error, Path};

use super::addresses::{
    allocated_addresses, allocated_node_ports, set_cluster_ip, set_node_port, settle_addresses,
    wanted,
};

const LOW_PORT: u16 = 30_000;
const HIGH_PORT: u16 = 32_767;

/// The addresses and node ports of a cluster, and which of them are taken.
#[derive(Clone, Debug)]
pub struct Allocator {
    network: Ipv4Addr,
    prefix: u8,
    addresses: BTreeSet<Ipv4Addr>,
    ports: BTreeSet<u16>,
}

/// What a service was given by one call, to be given back if it is not stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Granted {
    addresses: Vec<Ipv4Addr>,
    ports: Vec<u16>,
}

impl Allocator {
    /// Of the addresses in `network/prefix`; its first and last are for nobody.
    ///
    /// # Panics
    /// If the prefix leaves no addresses: more than 30 bits.
    pub fn new(network: Ipv4Addr, prefix: u8) -> Self {
        assert!(
            (1..=30).contains(&prefix),
            "a range of addresses needs at least two free bits"
        );
        Self {
            network,
            prefix,
            addresses: BTreeSet::new(),
            ports: BTreeSet::new(),
        }
    }

    fn size(&self) -> u32 {
        1 << (32 - u32::from(self.prefix))
    }

    fn contains(&self, address: Ipv4Addr) -> bool {
        let offset = u32::from(address).wrapping_sub(u32::from(self.network));
        (1..self.size() - 1).contains(&offset)
    }

    /// Settles the addresses of a service that is about to be stored and allocates what it wants.
    /// `draw(n)` is a random number below `n`. Nothing stays allocated when it fails.
    pub fn allocate(
        &mut self,
        new: &mut Value,
        old: Option<&Value>,
        mut draw: impl FnMut(u32) -> u32,
    ) -> Result<Granted, Vec<Error>> {
        settle_addresses(new, old);
        let wanted = wanted(new, old);
        let mut granted = Granted::default();
        let outcome = self
            .address(new, &wanted, &mut granted, &mut draw)
            .and_then(|()| self.node_ports(new, &wanted, &mut granted, &mut draw));
        match outcome {
            Ok(()) => Ok(granted),
            Err(error) => {
                self.give_back(&granted);
                Err(vec![error])
            }
        }
    }

    fn address(
        &mut self,
        service: &mut Value,
        wanted: &super::Wanted,
        granted: &mut Granted,
        draw: &mut impl FnMut(u32) -> u32,
    ) -> Result<(), Error> {
        let path = Path::new("spec").child("clusterIPs");
        if wanted.any_cluster_ip {
            let first = 1 + draw(self.size() - 2);
            let free = (0..self.size() - 2)
                .map(|step| 1 + (first - 1 + step) % (self.size() - 2))
                .map(|offset| Ipv4Addr::from(u32::from(self.network) + offset))
                .find(|address| !self.addresses.contains(address));
            let Some(address) = free else {
                let detail = "failed to allocate a serviceIP: range is full";
                return Err(Error::invalid(&path, json!([]), detail));
            };
            self.addresses.insert(address);
            granted.addresses.push(address);
            set_cluster_ip(service, &address.to_string());
        }
        let Some(text) = &wanted.cluster_ip else {
            return Ok(());
        };
        // What is no address at all is told by validation.
        let Ok(address) = text.parse::<Ipv4Addr>() else {
            return Ok(());
        };
        let refuse = |why: String| {
            let detail = format!("failed to allocate IP {text}: {why}");
            Err(Error::invalid(&path, json!([text]), detail))
        };
        if !self.contains(address) {
            return refuse(format!(
                "the provided IP ({text}) is not in the valid range. \
                 The range of valid IPs is {}/{}",
                self.network, self.prefix
            ));
        }
        if !self.addresses.insert(address) {
            return refuse("provided IP is already allocated".to_owned());
        }
        granted.addresses.push(address);
        Ok(())
    }

    fn node_ports(
        &mut self,
        service: &mut Value,
        wanted: &super::Wanted,
        granted: &mut Granted,
        draw: &mut impl FnMut(u32) -> u32,
    ) -> Result<(), Error> {
        for &(index, port) in &wanted.node_ports {
            let path = Path::new("spec")
                .child("ports")
                .index(index)
                .child("nodePort");
            if !(LOW_PORT..=HIGH_PORT).contains(&port) {
                let detail = format!(
                    "provided port is not in the valid range. \
                     The range of valid ports is {LOW_PORT}-{HIGH_PORT}"
                );
                return Err(Error::invalid(&path, port, detail));
            }
            let own = granted.ports.contains(&port);
            if !own && !self.ports.insert(port) {
                return Err(Error::invalid(
                    &path,
                    port,
                    "provided port is already allocated",
                ));
            }
            if !own {
                granted.ports.push(port);
            }
        }
        for &index in &wanted.any_node_ports {
            let count = u32::from(HIGH_PORT - LOW_PORT) + 1;
            let first = draw(count);
            let free = (0..count)
                .filter_map(|step| u16::try_from((first + step) % count).ok())
                .map(|offset| LOW_PORT + offset)
                .find(|port| !self.ports.contains(port));
            let Some(port) = free else {
                let path = Path::new("spec")
                    .child("ports")
                    .index(index)
                    .child("nodePort");
                let detail = "failed to allocate a nodePort: range is full";
                return Err(Error::invalid(&path, 0, detail));
            };
            self.ports.insert(port);
            granted.ports.push(port);
            set_node_port(service, index, port);
        }
        Ok(())
    }

    /// Takes back what a service was given that was not stored after all.
    pub fn give_back(&mut self, granted: &Granted) {
        for address in &granted.addresses {
            self.addresses.remove(address);
        }
        for port in &granted.ports {
            self.ports.remove(port);
        }
    }

    /// Frees what a stored change gave up: `old` was before, `new` is now, or nothing.
    pub fn release(&mut self, old: &Value, new: Option<&Value>) {
        let kept = new.map(allocated_addresses).unwrap_or_default();
        for address in allocated_addresses(old) {
            if !kept.contains(&address)
                && let Ok(address) = address.parse()
            {
                self.addresses.remove(&address);
            }
        }
        let kept = new.map(allocated_node_ports).unwrap_or_default();
        for port in allocated_node_ports(old) {
            if !kept.contains(&port) {
                self.ports.remove(&port);
            }
        }
    }

    /// Marks what a service holds that is stored already, when a world is restored.
    pub fn adopt(&mut self, service: &Value) {
        let addresses = allocated_addresses(service);
        self.addresses.extend(
            addresses
                .iter()
                .filter_map(|text| text.parse::<Ipv4Addr>().ok()),
        );
        self.ports.extend(allocated_node_ports(service));
    }
}
