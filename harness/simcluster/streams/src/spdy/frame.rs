//! Frames: eight bytes of head, then content. Reading and writing, nothing of their meaning.

use std::io;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// The last frame of its direction on this stream.
pub(super) const FLAG_FIN: u8 = 1;

/// A frame of a client; the kinds that we answer or must read.
#[derive(Debug)]
pub(super) enum Frame {
    Data {
        stream: u32,
        fin: bool,
        content: Bytes,
    },
    SynStream {
        stream: u32,
        fin: bool,
        block: Bytes,
    },
    RstStream {
        stream: u32,
    },
    Ping {
        content: Bytes,
    },
    GoAway,
    /// Headers must be inflated even when nobody wants them: the zlib stream goes on.
    Headers {
        block: Bytes,
    },
    Other,
}

const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const HEADERS: u16 = 8;
const VERSION: u16 = 0x8003;

/// Reads the next frame; `None` when the client has closed between frames.
pub(super) async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Frame>> {
    let mut head = [0; 8];
    match from.read_exact(&mut head).await {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    };
    let flags = head[4];
    let length = usize::from(head[5]) << 16 | usize::from(head[6]) << 8 | usize::from(head[7]);
    let mut content = BytesMut::zeroed(length);
    from.read_exact(&mut content).await?;
    let content = content.freeze();
    let fin = flags & FLAG_FIN != 0;
    let word = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
    if word & 0x8000_0000 == 0 {
        return Ok(Some(Frame::Data {
            stream: word,
            fin,
            content,
        }));
    }
    if (word >> 16) as u16 != VERSION {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "not SPDY version 3",
        ));
    }
    let kind = (word & 0xffff) as u16;
    Ok(Some(match kind {
        SYN_STREAM => {
            let stream = stream_of(&content)?;
            // Stream, associated stream, priority, slot: ten bytes before the block.
            let block = content
                .get(10..)
                .map(|_| content.slice(10..))
                .ok_or_else(cut_short)?;
            Frame::SynStream { stream, fin, block }
        }
        RST_STREAM => Frame::RstStream {
            stream: stream_of(&content)?,
        },
        PING => Frame::Ping { content },
        GOAWAY => Frame::GoAway,
        HEADERS | SYN_REPLY => {
            stream_of(&content)?;
            Frame::Headers {
                block: content.slice(4..),
            }
        }
        _ => Frame::Other,
    }))
}

fn stream_of(content: &[u8]) -> io::Result<u32> {
    let bytes = content.first_chunk::<4>().ok_or_else(cut_short)?;
    Ok(u32::from_be_bytes(*bytes) & 0x7fff_ffff)
}

fn cut_short() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a SPDY frame is cut short")
}

/// A data frame.
pub(super) fn data(stream: u32, fin: bool, content: &[u8]) -> Bytes {
    frame(stream, if fin { FLAG_FIN } else { 0 }, &[content])
}

/// The answer to a stream that the client opened.
pub(super) fn syn_reply(stream: u32, block: &[u8]) -> Bytes {
    control(SYN_REPLY, &[&stream.to_be_bytes(), block])
}

/// Refuses a stream: status 3, refused.
pub(super) fn refuse(stream: u32) -> Bytes {
    control(RST_STREAM, &[&stream.to_be_bytes(), &3_u32.to_be_bytes()])
}

/// A ping goes back as it came.
pub(super) fn pong(content: &[u8]) -> Bytes {
    control(PING, &[content])
}

fn control(kind: u16, parts: &[&[u8]]) -> Bytes {
    frame(u32::from(VERSION) << 16 | u32::from(kind), 0, parts)
}

fn frame(word: u32, flags: u8, parts: &[&[u8]]) -> Bytes {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    debug_assert!(length < 1 << 24, "callers cut data into frames");
    let mut bytes = BytesMut::with_capacity(8 + length);
    bytes.put_u32(word);
    bytes.put_u32(u32::from(flags) << 24 | u32::try_from(length).unwrap_or(0) & 0x00ff_ffff);
    for part in parts {
        bytes.put_slice(part);
    }
    bytes.freeze()
}
