//! Which permissions were used: what each user asked for and was allowed, as the least role that
//! would allow it again.
//!
//! Names of objects are left out, as roles seldom know them. Members of `system:masters` may do
//! everything and are not written down.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use k8s_openapi::api::rbac::v1::PolicyRule;
use simcluster_auth::rbac::Attributes;

use super::identity::MASTERS;

/// So many different permissions of one user are remembered.
const LIMIT: usize = 4096;

/// One thing that a user did.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Permission {
    /// Empty for requests across namespaces, and for objects in none.
    namespace: String,
    group: String,
    /// With the subresource: `pods/log`.
    resource: String,
    /// Of requests for no resource.
    path: String,
    verb: String,
}

/// What all users did.
#[derive(Debug, Default)]
pub(crate) struct Usage(Mutex<HashMap<String, BTreeSet<Permission>>>);

impl Usage {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, BTreeSet<Permission>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes down what was allowed.
    pub(crate) fn note(&self, asked: &Attributes) {
        if asked.groups.iter().any(|group| group == MASTERS) {
            return;
        }
        let resource = match asked.subresource.as_str() {
            "" => asked.resource.clone(),
            part => format!("{}/{part}", asked.resource),
        };
        let permission = Permission {
            namespace: asked.namespace.clone(),
            group: asked.group.clone(),
            resource,
            path: asked.path.clone().unwrap_or_default(),
            verb: asked.verb.clone(),
        };
        let mut users = self.lock();
        let own = users.entry(asked.user.clone()).or_default();
        if own.len() < LIMIT {
            own.insert(permission);
        }
    }

    /// What a user did so far.
    pub(crate) fn of(&self, user: &str) -> UsedPermissions {
        UsedPermissions(self.lock().get(user).cloned().unwrap_or_default())
    }
}

/// The permissions that a user has used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsedPermissions(BTreeSet<Permission>);

impl UsedPermissions {
    /// Whether the user did nothing that needs a permission.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The rules of the least ClusterRole that allows it all.
    pub fn cluster_rules(&self) -> Vec<PolicyRule> {
        rules(self.0.iter())
    }

    /// The rules of the least Roles that allow what was done inside namespaces, by namespace; what
    /// is left needs a ClusterRole and stands under the empty name.
    pub fn rules_by_namespace(&self) -> BTreeMap<String, Vec<PolicyRule>> {
        let mut by_namespace: BTreeMap<String, Vec<&Permission>> = BTreeMap::new();
        for permission in &self.0 {
            let place = by_namespace.entry(permission.namespace.clone());
            place.or_default().push(permission);
        }
        let each = by_namespace.into_iter();
        each.map(|(namespace, used)| (namespace, rules(used.into_iter())))
            .collect()
    }

    /// What these rules allow and the user has not used: `verb resource.group` or `verb path`. A
    /// wildcard was used when anything that it stands for was, and is told nevertheless: a least
    /// role has none.
    pub fn unused(&self, granted: &[PolicyRule]) -> Vec<String> {
        let mut unused = BTreeSet::new();
        for rule in granted {
            let list = |list: &Option<Vec<String>>| list.clone().unwrap_or_default();
            for verb in &rule.verbs {
                for path in list(&rule.non_resource_urls) {
                    let used = |one: &Permission| one.path == path && one.verb == *verb;
                    if !self.0.iter().any(used) {
                        unused.insert(format!("{verb} {path}"));
                    }
                }
                for group in list(&rule.api_groups) {
                    for resource in list(&rule.resources) {
                        let used = |one: &Permission| {
                            one.group == group && one.resource == resource && one.verb == *verb
                        };
                        if !self.0.iter().any(used) {
                            let dot = if group.is_empty() { "" } else { "." };
                            unused.insert(format!("{verb} {resource}{dot}{group}"));
                        }
                    }
                }
            }
        }
        unused.into_iter().collect()
    }
}

/// As few rules as there are different sets of verbs in a group.
fn rules<'p>(used: impl Iterator<Item = &'p Permission>) -> Vec<PolicyRule> {
    let mut verbs: BTreeMap<(&str, &str, &str), BTreeSet<&str>> = BTreeMap::new();
    for one in used {
        let what = (one.path.as_str(), one.group.as_str(), one.resource.as_str());
        verbs.entry(what).or_default().insert(&one.verb);
    }
    let mut alike: BTreeMap<(bool, &str, Vec<&str>), Vec<String>> = BTreeMap::new();
    for ((path, group, resource), verbs) in verbs {
        let key = (!path.is_empty(), group, verbs.into_iter().collect());
        let what = if path.is_empty() { resource } else { path };
        alike.entry(key).or_default().push(what.to_owned());
    }
    let rule = |((is_path, group, verbs), what): ((bool, &str, Vec<&str>), Vec<String>)| {
        let verbs = verbs.into_iter().map(str::to_owned).collect();
        if is_path {
            PolicyRule {
                verbs,
                non_resource_urls: Some(what),
                ..PolicyRule::default()
            }
        } else {
            PolicyRule {
                verbs,
                api_groups: Some(vec![group.to_owned()]),
                resources: Some(what),
                ..PolicyRule::default()
            }
        }
    };
    alike.into_iter().map(rule).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(verb: &str, group: &str, resource: &str, namespace: &str) -> Attributes {
        Attributes {
            user: "u".to_owned(),
            verb: verb.to_owned(),
            group: group.to_owned(),
            resource: resource.to_owned(),
            namespace: namespace.to_owned(),
            ..Attributes::default()
        }
    }

    #[test]
    fn what_was_used_becomes_as_few_rules_as_can_be() {
        let usage = Usage::default();
        for (verb, group, resource) in [
            ("get", "", "pods"),
            ("list", "", "pods"),
            ("get", "", "services"),
            ("list", "", "services"),
            ("create", "batch", "jobs"),
        ] {
            usage.note(&asked(verb, group, resource, "a"));
        }
        usage.note(&asked("list", "", "nodes", ""));
        let used = usage.of("u");
        let by_namespace = used.rules_by_namespace();
        assert_eq!(by_namespace.keys().collect::<Vec<_>>(), ["", "a"]);
        let rules = &by_namespace["a"];
        assert_eq!(rules.len(), 2);
        assert_eq!(rules[0].resources.as_deref().unwrap(), ["pods", "services"]);
        assert_eq!(rules[0].verbs, ["get", "list"]);
        assert_eq!(rules[1].api_groups.as_deref().unwrap(), ["batch"]);
    }

    #[test]
    fn what_a_role_grants_in_vain_is_told() {
        let usage = Usage::default();
        usage.note(&asked("get", "apps", "deployments", "a"));
        let granted = PolicyRule {
            verbs: vec!["get".to_owned(), "delete".to_owned()],
            api_groups: Some(vec!["apps".to_owned()]),
            resources: Some(vec!["deployments".to_owned()]),
            ..PolicyRule::default()
        };
        assert_eq!(
            usage.of("u").unused(&[granted]),
            ["delete deployments.apps"]
        );
        assert!(usage.of("nobody").is_empty());
    }
}
