//! A byte stream inside binary WebSocket messages: what kubectl 1.31 and later lead SPDY through.

use futures::{SinkExt, StreamExt};
use simcluster_kubelet_api::Duplex;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_tungstenite::tungstenite::Message;

use super::{accept, goodbye};

const BUFFER: usize = 64 << 10;

/// The inside of the tunnel; it ends when either side does.
pub(crate) async fn open<T: Duplex + 'static>(connection: T) -> DuplexStream {
    let (inside, outside) = tokio::io::duplex(BUFFER);
    let (mut to_client, mut from_client) = accept(connection).await.split();
    let (mut read, mut write) = tokio::io::split(outside);
    tokio::spawn(async move {
        let upward = async {
            while let Some(Ok(message)) = from_client.next().await {
                match message {
                    Message::Binary(bytes) if write.write_all(&bytes).await.is_err() => break,
                    Message::Close(_) => break,
                    _ => {}
                }
            }
        };
        let downward = async {
            let mut buffer = vec![0; BUFFER];
            while let Ok(count @ 1..) = read.read(&mut buffer).await {
                let message = Message::Binary(buffer[..count].to_vec().into());
                if to_client.send(message).await.is_err() {
                    break;
                }
            }
            drop(to_client.send(goodbye()).await);
        };
        tokio::select! {
            () = upward => {}
            () = downward => {}
        }
    });
    inside
}
