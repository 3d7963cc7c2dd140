//! The wire protocols of exec, attach and port-forward: WebSocket channels and SPDY/3.1.
//!
//! Clients differ by age: kubectl up to 1.30 speaks SPDY/3.1; newer ones speak WebSocket (channels for
//! exec, SPDY inside WebSocket for port-forward); kube-rs and the Python client speak WebSocket channels.
//! [`negotiate`] picks the protocol from a request's headers and says what the 101 answer must carry;
//! [`serve_session`] and [`serve_port_forward`] then carry the bytes over the upgraded connection.
//!
//! It does not know routes, pods or authorization, and starts nothing: the process or the way into a pod
//! comes from the caller, in the words of `simcluster-kubelet-api`.

mod negotiate;
mod outcome;
mod spdy;
mod websocket;

use std::io;

use simcluster_kubelet_api::{Answer, Duplex, Session, StreamOptions};

pub use negotiate::{NegotiationError, Protocol, Purpose, Upgrade, negotiate};

/// Leads to a port inside a pod; asked once for each connection.
pub type Dial = dyn Fn(u16) -> Answer<Box<dyn Duplex>> + Send + Sync;

/// Carries a process's streams over an upgraded connection until it has ended or the client has gone.
pub async fn serve_session<T: Duplex + 'static>(
    connection: T,
    protocol: Protocol,
    options: &StreamOptions,
    session: Session,
) -> io::Result<()> {
    match protocol {
        Protocol::WebSocketChannels { closes_stdin } => {
            websocket::session::serve(connection, closes_stdin, session).await
        }
        Protocol::Spdy => spdy::session::serve(connection, options, session).await,
        Protocol::SpdyInWebSocket => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "exec is not tunnelled through WebSocket",
        )),
    }
}

/// Carries connections to ports of a pod over an upgraded connection until the client has gone.
///
/// `ports` are the ones named in the request's query; only WebSocket channels need them.
pub async fn serve_port_forward<T: Duplex + 'static>(
    connection: T,
    protocol: Protocol,
    ports: &[u16],
    dial: &Dial,
) -> io::Result<()> {
    match protocol {
        Protocol::WebSocketChannels { .. } => {
            websocket::port_forward::serve(connection, ports, dial).await
        }
        Protocol::Spdy => spdy::port_forward::serve(connection, dial).await,
        Protocol::SpdyInWebSocket => {
            spdy::port_forward::serve(websocket::tunnel::open(connection).await, dial).await
        }
    }
}
