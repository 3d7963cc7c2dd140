//! From a request to its answer: who, may they, what; then the verb or the document.

use std::{panic::AssertUnwindSafe, sync::Arc};

use bytes::{Bytes, BytesMut};
use futures::FutureExt as _;
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use http_body_util::BodyExt as _;
use hyper::upgrade::OnUpgrade;
use simcluster_http::{Body, Peer};
use simcluster_machinery::{go, status::Status};

use super::{
    Failure, Inner, authenticate, authorize,
    call::Call,
    discovery,
    identity::Identity,
    query::Query,
    registry::Registry,
    reply::{self, Reply},
    route::{ResourceRoute, Route},
    verbs,
};

/// A body may be no longer than this, as on a real server.
const BODY_LIMIT: usize = 3 * 1024 * 1024;

/// Answers one request, also when answering it panics: the mistake is the server's, and costs no other
/// request its connection.
pub(crate) async fn guarded(server: Arc<Inner>, request: Request<Body>, peer: Peer) -> Reply {
    let asked = format!("{} {}", request.method(), request.uri().path());
    let answered = AssertUnwindSafe(handle(server, request, peer)).catch_unwind();
    answered.await.unwrap_or_else(|_| {
        tracing::error!(request = %asked, "answering a request panicked");
        let why = "This request caused apiserver to panic. Look in the logs for details.\n";
        reply::text(StatusCode::INTERNAL_SERVER_ERROR, why)
    })
}

/// Answers one request; never fails, because failures are answers.
async fn handle(server: Arc<Inner>, request: Request<Body>, peer: Peer) -> Reply {
    answer(server, request, peer)
        .await
        .unwrap_or_else(|failure| reply::status(&failure))
}

async fn answer(
    server: Arc<Inner>,
    mut request: Request<Body>,
    peer: Peer,
) -> Result<Reply, Failure> {
    let identity = authenticate::identify(&server, request.headers(), peer)?;
    let upgrade = request.extensions_mut().remove::<OnUpgrade>();
    let (parts, body) = request.into_parts();
    let query = Query::parse(parts.uri.query().unwrap_or_default());
    let uri = parts.uri.clone();
    match Route::parse(parts.uri.path()) {
        Route::Path(path) => {
            let verb = parts.method.as_str().to_ascii_lowercase();
            let asked = authorize::path_attributes(&identity, &path, &verb);
            if !server.policy.current(&server.store).allows(&asked) {
                return Err(authorize::forbidden(&asked));
            }
            server.usage.note(&asked);
            discovery::answer(&server, &parts.method, &path, &query, &parts.headers)
        }
        Route::Resource(route) => {
            let request = Incoming {
                method: parts.method,
                uri,
                query,
                headers: parts.headers,
                body,
                upgrade,
            };
            resource(server, identity, route, request).await
        }
    }
}

struct Incoming {
    method: Method,
    uri: Uri,
    query: Query,
    headers: HeaderMap,
    body: Body,
    upgrade: Option<OnUpgrade>,
}

async fn resource(
    server: Arc<Inner>,
    identity: Identity,
    route: ResourceRoute,
    request: Incoming,
) -> Result<Reply, Failure> {
    let Incoming {
        method,
        uri,
        query,
        headers,
        body,
        upgrade,
    } = request;
    let verb = route.verb(&method, &query);
    let mut asked = authorize::attributes(&identity, &route, verb);
    if asked.name.is_empty()
        && let Some(name) = query
            .get("fieldSelector")
            .strip_prefix("metadata.name=")
            .filter(|name| !name.contains(['=', ',', '!']))
    {
        // A list of the one object with this name is a request for that object.
        name.clone_into(&mut asked.name);
    }
    if !server.policy.current(&server.store).allows(&asked) {
        return Err(authorize::forbidden(&asked));
    }
    server.usage.note(&asked);
    check_timeout(&route, verb, &query)?;
    let registry = server.registry();
    let Some(resource) = registry.find(&route.group, &route.version, &route.resource) else {
        return unknown(&route);
    };
    let fits = if resource.namespaced {
        !route.namespace.is_empty() || route.name.is_empty()
    } else {
        route.namespace.is_empty() || resource.is("", "namespaces")
    };
    if !fits
        || (!route.subresource.is_empty() && resource.subresource(&route.subresource).is_none())
    {
        return unknown(&route);
    }
    let body = read(body).await?;
    verbs::run(Call {
        server,
        identity,
        method,
        uri,
        route,
        query,
        headers,
        body,
        resource,
        upgrade,
        warnings: Vec::new(),
    })
    .await
}

/// How long a client wants to wait must be a duration; only requests that may go on for long ignore it.
fn check_timeout(route: &ResourceRoute, verb: &str, query: &Query) -> Result<(), Failure> {
    let long_running = matches!(verb, "watch" | "proxy")
        || matches!(
            route.subresource.as_str(),
            "attach" | "exec" | "proxy" | "log" | "portforward"
        );
    let given = query.get("timeout");
    if long_running || given.is_empty() {
        return Ok(());
    }
    go::parse_duration(given).map(drop).map_err(|why| {
        let message = format!("invalid timeout specified in the request URL - {why}");
        Box::new(Status::bad_request(message))
    })
}

/// The group of a built-in kind answers in the API's words, anything else as a path without meaning.
fn unknown(route: &ResourceRoute) -> Result<Reply, Failure> {
    if Registry::is_built_in(&route.group) {
        Err(Box::new(Status::no_such_resource()))
    } else {
        Ok(reply::page_not_found())
    }
}

async fn read(mut body: Body) -> Result<Bytes, Failure> {
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            Box::new(Status::bad_request(format!(
                "the body could not be read: {error}"
            )))
        })?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if first.len() + all.len() + data.len() > BODY_LIMIT {
            return Err(Box::new(Status::too_large(&format!(
                "limit is {BODY_LIMIT}"
            ))));
        }
        // Most bodies come in one piece, which then need not be copied.
        if first.is_empty() && all.is_empty() {
            first = data;
        } else {
            if all.is_empty() {
                all.extend_from_slice(&std::mem::take(&mut first));
            }
            all.extend_from_slice(&data);
        }
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

/// 200 with nothing but `ok`.
pub(crate) fn ok() -> Reply {
    reply::text(StatusCode::OK, "ok")
}
