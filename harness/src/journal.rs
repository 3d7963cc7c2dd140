//! Who asked the API for what, and what it answered: a record of requests, for evidence and for promises
//! such as "it writes nothing".
//!
//! A client that was made with [`Journal::client`] is recorded; it speaks to the same cluster as the one
//! it was made from, simulated or not. Bodies are not kept: they may hold secrets.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures::future::BoxFuture;
use http::{Request, Response};
use jiff::Timestamp;
use kube::{Client, client::Body};
use serde::Serialize;
use tower::{BoxError, Service};

/// What is kept; the oldest half goes when it is full.
const LIMIT: usize = 100_000;

/// One request and its answer.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// Who asked.
    pub who: Arc<str>,
    /// When.
    pub at: Timestamp,
    /// `GET`, `POST`, …
    pub method: String,
    /// Path and query.
    pub path: String,
    /// The status code; none if no answer came.
    pub status: Option<u16>,
    /// Until the answer began.
    #[serde(serialize_with = "milliseconds")]
    pub took: Duration,
}

fn milliseconds<S: serde::Serializer>(took: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(took.as_secs_f64() * 1000.0)
}

impl Entry {
    /// Whether it was to change something.
    pub fn is_write(&self) -> bool {
        !matches!(self.method.as_str(), "GET" | "HEAD" | "OPTIONS")
            && !self.path.contains("dryRun=")
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = self
            .status
            .map_or_else(|| "---".to_owned(), |status| status.to_string());
        let took = self.took.as_secs_f64() * 1000.0;
        write!(
            f,
            "{} {} {status} {took:.1} ms {} {}",
            self.at, self.who, self.method, self.path
        )
    }
}

/// The record of a cluster's requests; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Journal(Arc<Mutex<Vec<Entry>>>);

impl Journal {
    /// A client like `client` whose requests are recorded as those of `who`.
    pub fn client(&self, client: &Client, who: &str) -> Client {
        let namespace = client.default_namespace().to_owned();
        let recorded = Recorded {
            client: client.clone(),
            who: who.into(),
            journal: self.clone(),
        };
        Client::new(recorded, namespace)
    }

    /// What was recorded so far.
    pub fn entries(&self) -> Vec<Entry> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn add(&self, entry: Entry) {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= LIMIT {
            entries.drain(..LIMIT / 2);
        }
        entries.push(entry);
    }
}

struct Recorded {
    client: Client,
    who: Arc<str>,
    journal: Journal,
}

impl Service<Request<Body>> for Recorded {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        // The client inside has a queue of its own.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (at, start) = (Timestamp::now(), Instant::now());
        let method = request.method().to_string();
        let path = request
            .uri()
            .path_and_query()
            .map(ToString::to_string)
            .unwrap_or_default();
        let (who, journal) = (Arc::clone(&self.who), self.journal.clone());
        let client = self.client.clone();
        Box::pin(async move {
            let answer = client.send(request).await;
            journal.add(Entry {
                who,
                at,
                method,
                path,
                status: answer.as_ref().ok().map(|answer| answer.status().as_u16()),
                took: start.elapsed(),
            });
            answer.map_err(Into::into)
        })
    }
}
