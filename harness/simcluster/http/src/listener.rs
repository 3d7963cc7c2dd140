//! HTTPS: accepts connections, HTTP/1.1 and HTTP/2, and hands each request to the handler.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use http::Request;
use http_body_util::BodyExt as _;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::{Authority, AuthorityError, Body, Handler, Peer, PeerUser};

/// The server cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The port is taken, or not ours to take.
    #[error("cannot listen on {address}: choose another port, or 0 for a free one")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No certificate.
    #[error("cannot make the server's certificate")]
    Certificate(#[source] AuthorityError),
}

/// An open port; dropping it closes the port and its connections.
#[derive(Debug)]
pub struct Listening {
    address: SocketAddr,
    streams: mpsc::Sender<TcpStream>,
    stop: CancellationToken,
}

impl Listening {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where connections that were accepted elsewhere may be handed in, as a node's service proxy does.
    pub fn streams(&self) -> mpsc::Sender<TcpStream> {
        self.streams.clone()
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Serves `handler` on `address`; `names` and `addresses` go into the certificate beside loopback.
pub async fn listen(
    handler: Arc<dyn Handler>,
    authority: &Authority,
    address: SocketAddr,
    names: &[&str],
    addresses: &[IpAddr],
) -> Result<Listening, ListenError> {
    let mut all = vec![IpAddr::V4(Ipv4Addr::LOCALHOST), address.ip()];
    all.extend_from_slice(addresses);
    let mut all_names = vec!["localhost"];
    all_names.extend_from_slice(names);
    let tls = authority
        .server(&all_names, &all)
        .map_err(ListenError::Certificate)?;
    let bind = |source| ListenError::Bind { address, source };
    let listener = TcpListener::bind(address).await.map_err(bind)?;
    let address = listener.local_addr().map_err(bind)?;
    let (streams, handed_in) = mpsc::channel(16);
    let stop = CancellationToken::new();
    tokio::spawn(stop.clone().run_until_cancelled_owned(accept(
        listener,
        handed_in,
        TlsAcceptor::from(Arc::new(tls)),
        handler,
    )));
    Ok(Listening {
        address,
        streams,
        stop,
    })
}

/// Accepts until cancelled; dropping it ends its connections too.
async fn accept(
    listener: TcpListener,
    mut handed_in: mpsc::Receiver<TcpStream>,
    tls: TlsAcceptor,
    handler: Arc<dyn Handler>,
) {
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of file descriptors, or a connection that was reset before its turn.
                    debug!(%error, "a connection could not be accepted");
                    tokio::task::yield_now().await;
                    continue;
                }
            },
            Some(stream) = handed_in.recv() => stream,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
        };
        connections.spawn(serve_tls(stream, tls.clone(), Arc::clone(&handler)));
    }
}

async fn serve_tls(stream: TcpStream, tls: TlsAcceptor, handler: Arc<dyn Handler>) {
    // A request is small and waits for its answer: no reason to hold it back.
    drop(stream.set_nodelay(true));
    let address = stream.peer_addr().ok();
    let stream = match tls.accept(stream).await {
        Ok(stream) => stream,
        Err(error) => {
            debug!(%error, "a TLS handshake failed");
            return;
        }
    };
    let user = stream
        .get_ref()
        .1
        .peer_certificates()
        .and_then(|chain| user(chain.first()?));
    serve(stream, Peer { user, address }, handler).await;
}

/// Serves one connection, of whatever kind.
pub(crate) async fn serve<T>(stream: T, peer: Peer, handler: Arc<dyn Handler>)
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let (handler, peer) = (Arc::clone(&handler), peer.clone());
        async move {
            let request = request.map(|body| -> Body { body.map_err(Into::into).boxed_unsync() });
            Ok::<_, std::convert::Infallible>(handler.handle(request, peer).await)
        }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http2().max_concurrent_streams(1000);
    if let Err(error) = builder
        .serve_connection_with_upgrades(TokioIo::new(stream), service)
        .await
    {
        debug!(%error, "a connection ended in an error");
    }
}

/// The user that a verified certificate names.
fn user(certificate: &[u8]) -> Option<PeerUser> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let subject = certificate.subject();
    let name = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
    let groups = subject
        .iter_organization()
        .filter_map(|organization| organization.as_str().ok())
        .map(str::to_owned)
        .collect();
    Some(PeerUser { name, groups })
}
