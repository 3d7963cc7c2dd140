//! Paths that are no resources: what is served, versions, health, OpenAPI.
//!
//! The documents are made by `simcluster_discovery`; here they are chosen.

use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};
use simcluster_discovery as documents;
use simcluster_machinery::status::Status;

use super::{
    Failure, Inner,
    negotiate::{self, Wanted},
    query::Query,
    registry::Registry,
    reply::{self, Reply},
};

/// `/version`, as a real server of this version answers.
const VERSION: &str = include_str!("../../data/version.json");

/// What `/readyz?verbose` lists, in its order.
const CHECKS: [&str; 4] = ["ping", "log", "etcd", "informer-sync"];

/// Answers a request for a path.
pub(crate) fn answer(
    server: &Inner,
    method: &Method,
    path: &str,
    query: &Query,
    headers: &HeaderMap,
) -> Result<Reply, Failure> {
    let trimmed = path.trim_matches('/');
    let segments: Vec<&str> = trimmed.split('/').collect();
    if path.contains("//") {
        return Ok(reply::page_not_found());
    }
    match segments.as_slice() {
        ["healthz" | "livez" | "readyz", rest @ ..] => Ok(health(segments[0], rest, query)),
        _ if method != Method::GET && method != Method::HEAD => {
            Err(Box::new(Status::method_not_allowed()))
        }
        ["version"] => Ok(reply::json_text(
            StatusCode::OK,
            VERSION.into(),
            &plain(headers, query),
        )),
        ["api"] => discovery(server, headers, query, "api"),
        ["apis"] => discovery(server, headers, query, "apis"),
        ["api", version] => resource_list(server, "", version, headers, query),
        ["apis", group] => match documents::group(server.registry().infos(), group) {
            Some(document) => Ok(document_reply(&document, headers, query)),
            None => Ok(reply::page_not_found()),
        },
        ["apis", group, version] => resource_list(server, group, version, headers, query),
        ["openapi", "v2"] => openapi_v2(server, headers, query),
        ["openapi", "v3"] => {
            let registry = server.registry();
            let document = documents::v3_index(registry.infos(), registry.revision());
            // JSON by content, as a real server sends it.
            Ok(reply::text(StatusCode::OK, document.to_string()))
        }
        ["openapi", "v3", "api", version] => Ok(openapi_v3(server, "", version, headers, query)),
        ["openapi", "v3", "apis", group, version] => {
            Ok(openapi_v3(server, group, version, headers, query))
        }
        [".well-known", "openid-configuration"] | ["openid", "v1", "jwks"] => Err(Box::new(
            Status::not_implemented("publishing the keys of service-account tokens"),
        )),
        ["metrics"] => Ok(metrics(server)),
        [""] => Ok(index(server, headers, query)),
        _ => Ok(reply::page_not_found()),
    }
}

fn plain(headers: &HeaderMap, query: &Query) -> Wanted {
    negotiate::object(headers, query, negotiate::Offer::Whole, false).unwrap_or_default()
}

fn document_reply(document: &Value, headers: &HeaderMap, query: &Query) -> Reply {
    reply::json(StatusCode::OK, document, &plain(headers, query))
}

/// `/api` and `/apis`, in the form that `Accept` names first.
fn discovery(
    server: &Inner,
    headers: &HeaderMap,
    query: &Query,
    root: &str,
) -> Result<Reply, Failure> {
    let registry = server.registry();
    let infos = registry.infos();
    for clause in negotiate::clauses(negotiate::accept(headers)) {
        let aggregated = clause.parameter("g") == "apidiscovery.k8s.io"
            && clause.parameter("as") == "APIGroupDiscoveryList"
            && clause.parameter("v") == "v2";
        if aggregated && clause.media_type == "application/json" {
            let document = match root {
                "api" => documents::aggregated_core(infos),
                _ => documents::aggregated_groups(infos),
            };
            let mut reply = document_reply(&document, headers, query);
            reply.headers_mut().insert(
                http::header::CONTENT_TYPE,
                http::HeaderValue::from_static(
                    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
                ),
            );
            return Ok(reply);
        }
        if clause.parameter("as").is_empty() {
            break;
        }
    }
    let wanted = negotiate::object(headers, query, negotiate::Offer::Whole, false)?;
    let document = match root {
        "api" => documents::versions(
            &server
                .address
                .read()
                .unwrap_or_else(std::sync::PoisonError::into_inner),
        ),
        _ => documents::group_list(infos),
    };
    Ok(reply::json(StatusCode::OK, &document, &wanted))
}

fn resource_list(
    server: &Inner,
    group: &str,
    version: &str,
    headers: &HeaderMap,
    query: &Query,
) -> Result<Reply, Failure> {
    let registry = server.registry();
    if let Some(document) = documents::resource_list(registry.infos(), group, version) {
        return Ok(document_reply(&document, headers, query));
    }
    if Registry::is_built_in(group) {
        return Err(Box::new(Status::no_such_resource()));
    }
    Ok(reply::page_not_found())
}

fn openapi_v3(
    server: &Inner,
    group: &str,
    version: &str,
    headers: &HeaderMap,
    query: &Query,
) -> Reply {
    let registry = server.registry();
    documents::v3(registry.infos(), group, version, registry.kind_schemas())
        .map_or_else(reply::page_not_found, |document| {
            document_reply(&document, headers, query)
        })
}

/// The media type that clients before 1.29 cannot do without. The first is what they ask for; it is not
/// well-formed, so the answer says the second.
const SWAGGER_PROTOBUF: [&str; 2] = [
    "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
    "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
];

fn openapi_v2(server: &Inner, headers: &HeaderMap, query: &Query) -> Result<Reply, Failure> {
    let accept = negotiate::accept(headers);
    let clauses = negotiate::clauses(accept);
    let chosen = clauses.iter().find_map(|clause| match clause.media_type {
        "application/json" | "application/*" | "*/*" => Some(false),
        other if SWAGGER_PROTOBUF.contains(&other) => Some(true),
        _ => None,
    });
    let registry = server.registry();
    match chosen {
        None if !accept.is_empty() => Err(Box::new(Status::not_acceptable(&[
            "application/json",
            SWAGGER_PROTOBUF[1],
        ]))),
        Some(true) => {
            let document = documents::v2_protobuf(registry.infos(), registry.kind_schemas());
            Ok(reply::reply(
                StatusCode::OK,
                SWAGGER_PROTOBUF[1],
                reply::full(document),
            ))
        }
        Some(false) | None => {
            let document = documents::v2(registry.infos(), registry.kind_schemas());
            let wanted = Wanted {
                encoding: negotiate::Encoding::Json,
                ..plain(headers, query)
            };
            Ok(reply::json(StatusCode::OK, &document, &wanted))
        }
    }
}

fn health(endpoint: &str, rest: &[&str], query: &Query) -> Reply {
    match rest {
        [] if query.flag("verbose") => {
            let mut text = String::new();
            for check in CHECKS {
                if endpoint == "readyz" || check != "informer-sync" {
                    text.push_str("[+]");
                    text.push_str(check);
                    text.push_str(" ok\n");
                }
            }
            text.push_str(endpoint);
            text.push_str(" check passed\n");
            reply::text(StatusCode::OK, text)
        }
        [] => super::dispatch::ok(),
        [check] if CHECKS.contains(check) => super::dispatch::ok(),
        _ => reply::page_not_found(),
    }
}

/// The objects of each resource, in Prometheus' text form.
fn metrics(server: &Inner) -> Reply {
    use std::fmt::Write as _;
    let mut text = String::from("# TYPE apiserver_storage_objects gauge\n");
    let registry = server.registry();
    let store = server.store.read();
    for group in registry.groups() {
        let Some(version) = group.versions.first() else {
            continue;
        };
        for resource in &version.resources {
            let count = store.len(&resource.collection);
            let _ = writeln!(
                text,
                "apiserver_storage_objects{{resource=\"{}\"}} {count}",
                resource.name
            );
        }
    }
    reply::reply(
        StatusCode::OK,
        "text/plain; version=0.0.4; charset=utf-8",
        reply::full(text),
    )
}

fn index(server: &Inner, headers: &HeaderMap, query: &Query) -> Reply {
    let mut paths = vec!["/api".to_owned(), "/api/v1".to_owned(), "/apis".to_owned()];
    for group in server
        .registry()
        .groups()
        .filter(|group| !group.name.is_empty())
    {
        paths.push(format!("/apis/{}", group.name));
        for version in &group.versions {
            paths.push(format!("/apis/{}/{}", group.name, version.name));
        }
    }
    for path in [
        "/healthz",
        "/livez",
        "/metrics",
        "/openapi/v2",
        "/openapi/v3",
        "/readyz",
        "/version",
    ] {
        paths.push(path.to_owned());
    }
    paths.sort();
    document_reply(&json!({ "paths": paths }), headers, query)
}
