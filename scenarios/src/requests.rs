//! What a client asks of the API: as permissions, because who does not know what an operator uses grants it
//! too much; and its writes with their bodies, for those who judge them.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use k8s_openapi::api::rbac::v1::PolicyRule;
use kube::{Client, client::Body};
use serde_json::Value;

/// A verb on a resource: `patch pods/status`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Permission {
    /// API group; empty for the core.
    pub group: String,
    /// Resource, with its subresource.
    pub resource: String,
    /// `get`, `list`, …
    pub verb: String,
}

impl std::fmt::Display for Permission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} in {:?}", self.verb, self.resource, self.group)
    }
}

/// A request that was to change something.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    /// `create`, `patch`, …
    pub verb: String,
    /// Where.
    pub path: String,
    /// What was sent; `None` if nothing was, or nothing that is JSON.
    pub body: Option<Value>,
}

/// Told of each write before it is sent.
type Judge = Box<dyn Fn(&Write) + Send + Sync>;

/// Keeps what goes through its clients.
#[derive(Clone, Default)]
pub struct Requests(Arc<Kept>);

#[derive(Default)]
struct Kept {
    used: Mutex<BTreeSet<Permission>>,
    judge: Mutex<Option<Judge>>,
}

impl std::fmt::Debug for Requests {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Requests").field(&self.used()).finish()
    }
}

impl Requests {
    /// A client that does what `inner` does, and is kept account of.
    pub fn client(&self, inner: Client) -> Client {
        let requests = self.clone();
        let namespace = inner.default_namespace().to_owned();
        let service = tower::service_fn(move |request: http::Request<Body>| {
            let (inner, requests) = (inner.clone(), requests.clone());
            async move { inner.send(requests.note(request).await?).await }
        });
        Client::new(service, namespace)
    }

    /// Tells `judge` of each write from now on.
    pub fn judge_writes(&self, judge: impl Fn(&Write) + Send + Sync + 'static) {
        let mut place = self.0.judge.lock().unwrap_or_else(PoisonError::into_inner);
        *place = Some(Box::new(judge));
    }

    /// All of it.
    pub fn used(&self) -> BTreeSet<Permission> {
        self.0
            .used
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn keep(&self, used: Permission) {
        let mut all = self.0.used.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(used);
    }

    fn judge(&self, write: &Write) {
        let judge = self.0.judge.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(judge) = judge.as_ref() {
            judge(write);
        }
    }

    async fn note(&self, request: http::Request<Body>) -> Result<http::Request<Body>, kube::Error> {
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let query = uri.query().unwrap_or_default();
        let Some(used) = permission(method.as_str(), uri.path(), query) else {
            return Ok(request);
        };
        let verb = used.verb.clone();
        self.keep(used);
        if method == http::Method::GET {
            return Ok(request);
        }
        let (head, body) = request.into_parts();
        let bytes = body.collect_bytes().await?;
        let write = Write {
            verb,
            path: uri.path().to_owned(),
            body: serde_json::from_slice(&bytes).ok(),
        };
        self.judge(&write);
        Ok(http::Request::from_parts(head, Body::from(bytes)))
    }
}

/// The permission that a request needs; `None` for what needs none.
fn permission(method: &str, path: &str, query: &str) -> Option<Permission> {
    let mut parts = path.trim_matches('/').split('/');
    let group = match parts.next()? {
        "api" => String::new(),
        "apis" => parts.next()?.to_owned(),
        _ => return None,
    };
    let _version = parts.next()?;
    let mut rest: Vec<&str> = parts.collect();
    if rest.first() == Some(&"namespaces") && rest.len() > 2 {
        rest.drain(..2);
    }
    let (resource, name, subresource) = match rest.as_slice() {
        [resource] => (*resource, None, None),
        [resource, name] => (*resource, Some(name), None),
        [resource, name, subresource] => (*resource, Some(name), Some(*subresource)),
        _ => return None,
    };
    let watching = query
        .split('&')
        .any(|part| part == "watch=true" || part == "watch=1");
    let verb = match (method, name) {
        ("GET", Some(_)) => "get",
        ("GET", None) if watching => "watch",
        ("GET", None) => "list",
        ("POST", _) => "create",
        ("PUT", _) => "update",
        ("PATCH", _) => "patch",
        ("DELETE", Some(_)) => "delete",
        ("DELETE", None) => "deletecollection",
        _ => return None,
    };
    Some(Permission {
        group,
        resource: subresource.map_or_else(
            || resource.to_owned(),
            |subresource| format!("{resource}/{subresource}"),
        ),
        verb: verb.to_owned(),
    })
}

/// What rules grant, one by one.
pub fn granted(rules: &[PolicyRule]) -> BTreeSet<Permission> {
    let mut all = BTreeSet::new();
    for rule in rules {
        for group in rule.api_groups.iter().flatten() {
            for resource in rule.resources.iter().flatten() {
                for verb in &rule.verbs {
                    all.insert(Permission {
                        group: group.clone(),
                        resource: resource.clone(),
                        verb: verb.clone(),
                    });
                }
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_as_permissions() {
        for (method, path, query, expected) in [
            (
                "GET",
                "/api/v1/namespaces/n/pods",
                "watch=true&x=y",
                "watch pods in \"\"",
            ),
            ("GET", "/api/v1/pods", "", "list pods in \"\""),
            ("GET", "/api/v1/namespaces/n", "", "get namespaces in \"\""),
            (
                "PATCH",
                "/apis/otus.homework/v1/namespaces/n/mysqls/m/status",
                "",
                "patch mysqls/status in \"otus.homework\"",
            ),
            (
                "DELETE",
                "/apis/batch/v1/namespaces/n/jobs/j",
                "",
                "delete jobs in \"batch\"",
            ),
        ] {
            let used = permission(method, path, query).map(|used| used.to_string());
            assert_eq!(used.as_deref(), Some(expected));
        }
        assert_eq!(permission("GET", "/version", ""), None);
    }
}
