//! Port-forward over WebSocket channels (`v4.channel.k8s.io`): two channels for each port of the query.
//!
//! Port number `i` has channel `2i` for data and `2i + 1` for an error text. The server's first message
//! on each channel is the port, two bytes, least significant first.

use std::io;

use bytes::{BufMut, Bytes, BytesMut};
use futures::{SinkExt, StreamExt, future::join_all};
use simcluster_kubelet_api::Duplex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
};
use tokio_tungstenite::tungstenite::Message;

use super::{accept, goodbye, io_error};
use crate::Dial;

const QUEUE: usize = 16;

pub(crate) async fn serve<T: Duplex + 'static>(
    connection: T,
    ports: &[u16],
    dial: &Dial,
) -> io::Result<()> {
    let (mut to_client, mut from_client) = accept(connection).await.split();
    let (queue, mut queued) = mpsc::channel::<Message>(QUEUE);
    let mut inputs = Vec::new();
    let mut forwards = Vec::new();
    for (index, port) in ports.iter().copied().enumerate() {
        let data = u8::try_from(2 * index).map_err(|_| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                "more than 127 ports in one request",
            )
        })?;
        for channel in [data, data + 1] {
            to_client
                .send(message(channel, &port.to_le_bytes()))
                .await
                .map_err(io_error)?;
        }
        let (input, received) = mpsc::channel::<Bytes>(QUEUE);
        inputs.push(input);
        forwards.push(forward(data, port, received, queue.clone(), dial));
    }
    drop(queue);
    let read = async {
        while let Some(message) = from_client.next().await {
            match message.map_err(io_error)? {
                Message::Binary(mut bytes) if !bytes.is_empty() => {
                    let channel = usize::from(bytes.split_to(1)[0]);
                    if channel.is_multiple_of(2)
                        && let Some(input) = inputs.get(channel / 2)
                    {
                        // The pod may have closed; what comes after is dropped.
                        drop(input.send(bytes).await);
                    }
                }
                Message::Close(_) => break,
                _ => {}
            }
        }
        Ok::<_, io::Error>(())
    };
    let write = async {
        while let Some(message) = queued.recv().await {
            to_client.send(message).await.map_err(io_error)?;
        }
        drop(to_client.send(goodbye()).await);
        Ok::<_, io::Error>(())
    };
    let ours = async { tokio::join!(join_all(forwards), write).1 };
    tokio::select! {
        outcome = ours => outcome,
        outcome = read => outcome,
    }
}

/// One port: bytes both ways until the pod closes or the client has gone.
async fn forward(
    data: u8,
    port: u16,
    mut received: mpsc::Receiver<Bytes>,
    queue: mpsc::Sender<Message>,
    dial: &Dial,
) {
    let (mut from_pod, mut to_pod) = match dial(port).await {
        Ok(stream) => tokio::io::split(stream),
        Err(error) => {
            drop(
                queue
                    .send(message(data + 1, error.to_string().as_bytes()))
                    .await,
            );
            return;
        }
    };
    let input = async {
        while let Some(bytes) = received.recv().await {
            if to_pod.write_all(&bytes).await.is_err() {
                break;
            }
        }
        drop(to_pod.shutdown().await);
        // Keep draining, so that a client that still sends is not held up.
        while received.recv().await.is_some() {}
    };
    let output = async {
        let mut buffer = vec![0; 32 << 10];
        loop {
            match from_pod.read(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(count) => {
                    if queue.send(message(data, &buffer[..count])).await.is_err() {
                        return;
                    }
                }
            }
        }
    };
    tokio::select! {
        () = input => {}
        () = output => {}
    }
}

fn message(channel: u8, content: &[u8]) -> Message {
    let mut bytes = BytesMut::with_capacity(content.len() + 1);
    bytes.put_u8(channel);
    bytes.put_slice(content);
    Message::Binary(bytes.freeze())
}
