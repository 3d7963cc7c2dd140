//! A `kube::Client` without a socket.
//!
//! An ordinary request is a function call. A request that asks for an upgrade (exec, port-forward) goes
//! through an HTTP/1.1 connection in memory, because an upgrade is a matter of connections.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use futures::{FutureExt as _, future::BoxFuture};
use http::{Request, Response, header};
use http_body_util::BodyExt as _;
use hyper_util::rt::TokioIo;
use tower::Service;

use crate::{Body, BodyError, Handler, Peer, PeerUser, listener};

/// What a connection in memory holds before the writer waits.
const BUFFER: usize = 64 << 10;

/// A client of `handler` that acts as `user`, in `namespace` unless it says otherwise.
pub fn client(handler: Arc<dyn Handler>, user: PeerUser, namespace: &str) -> kube::Client {
    let peer = Peer {
        user: Some(user),
        address: None,
    };
    kube::Client::new(InProcess { handler, peer }, namespace)
}

#[derive(Clone)]
struct InProcess {
    handler: Arc<dyn Handler>,
    peer: Peer,
}

impl Service<Request<kube::client::Body>> for InProcess {
    type Response = Response<Body>;
    type Error = BodyError;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<kube::client::Body>) -> Self::Future {
        let (handler, peer) = (Arc::clone(&self.handler), self.peer.clone());
        let request = request.map(|body| -> Body { body.map_err(Into::into).boxed_unsync() });
        if request.headers().contains_key(header::UPGRADE) {
            return upgrade(handler, peer, request).boxed();
        }
        let answer = handler.handle(request, peer);
        async move { Ok(answer.await) }.boxed()
    }
}

async fn upgrade(
    handler: Arc<dyn Handler>,
    peer: Peer,
    mut request: Request<Body>,
) -> Result<Response<Body>, BodyError> {
    let (ours, theirs) = tokio::io::duplex(BUFFER);
    tokio::spawn(listener::serve(theirs, peer, handler));
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(ours)).await?;
    tokio::spawn(connection.with_upgrades());
    // In HTTP/1.1 the request line has the path only, and the host is a header.
    let path = request
        .uri()
        .path_and_query()
        .map_or("/", |path| path.as_str())
        .parse()?;
    *request.uri_mut() = path;
    request
        .headers_mut()
        .entry(header::HOST)
        .or_insert(http::HeaderValue::from_static("localhost"));
    let response = sender.send_request(request).await?;
    Ok(response.map(|body| body.map_err(Into::into).boxed_unsync()))
}
