//! Frames of JSON with file descriptors over a Unix stream socket, for both ends.
//!
//! A frame is its length, its number of descriptors, and the JSON text. Nothing here blocks or knows
//! what a frame means: who calls decides when to wait.

use std::{
    collections::VecDeque,
    io::{self, IoSlice, IoSliceMut},
    os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd},
};

use nix::{
    errno::Errno,
    sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, UnixAddr, recvmsg, sendmsg},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::sys;

const HEADER: usize = 8;
/// A frame beyond this is a bug of ours, not a large environment.
const LONGEST: usize = 64 << 20;
const MOST_DESCRIPTORS: usize = 16;

/// Frames that wait to be sent.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    frames: VecDeque<Frame>,
}

#[derive(Debug)]
struct Frame {
    bytes: Vec<u8>,
    sent: usize,
    descriptors: Vec<OwnedFd>,
}

impl Outbox {
    /// Queues a message with the descriptors that go with it.
    pub(crate) fn push<T: Serialize>(
        &mut self,
        message: &T,
        descriptors: Vec<OwnedFd>,
    ) -> io::Result<()> {
        let mut bytes = vec![0; HEADER];
        serde_json::to_writer(&mut bytes, message)?;
        let length = u32::try_from(bytes.len() - HEADER).map_err(io::Error::other)?;
        let count = u32::try_from(descriptors.len()).map_err(io::Error::other)?;
        bytes[..4].copy_from_slice(&length.to_ne_bytes());
        bytes[4..HEADER].copy_from_slice(&count.to_ne_bytes());
        self.frames.push_back(Frame {
            bytes,
            sent: 0,
            descriptors,
        });
        Ok(())
    }

    /// Whether everything has been sent.
    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Sends as much as the socket takes; `WouldBlock` when it is full.
    pub(crate) fn flush(&mut self, socket: BorrowedFd<'_>) -> io::Result<()> {
        while let Some(frame) = self.frames.front_mut() {
            let raw: Vec<RawFd> = frame.descriptors.iter().map(AsRawFd::as_raw_fd).collect();
            let rights = [ControlMessage::ScmRights(&raw)];
            let control = if raw.is_empty() {
                &rights[..0]
            } else {
                &rights[..]
            };
            let sent = sendmsg::<UnixAddr>(
                socket.as_raw_fd(),
                &[IoSlice::new(&frame.bytes[frame.sent..])],
                control,
                MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL,
                None,
            );
            match sent {
                Ok(count) => {
                    frame.sent += count;
                    // They went with the first byte.
                    frame.descriptors.clear();
                    if frame.sent == frame.bytes.len() {
                        self.frames.pop_front();
                    }
                }
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    /// Sends everything, waiting as long as it takes. Only for processes that have nothing else to do.
    pub(crate) fn flush_all(&mut self, socket: BorrowedFd<'_>) -> io::Result<()> {
        loop {
            match self.flush(socket) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    sys::wait_writable(socket)?;
                }
                other => return other,
            }
        }
    }
}

/// What has arrived.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    bytes: Vec<u8>,
    descriptors: VecDeque<OwnedFd>,
}

impl Inbox {
    /// Reads once; 0 is the end of the stream, `WouldBlock` means that nothing is there.
    pub(crate) fn fill(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        let mut chunk = vec![0; 64 << 10];
        let mut control = nix::cmsg_space!([RawFd; MOST_DESCRIPTORS]);
        let (count, raw) = loop {
            let mut parts = [IoSliceMut::new(&mut chunk)];
            match recvmsg::<UnixAddr>(
                socket.as_raw_fd(),
                &mut parts,
                Some(&mut control),
                MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC,
            ) {
                Ok(received) => {
                    let mut raw = Vec::new();
                    for message in received.cmsgs()? {
                        if let ControlMessageOwned::ScmRights(fds) = message {
                            raw.extend(fds);
                        }
                    }
                    break (received.bytes, raw);
                }
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        };
        self.descriptors.extend(raw.into_iter().map(sys::own));
        self.bytes.extend_from_slice(&chunk[..count]);
        Ok(count)
    }

    /// The next whole message, if one is there.
    pub(crate) fn take<T: DeserializeOwned>(&mut self) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
        let Some((header, _)) = self.bytes.split_first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let half = |at: usize| {
            let bytes = header[at..].first_chunk::<4>().copied();
            u32::from_ne_bytes(bytes.unwrap_or_default()) as usize
        };
        let (length, count) = (half(0), half(4));
        if length > LONGEST || count > MOST_DESCRIPTORS {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a frame of impossible size",
            ));
        }
        if self.bytes.len() < HEADER + length {
            return Ok(None);
        }
        if self.descriptors.len() < count {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "descriptors were lost on the way",
            ));
        }
        let message = serde_json::from_slice(&self.bytes[HEADER..HEADER + length])?;
        self.bytes.drain(..HEADER + length);
        Ok(Some((message, self.descriptors.drain(..count).collect())))
    }

    /// Waits for the next message; `None` at the end of the stream. Only for processes that have nothing else to do.
    pub(crate) fn receive<T: DeserializeOwned>(
        &mut self,
        socket: BorrowedFd<'_>,
    ) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
        loop {
            if let Some(message) = self.take()? {
                return Ok(Some(message));
            }
            match self.fill(socket) {
                Ok(0) => return Ok(None),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    sys::wait_readable(socket)?;
                }
                Err(error) => return Err(error),
            }
        }
    }
}
