//! How clients reach an API server: TLS with a CA of its own, kubeconfigs, and a `kube::Client` without
//! a socket.
//!
//! Whatever answers is a [`Handler`]; in-process and remote requests reach the same one. This crate
//! knows certificates and connections. It does not know the API, users' rights or tokens.

mod authority;
mod in_process;
mod kubeconfig;
mod listener;

use std::net::SocketAddr;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body_util::{BodyExt as _, combinators::UnsyncBoxBody};

pub use authority::{Authority, AuthorityError, Credentials, IssueError, Terms};
pub use in_process::client;
pub use kubeconfig::{Login, kubeconfig};
pub use listener::{ListenError, Listening, listen};

/// What a body may fail with.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;
/// A request's or an answer's body.
pub type Body = UnsyncBoxBody<Bytes, BodyError>;

/// Who is at the other end, as the connection itself tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// The user of a verified client certificate, or of an in-process client.
    pub user: Option<PeerUser>,
    /// The remote address; none in-process.
    pub address: Option<SocketAddr>,
}

/// A user that a connection vouches for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerUser {
    /// The certificate's common name.
    pub name: String,
    /// The certificate's organizations.
    pub groups: Vec<String>,
}

/// Whatever answers requests. A request that asks for an upgrade carries hyper's `OnUpgrade`.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request.
    fn handle(&self, request: Request<Body>, peer: Peer) -> BoxFuture<'static, Response<Body>>;
}

/// A body of bytes.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    http_body_util::Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}
