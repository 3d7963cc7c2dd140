//! The owner's side: a node as an object.
//!
//! It turns calls into messages to the init process and descriptors into tokio's types. What happens in
//! the namespaces is the init process's work, in `init`.

use std::{
    io,
    net::{Ipv4Addr, SocketAddrV4},
    os::fd::{AsFd, OwnedFd},
    path::Path,
    sync::Arc,
};

use nix::sys::wait::{Id, WaitPidFlag, waitid};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use crate::{
    cgroups::{self, Controller},
    error::{Error, ProbeError},
    protocol::{Answer, Failure, Request},
    spec::{ContainerSpec, ExecSpec, NetworkSpec, NodeUsage, SandboxSpec, Target},
    sys,
};

mod connection;
mod fabric;
mod isolation;
mod process;
mod start;
mod stdio;
mod terminal;

use connection::Connection;
pub use fabric::Fabric;
pub use isolation::Isolation;
pub use process::{Container, ExitWatch, Process};
pub use stdio::{ProcessInput, ProcessOutput, StdioSpec, Stream};
pub use terminal::Terminal;

/// What a node is made with.
#[derive(Clone, Debug)]
pub struct RuntimeConfig {
    /// The node's host name.
    pub hostname: String,
    /// The pods' network.
    pub network: NetworkSpec,
    /// What connects it with other nodes, which are given the same one. Their pods' addresses are then of
    /// one network, whose prefix each of them names.
    pub fabric: Option<Fabric>,
}

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

/// A node. Dropping it ends everything that runs in it and waits for that, which takes milliseconds.
#[derive(Debug)]
pub struct Runtime {
    connection: Arc<Connection>,
    init: Option<InitProcess>,
    isolation: Isolation,
    /// What the init process may have made for memory limits, and cannot remove when it is killed.
    group: Option<cgroups::NodeGroup>,
}

/// The init process as the owner's child.
#[derive(Debug)]
struct InitProcess {
    pidfd: OwnedFd,
}

impl Runtime {
    /// Makes a node. Must be called in a tokio runtime, which the node then needs for its life.
    pub async fn start(config: RuntimeConfig) -> Result<Self, Error> {
        start::start(config).await
    }

    /// Whether, and how, nodes can be made on this machine by this user. It makes one, and ends it.
    pub async fn probe() -> Result<Isolation, ProbeError> {
        let network = NetworkSpec {
            gateway: Ipv4Addr::new(10, 42, 0, 1),
            prefix: 24,
        };
        match Self::start(RuntimeConfig::new(network)).await {
            Ok(runtime) => {
                let isolation = runtime.isolation.clone();
                runtime.shutdown().await;
                Ok(isolation)
            }
            Err(Error::Probe(error)) => Err(error),
            Err(other) => Err(ProbeError {
                doing: other.to_string(),
                source: None,
                advice: Vec::new(),
            }),
        }
    }

    /// How the memory of containers is limited on this machine for this user; or why limits are not kept.
    pub fn memory_limits() -> Result<String, String> {
        cgroups::find()?.probe(Controller::Memory)
    }

    /// As [`Runtime::memory_limits`], of their processor time.
    pub fn cpu_limits() -> Result<String, String> {
        cgroups::find()?.probe(Controller::Cpu)
    }

    /// How containers are kept apart from the host, and which users they can have.
    pub fn isolation(&self) -> &Isolation {
        &self.isolation
    }

    /// Makes the namespaces that a pod's containers share, linked to the node's network.
    pub async fn create_sandbox(&self, spec: SandboxSpec) -> Result<(), Error> {
        self.plain("create a sandbox", Request::CreateSandbox(spec))
            .await
    }

    /// Kills everything in a sandbox, waits for its end, and removes the sandbox.
    pub async fn remove_sandbox(&self, id: &str) -> Result<(), Error> {
        self.plain(
            "remove a sandbox",
            Request::RemoveSandbox { id: id.to_owned() },
        )
        .await
    }

    /// Starts a container in its sandbox; returns when its program has been executed.
    ///
    /// With `spec.tty`, `stdio` is not looked at and [`Process::terminal`] is there. The program finds in
    /// its environment what the spec says, and `HOME` if that has none.
    pub async fn start_container(
        &self,
        spec: ContainerSpec,
        stdio: StdioSpec,
    ) -> Result<Container, Error> {
        let container = spec.id.clone();
        let tty = spec.tty;
        let request = |process| Request::Start {
            process,
            spec: Box::new(spec),
        };
        process::launch(&self.connection, "start a container", tty, stdio, request)
            .await
            .map_err(|failure| match failure {
                process::LaunchFailed::Launch(reason) => Error::Start { container, reason },
                process::LaunchFailed::Other(error) => error,
            })
    }

    /// Executes one more program in a running container.
    pub async fn exec(&self, spec: ExecSpec, stdio: StdioSpec) -> Result<Process, Error> {
        let container = spec.container.clone();
        let tty = spec.tty;
        let request = |process| Request::Exec { process, spec };
        process::launch(&self.connection, "execute a program", tty, stdio, request)
            .await
            .map_err(|failure| match failure {
                process::LaunchFailed::Launch(reason) => Error::Exec { container, reason },
                process::LaunchFailed::Other(error) => error,
            })
    }

    /// Sends a signal to a container's first process. As everywhere, PID 1 gets only signals that it handles, and `SIGKILL`.
    pub async fn signal(&self, container: &str, signal: i32) -> Result<(), Error> {
        let request = Request::SignalContainer {
            container: container.to_owned(),
            signal,
        };
        self.plain("signal a container", request).await
    }

    /// What the processes of the node use now.
    pub async fn usage(&self) -> Result<NodeUsage, Error> {
        let doing = "measure what containers use";
        match self.answer(doing, Request::Usage).await? {
            Answer::Usage(usage) => Ok(usage),
            _ => Err(Error::Lost { doing }),
        }
    }

    /// Gives a running container other limits: bytes of memory, thousandths of a processor, or as much as there is.
    /// The answer says which of them is not kept, and why. Less memory than it cannot do without is refused.
    pub async fn limit(
        &self,
        container: &str,
        memory: Option<u64>,
        cpu: Option<u64>,
    ) -> Result<Vec<String>, Error> {
        let doing = "limit a container";
        let request = Request::Limit {
            container: container.to_owned(),
            memory,
            cpu,
        };
        match self.answer(doing, request).await? {
            Answer::Limited { warnings } => Ok(warnings),
            _ => Err(Error::Lost { doing }),
        }
    }

    /// Connects from inside the target's network. There is no time limit but the kernel's.
    pub async fn dial(
        &self,
        target: Target,
        address: Ipv4Addr,
        port: u16,
    ) -> Result<TcpStream, Error> {
        let to = SocketAddrV4::new(address, port);
        let failed = |source| Error::Dial {
            address: to,
            source,
        };
        let request = Request::Dial {
            target,
            address,
            port,
        };
        let socket = match self.socket("dial", request).await {
            Err(Error::System { source, .. }) => return Err(failed(source)),
            other => other?,
        };
        let stream = TcpStream::from_std(socket.into()).map_err(failed)?;
        // As tokio's own connect: it is writable when the connection stands or has failed.
        stream.writable().await.map_err(failed)?;
        match stream.take_error().map_err(failed)? {
            None => Ok(stream),
            Some(error) => Err(failed(error)),
        }
    }

    /// Listens in the node's network, where pods reach it.
    pub async fn listen(&self, address: Ipv4Addr, port: u16) -> Result<TcpListener, Error> {
        let socket = self
            .socket("listen", Request::Listen { address, port })
            .await?;
        let doing = || format!("listen at {address}:{port}");
        TcpListener::from_std(socket.into()).map_err(|source| Error::System {
            doing: doing(),
            source,
        })
    }

    /// Binds a UDP socket in the node's network, where pods reach it.
    pub async fn udp(&self, address: Ipv4Addr, port: u16) -> Result<UdpSocket, Error> {
        let socket = self
            .socket("bind a udp socket", Request::Udp { address, port })
            .await?;
        let doing = || format!("bind udp {address}:{port}");
        UdpSocket::from_std(socket.into()).map_err(|source| Error::System {
            doing: doing(),
            source,
        })
    }

    /// Gives the node one more address; pods reach it through their gateway.
    pub async fn add_address(&self, address: Ipv4Addr) -> Result<(), Error> {
        self.plain("add an address", Request::AddAddress { address })
            .await
    }

    /// Takes it back. Sockets bound to it stay.
    pub async fn remove_address(&self, address: Ipv4Addr) -> Result<(), Error> {
        self.plain("remove an address", Request::RemoveAddress { address })
            .await
    }

    /// Removes a directory with whatever containers left in it, which this user alone may not be able to. A missing one is fine.
    pub async fn remove_tree(&self, path: &Path) -> Result<(), Error> {
        self.plain(
            "remove a directory",
            Request::RemoveTree {
                path: path.to_owned(),
            },
        )
        .await
    }

    /// Ends everything that runs in the node, and waits until it is gone.
    pub async fn shutdown(mut self) {
        let Some(init) = self.init.take() else { return };
        init.kill();
        // Readable when the process has ended, and with it all others of its pid namespace.
        if let Ok(pidfd) = sys::watch(init.pidfd.as_fd(), tokio::io::Interest::READABLE) {
            // Without it, reaping below waits all the same.
            let _ = pidfd.readable().await;
        }
        init.reap();
        self.remove_group();
    }

    /// All processes of the node have ended.
    fn remove_group(&self) {
        if let Some(group) = &self.group {
            group.remove();
        }
    }

    async fn plain(&self, doing: &'static str, request: Request) -> Result<(), Error> {
        self.answer(doing, request).await.map(drop)
    }

    async fn answer(&self, doing: &'static str, request: Request) -> Result<Answer, Error> {
        let answered = self.connection.call(doing, request, Vec::new()).await?;
        answered.map(|(answer, _)| answer).map_err(refusal)
    }

    async fn socket(&self, doing: &'static str, request: Request) -> Result<OwnedFd, Error> {
        let (answer, mut descriptors) = self
            .connection
            .call(doing, request, Vec::new())
            .await?
            .map_err(refusal)?;
        match (answer, descriptors.pop()) {
            (Answer::Socket, Some(socket)) => Ok(socket),
            _ => Err(Error::Lost { doing }),
        }
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        if let Some(init) = self.init.take() {
            init.kill();
            init.reap();
            self.remove_group();
        }
    }
}

impl InitProcess {
    fn kill(&self) {
        // It can only have ended already.
        let _ = sys::pidfd_signal(self.pidfd.as_fd(), nix::libc::SIGKILL);
    }

    /// Waits for its end; it is our child and nobody else waits for it.
    fn reap(&self) {
        while let Err(nix::errno::Errno::EINTR) =
            waitid(Id::PIDFd(self.pidfd.as_fd()), WaitPidFlag::WEXITED)
        {}
    }
}

/// A refusal that has nothing to do with launching a program.
fn refusal(failure: Failure) -> Error {
    match failure {
        Failure::NoSuchSandbox(id) => Error::NoSuchSandbox { id },
        Failure::SandboxExists(id) => Error::SandboxExists { id },
        Failure::NoSuchContainer(id) => Error::NoSuchContainer { id },
        Failure::ContainerExists(id) => Error::ContainerExists { id },
        Failure::Launch(error) => Error::System {
            doing: "start a process".to_owned(),
            source: io::Error::other(error),
        },
        Failure::Refused { doing } => Error::Refused { why: doing },
        Failure::System { doing, errno } => Error::System {
            doing,
            source: match errno {
                0 => io::Error::other("the system gave no reason"),
                code => io::Error::from_raw_os_error(code),
            },
        },
    }
}
