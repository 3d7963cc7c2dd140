//! A path and a method become what is asked for: Kubernetes' "request info".
//!
//! Knows the grammar of API paths, not which resources exist.

use http::Method;

use super::query::{Query, decode};

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// Something that is no resource: discovery, health, versions.
    Path(String),
    /// A resource, an object or a part of one.
    Resource(ResourceRoute),
}

/// A path below an API version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ResourceRoute {
    /// API group, empty for the core group.
    pub(crate) group: String,
    /// API version.
    pub(crate) version: String,
    /// The namespace in the path, empty for cluster-wide requests.
    pub(crate) namespace: String,
    /// The plural name.
    pub(crate) resource: String,
    /// The object, empty for the collection.
    pub(crate) name: String,
    /// The part of the object, such as `status`, empty for the whole.
    pub(crate) subresource: String,
    /// What follows the subresource (of `proxy`).
    pub(crate) rest: String,
    /// The deprecated `/watch/` prefix was used.
    pub(crate) watch_prefix: bool,
}

impl Route {
    /// Reads a path.
    pub(crate) fn parse(path: &str) -> Self {
        let other = || Self::Path(path.to_owned());
        if !path.starts_with('/') || path.contains("//") {
            return other();
        }
        let segments: Vec<String> = path
            .trim_matches('/')
            .split('/')
            .map(|segment| decode(segment, false))
            .collect();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let (group, version, rest) = match segments.as_slice() {
            ["api", version, rest @ ..] if !rest.is_empty() => ("", *version, rest),
            ["apis", group, version, rest @ ..] if !rest.is_empty() => (*group, *version, rest),
            _ => return other(),
        };
        let (watch_prefix, rest) = match rest {
            ["watch", rest @ ..] if !rest.is_empty() => (true, rest),
            _ => (false, rest),
        };
        // `namespaces/NAME/status` is a part of the namespace, not a collection inside it.
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..]
                if !rest.is_empty() && !matches!(rest, ["status" | "finalize"]) =>
            {
                (*namespace, rest)
            }
            _ => ("", rest),
        };
        let mut route = ResourceRoute {
            group: group.to_owned(),
            version: version.to_owned(),
            namespace: namespace.to_owned(),
            watch_prefix,
            ..ResourceRoute::default()
        };
        let mut parts = rest.iter();
        let mut next = || {
            parts
                .next()
                .map_or_else(String::new, |&part| part.to_owned())
        };
        route.resource = next();
        route.name = next();
        route.subresource = next();
        route.rest = parts.copied().collect::<Vec<_>>().join("/");
        if route.resource == "namespaces" && route.namespace.is_empty() {
            route.namespace.clone_from(&route.name);
        }
        Self::Resource(route)
    }
}

impl ResourceRoute {
    /// The verb of the authorization attributes.
    pub(crate) fn verb(&self, method: &Method, query: &Query) -> &'static str {
        let watch = self.watch_prefix || (query.flag("watch") && method == Method::GET);
        match (method.as_str(), self.name.is_empty()) {
            ("GET" | "HEAD", _) if self.watch_prefix => "watch",
            ("GET" | "HEAD", true) if watch => "watch",
            ("GET" | "HEAD", true) => "list",
            ("GET" | "HEAD", false) if watch && self.subresource.is_empty() => "watch",
            ("GET" | "HEAD", false) => "get",
            ("POST", _) => "create",
            ("PUT", _) => "update",
            ("PATCH", _) => "patch",
            ("DELETE", true) => "deletecollection",
            ("DELETE", false) => "delete",
            _ => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(path: &str) -> ResourceRoute {
        match Route::parse(path) {
            Route::Resource(route) => route,
            Route::Path(path) => panic!("{path} is a resource"),
        }
    }

    #[test]
    fn a_namespaces_own_parts_are_told_from_collections_in_it() {
        let finalize = resource("/api/v1/namespaces/a/finalize");
        assert_eq!(
            (&*finalize.resource, &*finalize.subresource),
            ("namespaces", "finalize")
        );
        let pods = resource("/api/v1/namespaces/a/pods");
        assert_eq!(
            (&*pods.resource, &*pods.namespace, &*pods.name),
            ("pods", "a", "")
        );
        let itself = resource("/api/v1/namespaces/a");
        assert_eq!(
            (&*itself.resource, &*itself.name, &*itself.namespace),
            ("namespaces", "a", "a")
        );
    }

    #[test]
    fn groups_subresources_and_the_watch_prefix_are_read() {
        let status = resource("/apis/apps/v1/namespaces/a/deployments/d/status");
        assert_eq!((&*status.group, &*status.subresource), ("apps", "status"));
        let proxy = resource("/api/v1/namespaces/a/services/s:80/proxy/x/y");
        assert_eq!((&*proxy.subresource, &*proxy.rest), ("proxy", "x/y"));
        let watched = resource("/api/v1/watch/namespaces/a/configmaps/c");
        assert!(watched.watch_prefix);
        assert_eq!(watched.verb(&Method::GET, &Query::default()), "watch");
    }

    #[test]
    fn other_paths_are_left_alone() {
        for path in [
            "/api",
            "/apis/apps/v1",
            "/version",
            "//api/v1/pods",
            "/healthz/ping",
        ] {
            assert_eq!(Route::parse(path), Route::Path(path.to_owned()));
        }
    }
}
