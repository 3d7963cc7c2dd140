//! WebSocket as a carrier: channels by the first byte of a message, or a plain byte stream.
//!
//! The handshake has been answered already; this is what follows.

use std::io;

use simcluster_kubelet_api::Duplex;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        self, Message,
        protocol::{CloseFrame, Role, frame::coding::CloseCode},
    },
};

pub(crate) mod port_forward;
pub(crate) mod session;
pub(crate) mod tunnel;

async fn accept<T: Duplex>(connection: T) -> WebSocketStream<T> {
    WebSocketStream::from_raw_socket(connection, Role::Server, None).await
}

/// The orderly end. Without its code, kubectl takes the end for a failure.
fn goodbye() -> Message {
    Message::Close(Some(CloseFrame {
        code: CloseCode::Normal,
        reason: "".into(),
    }))
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
