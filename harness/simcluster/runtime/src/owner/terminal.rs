//! The owner's end of a process's terminal.

use std::{
    io::{self, Read, Write},
    os::fd::{AsFd, OwnedFd},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf, unix::AsyncFd};

use super::stdio::unblock;
use crate::sys;

/// A terminal's master side. Clones are the same terminal: one may read while another writes or resizes.
#[derive(Clone, Debug)]
pub struct Terminal {
    master: Arc<AsyncFd<std::fs::File>>,
}

impl Terminal {
    pub(super) fn new(master: OwnedFd) -> io::Result<Self> {
        unblock(&master)?;
        Ok(Self {
            master: Arc::new(sys::watch(
                std::fs::File::from(master),
                Interest::READABLE | Interest::WRITABLE,
            )?),
        })
    }

    /// Tells the programs on it how large it is now.
    pub fn resize(&self, columns: u16, rows: u16) -> io::Result<()> {
        Ok(sys::set_terminal_size(
            self.master.get_ref().as_fd(),
            columns,
            rows,
        )?)
    }
}

impl AsyncRead for Terminal {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut ready = ready!(self.master.poll_read_ready(cx))?;
            let unfilled = buf.initialize_unfilled();
            match ready.try_io(|master| master.get_ref().read(unfilled)) {
                Ok(Ok(count)) => {
                    buf.advance(count);
                    return Poll::Ready(Ok(()));
                }
                // That is how a terminal says that nobody has its other end open any more.
                Ok(Err(error)) if error.raw_os_error() == Some(nix::libc::EIO) => {
                    return Poll::Ready(Ok(()));
                }
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_would_block) => {}
            }
        }
    }
}

impl AsyncWrite for Terminal {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut ready = ready!(self.master.poll_write_ready(cx))?;
            if let Ok(written) = ready.try_io(|master| master.get_ref().write(buf)) {
                return Poll::Ready(written);
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// A terminal has no half-closed state: the end of input is the character that means it, usually Ctrl-D.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
