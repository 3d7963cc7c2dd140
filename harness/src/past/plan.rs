//! Pure: what a request to the past becomes in the present.
//!
//! Knows the grammar of API paths, not which kinds there are.

use http::{Method, StatusCode};

/// What to do with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// Ask the cluster for this path.
    Forward(String),
    /// Ask for this list and give its only item.
    One {
        /// Path and query of the list.
        list: String,
        /// The resource, for messages.
        plural: String,
        /// The object.
        name: String,
    },
    /// A watch in which nothing happens, for so many seconds if the client says so.
    Quiet {
        /// `timeoutSeconds`
        seconds: Option<u64>,
    },
    /// Say no.
    Refuse {
        /// The code.
        code: StatusCode,
        /// `reason` of the Status.
        reason: &'static str,
        /// Its message.
        message: String,
    },
}

/// A path below an API version.
struct Place<'a> {
    /// Up to and with the resource.
    collection: String,
    plural: &'a str,
    name: Option<&'a str>,
    part: Option<&'a str>,
}

pub(super) fn plan(method: &Method, path: &str, query: &str, revision: u64) -> Plan {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return Plan::Refuse {
            code: StatusCode::METHOD_NOT_ALLOWED,
            reason: "MethodNotAllowed",
            message: format!(
                "this is the cluster as it was at revision {revision}: it can be read and not \
                 changed; to change it, use the kubeconfig of `lab up`"
            ),
        };
    }
    let Some(place) = place(path) else {
        let query = if query.is_empty() {
            String::new()
        } else {
            format!("?{query}")
        };
        return Plan::Forward(format!("{path}{query}"));
    };
    let option = |wanted: &str| {
        pairs(query)
            .find(|(key, _)| *key == wanted)
            .map(|(_, value)| value)
    };
    if matches!(option("watch"), Some("true" | "1")) {
        if option("sendInitialEvents") == Some("true") {
            return Plan::Refuse {
                code: StatusCode::UNPROCESSABLE_ENTITY,
                reason: "Invalid",
                message: "sendInitialEvents is not served of the past; list, then watch".to_owned(),
            };
        }
        let seconds = option("timeoutSeconds").and_then(|text| text.parse().ok());
        return Plan::Quiet { seconds };
    }
    match (place.name, place.part) {
        (_, Some(part)) if part != "status" => Plan::Refuse {
            code: StatusCode::METHOD_NOT_ALLOWED,
            reason: "MethodNotAllowed",
            message: format!(
                "{part} of {} is of the present only: objects are remembered by revision, logs and \
                 processes are not; use the kubeconfig of `lab up`",
                place.plural
            ),
        },
        (Some(name), _) => Plan::One {
            list: format!(
                "{}?fieldSelector=metadata.name%3D{name}&{}",
                place.collection,
                exactly(revision)
            ),
            plural: place.plural.to_owned(),
            name: name.to_owned(),
        },
        (None, _) => {
            let kept = pairs(query)
                .filter(|(key, _)| !["resourceVersion", "resourceVersionMatch"].contains(key))
                .map(|(key, value)| format!("{key}={value}"));
            let mut all: Vec<String> = kept.collect();
            // A list that goes on knows its revision by its token.
            if option("continue").is_none_or(str::is_empty) {
                all.push(exactly(revision));
            }
            Plan::Forward(format!("{}?{}", place.collection, all.join("&")))
        }
    }
}

fn exactly(revision: u64) -> String {
    format!("resourceVersion={revision}&resourceVersionMatch=Exact")
}

/// Keys and values of a query, still escaped.
fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

fn place(path: &str) -> Option<Place<'_>> {
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    let version = match segments.as_slice() {
        ["api", _, _, ..] => 2,
        ["apis", _, _, _, ..] => 3,
        _ => return None,
    };
    let rest = &segments[version..];
    // `namespaces/NAME` is the namespace itself.
    let before = match rest {
        ["namespaces", _, next, ..] if !["status", "finalize"].contains(next) => 2,
        _ => 0,
    };
    let of_resource = &rest[before..];
    let plural = of_resource.first()?;
    Some(Place {
        collection: format!("/{}", segments[..=(version + before)].join("/")),
        plural,
        name: of_resource.get(1).copied(),
        part: of_resource.get(2).copied(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(path: &str, query: &str) -> Plan {
        plan(&Method::GET, path, query, 7)
    }

    #[test]
    fn a_list_is_asked_for_at_the_revision() {
        assert_eq!(
            get(
                "/api/v1/namespaces/a/pods",
                "limit=500&labelSelector=x%3Dy&resourceVersion=9"
            ),
            Plan::Forward(
                "/api/v1/namespaces/a/pods?limit=500&labelSelector=x%3Dy\
                 &resourceVersion=7&resourceVersionMatch=Exact"
                    .to_owned()
            )
        );
        assert_eq!(
            get("/api/v1/pods", "limit=1&continue=abc"),
            Plan::Forward("/api/v1/pods?limit=1&continue=abc".to_owned())
        );
    }

    #[test]
    fn an_object_is_the_only_item_of_a_list() {
        let one = |list: &str, plural: &str, name: &str| Plan::One {
            list: format!("{list}&resourceVersion=7&resourceVersionMatch=Exact"),
            plural: plural.to_owned(),
            name: name.to_owned(),
        };
        assert_eq!(
            get("/apis/apps/v1/namespaces/a/deployments/web/status", ""),
            one(
                "/apis/apps/v1/namespaces/a/deployments?fieldSelector=metadata.name%3Dweb",
                "deployments",
                "web"
            )
        );
        assert_eq!(
            get("/api/v1/namespaces/a", ""),
            one(
                "/api/v1/namespaces?fieldSelector=metadata.name%3Da",
                "namespaces",
                "a"
            )
        );
    }

    #[test]
    fn what_is_no_resource_is_asked_for_as_it_is() {
        for path in [
            "/api",
            "/apis/apps/v1",
            "/version",
            "/openapi/v3/apis/apps/v1",
        ] {
            assert_eq!(get(path, "a=b"), Plan::Forward(format!("{path}?a=b")));
        }
    }

    #[test]
    fn writes_logs_and_initial_events_are_refused_and_watches_are_silent() {
        let code = |plan| match plan {
            Plan::Refuse { code, .. } => code.as_u16(),
            other => panic!("it should have been refused: {other:?}"),
        };
        assert_eq!(
            code(plan(&Method::POST, "/api/v1/namespaces/a/pods", "", 7)),
            405
        );
        assert_eq!(code(get("/api/v1/namespaces/a/pods/p/log", "")), 405);
        assert_eq!(
            code(get("/api/v1/pods", "watch=true&sendInitialEvents=true")),
            422
        );
        assert_eq!(
            get("/api/v1/pods", "watch=true&timeoutSeconds=5"),
            Plan::Quiet { seconds: Some(5) }
        );
    }
}
