//! exec and attach over WebSocket channels, versions 4 and 5.
//!
//! Channels: 0 standard input, 1 output, 2 error, 3 outcome, 4 terminal size, 255 close (version 5).

use std::io;

use bytes::{BufMut, Bytes, BytesMut};
use futures::{SinkExt, StreamExt};
use simcluster_kubelet_api::{Duplex, ExitStatus, Input, Output, Session, TerminalSize};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
};
use tokio_tungstenite::tungstenite::Message;

use super::{accept, goodbye, io_error};
use crate::outcome;

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const OUTCOME: u8 = 3;
const RESIZE: u8 = 4;
const CLOSE: u8 = 255;

/// Messages on their way to the client before the process has to wait.
const QUEUE: usize = 16;

pub(crate) async fn serve<T: Duplex + 'static>(
    connection: T,
    closes_stdin: bool,
    session: Session,
) -> io::Result<()> {
    let (mut to_client, mut from_client) = accept(connection).await.split();
    let Session {
        mut stdin,
        stdout,
        stderr,
        resize,
        exit,
    } = session;
    // An empty message tells the client that the streams are open, as Kubernetes does.
    let first = if stdout.is_some() { STDOUT } else { OUTCOME };
    to_client
        .send(message(first, &[]))
        .await
        .map_err(io_error)?;

    let (queue, mut queued) = mpsc::channel::<Message>(QUEUE);
    let output = async {
        let (out, err) = (
            pump(stdout, STDOUT, queue.clone()),
            pump(stderr, STDERR, queue.clone()),
        );
        tokio::join!(out, err);
        let exit = exit
            .await
            .unwrap_or_else(|_| ExitStatus::Failed("the node lost it".to_owned()));
        let status = outcome::status(&exit).to_string();
        // The client may have gone; then nobody is left to tell.
        drop(queue.send(message(OUTCOME, status.as_bytes())).await);
        drop(queue);
    };
    let write = async {
        while let Some(message) = queued.recv().await {
            to_client.send(message).await.map_err(io_error)?;
        }
        // The client may close first.
        drop(to_client.send(goodbye()).await);
        Ok::<_, io::Error>(())
    };
    let read = async {
        while let Some(message) = from_client.next().await {
            match message.map_err(io_error)? {
                Message::Binary(bytes) => {
                    receive(&bytes, closes_stdin, &mut stdin, resize.as_ref()).await;
                }
                Message::Close(_) => break,
                _ => {}
            }
        }
        Ok::<_, io::Error>(())
    };
    let ours = async { tokio::join!(output, write).1 };
    tokio::select! {
        outcome = ours => outcome,
        outcome = read => outcome,
    }
}

/// Handles one message of the client; input that the process does not take is dropped.
async fn receive(
    bytes: &Bytes,
    closes_stdin: bool,
    stdin: &mut Option<Input>,
    resize: Option<&mpsc::Sender<TerminalSize>>,
) {
    let Some((&channel, content)) = bytes.split_first() else {
        return;
    };
    match channel {
        STDIN => {
            if let Some(input) = stdin
                && (input.write_all(content).await.is_err() || input.flush().await.is_err())
            {
                *stdin = None;
            }
        }
        CLOSE if closes_stdin && content == [STDIN] => {
            if let Some(mut input) = stdin.take() {
                drop(input.shutdown().await);
            }
        }
        RESIZE => {
            if let (Some(resize), Some(size)) = (resize, outcome::terminal_size(content)) {
                resize.send(size).await.ok();
            }
        }
        _ => {}
    }
}

async fn pump(output: Option<Output>, channel: u8, queue: mpsc::Sender<Message>) {
    let Some(mut output) = output else { return };
    let mut buffer = BytesMut::with_capacity(32 << 10);
    loop {
        buffer.clear();
        buffer.put_u8(channel);
        match output.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                if queue
                    .send(Message::Binary(buffer.split().freeze()))
                    .await
                    .is_err()
                {
                    return;
                }
                buffer.reserve(32 << 10);
            }
        }
    }
}

fn message(channel: u8, content: &[u8]) -> Message {
    let mut bytes = BytesMut::with_capacity(content.len() + 1);
    bytes.put_u8(channel);
    bytes.put_slice(content);
    Message::Binary(bytes.freeze())
}
