//! `proxy` of pods and Services: a request goes on to a port of a pod, its answer comes back.
//!
//! The way to the pod is the one of port-forward. What is not done: HTTPS towards the pod, links
//! in HTML pages; a request's body is read whole before it goes on.

use std::io;

use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rand::Rng as _;
use serde_json::{Value, json};
use simcluster_kubelet_api::PodRef;
use simcluster_machinery::{kind::GroupResource, status::Status};
use tracing::debug;

use super::streams::connects;
use crate::server::{
    Failure,
    call::Call,
    registry::collection,
    reply::{self, Reply},
};

const HTTP_PORT: u16 = 80;
/// What is between two neighbours on the way, and goes no further.
const HOP_BY_HOP: [&str; 8] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
];

/// Where a request goes.
struct Target {
    pod: PodRef,
    node: String,
    address: String,
    port: u16,
}

/// `[scheme:]name[:port]`
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Id<'i> {
    scheme: &'i str,
    pub(super) name: &'i str,
    pub(super) port: &'i str,
}

impl<'i> Id<'i> {
    pub(super) fn parse(text: &'i str) -> Option<Self> {
        let parts: Vec<&str> = text.split(':').collect();
        let (scheme, name, port) = match parts.as_slice() {
            [name] => ("", *name, ""),
            [name, port] => ("", *name, *port),
            [scheme, name, port] => (*scheme, *name, *port),
            _ => return None,
        };
        let known = matches!(scheme, "" | "http" | "https");
        (known && !name.is_empty()).then_some(Self { scheme, name, port })
    }
}

/// Sends the request on, whatever its method.
pub(super) async fn run(call: &mut Call) -> Result<Reply, Failure> {
    let of_pod = call.resource.is("", "pods");
    let kind = if of_pod {
        "PodProxyOptions"
    } else {
        "ServiceProxyOptions"
    };
    let path = format!("/{}", call.route.rest);
    connects(call, kind, json!({ "path": path })).await?;
    let whole = call.route.name.clone();
    let Some(id) = Id::parse(&whole) else {
        let word = if of_pod { "pod" } else { "service" };
        let message = format!("invalid {word} request {whole:?}");
        return Err(Box::new(Status::bad_request(message)));
    };
    if id.scheme == "https" {
        return Err(Box::new(Status::not_implemented(
            "a proxy that speaks HTTPS",
        )));
    }
    let target = if of_pod {
        pod(call, &id)?
    } else {
        service(call, &id, &whole)?
    };
    // A page's relative links need the slash.
    let asked = call.uri.path();
    let reads = matches!(call.method, Method::GET | Method::HEAD);
    if reads && call.route.rest.is_empty() && !asked.ends_with('/') {
        let query = call
            .uri
            .query()
            .map_or_else(String::new, |query| format!("?{query}"));
        let mut moved = reply::text(StatusCode::MOVED_PERMANENTLY, "");
        let place = HeaderValue::from_str(&format!("{asked}/{query}"));
        if let Ok(place) = place {
            moved.headers_mut().insert(header::LOCATION, place);
        }
        return Ok(moved);
    }
    send(call, target).await
}

fn object(
    call: &Call,
    resource: &str,
    name: &str,
) -> Result<std::sync::Arc<crate::store::Object>, Failure> {
    let key = format!("{}/{name}", call.route.namespace);
    let found = call
        .server
        .store
        .read()
        .get(&collection("", resource), &key);
    found.ok_or_else(|| Box::new(Status::not_found(&GroupResource::new("", resource), name)))
}

/// The port of a pod: the one that is asked for, or the first that it has.
fn pod(call: &Call, id: &Id<'_>) -> Result<Target, Failure> {
    let pod = object(call, "pods", id.name)?;
    let value = pod.value();
    let first = value["spec"]["containers"]
        .as_array()
        .into_iter()
        .flatten()
        .find_map(|container| container["ports"][0]["containerPort"].as_u64());
    let port = match id.port {
        "" => first
            .and_then(|port| u16::try_from(port).ok())
            .unwrap_or(HTTP_PORT),
        text => text.parse().map_err(|_| {
            Box::new(Status::bad_request(format!(
                "invalid port {text:?} in the request for pod {:?}: it must be a number",
                id.name
            )))
        })?,
    };
    target(value, port).ok_or_else(|| Box::new(Status::bad_request("address not allowed")))
}

/// A pod that has an address and a node.
fn target(pod: &Value, port: u16) -> Option<Target> {
    let text = |value: &Value| {
        value
            .as_str()
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    Some(Target {
        pod: PodRef {
            namespace: text(&pod["metadata"]["namespace"])?,
            name: text(&pod["metadata"]["name"])?,
            uid: text(&pod["metadata"]["uid"])?,
        },
        node: text(&pod["spec"]["nodeName"])?,
        address: text(&pod["status"]["podIP"])?,
        port,
    })
}

/// One of a Service's pods, by the name of its port, its number, or the port without a name.
fn service(call: &Call, id: &Id<'_>, whole: &str) -> Result<Target, Failure> {
    let unavailable = |message: String| -> Failure { Box::new(Status::unavailable(message)) };
    let mut port = id.port.to_owned();
    let service = object(call, "services", id.name)?;
    if let Ok(number) = id.port.parse::<i64>() {
        let ports = service.value()["spec"]["ports"].as_array();
        let found = ports
            .into_iter()
            .flatten()
            .find(|one| one["port"].as_i64() == Some(number));
        let Some(found) = found else {
            return Err(unavailable(format!(
                "no service port {number} found for service {:?}",
                id.name
            )));
        };
        found["name"]
            .as_str()
            .unwrap_or_default()
            .clone_into(&mut port);
    }
    let endpoints = object(call, "endpoints", id.name)?;
    let mut candidates = Vec::new();
    for subset in endpoints.value()["subsets"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let ports = subset["ports"].as_array().into_iter().flatten();
        let number = ports
            .filter(|one| one["name"].as_str().unwrap_or_default() == port)
            .find_map(|one| u16::try_from(one["port"].as_u64()?).ok());
        let Some(number) = number else { continue };
        for address in subset["addresses"].as_array().into_iter().flatten() {
            let reference = &address["targetRef"];
            if reference["kind"] == "Pod"
                && let Some(name) = reference["name"].as_str()
                && let Ok(pod) = object(call, "pods", name)
                && let Some(target) = target(pod.value(), number)
            {
                candidates.push(target);
            }
        }
    }
    if candidates.is_empty() {
        let what = if endpoints.value()["subsets"][0].is_null() {
            id.name
        } else {
            whole
        };
        return Err(unavailable(format!(
            "no endpoints available for service {what:?}"
        )));
    }
    let chosen = rand::rng().random_range(0..candidates.len());
    Ok(candidates.swap_remove(chosen))
}

/// The path that stands for the root of what is behind the proxy.
fn prefix(call: &Call) -> String {
    let route = &call.route;
    format!(
        "/api/{}/namespaces/{}/{}/{}/proxy",
        route.version, route.namespace, route.resource, route.name
    )
}

/// What follows the prefix, as it was written.
fn rest(uri: &Uri) -> String {
    let path = uri.path();
    // `proxy` is the fourth after the version: what is before it has no part of that name by itself.
    let after = path.splitn(9, '/').nth(8).unwrap_or_default();
    let query = uri
        .query()
        .map_or_else(String::new, |query| format!("?{query}"));
    format!("/{after}{query}")
}

async fn send(call: &mut Call, target: Target) -> Result<Reply, Failure> {
    let Target {
        pod,
        node,
        address,
        port,
    } = target;
    let unreachable = |why: &str| -> Failure {
        Box::new(Status::unavailable(format!(
            "error trying to reach service: dial tcp {address}:{port}: {why}"
        )))
    };
    let kubelet = call
        .server
        .kubelet(&node)
        .ok_or_else(|| unreachable(&format!("no kubelet of node {node:?} can be reached")))?;
    let connection = kubelet.port_forward(pod, port).await.map_err(|error| {
        let text = error.to_string();
        if text.contains("refused") {
            unreachable("connect: connection refused")
        } else {
            unreachable(&text)
        }
    })?;
    let broken = |error: &dyn std::fmt::Display| -> Failure {
        Box::new(Status::unavailable(format!(
            "error trying to reach service: {error}"
        )))
    };
    let (mut sender, driver) = http1::handshake(TokioIo::new(connection))
        .await
        .map_err(|error| broken(&error))?;
    tokio::spawn(async move {
        if let Err(error) = driver.with_upgrades().await {
            debug!(%error, "a proxied connection broke");
        }
    });
    let request = request(call, &format!("{address}:{port}")).map_err(|error| broken(&error))?;
    let mut answer = sender
        .send_request(request)
        .await
        .map_err(|error| broken(&error))?;
    let switches = answer.status() == StatusCode::SWITCHING_PROTOCOLS;
    let upstream = switches.then(|| hyper::upgrade::on(&mut answer));
    let (mut parts, body) = answer.into_parts();
    if let Some(upstream) = upstream {
        switch(call, upstream);
        parts.extensions.clear();
        return Ok(http::Response::from_parts(parts, reply::full("")));
    }
    strip(&mut parts.headers, false);
    relocate(
        &mut parts.headers,
        &prefix(call),
        &format!("{address}:{port}"),
    );
    let body = body.map_err(Into::into).boxed_unsync();
    Ok(http::Response::from_parts(parts, body))
}

/// Joins the client's connection with the pod's, when both speak another protocol from here on.
fn switch(call: &mut Call, upstream: hyper::upgrade::OnUpgrade) {
    let Some(client) = call.upgrade.take() else {
        return;
    };
    tokio::spawn(async move {
        let joined = async {
            let (client, upstream) =
                tokio::try_join!(client, upstream).map_err(io::Error::other)?;
            let (mut client, mut upstream) = (TokioIo::new(client), TokioIo::new(upstream));
            tokio::io::copy_bidirectional(&mut client, &mut upstream).await
        };
        if let Err(error) = joined.await {
            debug!(%error, "a proxied connection broke");
        }
    });
}

/// The request as the pod sees it.
fn request(call: &Call, host: &str) -> Result<Request<Full<bytes::Bytes>>, http::Error> {
    let mut request = Request::builder()
        .method(call.method.clone())
        .uri(rest(&call.uri))
        .body(Full::new(call.body.clone()))?;
    let mut headers = call.headers.clone();
    let upgrading = call.upgrade.is_some() && headers.contains_key(header::UPGRADE);
    strip(&mut headers, upgrading);
    // Who the client is to the API server is no business of the pod's.
    headers.remove(header::AUTHORIZATION);
    headers.remove(header::CONTENT_LENGTH);
    let outside = headers.get(header::HOST).cloned();
    let path = call.uri.path();
    for (name, value) in [
        ("x-forwarded-uri", HeaderValue::from_str(path).ok()),
        ("x-forwarded-host", outside),
        ("x-forwarded-proto", Some(HeaderValue::from_static("https"))),
        ("host", HeaderValue::from_str(host).ok()),
    ] {
        if let Some(value) = value {
            headers.insert(name, value);
        }
    }
    *request.headers_mut() = headers;
    Ok(request)
}

fn strip(headers: &mut HeaderMap, upgrading: bool) {
    for name in HOP_BY_HOP {
        if upgrading && name == "connection" {
            continue;
        }
        headers.remove(name);
    }
    if !upgrading {
        headers.remove(header::UPGRADE);
    }
}

/// A place that the pod names is behind the proxy for who is before it.
fn relocate(headers: &mut HeaderMap, prefix: &str, host: &str) {
    let Some(place) = headers
        .get(header::LOCATION)
        .and_then(|one| one.to_str().ok())
    else {
        return;
    };
    let own = format!("http://{host}");
    let path = place.strip_prefix(&own).unwrap_or(place);
    if path.starts_with('/')
        && let Ok(value) = HeaderValue::from_str(&format!("{prefix}{path}"))
    {
        headers.insert(header::LOCATION, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_proxied_to_is_read() {
        let id = |scheme, name, port| Some(Id { scheme, name, port });
        assert_eq!(Id::parse("p"), id("", "p", ""));
        assert_eq!(Id::parse("p:80"), id("", "p", "80"));
        assert_eq!(Id::parse("https:p:web"), id("https", "p", "web"));
        assert_eq!(Id::parse("ftp:p:21"), None);
        assert_eq!(Id::parse("a:b:c:d"), None);
    }

    #[test]
    fn the_rest_of_a_path_stays_as_it_was_written() {
        let uri: Uri = "/api/v1/namespaces/n/pods/p:80/proxy/a%2Fb/proxy/?x=%20"
            .parse()
            .expect("a path");
        assert_eq!(rest(&uri), "/a%2Fb/proxy/?x=%20");
    }
}
