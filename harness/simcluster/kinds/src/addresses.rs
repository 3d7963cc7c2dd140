//! The addresses of Services as objects: `ServiceCIDR` and `IPAddress`. Handing them out is the
//! server's business, and goes by what Services say, not by these.

use std::net::IpAddr;

use serde_json::{Value, json};
use simcluster_machinery::field::{Error, Path};
use simcluster_machinery::name;

use crate::checks::immutable;
use crate::meta::complain;
use crate::network_policy::{NO_CIDR, cidr};
use crate::read::Read;
use crate::warnings::first_address;

const FAMILIES: usize = 2;
const NO_ADDRESS: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";

/// What is wrong with an address in a field that takes any sound way of writing it.
pub(crate) fn complaint(text: &str) -> Option<&'static str> {
    match text.parse::<IpAddr>() {
        Ok(address) if is_mapped(address) => Some("must not be an IPv4-mapped IPv6 address"),
        Ok(_) => None,
        Err(_) if without_zeros(text).parse::<IpAddr>().is_ok() => Some("must not have leading 0s"),
        Err(_) => Some(NO_ADDRESS),
    }
}

/// What is wrong with a range of addresses in such a field.
pub(crate) fn range_complaint(text: &str) -> Option<&'static str> {
    match cidr(text) {
        Some((address, _)) if is_mapped(address) => {
            Some("must not have an IPv4-mapped IPv6 address")
        }
        Some((address, bits)) if first_address(address, bits) != address => {
            Some("must not have bits set beyond the prefix length")
        }
        Some(_) => None,
        None => {
            let (address, bits) = text.split_once('/').unwrap_or_default();
            let shorter = bits.trim_start_matches('0');
            let shorter = if shorter.is_empty() && !bits.is_empty() {
                "0"
            } else {
                shorter
            };
            match cidr(&format!("{}/{shorter}", without_zeros(address))) {
                Some(_) => Some("must not have leading 0s in IP or prefix length"),
                None => Some(NO_CIDR),
            }
        }
    }
}

/// An address, also one whose numbers begin with zeros, or of version 4 in one of version 6.
pub(crate) fn sloppy(text: &str) -> Option<IpAddr> {
    let address = text.parse().or_else(|_| without_zeros(text).parse());
    address.ok().map(|address: IpAddr| address.to_canonical())
}

/// What is wrong with an address that must be in the one right form.
pub(crate) fn strict_complaint(text: &str) -> Option<String> {
    let form = |address: IpAddr| format!("must be in canonical form (\"{address}\")");
    match (complaint(text), text.parse::<IpAddr>()) {
        (Some(why), _) => Some(why.to_owned()),
        (None, Ok(address)) if address.to_string() != text => Some(form(address)),
        _ => None,
    }
}

fn is_mapped(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.to_ipv4_mapped().is_some())
}

/// An IPv4 address without zeros in front of its numbers; anything else as it is.
fn without_zeros(text: &str) -> String {
    if text.contains(':') {
        return text.to_owned();
    }
    let numbers = text.split('.').map(|number| {
        let shorter = number.trim_start_matches('0');
        if shorter.is_empty() && !number.is_empty() {
            "0"
        } else {
            shorter
        }
    });
    numbers.collect::<Vec<_>>().join(".")
}

/// What is wrong with an address as the name of an object: it has only one right form.
pub(crate) fn name_complaints(text: &str) -> Vec<String> {
    match text.parse::<IpAddr>() {
        Err(_) => vec![NO_ADDRESS.to_owned()],
        Ok(address) if address.to_string() != text => {
            vec![format!("must be in canonical form (\"{address}\")")]
        }
        Ok(_) => Vec::new(),
    }
}

pub(crate) fn service_cidr(range: &Value) -> Vec<Error> {
    let mut errors = Vec::new();
    let path = Path::new("spec").child("cidrs");
    let ranges = range.texts("spec.cidrs");
    if ranges.is_empty() {
        errors.push(Error::required(&path, "at least one CIDR required"));
        return errors;
    }
    let shown = || format!("{{\"CIDRs\":{}}}", json!(ranges));
    if ranges.len() > FAMILIES {
        let detail = "may only hold up to 2 values";
        errors.push(Error::invalid_shown(&path, shown(), detail));
        return errors;
    }
    let families: Vec<Option<bool>> = ranges
        .iter()
        .map(|one| cidr(one).map(|(address, _)| address.is_ipv4()))
        .collect();
    if let [first, second] = families.as_slice()
        && (first.is_none() || second.is_none() || first == second)
    {
        let detail = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and \
                      2001:db8::/64";
        errors.push(Error::invalid_shown(&path, shown(), detail));
        return errors;
    }
    for (index, text) in ranges.iter().enumerate() {
        let place = path.index(index);
        let Some((address, bits)) = cidr(text) else {
            errors.push(Error::invalid(&place, *text, NO_CIDR));
            continue;
        };
        if first_address(address, bits) != address {
            let detail = "must not have bits set beyond the prefix length";
            errors.push(Error::invalid(&place, *text, detail));
        } else if format!("{address}/{bits}") != **text {
            let detail = format!("must be in canonical form (\"{address}/{bits}\")");
            errors.push(Error::invalid(&place, *text, detail));
        }
    }
    errors
}

pub(crate) fn service_cidr_update(new: &Value, old: &Value) -> Vec<Error> {
    let mut errors = Vec::new();
    let path = Path::new("spec");
    immutable(&new["spec"], &old["spec"], &["cidrs"], &path, &mut errors);
    errors
}

pub(crate) fn ip_address(address: &Value) -> Vec<Error> {
    let mut errors = Vec::new();
    let path = Path::new("spec").child("parentRef");
    let Some(parent) = address.at("spec.parentRef") else {
        errors.push(Error::required(&path, ""));
        return errors;
    };
    let group = parent.text("group");
    if !group.is_empty() {
        let complaints = name::dns1123_subdomain(group);
        complain(&mut errors, &path.child("group"), group, complaints);
    }
    for (field, needed) in [("resource", true), ("name", true), ("namespace", false)] {
        let text = parent.text(field);
        if !text.is_empty() {
            complain(
                &mut errors,
                &path.child(field),
                text,
                name::path_segment(text),
            );
        } else if needed {
            errors.push(Error::required(&path.child(field), ""));
        }
    }
    errors
}

pub(crate) fn ip_address_update(new: &Value, old: &Value) -> Vec<Error> {
    let mut errors = Vec::new();
    let path = Path::new("spec");
    immutable(
        &new["spec"],
        &old["spec"],
        &["parentRef"],
        &path,
        &mut errors,
    );
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_be_written_in_any_way_that_means_one_thing() {
        for (text, why) in [
            ("10.0.0.1", None),
            ("FE80:0:0::0abc", None),
            ("010.0.0.1", Some("must not have leading 0s")),
            (
                "::ffff:1.2.3.4",
                Some("must not be an IPv4-mapped IPv6 address"),
            ),
            ("10.0.0", Some(NO_ADDRESS)),
        ] {
            assert_eq!(complaint(text), why, "{text}");
        }
        for (text, why) in [
            ("10.0.0.0/8", None),
            (
                "10.0.0.1/8",
                Some("must not have bits set beyond the prefix length"),
            ),
            (
                "10.0.0.0/08",
                Some("must not have leading 0s in IP or prefix length"),
            ),
            (
                "::ffff:1.2.3.0/120",
                Some("must not have an IPv4-mapped IPv6 address"),
            ),
            ("10.0.0.0/33", Some(NO_CIDR)),
            ("10.0.0.0", Some(NO_CIDR)),
        ] {
            assert_eq!(range_complaint(text), why, "{text}");
        }
    }
}
