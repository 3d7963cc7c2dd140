//! `proxy` of nodes: a request goes on to the node's own HTTP server, its answer comes back.
//!
//! Only the kubelet's port is there, and only `GET`: what a kubelet is told to do has subresources of pods.

use http::{HeaderValue, Method, StatusCode, header};
use serde_json::json;
use simcluster_kubelet_api::{KubeletError, Page};
use simcluster_machinery::status::Status;

use super::{proxy::Id, streams::connects};
use crate::server::{
    Failure,
    call::Call,
    registry::collection,
    reply::{self, Reply},
};

/// Where a kubelet listens.
const KUBELET_PORT: &str = "10250";

/// Sends the request on.
pub(super) async fn run(call: &mut Call) -> Result<Reply, Failure> {
    let path = format!("/{}", call.route.rest);
    connects(call, "NodeProxyOptions", json!({ "path": path })).await?;
    let whole = call.route.name.clone();
    let invalid = || {
        Box::new(Status::bad_request(format!(
            "invalid node request {whole:?}"
        )))
    };
    let id = Id::parse(&whole).ok_or_else(invalid)?;
    let node = call
        .server
        .store
        .read()
        .get(&collection("", "nodes"), id.name);
    let node = node.ok_or_else(|| {
        let nodes = simcluster_machinery::kind::GroupResource::new("", "nodes");
        Box::new(Status::not_found(&nodes, id.name))
    })?;
    let unreachable = |why: &str| {
        let addresses = node.value()["status"]["addresses"].as_array();
        let mut addresses = addresses.into_iter().flatten();
        let internal = addresses.find(|address| address["type"] == "InternalIP");
        let address = internal.and_then(|one| one["address"].as_str());
        let (address, port) = (address.unwrap_or(id.name), id.port);
        let port = if port.is_empty() { KUBELET_PORT } else { port };
        Box::new(Status::unavailable(format!(
            "error trying to reach service: dial tcp {address}:{port}: {why}"
        )))
    };
    if !matches!(id.port, "" | KUBELET_PORT) {
        return Err(unreachable("connect: connection refused"));
    }
    let kubelet = call.server.kubelet(id.name);
    let kubelet = kubelet.ok_or_else(|| unreachable("connect: no route to host"))?;
    if !matches!(call.method, Method::GET | Method::HEAD) {
        let code = StatusCode::METHOD_NOT_ALLOWED;
        return Ok(reply::text(code, "405: Method Not Allowed"));
    }
    let query = call.uri.query().unwrap_or_default().to_owned();
    let Page {
        code,
        media_type,
        body,
    } = match kubelet.page(path, query).await {
        Ok(page) => page,
        Err(error) => return Ok(refused(&error)),
    };
    let mut answer = reply::reply(
        StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        media_type,
        reply::streamed(body),
    );
    // What a node says is passed on as it is.
    let kept = HeaderValue::from_static("no-cache, private");
    answer.headers_mut().insert(header::CACHE_CONTROL, kept);
    Ok(answer)
}

/// What a kubelet answers when it cannot.
fn refused(error: &KubeletError) -> Reply {
    let code = match error {
        KubeletError::BadRequest(_) => StatusCode::BAD_REQUEST,
        KubeletError::NotFound(_) => StatusCode::NOT_FOUND,
        KubeletError::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    reply::text(code, format!("{error}\n"))
}
