//! Who carries out what was planned: hands that write, or hands that cannot.
//!
//! A plan that is carried out with tied hands shows whether anything is to be written at all, by the very
//! code that would write it.

use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use kube::runtime::events::{Recorder, Reporter};
use thiserror::Error;

use crate::recent::Recent;

/// A way to write to the cluster.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "a recorder cannot be printed")]
pub struct Hands {
    /// Writes objects.
    pub client: Client,
    /// Writes events.
    pub recorder: Recorder,
    /// Remembers for a moment what was written.
    pub recent: Recent,
}

/// There is something to be written.
#[derive(Debug, Error)]
#[error("something is to be written")]
struct Tied;

impl Hands {
    /// Hands that write.
    pub fn free(client: &Client, reporter: Reporter) -> Self {
        Self {
            client: client.clone(),
            recorder: Recorder::new(client.clone(), reporter),
            recent: Recent::default(),
        }
    }

    /// Hands that cannot: every request is an error that [`is_tied`] knows.
    pub fn tied(reporter: Reporter) -> Self {
        let refuse = tower::service_fn(|_: Request<Body>| {
            std::future::ready(Err::<Response<Body>, _>(Tied))
        });
        Self::free(&Client::new(refuse, "default"), reporter)
    }
}

/// The request was not made, because the hands were tied.
pub fn is_tied(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Service(source) if source.is::<Tied>())
}
