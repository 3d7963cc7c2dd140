//! Nobody gives away, in a role or a binding, what they may not do themselves.

use serde_json::Value;
use simcluster_auth::rbac::{Attributes, Rule};

use super::forbidden;
use crate::server::{Failure, authorize, call::Call, identity::MASTERS};

const GROUP: &str = "rbac.authorization.k8s.io";

/// Refuses a role or binding that would give its author's subjects more than the author has.
pub(super) fn check(call: &Call, object: &Value, old: Option<&Value>) -> Result<(), Failure> {
    if call.resource.name.group != GROUP || call.identity.in_group(MASTERS) {
        return Ok(());
    }
    let unchanged = |field: &str| old.is_some_and(|old| old[field] == object[field]);
    match call.resource.name.resource.as_str() {
        "roles" | "clusterroles" if !unchanged("rules") => role(call, object),
        "rolebindings" | "clusterrolebindings"
            if !(unchanged("roleRef") && unchanged("subjects")) =>
        {
            binding(call, object)
        }
        _ => Ok(()),
    }
}

fn may(call: &Call, verb: &str, resource: &str, name: &str) -> bool {
    let asked = Attributes {
        group: GROUP.to_owned(),
        resource: resource.to_owned(),
        name: name.to_owned(),
        subresource: String::new(),
        ..authorize::attributes(&call.identity, &call.route, verb)
    };
    call.server
        .policy
        .current(&call.server.store)
        .allows(&asked)
}

fn role(call: &Call, object: &Value) -> Result<(), Failure> {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    if may(call, "escalate", &call.resource.name.resource, name) {
        return Ok(());
    }
    let rules: Vec<Rule> = serde_json::from_value(object["rules"].clone()).unwrap_or_default();
    covered(call, object, &rules)
}

fn binding(call: &Call, object: &Value) -> Result<(), Failure> {
    let reference = &object["roleRef"];
    let name = reference["name"].as_str().unwrap_or_default();
    let (resource, namespace) = if reference["kind"] == "Role" {
        ("roles", call.route.namespace.as_str())
    } else {
        ("clusterroles", "")
    };
    if may(call, "bind", resource, name) {
        return Ok(());
    }
    let policy = call.server.policy.current(&call.server.store);
    let Some(rules) = policy.role(namespace, name) else {
        return Err(Box::new(simcluster_machinery::status::Status::not_found(
            call.resource_name(),
            name,
        )));
    };
    covered(call, object, rules)
}

fn covered(call: &Call, object: &Value, rules: &[Rule]) -> Result<(), Failure> {
    let policy = call.server.policy.current(&call.server.store);
    let identity = &call.identity;
    let own: Vec<Rule> = policy
        .rules(&identity.user, &identity.groups, &call.route.namespace)
        .cloned()
        .collect();
    let missing = missing(rules, &own);
    if missing.is_empty() {
        return Ok(());
    }
    let groups = identity.groups.iter().map(|group| format!("{group:?}"));
    let why = format!(
        "user {:?} (groups=[{}]) is attempting to grant RBAC permissions not currently held:\n{}",
        identity.user,
        groups.collect::<Vec<_>>().join(" "),
        missing.iter().map(compact).collect::<Vec<_>>().join("\n")
    );
    Err(forbidden(call, object, &why))
}

/// The single requests that are not covered, put together again where only the verb differs.
fn missing(rules: &[Rule], own: &[Rule]) -> Vec<Rule> {
    let mut missing: Vec<Rule> = Vec::new();
    for single in rules.iter().flat_map(Rule::single_requests) {
        if single.covered_by(own) {
            continue;
        }
        let same = missing.iter_mut().find(|other| {
            other.api_groups == single.api_groups
                && other.resources == single.resources
                && other.resource_names == single.resource_names
                && other.non_resource_urls == single.non_resource_urls
        });
        match same {
            Some(other) => other.verbs.extend(single.verbs),
            None => missing.push(single),
        }
    }
    missing
}

/// A rule as Go prints it in this message.
fn compact(rule: &Rule) -> String {
    let list = |name: &str, items: &[String]| {
        let items: Vec<String> = items.iter().map(|item| format!("{item:?}")).collect();
        (!items.is_empty()).then(|| format!("{name}:[{}]", items.join(" ")))
    };
    let parts: Vec<String> = [
        list("APIGroups", &rule.api_groups),
        list("Resources", &rule.resources),
        list("ResourceNames", &rule.resource_names),
        list("NonResourceURLs", &rule.non_resource_urls),
        list("Verbs", &rule.verbs),
    ]
    .into_iter()
    .flatten()
    .collect();
    format!("{{{}}}", parts.join(", "))
}
