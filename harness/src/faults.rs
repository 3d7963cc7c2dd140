//! Faults at the operator's requests: what goes wrong, when, and the proof that it did.
//!
//! The seam is the client that [`crate::Cluster::client_of`] gives to the operator under test, so faults
//! are the same on every cluster. A fault is armed with a trigger, strikes once at the matching request
//! of its number, and is proved by that request, its time, and the revision that it made. Streams of watches
//! are not disturbed once they flow; a watch can be refused with 410 when it begins.

mod request;

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use futures::future::BoxFuture;
use http::{Request, Response, header::CONTENT_TYPE};
use http_body_util::BodyExt as _;
use jiff::Timestamp;
use kube::{Client, client::Body};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot, watch};
use tower::{BoxError, Service};

use self::request::Seen;
pub use self::request::Trigger;
pub(crate) use self::request::name_pattern;

/// A crashed operator's request hangs until its task is ended; this is for a task that nobody ends.
const HANGS: Duration = Duration::from_secs(60);

/// What happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The answer is this error.
    Error(u16),
    /// The answer is a conflict.
    Conflict,
    /// The write is done and the connection breaks before its answer.
    LoseResponse,
    /// A watch is told that its revision is too old.
    Gone,
    /// The operator ends where it stands, and is started again.
    CrashOperator,
    /// Pods with these labels vanish before the operator hears the answer.
    KillPods(String),
}

/// When it strikes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum When {
    /// The cluster never sees the request.
    #[default]
    Before,
    /// The cluster has done what was asked, with success.
    AfterCommit,
}

/// A fault to come.
#[derive(Clone, Debug)]
pub struct Fault {
    /// What happens.
    pub effect: Effect,
    /// At which requests.
    pub trigger: Trigger,
    /// Before or after the cluster does what was asked.
    pub when: When,
    /// At which of them, counted from 1.
    pub occurrence: usize,
}

#[derive(Debug)]
struct Armed {
    fault: Fault,
    matched: usize,
    proof: Option<String>,
}

/// What somebody beside the request has to do.
#[derive(Debug)]
pub(crate) enum Happening {
    /// End the operator and start it again.
    Crash,
    /// Remove pods, then say so.
    KillPods(String, oneshot::Sender<()>),
}

#[derive(Debug, Default)]
struct State {
    armed: Vec<Armed>,
    tell: Option<mpsc::UnboundedSender<Happening>>,
    trouble: Option<String>,
}

/// The faults of a cluster; clones share them.
#[derive(Clone, Debug)]
pub struct Faults {
    state: Arc<Mutex<State>>,
    changed: Arc<watch::Sender<u64>>,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            state: Arc::default(),
            changed: Arc::new(watch::Sender::new(0)),
        }
    }
}

impl Faults {
    /// A client like `client` whose requests the faults strike.
    pub fn client(&self, client: &Client) -> Client {
        let namespace = client.default_namespace().to_owned();
        let service = Disturbed {
            client: client.clone(),
            faults: self.clone(),
        };
        Client::new(service, namespace)
    }

    /// From now on, wait for its request.
    pub fn arm(&self, fault: Fault) {
        self.lock().armed.push(Armed {
            fault,
            matched: 0,
            proof: None,
        });
    }

    /// Forgets what has not struck yet; gives what that was.
    pub fn disarm(&self) -> Vec<String> {
        let mut state = self.lock();
        let (struck, waiting): (Vec<Armed>, _) = std::mem::take(&mut state.armed)
            .into_iter()
            .partition(|armed| armed.proof.is_some());
        state.armed = struck;
        waiting.iter().map(ToString::to_string).collect()
    }

    /// Waits until all have struck; gives their proofs, or those that have not.
    pub async fn all_fired(&self, limit: Duration) -> Result<Vec<String>, String> {
        let mut changed = self.changed.subscribe();
        let waiting = async {
            loop {
                changed.mark_unchanged();
                if let Some(outcome) = self.outcome() {
                    return outcome;
                }
                if changed.changed().await.is_err() {
                    return Err("the faults are gone".to_owned());
                }
            }
        };
        if let Ok(outcome) = tokio::time::timeout(limit, waiting).await {
            return outcome;
        }
        let state = self.lock();
        let missing: Vec<String> = state
            .armed
            .iter()
            .filter(|armed| armed.proof.is_none())
            .map(ToString::to_string)
            .collect();
        Err(format!(
            "did not fire within {limit:?}: {}",
            missing.join("; ")
        ))
    }

    /// `None` while some have not struck.
    fn outcome(&self) -> Option<Result<Vec<String>, String>> {
        let state = self.lock();
        if let Some(trouble) = &state.trouble {
            return Some(Err(trouble.clone()));
        }
        let proofs: Option<Vec<String>> = state
            .armed
            .iter()
            .map(|armed| armed.proof.clone())
            .collect();
        proofs.map(Ok)
    }

    /// Who does what a request cannot do itself; the last one that asked.
    pub(crate) fn listen(&self) -> mpsc::UnboundedReceiver<Happening> {
        let (tell, told) = mpsc::unbounded_channel();
        self.lock().tell = Some(tell);
        told
    }

    /// A fault could not be carried out.
    pub(crate) fn trouble(&self, what: String) {
        self.lock().trouble.get_or_insert(what);
        self.changed.send_modify(|count| *count += 1);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waits(&self) -> bool {
        self.lock().armed.iter().any(|armed| armed.proof.is_none())
    }

    /// The fault that strikes at this request, if one does; it counts as struck until it is taken back.
    fn strike(&self, seen: &Seen) -> Option<(usize, Fault)> {
        let mut state = self.lock();
        let mut struck = None;
        for (index, armed) in state.armed.iter_mut().enumerate() {
            // There is no commit after a read, and a watch has no end that one could wait for.
            let is_read = ["get", "list", "watch"].contains(&seen.verb);
            if armed.matched >= armed.fault.occurrence
                || (is_read && armed.fault.when == When::AfterCommit)
                || !armed.fault.trigger.means(seen)
            {
                continue;
            }
            armed.matched += 1;
            if armed.matched == armed.fault.occurrence && struck.is_none() {
                struck = Some((index, armed.fault.clone()));
            }
        }
        struck
    }

    /// The request had no success, so there is nothing after its commit.
    fn take_back(&self, index: usize) {
        if let Some(armed) = self.lock().armed.get_mut(index) {
            armed.matched = armed.matched.saturating_sub(1);
        }
    }

    fn prove(&self, index: usize, proof: String) {
        if let Some(armed) = self.lock().armed.get_mut(index) {
            armed.proof = Some(proof);
        }
        self.changed.send_modify(|count| *count += 1);
    }

    fn tell(&self, happening: Happening) {
        let told = self.lock().tell.clone();
        if told.is_none_or(|tell| tell.send(happening).is_err()) {
            self.trouble("nobody is there who could carry out the fault".to_owned());
        }
    }
}

impl fmt::Display for Armed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fault {
            effect,
            trigger,
            when,
            occurrence,
        } = &self.fault;
        let part = |text: &Option<String>| text.clone().unwrap_or_else(|| "any".to_owned());
        write!(
            f,
            "{effect:?} {when:?} {} {} {}: {} of {occurrence} such requests were seen",
            part(&trigger.verb),
            part(&trigger.resource),
            part(&trigger.name),
            self.matched,
        )
    }
}

struct Disturbed {
    client: Client,
    faults: Faults,
}

impl Service<Request<Body>> for Disturbed {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        // The client inside has a queue of its own.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (client, faults) = (self.client.clone(), self.faults.clone());
        Box::pin(async move {
            if faults.waits() {
                perhaps(&client, &faults, request).await
            } else {
                client.send(request).await.map_err(Into::into)
            }
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
    let Some((index, fault)) = seen.and_then(|seen| faults.strike(&seen)) else {
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
        Effect::KillPods(selector) => {
            let (done, is_done) = oneshot::channel();
            faults.tell(Happening::KillPods(selector, done));
            if is_done.await.is_ok() {
                faults.prove(index, proof);
            }
            answer
                .ok_or_else(|| lost("pods were killed before the request: a fault of the scenario"))
        }
    }
}

fn refusal(code: u16, reason: &str, message: &str) -> Result<Response<Body>, BoxError> {
    answer_with(code, &status(code, reason, message).to_string())
}

fn status(code: u16, reason: &str, message: &str) -> Value {
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
