//! WebSocket as a carrier: channels by the first byte of a message, or a plain byte stream.
//!
//! The handshake has been answered already; this is what follows.

use std::io;

use simcluster_kubelet_api::Duplex;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{self, protocol::Role},
};

pub(crate) mod port_forward;
pub(crate) mod session;
pub(crate) mod tunnel;

async fn accept<T: Duplex>(connection: T) -> WebSocketStream<T> {
    WebSocketStream::from_raw_socket(connection, Role::Server, None).await
}

fn io_error(error: tungstenite::Error) -> io::Error {
    match error {
        tungstenite::Error::Io(error) => error,
        tungstenite::Error::ConnectionClosed | tungstenite::Error::AlreadyClosed => {
            io::Error::from(io::ErrorKind::ConnectionAborted)
        }
        other => io::Error::other(other),
    }
}
