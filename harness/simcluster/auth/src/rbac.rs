//! Role-based access control: whether any rule that is bound to a user allows what they ask for.

use std::{collections::HashMap, fmt};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// The user's name.
    pub user: String,
    /// The user's groups.
    pub groups: Vec<String>,
    /// `get`, `list`, `create`, …
    pub verb: String,
    /// API group, empty for the core group.
    pub group: String,
    /// Plural name of the resource, empty for a path.
    pub resource: String,
    /// Part of the object, or empty.
    pub subresource: String,
    /// Name of the object, or empty.
    pub name: String,
    /// Namespace, or empty for the whole cluster.
    pub namespace: String,
    /// The path of a request that is for no resource.
    pub path: Option<String>,
}

impl Attributes {
    fn full_resource(&self) -> String {
        if self.subresource.is_empty() {
            self.resource.clone()
        } else {
            format!("{}/{}", self.resource, self.subresource)
        }
    }
}

/// The words of a refusal, after `… is forbidden: `.
impl fmt::Display for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            user,
            verb,
            group,
            namespace,
            ..
        } = self;
        if let Some(path) = &self.path {
            return write!(f, "User {user:?} cannot {verb} path {path:?}");
        }
        let resource = self.full_resource();
        write!(
            f,
            "User {user:?} cannot {verb} resource {resource:?} in API group {group:?} "
        )?;
        if namespace.is_empty() {
            f.write_str("at the cluster scope")
        } else {
            write!(f, "in the namespace {namespace:?}")
        }
    }
}

/// A `PolicyRule` of the API.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Rule {
    /// Verbs, `*` for all.
    pub verbs: Vec<String>,
    /// API groups, `*` for all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub api_groups: Vec<String>,
    /// Resources: `pods`, `pods/log`, `*`, `*/scale`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
    /// Names of objects; all when empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resource_names: Vec<String>,
    /// Paths that are no resources; `*` at the end stands for anything.
    #[serde(rename = "nonResourceURLs", skip_serializing_if = "Vec::is_empty")]
    pub non_resource_urls: Vec<String>,
}

impl Rule {
    /// Whether this rule allows the request, wherever the rule applies.
    pub fn allows(&self, asked: &Attributes) -> bool {
        let has = |list: &[String], word: &str| list.iter().any(|own| own == "*" || own == word);
        if !has(&self.verbs, &asked.verb) {
            return false;
        }
        if let Some(path) = &asked.path {
            return self
                .non_resource_urls
                .iter()
                .any(|own| matches_path(own, path));
        }
        has(&self.api_groups, &asked.group)
            && self
                .resources
                .iter()
                .any(|own| matches_resource(own, asked))
            && (self.resource_names.is_empty() || self.resource_names.contains(&asked.name))
    }

    /// Whether everything that `other` allows is allowed by some of `rules`: no escalation.
    pub fn covered_by(&self, rules: &[Self]) -> bool {
        self.single_requests()
            .iter()
            .all(|asked| rules.iter().any(|rule| rule.covers(asked)))
    }

    /// One rule for each verb, group, resource and name.
    pub fn single_requests(&self) -> Vec<Self> {
        let mut single = Vec::new();
        for verb in &self.verbs {
            for url in &self.non_resource_urls {
                single.push(Self {
                    verbs: vec![verb.clone()],
                    non_resource_urls: vec![url.clone()],
                    ..Self::default()
                });
            }
            for group in &self.api_groups {
                for resource in &self.resources {
                    let one = Self {
                        verbs: vec![verb.clone()],
                        api_groups: vec![group.clone()],
                        resources: vec![resource.clone()],
                        ..Self::default()
                    };
                    if self.resource_names.is_empty() {
                        single.push(one);
                    } else {
                        single.extend(self.resource_names.iter().map(|name| Self {
                            resource_names: vec![name.clone()],
                            ..one.clone()
                        }));
                    }
                }
            }
        }
        single
    }

    fn covers(&self, single: &Self) -> bool {
        let has = |list: &[String], words: &[String]| {
            words
                .iter()
                .all(|word| list.iter().any(|own| own == "*" || own == word))
        };
        if !has(&self.verbs, &single.verbs) {
            return false;
        }
        if let Some(url) = single.non_resource_urls.first() {
            return self
                .non_resource_urls
                .iter()
                .any(|own| matches_path(own, url));
        }
        let resource = single.resources.first().map_or("", String::as_str);
        let covered = self.resources.iter().any(|own| {
            own == "*" || own == resource || {
                let part = resource.split_once('/').map(|(_, part)| part);
                own.strip_prefix("*/").is_some_and(|own| Some(own) == part)
            }
        });
        has(&self.api_groups, &single.api_groups)
            && covered
            && (self.resource_names.is_empty()
                || single
                    .resource_names
                    .first()
                    .is_some_and(|n| self.resource_names.contains(n)))
    }
}

fn matches_resource(own: &str, asked: &Attributes) -> bool {
    if own == "*" || own == asked.full_resource() {
        return true;
    }
    !asked.subresource.is_empty() && own.strip_prefix("*/") == Some(&asked.subresource)
}

fn matches_path(own: &str, path: &str) -> bool {
    own == path
        || own
            .strip_suffix('*')
            .is_some_and(|prefix| path.starts_with(prefix))
}

/// To whom a role is given.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Subject {
    User(String),
    Group(String),
}

/// A binding, without its name.
#[derive(Clone, Debug)]
struct Binding {
    cluster_role: bool,
    role: String,
    subjects: Vec<Subject>,
}

impl Binding {
    /// Where its role is: in a namespace, or (empty) in none.
    fn place<'a>(&self, namespace: &'a str) -> &'a str {
        if self.cluster_role { "" } else { namespace }
    }
}

/// All roles and bindings of a cluster, ready to be asked.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    cluster_roles: HashMap<String, Vec<Rule>>,
    roles: HashMap<(String, String), Vec<Rule>>,
    cluster_bindings: Vec<Binding>,
    bindings: HashMap<String, Vec<Binding>>,
}

impl Policy {
    /// Adds a Role, ClusterRole, RoleBinding or ClusterRoleBinding; anything else is left out.
    pub fn add(&mut self, object: &Value) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let name = text(&object["metadata"]["name"]);
        let namespace = text(&object["metadata"]["namespace"]);
        let rules = || serde_json::from_value(object["rules"].clone()).unwrap_or_default();
        match object["kind"].as_str() {
            Some("ClusterRole") => {
                self.cluster_roles.insert(name, rules());
            }
            Some("Role") => {
                self.roles.insert((namespace, name), rules());
            }
            Some("ClusterRoleBinding") => self.cluster_bindings.push(binding(object)),
            Some("RoleBinding") => {
                self.bindings
                    .entry(namespace)
                    .or_default()
                    .push(binding(object));
            }
            _ => {}
        }
    }

    /// Whether the request is allowed.
    pub fn allows(&self, asked: &Attributes) -> bool {
        asked.groups.iter().any(|group| group == "system:masters")
            || self
                .rules(&asked.user, &asked.groups, &asked.namespace)
                .any(|rule| rule.allows(asked))
    }

    /// The rules that apply to a user in a namespace, cluster-wide ones included.
    pub fn rules<'a>(
        &'a self,
        user: &'a str,
        groups: &'a [String],
        namespace: &'a str,
    ) -> impl Iterator<Item = &'a Rule> {
        self.bindings_of(user, groups, namespace)
            .filter_map(move |binding| self.role(binding.place(namespace), &binding.role))
            .flatten()
    }

    /// The names of the roles that bindings give to a user in a namespace and that do not exist.
    pub fn unknown_roles<'a>(
        &'a self,
        user: &'a str,
        groups: &'a [String],
        namespace: &'a str,
    ) -> Vec<&'a str> {
        self.bindings_of(user, groups, namespace)
            .filter(|binding| self.role(binding.place(namespace), &binding.role).is_none())
            .map(|binding| binding.role.as_str())
            .collect()
    }

    fn bindings_of<'a>(
        &'a self,
        user: &'a str,
        groups: &'a [String],
        namespace: &str,
    ) -> impl Iterator<Item = &'a Binding> + use<'a> {
        let in_namespace = self.bindings.get(namespace).into_iter().flatten();
        self.cluster_bindings
            .iter()
            .chain(in_namespace)
            .filter(move |binding| {
                binding.subjects.iter().any(|subject| match subject {
                    Subject::User(name) => name == user,
                    Subject::Group(name) => groups.contains(name),
                })
            })
    }

    /// The rules of a role that a binding refers to; `namespace` is empty for a ClusterRole.
    pub fn role(&self, namespace: &str, name: &str) -> Option<&[Rule]> {
        if namespace.is_empty() {
            self.cluster_roles.get(name).map(Vec::as_slice)
        } else {
            self.roles
                .get(&(namespace.to_owned(), name.to_owned()))
                .map(Vec::as_slice)
        }
    }
}

fn binding(object: &Value) -> Binding {
    let own_namespace = object["metadata"]["namespace"].as_str();
    let subjects = object["subjects"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|subject| {
            let text = |field: &str| subject[field].as_str().unwrap_or_default();
            match text("kind") {
                "Group" => Subject::Group(text("name").to_owned()),
                "ServiceAccount" => {
                    let namespace = match text("namespace") {
                        "" => own_namespace.unwrap_or_default(),
                        namespace => namespace,
                    };
                    Subject::User(format!(
                        "system:serviceaccount:{namespace}:{}",
                        text("name")
                    ))
                }
                _ => Subject::User(text("name").to_owned()),
            }
        });
    Binding {
        cluster_role: object["roleRef"]["kind"] == "ClusterRole",
        role: object["roleRef"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        subjects: subjects.collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn policy() -> Policy {
        let mut policy = Policy::default();
        for object in [
            json!({"kind": "Role", "metadata": {"name": "r", "namespace": "a"}, "rules": [
                {"apiGroups": [""], "resources": ["pods", "pods/log"], "verbs": ["get"]}]}),
            json!({"kind": "RoleBinding", "metadata": {"name": "b", "namespace": "a"},
                "roleRef": {"kind": "Role", "name": "r"},
                "subjects": [{"kind": "ServiceAccount", "name": "s", "namespace": "n"}]}),
        ] {
            policy.add(&object);
        }
        policy
    }

    fn asks(verb: &str, resource: &str, namespace: &str) -> Attributes {
        Attributes {
            user: "system:serviceaccount:n:s".to_owned(),
            verb: verb.to_owned(),
            resource: resource.to_owned(),
            namespace: namespace.to_owned(),
            ..Attributes::default()
        }
    }

    #[test]
    fn a_role_binding_opens_exactly_what_it_says() {
        let policy = policy();
        assert!(policy.allows(&asks("get", "pods", "a")));
        let log = Attributes {
            subresource: "log".to_owned(),
            ..asks("get", "pods", "a")
        };
        assert!(policy.allows(&log));
        assert!(!policy.allows(&asks("list", "pods", "a")));
        assert!(!policy.allows(&asks("get", "pods", "b")));
        assert!(!policy.allows(&asks("get", "secrets", "a")));
    }

    #[test]
    fn a_service_account_without_a_namespace_is_that_of_the_binding() {
        let mut policy = policy();
        policy.add(
            &json!({"kind": "RoleBinding", "metadata": {"name": "c", "namespace": "a"},
            "roleRef": {"kind": "Role", "name": "r"},
            "subjects": [{"kind": "ServiceAccount", "name": "t"}]}),
        );
        let asked = Attributes {
            user: "system:serviceaccount:a:t".to_owned(),
            ..asks("get", "pods", "a")
        };
        assert!(policy.allows(&asked));
    }

    #[test]
    fn a_role_that_is_not_there_is_named() {
        let mut policy = policy();
        policy.add(
            &json!({"kind": "RoleBinding", "metadata": {"name": "c", "namespace": "a"},
            "roleRef": {"kind": "ClusterRole", "name": "none"},
            "subjects": [{"kind": "User", "name": "u"}]}),
        );
        assert_eq!(policy.unknown_roles("u", &[], "a"), ["none"]);
        assert!(policy.unknown_roles("u", &[], "b").is_empty());
    }

    #[test]
    fn a_refusal_names_user_verb_resource_and_place() {
        assert_eq!(
            asks("list", "pods", "a").to_string(),
            "User \"system:serviceaccount:n:s\" cannot list resource \"pods\" in API group \"\" in \
             the namespace \"a\""
        );
    }

    #[test]
    fn a_wider_rule_covers_a_narrower_one_and_not_the_reverse() {
        let rule = |verbs: &[&str], resources: &[&str]| Rule {
            verbs: verbs.iter().map(ToString::to_string).collect(),
            api_groups: vec![String::new()],
            resources: resources.iter().map(ToString::to_string).collect(),
            ..Rule::default()
        };
        let wide = rule(&["*"], &["*"]);
        let narrow = rule(&["get", "list"], &["pods"]);
        assert!(narrow.covered_by(std::slice::from_ref(&wide)));
        assert!(!wide.covered_by(std::slice::from_ref(&narrow)));
    }
}
