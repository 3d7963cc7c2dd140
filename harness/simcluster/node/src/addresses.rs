//! The pod addresses of a node: given out from its range, given back when a pod is gone. Pure.

use std::{collections::BTreeSet, net::Ipv4Addr, str::FromStr};

/// A range of addresses, such as `10.42.0.0/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    base: u32,
    prefix: u8,
}

/// A text that is no usable range of pod addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a range of pod addresses: write it as 10.42.0.0/24, with 8 to 30 bits")]
pub struct ParseCidrError {
    text: String,
}

impl FromStr for Cidr {
    type Err = ParseCidrError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = text.split_once('/').and_then(|(address, prefix)| {
            let address: Ipv4Addr = address.parse().ok()?;
            let prefix: u8 = prefix.parse().ok().filter(|bits| (8..=30).contains(bits))?;
            let mask = u32::MAX << (32 - prefix);
            Some(Self {
                base: u32::from(address) & mask,
                prefix,
            })
        });
        parsed.ok_or_else(|| ParseCidrError {
            text: text.to_owned(),
        })
    }
}

impl std::fmt::Display for Cidr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from(self.base), self.prefix)
    }
}

impl Cidr {
    /// The range of the node with that number: 10.42.N.0/24.
    pub fn of_node(number: u8) -> Self {
        Self {
            base: u32::from(Ipv4Addr::new(10, 42, number, 0)),
            prefix: 24,
        }
    }

    /// The first usable address: the bridge's, which is the node's own.
    pub fn gateway(self) -> Ipv4Addr {
        Ipv4Addr::from(self.base + 1)
    }

    /// Bits of the prefix.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    fn last(self) -> u32 {
        // The very last one is the broadcast address.
        (self.base | (u32::MAX >> self.prefix)) - 1
    }
}

/// Gives addresses out.
#[derive(Debug)]
pub(crate) struct Addresses {
    cidr: Cidr,
    taken: BTreeSet<u32>,
    next: u32,
}

impl Addresses {
    pub(crate) fn new(cidr: Cidr) -> Self {
        Self {
            cidr,
            taken: BTreeSet::new(),
            next: cidr.base + 2,
        }
    }

    /// A free address; those given back longest ago come first, so that a late packet for a pod that is
    /// gone does not reach its successor.
    pub(crate) fn take(&mut self) -> Option<Ipv4Addr> {
        let (first, last) = (self.cidr.base + 2, self.cidr.last());
        let candidates = (self.next..=last).chain(first..self.next);
        let free = candidates
            .into_iter()
            .find(|address| !self.taken.contains(address))?;
        self.taken.insert(free);
        self.next = if free == last { first } else { free + 1 };
        Some(Ipv4Addr::from(free))
    }

    /// Gives an address back.
    pub(crate) fn release(&mut self, address: Ipv4Addr) {
        self.taken.remove(&u32::from(address));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_unique_and_come_back_after_their_release() {
        let cidr: Cidr = "10.42.3.0/29".parse().unwrap();
        assert_eq!(cidr.gateway(), Ipv4Addr::new(10, 42, 3, 1));
        let mut addresses = Addresses::new(cidr);
        let all: Vec<_> = std::iter::from_fn(|| addresses.take()).collect();
        let expected: Vec<_> = (2..=6).map(|n| Ipv4Addr::new(10, 42, 3, n)).collect();
        assert_eq!(all, expected);
        addresses.release(all[1]);
        assert_eq!(addresses.take(), Some(all[1]));
        assert_eq!(addresses.take(), None);
    }

    #[test]
    fn ranges_are_read_and_written() {
        assert_eq!(
            "10.42.0.9/24".parse::<Cidr>().unwrap().to_string(),
            "10.42.0.0/24"
        );
        assert!("10.42.0.0".parse::<Cidr>().is_err());
        assert!("10.42.0.0/31".parse::<Cidr>().is_err());
    }
}
