//! The requests of the operator's client on their way, and what faults make of them.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use futures::future::BoxFuture;
use http::{Request, Response, header::CONTENT_TYPE};
use http_body_util::BodyExt as _;
use jiff::Timestamp;
use kube::{Client, client::Body};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tower::{BoxError, Service};

use super::{Effect, Faults, Happening, When, request, stream};

/// A crashed operator's request hangs until its task is ended; this is for a task that nobody ends.
const HANGS: Duration = Duration::from_secs(60);

/// A client whose requests faults strike.
pub(super) struct Disturbed {
    client: Client,
    faults: Faults,
}

impl Disturbed {
    pub(super) fn new(client: &Client, faults: &Faults) -> Self {
        Self {
            client: client.clone(),
            faults: faults.clone(),
        }
    }
}

impl Service<Request<Body>> for Disturbed {
    type Response = Response<stream::Answer>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        // The client inside has a queue of its own.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (client, faults) = (self.client.clone(), self.faults.clone());
        Box::pin(async move {
            let (path, query) = (request.uri().path(), request.uri().query());
            let watched = request::watched(request.method(), path, query.unwrap_or_default());
            let response = if faults.waits() {
                perhaps(&client, &faults, request).await?
            } else {
                client.send(request).await?
            };
            Ok(match watched {
                Some(resource) => stream::disturbed(response, &faults, resource),
                None => response.map(|body| stream::Answer::new(body.map_err(Into::into))),
            })
        })
    }
}

/// Looks at a request, and lets a fault strike if one is for it.
async fn perhaps(
    client: &Client,
    faults: &Faults,
    request: Request<Body>,
) -> Result<Response<Body>, BoxError> {
    let (parts, body) = request.into_parts();
    let bytes = body.collect().await?.to_bytes();
    let seen = request::seen(
        &parts.method,
        parts.uri.path(),
        parts.uri.query().unwrap_or_default(),
        &bytes,
    );
    let what = format!("{} {}", parts.method, parts.uri.path());
    let request = Request::from_parts(parts, Body::from(bytes.to_vec()));
    let Some((index, fault)) = seen.and_then(|seen| faults.strike(&seen, false)) else {
        return client.send(request).await.map_err(Into::into);
    };
    let mut revision = None;
    let mut answer = None;
    if fault.when == When::AfterCommit {
        let response = client.send(request).await?;
        if !response.status().is_success() {
            faults.take_back(index);
            return Ok(response);
        }
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await?.to_bytes();
        let object: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        revision = object["metadata"]["resourceVersion"]
            .as_str()
            .map(str::to_owned);
        answer = Some(Response::from_parts(parts, Body::from(bytes.to_vec())));
    }
    let made = match (&answer, revision) {
        (_, Some(revision)) => format!("which made revision {revision}"),
        (Some(_), None) => "which the cluster did".to_owned(),
        (None, _) => "which the cluster never saw".to_owned(),
    };
    let proof = format!(
        "fired: {:?} at {} at {what}, {made}",
        fault.effect,
        Timestamp::now()
    );
    carry_out(faults, index, fault.effect, proof, answer).await
}

async fn carry_out(
    faults: &Faults,
    index: usize,
    effect: Effect,
    proof: String,
    answer: Option<Response<Body>>,
) -> Result<Response<Body>, BoxError> {
    let lost = |what: &str| -> BoxError {
        std::io::Error::new(std::io::ErrorKind::ConnectionReset, what.to_owned()).into()
    };
    match effect {
        Effect::Error(code) => {
            faults.prove(index, proof);
            refusal(code, reason(code), "a fault of the scenario")
        }
        Effect::Conflict => {
            faults.prove(index, proof);
            let message = "Operation cannot be fulfilled: the object has been modified; please \
                           apply your changes to the latest version and try again";
            refusal(409, "Conflict", message)
        }
        Effect::Gone => {
            faults.prove(index, proof);
            let status = status(410, "Expired", "too old resource version");
            let event = json!({"type": "ERROR", "object": status});
            answer_with(200, &format!("{event}\n"))
        }
        Effect::LoseResponse => {
            faults.prove(index, proof);
            Err(lost("the connection broke: a fault of the scenario"))
        }
        Effect::CrashOperator => {
            faults.prove(index, proof);
            faults.tell(Happening::Crash);
            tokio::time::sleep(HANGS).await;
            Err(lost("the operator should have been ended here"))
        }
        Effect::Elsewhere(deed) => {
            let (done, is_done) = oneshot::channel();
            faults.tell(Happening::Do(deed, done));
            if let Ok(what) = is_done.await {
                faults.prove(index, format!("{proof}; {what}"));
            }
            answer.ok_or_else(|| {
                lost("something happened before the request: a fault of the scenario")
            })
        }
        // Those strike at events.
        Effect::DropEvents(_) | Effect::LagWatch(_) => {
            answer.ok_or_else(|| lost("this fault is for watches"))
        }
    }
}

fn refusal(code: u16, reason: &str, message: &str) -> Result<Response<Body>, BoxError> {
    answer_with(code, &status(code, reason, message).to_string())
}

pub(super) fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code})
}

fn answer_with(code: u16, text: &str) -> Result<Response<Body>, BoxError> {
    Ok(Response::builder()
        .status(code)
        .header(CONTENT_TYPE, "application/json")
        .body(Body::from(text.as_bytes().to_vec()))?)
}

fn reason(code: u16) -> &'static str {
    match code {
        403 => "Forbidden",
        404 => "NotFound",
        409 => "Conflict",
        429 => "TooManyRequests",
        503 => "ServiceUnavailable",
        504 => "Timeout",
        _ => "InternalError",
    }
}
