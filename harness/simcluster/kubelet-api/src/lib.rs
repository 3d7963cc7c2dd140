//! What an API server asks of a node: logs, exec, attach, port-forward, what is used, and its own pages.
//!
//! The contract between `simcluster-apiserver`, which speaks WebSocket and SPDY with clients, and
//! `simcluster-node`, which owns the processes. It knows neither of them, and no wire format.

use std::{fmt, io, time::Duration};

use bytes::Bytes;
use futures::{future::BoxFuture, stream::BoxStream};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{mpsc, oneshot},
};

/// A pod, by what the API calls it. The `uid` keeps a successor of the same name apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PodRef {
    /// `metadata.namespace`
    pub namespace: String,
    /// `metadata.name`
    pub name: String,
    /// `metadata.uid`
    pub uid: String,
}

/// The `PodLogOptions` of the API, of one container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Container name; the API server has resolved the default.
    pub container: String,
    /// Keep the stream open while the container runs.
    pub follow: bool,
    /// The logs of the previous instance of the container.
    pub previous: bool,
    /// Put an RFC 3339 time with nanoseconds before each line.
    pub timestamps: bool,
    /// Only the last so many lines.
    pub tail_lines: Option<u64>,
    /// Only so many bytes.
    pub limit_bytes: Option<u64>,
    /// Only lines not older than this, in nanoseconds since the Unix epoch.
    pub since_unix_nanos: Option<i128>,
}

/// What to run in a container, or what to attach to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "they are the API's own PodExecOptions"
)]
pub struct StreamOptions {
    /// Container name; the API server has resolved the default.
    pub container: String,
    /// Program and arguments; empty for attach.
    pub command: Vec<String>,
    /// Connect standard input.
    pub stdin: bool,
    /// Connect standard output.
    pub stdout: bool,
    /// Connect standard error (never together with `tty`).
    pub stderr: bool,
    /// Give the process a terminal; its output then comes on `stdout` only.
    pub tty: bool,
}

/// A terminal's size in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TerminalSize {
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

/// How a process that was executed or attached to ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// It ended by itself, or by a signal (128 + its number).
    Exited(i32),
    /// It never ran or was lost; the text says why.
    Failed(String),
}

/// Bytes that come from a process.
pub type Output = Box<dyn AsyncRead + Send + Unpin>;
/// Bytes that go to a process.
pub type Input = Box<dyn AsyncWrite + Send + Unpin>;

/// The open streams of a process. Dropping it ends an executed process's input and abandons the rest.
pub struct Session {
    /// Present when `stdin` was asked for.
    pub stdin: Option<Input>,
    /// Present when `stdout` was asked for.
    pub stdout: Option<Output>,
    /// Present when `stderr` was asked for without `tty`.
    pub stderr: Option<Output>,
    /// Present with `tty`: send the client's terminal sizes here.
    pub resize: Option<mpsc::Sender<TerminalSize>>,
    /// Resolves when the process has ended.
    pub exit: oneshot::Receiver<ExitStatus>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("tty", &self.resize.is_some())
            .finish_non_exhaustive()
    }
}

/// A connection in both directions.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Why a node could not do what it was asked; the text is what a real kubelet answers.
#[derive(Debug, thiserror::Error)]
pub enum KubeletError {
    /// The request does not fit the pod's state: HTTP 400.
    #[error("{0}")]
    BadRequest(String),
    /// There is no such pod, container or log: HTTP 404.
    #[error("{0}")]
    NotFound(String),
    /// Something failed on the node: HTTP 500.
    #[error("{0}")]
    Internal(String),
}

/// What a node or a container uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UsageStats {
    /// When it was measured, in nanoseconds since the Unix epoch.
    pub at_unix_nanos: i128,
    /// The time before that in which processor time was counted.
    pub window: Duration,
    /// Processor time in the window, in billionths of a processor.
    pub cpu_nano_cores: u64,
    /// Processor time since the beginning, in nanoseconds.
    pub cpu_nanos: u64,
    /// Memory that cannot be taken back without harm, in bytes.
    pub working_set: u64,
    /// Memory of processes, in bytes.
    pub rss: u64,
    /// How many processes there are.
    pub processes: u32,
}

/// What one running container uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerStats {
    /// Its name in the pod.
    pub name: String,
    /// When it began, in nanoseconds since the Unix epoch.
    pub started_unix_nanos: i128,
    /// What it uses.
    pub usage: UsageStats,
}

/// What one pod's running containers use. One that has just begun is missing: there is no rate of it yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodStats {
    /// Whose.
    pub pod: PodRef,
    /// Each of them.
    pub containers: Vec<ContainerStats>,
}

/// What a node uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeStats {
    /// All of it together.
    pub usage: UsageStats,
    /// Each pod's.
    pub pods: Vec<PodStats>,
}

/// An answer of the node's own HTTP server.
pub struct Page {
    /// The HTTP status.
    pub code: u16,
    /// `Content-Type`
    pub media_type: &'static str,
    /// What it says.
    pub body: LogStream,
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Page")
            .field("code", &self.code)
            .finish_non_exhaustive()
    }
}

/// Chunks of a log, in order.
pub type LogStream = BoxStream<'static, io::Result<Bytes>>;
/// An answer of a node.
pub type Answer<T> = BoxFuture<'static, Result<T, KubeletError>>;

/// One node's agent, as the API server sees it.
pub trait Kubelet: Send + Sync + 'static {
    /// A container's log.
    fn logs(&self, pod: PodRef, options: LogOptions) -> Answer<LogStream>;
    /// Runs a program in a running container.
    fn exec(&self, pod: PodRef, options: StreamOptions) -> Answer<Session>;
    /// Connects to a running container's main process.
    fn attach(&self, pod: PodRef, options: StreamOptions) -> Answer<Session>;
    /// Connects to a TCP port inside a pod's network.
    fn port_forward(&self, pod: PodRef, port: u16) -> Answer<Box<dyn Duplex>>;

    /// What its pods use. A node that measures nothing says so.
    fn stats(&self) -> Answer<NodeStats> {
        let why = "this node does not measure what its pods use";
        Box::pin(async move { Err(KubeletError::NotFound(why.to_owned())) })
    }

    /// What its own HTTP server answers to a `GET` of that path, which begins with `/`, with that query.
    fn page(&self, _path: String, _query: String) -> Answer<Page> {
        let why = "404 page not found";
        Box::pin(async move { Err(KubeletError::NotFound(why.to_owned())) })
    }
}
