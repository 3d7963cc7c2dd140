//! Pure: what a request of the operator is, in the words of the API, and whether a trigger means it.

use http::Method;
use regex::Regex;
use serde_json::Value;

/// A request, as triggers see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// `create`, `update`, `patch`, `delete`, `deletecollection`, `get`, `list`, `watch`.
    pub(super) verb: &'static str,
    /// `jobs.batch`, `pods`, `mysqls.otus.homework/status`.
    pub(super) resource: String,
    /// Name, or the prefix of one that the server is to make.
    pub(super) name: String,
}

/// Which requests a fault is for. What is not said does not matter.
#[derive(Clone, Debug, Default)]
pub struct Trigger {
    /// The verb.
    pub verb: Option<String>,
    /// The resource with its group, perhaps with a subresource.
    pub resource: Option<String>,
    /// The name; after `~`, a regular expression that a part of it matches.
    pub name: Option<String>,
}

/// `~` begins an expression.
pub(crate) fn name_pattern(text: &str) -> Result<Option<Regex>, String> {
    match text.strip_prefix('~') {
        Some(pattern) => Regex::new(pattern)
            .map(Some)
            .map_err(|error| format!("{pattern:?} is no regular expression: {error}")),
        None => Ok(None),
    }
}

impl Trigger {
    pub(super) fn means(&self, seen: &Seen) -> bool {
        let same = |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|w| w == is);
        let named = self
            .name
            .as_deref()
            .is_none_or(|name| match name_pattern(name) {
                Ok(Some(pattern)) => pattern.is_match(&seen.name),
                Ok(None) => name == seen.name,
                // Refused before anything runs.
                Err(_) => false,
            });
        same(&self.verb, seen.verb) && same(&self.resource, &seen.resource) && named
    }
}

/// Reads a request; `body` is what it carries, for the name of what is created. None if it is about no
/// resource.
pub(super) fn seen(method: &Method, path: &str, query: &str, body: &[u8]) -> Option<Seen> {
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    let (group, rest) = match segments.as_slice() {
        ["api", _, rest @ ..] => ("", rest),
        ["apis", group, _, rest @ ..] => (*group, rest),
        _ => return None,
    };
    let rest = match rest {
        ["namespaces", _, next, ..] if !["status", "finalize"].contains(next) => &rest[2..],
        _ => rest,
    };
    let plural = rest.first().filter(|plural| !plural.is_empty())?;
    let named = rest.get(1).copied();
    let watches = query
        .split('&')
        .any(|pair| pair == "watch=true" || pair == "watch=1");
    let verb = match (method.as_str(), named) {
        ("GET", None) if watches => "watch",
        ("GET", None) => "list",
        ("GET", Some(_)) => "get",
        ("POST", _) => "create",
        ("PUT", _) => "update",
        ("PATCH", _) => "patch",
        ("DELETE", Some(_)) => "delete",
        ("DELETE", None) => "deletecollection",
        _ => return None,
    };
    let mut resource = (*plural).to_owned();
    if !group.is_empty() {
        resource.extend([".", group]);
    }
    if let Some(part) = rest.get(2) {
        resource.extend(["/", part]);
    }
    let name = named.map_or_else(|| name_in(body), str::to_owned);
    Some(Seen {
        verb,
        resource,
        name,
    })
}

/// The resource that a request watches, if it does.
pub(super) fn watched(method: &Method, path: &str, query: &str) -> Option<String> {
    if !query.contains("watch=") {
        return None;
    }
    let seen = seen(method, path, query, b"")?;
    (seen.verb == "watch").then_some(seen.resource)
}

fn name_in(body: &[u8]) -> String {
    let object: Value = serde_json::from_slice(body).unwrap_or_default();
    let metadata = &object["metadata"];
    [&metadata["name"], &metadata["generateName"]]
        .into_iter()
        .find_map(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(method: &Method, path: &str, body: &str) -> Seen {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        seen(method, path, query, body.as_bytes()).expect("a resource")
    }

    #[test]
    fn a_request_is_told_by_verb_resource_and_name() {
        let job = r#"{"metadata": {"name": "backup-1"}}"#;
        let seen = of(&Method::POST, "/apis/batch/v1/namespaces/a/jobs", job);
        assert_eq!(
            (seen.verb, seen.resource.as_str(), seen.name.as_str()),
            ("create", "jobs.batch", "backup-1")
        );
        let status = of(
            &Method::PATCH,
            "/apis/a.b/v1/namespaces/n/shops/s/status",
            "",
        );
        assert_eq!(
            (status.verb, status.resource.as_str()),
            ("patch", "shops.a.b/status")
        );
        let watch = of(&Method::GET, "/api/v1/pods?limit=1&watch=true", "");
        assert_eq!((watch.verb, watch.resource.as_str()), ("watch", "pods"));
        assert_eq!(
            of(&Method::GET, "/api/v1/namespaces/a", "").resource,
            "namespaces"
        );
        assert_eq!(super::seen(&Method::GET, "/version", "", b""), None);
    }

    #[test]
    fn a_trigger_means_what_it_names_and_no_more() {
        let job = of(
            &Method::POST,
            "/apis/batch/v1/namespaces/a/jobs",
            r#"{"metadata": {"generateName": "backup-"}}"#,
        );
        let trigger = |verb: &str, resource: &str, name: &str| Trigger {
            verb: Some(verb.to_owned()),
            resource: Some(resource.to_owned()),
            name: Some(name.to_owned()),
        };
        assert!(trigger("create", "jobs.batch", "~^backup-").means(&job));
        assert!(Trigger::default().means(&job));
        assert!(!trigger("create", "jobs.batch", "backup").means(&job));
        assert!(!trigger("create", "jobs", "~backup").means(&job));
        assert!(!trigger("patch", "jobs.batch", "~backup").means(&job));
        assert!(name_pattern("~(").is_err());
    }
}
