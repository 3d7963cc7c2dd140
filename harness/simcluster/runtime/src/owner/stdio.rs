//! The standard streams of a process: what the program gets, and the owner's ends.

use std::{
    fs::{File, OpenOptions},
    io,
    os::fd::OwnedFd,
    pin::Pin,
    task::{Context, Poll},
};

use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    unistd::pipe2,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::unix::pipe,
};

/// What one standard stream is connected to.
#[derive(Debug, Default)]
pub enum Stream {
    /// `/dev/null`.
    #[default]
    Null,
    /// A pipe, whose other end [`crate::Process`] has.
    Piped,
    /// A file of the owner's, passed on.
    File(File),
}

/// The three standard streams; `/dev/null` by default.
#[derive(Debug, Default)]
pub struct StdioSpec {
    /// What the program reads.
    pub stdin: Stream,
    /// What it writes.
    pub stdout: Stream,
    /// Where it complains.
    pub stderr: Stream,
}

impl StdioSpec {
    /// Nothing to read; output and complaints in two pipes.
    pub fn output() -> Self {
        Self {
            stdin: Stream::Null,
            stdout: Stream::Piped,
            stderr: Stream::Piped,
        }
    }

    /// Pipes for all three.
    pub fn piped() -> Self {
        Self {
            stdin: Stream::Piped,
            ..Self::output()
        }
    }
}

/// Bytes to a process. Dropping it, or shutting it down, is the end of its input.
#[derive(Debug)]
pub struct ProcessInput(Option<pipe::Sender>);

/// Bytes from a process.
#[derive(Debug)]
pub struct ProcessOutput(pipe::Receiver);

impl AsyncWrite for ProcessInput {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            Some(pipe) => Pin::new(pipe).poll_write(cx, buf),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0 = None;
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for ProcessOutput {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

/// The owner's ends.
#[derive(Debug, Default)]
pub(super) struct Ends {
    pub(super) stdin: Option<ProcessInput>,
    pub(super) stdout: Option<ProcessOutput>,
    pub(super) stderr: Option<ProcessOutput>,
}

/// The program's ends in order, and the owner's.
pub(super) fn open(spec: StdioSpec) -> io::Result<(Vec<OwnedFd>, Ends)> {
    let (stdin, input) = source(spec.stdin)?;
    let (stdout, output) = sink(spec.stdout)?;
    let (stderr, complaints) = sink(spec.stderr)?;
    let ends = Ends {
        stdin: input,
        stdout: output,
        stderr: complaints,
    };
    Ok((vec![stdin, stdout, stderr], ends))
}

fn source(stream: Stream) -> io::Result<(OwnedFd, Option<ProcessInput>)> {
    match stream {
        Stream::Null => Ok((null()?, None)),
        Stream::File(file) => Ok((file.into(), None)),
        Stream::Piped => {
            let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
            unblock(&write)?;
            Ok((
                read,
                Some(ProcessInput(Some(pipe::Sender::from_owned_fd(write)?))),
            ))
        }
    }
}

fn sink(stream: Stream) -> io::Result<(OwnedFd, Option<ProcessOutput>)> {
    match stream {
        Stream::Null => Ok((null()?, None)),
        Stream::File(file) => Ok((file.into(), None)),
        Stream::Piped => {
            let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
            unblock(&read)?;
            Ok((
                write,
                Some(ProcessOutput(pipe::Receiver::from_owned_fd(read)?)),
            ))
        }
    }
}

/// Our end only: the program's end is another open file and blocks as usual.
pub(super) fn unblock(end: &OwnedFd) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(end, FcntlArg::F_GETFL)?);
    fcntl(end, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}

fn null() -> io::Result<OwnedFd> {
    Ok(OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")?
        .into())
}
