//! The runtime where there is no Linux: the same names, and an error that says what is missing.
//!
//! Only [`Runtime::start`] and [`Runtime::probe`] can be reached; a [`Runtime`] never exists here, so its
//! methods have nothing to say.

use std::{
    convert::Infallible,
    fmt, io,
    net::Ipv4Addr,
    path::Path,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream, UdpSocket},
};

use crate::{
    error::{Error, ProbeError},
    spec::{ContainerSpec, ExecSpec, ExitStatus, NetworkSpec, NodeUsage, SandboxSpec, Target},
};

/// How containers are kept apart from the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// The owner is root.
    Root,
    /// A user namespace with one id.
    UserNamespaceSingle,
    /// A user namespace with subordinate ids of the owner.
    UserNamespaceRange {
        /// User ids that containers can have.
        ids: u32,
    },
}

impl fmt::Display for Isolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What a node is made with.
#[derive(Clone, Debug)]
pub struct RuntimeConfig {
    /// The node's host name.
    pub hostname: String,
    /// The pods' network.
    pub network: NetworkSpec,
    /// What connects it with other nodes.
    pub fabric: Option<Fabric>,
}

/// A network of nodes; clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct Fabric;

impl RuntimeConfig {
    /// A node named `node` with that network.
    pub fn new(network: NetworkSpec) -> Self {
        Self {
            hostname: "node".to_owned(),
            network,
            fabric: None,
        }
    }
}

/// What one standard stream is connected to.
#[derive(Debug, Default)]
pub enum Stream {
    /// `/dev/null`.
    #[default]
    Null,
    /// A pipe.
    Piped,
    /// A file of the owner's, passed on.
    File(std::fs::File),
}

/// The three standard streams.
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

fn missing() -> ProbeError {
    ProbeError {
        doing: "make Linux namespaces on this operating system".to_owned(),
        source: None,
        advice: vec![
            "run on Linux, in a virtual machine or a container, or use another cluster".to_owned(),
        ],
    }
}

/// A node, of which there is none here.
#[derive(Debug)]
pub struct Runtime(Infallible);

impl Runtime {
    /// Always an error.
    pub async fn start(_config: RuntimeConfig) -> Result<Self, Error> {
        Err(missing().into())
    }

    /// Always an error.
    pub async fn probe() -> Result<Isolation, ProbeError> {
        Err(missing())
    }

    /// Limits are not kept here.
    pub fn memory_limits() -> Result<String, String> {
        Err("only Linux has control groups".to_owned())
    }

    /// Limits are not kept here.
    pub fn cpu_limits() -> Result<String, String> {
        Err("only Linux has control groups".to_owned())
    }

    /// Never called.
    pub fn isolation(&self) -> &Isolation {
        match self.0 {}
    }

    /// Never called.
    pub async fn create_sandbox(&self, _spec: SandboxSpec) -> Result<(), Error> {
        match self.0 {}
    }

    /// Never called.
    pub async fn remove_sandbox(&self, _id: &str) -> Result<(), Error> {
        match self.0 {}
    }

    /// Never called.
    pub async fn start_container(
        &self,
        _: ContainerSpec,
        _: StdioSpec,
    ) -> Result<Container, Error> {
        match self.0 {}
    }

    /// Never called.
    pub async fn exec(&self, _spec: ExecSpec, _stdio: StdioSpec) -> Result<Process, Error> {
        match self.0 {}
    }

    /// Never called.
    pub async fn signal(&self, _container: &str, _signal: i32) -> Result<(), Error> {
        match self.0 {}
    }

    /// Never called.
    pub async fn usage(&self) -> Result<NodeUsage, Error> {
        match self.0 {}
    }

    /// Never called.
    pub async fn limit(
        &self,
        _container: &str,
        _memory: Option<u64>,
        _cpu: Option<u64>,
    ) -> Result<Vec<String>, Error> {
        match self.0 {}
    }

    /// Never called.
    pub async fn dial(&self, _: Target, _: Ipv4Addr, _: u16) -> Result<TcpStream, Error> {
        match self.0 {}
    }

    /// Never called.
    pub async fn listen(&self, _address: Ipv4Addr, _port: u16) -> Result<TcpListener, Error> {
        match self.0 {}
    }

    /// Never called.
    pub async fn udp(&self, _address: Ipv4Addr, _port: u16) -> Result<UdpSocket, Error> {
        match self.0 {}
    }

    /// Never called.
    pub async fn add_address(&self, _address: Ipv4Addr) -> Result<(), Error> {
        match self.0 {}
    }

    /// Never called.
    pub async fn remove_address(&self, _address: Ipv4Addr) -> Result<(), Error> {
        match self.0 {}
    }

    /// Never called.
    pub async fn remove_tree(&self, _path: &Path) -> Result<(), Error> {
        match self.0 {}
    }

    /// Never called.
    pub async fn shutdown(self) {
        match self.0 {}
    }
}

/// A container's first process.
pub type Container = Process;

/// A process, of which there is none here.
#[derive(Debug)]
pub struct Process {
    /// Its number as the owner sees it.
    pub pid: u32,
    /// If it was asked for as a pipe.
    pub stdin: Option<ProcessInput>,
    /// If it was asked for as a pipe.
    pub stdout: Option<ProcessOutput>,
    /// If it was asked for as a pipe.
    pub stderr: Option<ProcessOutput>,
    /// If it has one.
    pub terminal: Option<Terminal>,
    /// What was not as it should be.
    pub warnings: Vec<String>,
    never: Infallible,
}

impl Process {
    /// Never called.
    pub async fn wait(&self) -> ExitStatus {
        match self.never {}
    }

    /// Never called.
    pub fn exit_watch(&self) -> ExitWatch {
        match self.never {}
    }

    /// Never called.
    pub async fn signal(&self, _signal: i32) -> Result<(), Error> {
        match self.never {}
    }
}

/// Knows when a process ends.
#[derive(Clone, Debug)]
pub struct ExitWatch(Infallible);

impl ExitWatch {
    /// Never called.
    pub async fn wait(&self) -> ExitStatus {
        match self.0 {}
    }

    /// Never called.
    pub fn status(&self) -> Option<ExitStatus> {
        match self.0 {}
    }
}

/// Bytes to a process.
#[derive(Debug)]
pub struct ProcessInput(Infallible);

/// Bytes from a process.
#[derive(Debug)]
pub struct ProcessOutput(Infallible);

/// A terminal's master side.
#[derive(Clone, Debug)]
pub struct Terminal(Infallible);

impl Terminal {
    /// Never called.
    pub fn resize(&self, _columns: u16, _rows: u16) -> io::Result<()> {
        match self.0 {}
    }
}

macro_rules! never_reads {
    ($($name:ident)*) => {$(
        impl AsyncRead for $name {
            fn poll_read(
                self: Pin<&mut Self>,
                _: &mut Context<'_>,
                _: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                match self.0 {}
            }
        }
    )*};
}

macro_rules! never_writes {
    ($($name:ident)*) => {$(
        impl AsyncWrite for $name {
            fn poll_write(
                self: Pin<&mut Self>,
                _: &mut Context<'_>,
                _: &[u8],
            ) -> Poll<io::Result<usize>> {
                match self.0 {}
            }

            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                match self.0 {}
            }

            fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                match self.0 {}
            }
        }
    )*};
}

never_reads!(ProcessOutput Terminal);
never_writes!(ProcessInput Terminal);
