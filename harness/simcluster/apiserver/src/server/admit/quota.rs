//! Resource quotas: what a namespace may use.

use serde_json::Value;
use simcluster_kinds::admission::{self, Usage};

use super::{forbidden, values};
use crate::server::{Failure, call::Call};

/// Refuses a new object, or an update, that its namespace's quotas have no room for.
///
/// Only objects of the same resource use the same things, so these are added up. The caller holds
/// the lock that orders such writes.
pub(super) fn check(call: &Call, object: &Value, old: Option<&Value>) -> Result<(), Failure> {
    let namespace = call.route.namespace.as_str();
    if !call.resource.namespaced {
        return Ok(());
    }
    let quotas = values(call, "/resourcequotas", namespace);
    if quotas.is_empty() {
        return Ok(());
    }
    let (group, resource) = (&*call.resource.name.group, &*call.resource.name.resource);
    let usage = admission::usage(group, resource, object);
    let before = old.map(|old| (old, admission::usage(group, resource, old)));
    // What changes nothing costs nothing, also where there was too much before.
    let changes = |(_, before): &(&Value, Usage)| !admission::more(&usage, before).is_empty();
    if before.as_ref().is_some_and(|before| !changes(before)) {
        return Ok(());
    }
    let others = values(call, &call.resource.collection, namespace);
    for quota in &quotas {
        let quota = quota.value();
        if !admission::quota_covers(quota, resource, object) {
            continue;
        }
        let added = match &before {
            Some((old, before)) if admission::quota_covers(quota, resource, old) => {
                &admission::more(&usage, before)
            }
            _ => &usage,
        };
        let mut used = Usage::new();
        for other in &others {
            if !admission::quota_covers(quota, resource, other.value()) {
                continue;
            }
            for (name, amount) in admission::usage(group, resource, other.value()) {
                let sum = used.get(&name).map_or(amount, |sum| sum.add(amount));
                used.insert(name, sum);
            }
        }
        let pod = call.resource.is("", "pods").then_some(object);
        if let Some(why) = admission::exceeded_quota(quota, &used, added, pod) {
            return Err(forbidden(call, object, &why));
        }
    }
    Ok(())
}
