//! One SPDY connection: the streams that the client opens, each as a way in and a way out.

use std::{collections::HashMap, io};

use bytes::Bytes;
use simcluster_kubelet_api::Duplex;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt, WriteHalf},
    sync::mpsc,
};
use tracing::debug;

use super::{
    frame::{self, Frame},
    headers::{Decoder, Encoder},
};

/// Frames on their way to the client before writers have to wait.
const QUEUE: usize = 64;
/// Content of one data frame.
const CHUNK: usize = 32 << 10;

/// A stream that the client opened.
#[derive(Debug)]
pub(super) struct Stream {
    headers: Vec<(String, String)>,
    /// What the client sends; ends when it half-closes.
    pub(super) incoming: Incoming,
    /// What goes to the client.
    pub(super) outgoing: Outgoing,
}

impl Stream {
    /// A header's value; names are lower case.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

/// The client's half of a stream.
#[derive(Debug)]
pub(super) struct Incoming(mpsc::UnboundedReceiver<Bytes>);

impl Incoming {
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        self.0.recv().await
    }
}

/// Our half of a stream; dropping it leaves it open, as a client may still read.
#[derive(Clone, Debug)]
pub(super) struct Outgoing {
    stream: u32,
    frames: mpsc::Sender<Bytes>,
}

impl Outgoing {
    /// Sends bytes; an error when the connection is gone.
    pub(super) async fn send(&self, content: &[u8]) -> io::Result<()> {
        for chunk in content.chunks(CHUNK) {
            self.put(frame::data(self.stream, false, chunk)).await?;
        }
        Ok(())
    }

    /// Ends our half.
    pub(super) async fn finish(&self) -> io::Result<()> {
        self.put(frame::data(self.stream, true, &[])).await
    }

    /// Sends all of a source, then ends our half.
    pub(super) async fn send_all(&self, from: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
        let mut buffer = vec![0; CHUNK];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            self.send(&buffer[..count]).await?;
        }
        self.finish().await
    }

    async fn put(&self, frame: Bytes) -> io::Result<()> {
        let gone = |_| io::Error::from(io::ErrorKind::ConnectionAborted);
        self.frames.send(frame).await.map_err(gone)
    }
}

/// The streams of a connection, in the order in which the client opens them.
#[derive(Debug)]
pub(super) struct Streams(mpsc::Receiver<Stream>);

impl Streams {
    /// The next stream; `None` when the client has gone.
    pub(super) async fn next(&mut self) -> Option<Stream> {
        self.0.recv().await
    }
}

/// Starts to serve a connection; the second value ends when the connection does.
pub(super) fn open<T: Duplex + 'static>(
    connection: T,
) -> io::Result<(Streams, tokio::task::JoinHandle<()>)> {
    let (mut from_client, to_client) = tokio::io::split(connection);
    let (frames, queued) = mpsc::channel(QUEUE);
    let (opened, streams) = mpsc::channel(QUEUE);
    let mut encoder = Encoder::new()?;
    let writer = tokio::spawn(write(to_client, queued));
    let task = tokio::spawn(async move {
        let mut reader = Reader {
            frames,
            opened,
            incoming: HashMap::new(),
            decoder: Decoder::new(),
        };
        loop {
            match frame::read(&mut from_client).await {
                Ok(Some(frame)) => match reader.handle(frame, &mut encoder).await {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(error) => {
                        debug!(%error, "a SPDY connection broke the protocol");
                        break;
                    }
                },
                Ok(None) => break,
                Err(error) => {
                    debug!(%error, "a SPDY connection broke");
                    break;
                }
            }
        }
        drop(reader);
        // Whoever still writes finds out by the closed queue.
        writer.abort();
    });
    Ok((Streams(streams), task))
}

async fn write<T: Duplex>(mut to_client: WriteHalf<T>, mut queued: mpsc::Receiver<Bytes>) {
    while let Some(frame) = queued.recv().await {
        if to_client.write_all(&frame).await.is_err() {
            return;
        }
        if queued.is_empty() && to_client.flush().await.is_err() {
            return;
        }
    }
    drop(to_client.shutdown().await);
}

struct Reader {
    frames: mpsc::Sender<Bytes>,
    opened: mpsc::Sender<Stream>,
    incoming: HashMap<u32, mpsc::UnboundedSender<Bytes>>,
    decoder: Decoder,
}

impl Reader {
    /// Handles one frame; false when the client says goodbye.
    async fn handle(&mut self, frame: Frame, encoder: &mut Encoder) -> io::Result<bool> {
        match frame {
            Frame::SynStream { stream, fin, block } => {
                self.open(stream, fin, &block, encoder).await?;
            }
            Frame::Data {
                stream,
                fin,
                content,
            } => {
                if let Some(incoming) = self.incoming.get(&stream)
                    && !content.is_empty()
                {
                    // Nobody reads it any more: dropped, as on a closed pipe.
                    drop(incoming.send(content));
                }
                if fin {
                    self.incoming.remove(&stream);
                }
            }
            Frame::RstStream { stream } => {
                self.incoming.remove(&stream);
            }
            Frame::Ping { content } => self.answer(frame::pong(&content)).await?,
            Frame::Headers { block } => {
                self.decoder.decode(&block)?;
            }
            Frame::GoAway => return Ok(false),
            Frame::Other => {}
        }
        Ok(true)
    }

    async fn open(
        &mut self,
        stream: u32,
        fin: bool,
        block: &[u8],
        encoder: &mut Encoder,
    ) -> io::Result<()> {
        let headers = self.decoder.decode(block)?;
        let (sender, received) = mpsc::unbounded_channel();
        if !fin {
            self.incoming.insert(stream, sender);
        }
        let outgoing = Outgoing {
            stream,
            frames: self.frames.clone(),
        };
        let opened = Stream {
            headers,
            incoming: Incoming(received),
            outgoing,
        };
        self.answer(frame::syn_reply(stream, &encoder.encode(&[])?))
            .await?;
        if self.opened.send(opened).await.is_err() {
            self.answer(frame::refuse(stream)).await?;
        }
        Ok(())
    }

    async fn answer(&self, frame: Bytes) -> io::Result<()> {
        let gone = |_| io::Error::from(io::ErrorKind::ConnectionAborted);
        self.frames.send(frame).await.map_err(gone)
    }
}
