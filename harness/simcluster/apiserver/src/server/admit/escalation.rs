//! Nobody gives away, in a role or a binding, what they may not do themselves.

use std::{collections::BTreeSet, fmt::Write as _};

use serde_json::Value;
use simcluster_auth::rbac::{Attributes, Rule};
use simcluster_machinery::status::Status;

use super::forbidden;
use crate::server::{Failure, authorize, call::Call, identity::MASTERS};

const GROUP: &str = "rbac.authorization.k8s.io";

/// Refuses a role or binding that would give its author's subjects more than the author has.
pub(super) fn check(call: &Call, object: &Value, old: Option<&Value>) -> Result<(), Failure> {
    if call.resource.name.group != GROUP || call.identity.in_group(MASTERS) {
        return Ok(());
    }
    if old.is_some_and(|old| only_collected(object, old)) {
        return Ok(());
    }
    match call.resource.name.resource.as_str() {
        "roles" | "clusterroles" => role(call, object, old),
        "rolebindings" | "clusterrolebindings" => binding(call, object),
        _ => Ok(()),
    }
}

/// Whether nothing changes but what the garbage collector works with.
fn only_collected(new: &Value, old: &Value) -> bool {
    let rest = |object: &Value| {
        let mut object = object.clone();
        if let Some(metadata) = object["metadata"].as_object_mut() {
            for field in ["ownerReferences", "finalizers", "managedFields"] {
                metadata.remove(field);
            }
        }
        object
    };
    rest(new) == rest(old)
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

fn role(call: &Call, object: &Value, old: Option<&Value>) -> Result<(), Failure> {
    // A new object's name is not part of what is asked.
    if may(
        call,
        "escalate",
        &call.resource.name.resource,
        &call.route.name,
    ) {
        return Ok(());
    }
    let rules: Vec<Rule> = serde_json::from_value(object["rules"].clone()).unwrap_or_default();
    covered(call, object, &rules)?;
    let aggregates = |role: &Value| {
        let selectors = role["aggregationRule"]["clusterRoleSelectors"].as_array();
        selectors.is_some_and(|selectors| !selectors.is_empty())
    };
    if (aggregates(object) || old.is_some_and(aggregates)) && !missing_to(call, &all()).is_empty() {
        let why = "must have cluster-admin privileges to use the aggregationRule";
        return Err(forbidden(call, object, why));
    }
    Ok(())
}

/// All that there is to allow.
fn all() -> [Rule; 2] {
    let any = || vec!["*".to_owned()];
    [
        Rule {
            verbs: any(),
            api_groups: any(),
            resources: any(),
            ..Rule::default()
        },
        Rule {
            verbs: any(),
            non_resource_urls: any(),
            ..Rule::default()
        },
    ]
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
        // A real server looks the role up in the name of what is being written.
        return Err(Box::new(Status::not_found(call.resource_name(), name)));
    };
    covered(call, object, rules)
}

/// What the author may not do of what `rules` allow.
fn missing_to(call: &Call, rules: &[Rule]) -> Vec<Rule> {
    let policy = call.server.policy.current(&call.server.store);
    let identity = &call.identity;
    let own: Vec<Rule> = policy
        .rules(&identity.user, &identity.groups, &call.route.namespace)
        .cloned()
        .collect();
    missing(rules, &own)
}

fn covered(call: &Call, object: &Value, rules: &[Rule]) -> Result<(), Failure> {
    let missing = missing_to(call, rules);
    if missing.is_empty() {
        return Ok(());
    }
    let identity = &call.identity;
    let groups = identity.groups.iter().map(|group| format!("{group:?}"));
    let lines: BTreeSet<String> = missing.iter().map(compact).collect();
    let mut why = format!(
        "user {:?} (groups=[{}]) is attempting to grant RBAC permissions not currently held:\n{}",
        identity.user,
        groups.collect::<Vec<_>>().join(" "),
        lines.into_iter().collect::<Vec<_>>().join("\n")
    );
    let policy = call.server.policy.current(&call.server.store);
    let unknown = policy.unknown_roles(&identity.user, &identity.groups, &call.route.namespace);
    if !unknown.is_empty() {
        let errors = unknown
            .into_iter()
            .map(|name| format!("{} {name:?} not found", call.resource_name()));
        let errors = simcluster_machinery::status::aggregate(errors);
        let _ = write!(why, "; resolution errors: [{errors}]");
    }
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
            single.non_resource_urls.is_empty()
                && other.non_resource_urls.is_empty()
                && other.api_groups == single.api_groups
                && other.resources == single.resources
                && other.resource_names == single.resource_names
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
        list("NonResourceURLs", &rule.non_resource_urls),
        list("ResourceNames", &rule.resource_names),
        list("Verbs", &rule.verbs),
    ]
    .into_iter()
    .flatten()
    .collect();
    format!("{{{}}}", parts.join(", "))
}
