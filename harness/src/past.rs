//! A cluster as it was at a revision, served read-only, so that kubectl can look around in the past.
//!
//! A server of its own in front of the cluster: each read becomes a list at exactly that revision
//! (`resourceVersionMatch=Exact`), which the API gives for as long as it remembers. Nothing is copied and
//! nothing changes; a watch is open and silent; writes are 405 with a `Status` that says so. What the API
//! never remembered is not there: logs of pods, and kinds whose CRD is gone by now.

mod plan;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use futures::{FutureExt as _, StreamExt as _, future::BoxFuture};
use http::{
    HeaderMap, Request, Response, StatusCode,
    header::{ACCEPT, CONTENT_TYPE, HeaderValue},
};
use http_body_util::BodyExt as _;
use kube::{Client, config::Kubeconfig};
use serde_json::{Value, json};
use simcluster::serve::{self, Authority, Body, Handler, Listening, Login, Peer, full};

use self::plan::Plan;
use crate::Failure;

/// A watch that names no end is closed after this, as a real server does after some minutes.
const WATCH: Duration = Duration::from_secs(300);

/// The past of a cluster, served until this is dropped.
#[derive(Debug)]
pub struct Past {
    _listening: Listening,
    kubeconfig: Kubeconfig,
}

impl Past {
    /// Serves the cluster of `client` as it was at `revision`; fails if it does not remember it.
    pub async fn serve(
        client: Client,
        revision: u64,
        address: SocketAddr,
    ) -> Result<Self, Failure> {
        let remembered = Request::get(format!(
            "/api/v1/namespaces?limit=1&resourceVersion={revision}&resourceVersionMatch=Exact"
        ));
        let now = Request::get("/api/v1/namespaces?limit=1");
        let (_, newest) = read(&client, now.body(kube::client::Body::empty())?).await?;
        let newest = &newest["metadata"]["resourceVersion"];
        // A server waits some seconds for a revision that is to come, and then says less than this.
        if newest.as_str().and_then(|newest| newest.parse().ok()) < Some(revision) {
            return Err(format!(
                "revision {revision} has not happened yet; the newest is {}",
                newest.as_str().unwrap_or("unknown")
            )
            .into());
        }
        let (status, answer) = read(&client, remembered.body(kube::client::Body::empty())?).await?;
        if !status.is_success() {
            return Err(format!(
                "the cluster does not remember revision {revision} (the newest is {}): {}; \
                 `lab why KIND/NAME` lists revisions that it remembers",
                newest.as_str().unwrap_or("unknown"),
                answer["message"].as_str().unwrap_or("no reason given")
            )
            .into());
        }
        let authority = Authority::new()?;
        let handler = Arc::new(Server { client, revision });
        let listening = serve::listen(handler, &authority, address, &[], &[]).await?;
        let login = Login::Certificate(authority.client("reader-of-the-past", &[])?);
        let kubeconfig = serve::kubeconfig(
            &format!("at-revision-{revision}"),
            &format!("https://{}", listening.address()),
            authority.certificate(),
            &login,
        );
        Ok(Self {
            _listening: listening,
            kubeconfig,
        })
    }

    /// How to reach it.
    pub fn kubeconfig(&self) -> &Kubeconfig {
        &self.kubeconfig
    }
}

#[derive(Clone)]
struct Server {
    client: Client,
    revision: u64,
}

impl Handler for Server {
    fn handle(&self, request: Request<Body>, peer: Peer) -> BoxFuture<'static, Response<Body>> {
        let server = self.clone();
        async move {
            if peer.user.is_none() {
                let message = "Unauthorized: use the kubeconfig that came with this server";
                return status(StatusCode::UNAUTHORIZED, "Unauthorized", message);
            }
            server.answer(request).await.unwrap_or_else(|failure| {
                let message = crate::proof::chain(&*failure);
                status(StatusCode::BAD_GATEWAY, "InternalError", &message)
            })
        }
        .boxed()
    }
}

impl Server {
    async fn answer(&self, request: Request<Body>) -> Result<Response<Body>, Failure> {
        let uri = request.uri();
        let plan = plan::plan(
            request.method(),
            uri.path(),
            uri.query().unwrap_or_default(),
            self.revision,
        );
        match plan {
            Plan::Forward(path) => {
                let answer = self
                    .client
                    .send(forwarded(&path, request.headers())?)
                    .await?;
                Ok(answer.map(|body| body.map_err(Into::into).boxed_unsync()))
            }
            Plan::One { list, plural, name } => {
                let request = forwarded(&list, request.headers())?;
                self.one(request, &plural, &name).await
            }
            Plan::Quiet { seconds } => Ok(quiet(seconds.map_or(WATCH, Duration::from_secs))),
            Plan::Refuse {
                code,
                reason,
                message,
            } => Ok(status(code, reason, &message)),
        }
    }

    /// The only item of a list, in the form that was asked for.
    async fn one(
        &self,
        request: Request<kube::client::Body>,
        plural: &str,
        name: &str,
    ) -> Result<Response<Body>, Failure> {
        let (code, mut answer) = read(&self.client, request).await?;
        if !code.is_success() {
            return Ok(json_answer(code, &answer));
        }
        if answer["kind"] == "Table" {
            if answer["rows"]
                .as_array()
                .is_some_and(|rows| !rows.is_empty())
            {
                return Ok(json_answer(code, &answer));
            }
        } else if let Some(mut item) = answer["items"].get_mut(0).map(Value::take) {
            let kind = answer["kind"].as_str().unwrap_or_default();
            item["kind"] = kind.trim_end_matches("List").into();
            item["apiVersion"] = answer["apiVersion"].clone();
            return Ok(json_answer(code, &item));
        }
        let message = format!("{plural} {name:?} not found at revision {}", self.revision);
        Ok(status(StatusCode::NOT_FOUND, "NotFound", &message))
    }
}

/// A request for the cluster; answers shall be JSON that can be read here.
fn forwarded(path: &str, headers: &HeaderMap) -> Result<Request<kube::client::Body>, Failure> {
    let mut request = Request::get(path).body(kube::client::Body::empty())?;
    if let Some(accept) = headers.get(ACCEPT) {
        let forms: Vec<&str> = accept
            .to_str()?
            .split(',')
            .filter(|form| !form.contains("protobuf"))
            .collect();
        if !forms.is_empty() {
            request
                .headers_mut()
                .insert(ACCEPT, HeaderValue::from_str(&forms.join(","))?);
        }
    }
    Ok(request)
}

async fn read(
    client: &Client,
    request: Request<kube::client::Body>,
) -> Result<(StatusCode, Value), Failure> {
    let answer = client.send(request).await?;
    let status = answer.status();
    let bytes = answer.into_body().collect().await?.to_bytes();
    let value = serde_json::from_slice(&bytes)
        .map_err(|error| format!("the cluster answered {status} and no JSON: {error}"))?;
    Ok((status, value))
}

/// A watch in which nothing happens, for the past does not change.
fn quiet(until: Duration) -> Response<Body> {
    let silence = futures::stream::once(tokio::time::sleep(until)).filter_map(|()| async {
        None::<Result<http_body::Frame<bytes::Bytes>, serve::BodyError>>
    });
    let body = http_body_util::StreamBody::new(silence);
    let mut response = Response::new(body.boxed_unsync());
    set_json(&mut response);
    response
}

fn status(code: StatusCode, reason: &str, message: &str) -> Response<Body> {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code.as_u16(),
    });
    json_answer(code, &status)
}

fn json_answer(code: StatusCode, value: &Value) -> Response<Body> {
    let mut response = Response::new(full(value.to_string()));
    *response.status_mut() = code;
    set_json(&mut response);
    response
}

fn set_json(response: &mut Response<Body>) {
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
}
