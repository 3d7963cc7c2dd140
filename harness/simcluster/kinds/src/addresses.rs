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

/// What is wrong with an address as the name of an object: it has only one right form.
pub(crate) fn name_complaints(text: &str) -> Vec<String> {
    match text.parse::<IpAddr>() {
        Err(_) => vec!["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".to_owned()],
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
