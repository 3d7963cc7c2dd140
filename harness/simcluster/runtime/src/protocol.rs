//! What the owner and the node's init process say to each other. Plain data.
//!
//! The framing and the passing of file descriptors are in [`crate::wire`].

use std::{net::Ipv4Addr, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::{
    cgroups::NodeGroup,
    error::LaunchError,
    spec::{ContainerSpec, ExecSpec, ExitStatus, NetworkSpec, NodeUsage, SandboxSpec, Target},
};

/// The first frame: what the init process needs before it can serve.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Boot {
    pub(crate) hostname: String,
    pub(crate) network: NetworkSpec,
    pub(crate) identity: Identity,
    pub(crate) fabric: Joining,
    /// Where containers are limited, or why they cannot be.
    pub(crate) limits: Result<NodeGroup, String>,
}

/// What connects this node with others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Joining {
    /// Nothing: the node is alone.
    Alone,
    /// This node makes it. `Ready` then carries its descriptors: the network namespace of the switch and
    /// the user namespace that owns it.
    Makes,
    /// It exists; its descriptors come with the boot frame.
    Joins,
}

/// Whose ids the containers' ids are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Identity {
    /// Real root: ids are the host's.
    Root,
    /// A user namespace with one id: 0 inside is this user outside.
    Single { uid: u32, gid: u32 },
    /// A user namespace with a range of subordinate ids above that one.
    Range {
        uid: u32,
        gid: u32,
        uids: IdRange,
        gids: IdRange,
    },
}

/// Subordinate ids, and the set-user-ID program that may map them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IdRange {
    pub(crate) program: PathBuf,
    pub(crate) start: u32,
    pub(crate) count: u32,
}

/// One request; the init process answers each exactly once with the same `id`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Call {
    pub(crate) id: u64,
    pub(crate) request: Request,
}

/// `process` is the owner's number for the process to come; its end is told under that number.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    CreateSandbox(SandboxSpec),
    RemoveSandbox {
        id: String,
    },
    /// With three file descriptors (standard input, output, error) unless the container has a terminal.
    Start {
        process: u64,
        spec: Box<ContainerSpec>,
    },
    /// File descriptors as in `Start`.
    Exec {
        process: u64,
        spec: ExecSpec,
    },
    /// To a container's first process.
    SignalContainer {
        container: String,
        signal: i32,
    },
    SignalProcess {
        process: u64,
        signal: i32,
    },
    /// Answered with a socket whose connection may still be under way.
    Dial {
        target: Target,
        address: Ipv4Addr,
        port: u16,
    },
    /// Answered with a listening socket.
    Listen {
        address: Ipv4Addr,
        port: u16,
    },
    /// Answered with a bound socket.
    Udp {
        address: Ipv4Addr,
        port: u16,
    },
    AddAddress {
        address: Ipv4Addr,
    },
    RemoveAddress {
        address: Ipv4Addr,
    },
    /// What all processes use.
    Usage,
    /// From now on the container may have so much, or as much as there is.
    Limit {
        container: String,
        memory: Option<u64>,
        cpu: Option<u64>,
    },
    /// Delete a tree with the containers' rights: files of other ids in it included.
    RemoveTree {
        path: PathBuf,
    },
}

/// From the init process.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Notice {
    /// The init process proper exists; `pid` is its number for the owner, whose child it is.
    Spawned { pid: i32 },
    /// It serves from now on. With two descriptors if it made the fabric.
    Ready,
    /// It cannot serve, and ends.
    Dead { doing: String, errno: i32 },
    /// The answer to a call.
    Reply {
        id: u64,
        result: Result<Answer, Failure>,
    },
    /// A process has ended. Always after the reply that told of its start.
    Exited { process: u64, status: ExitStatus },
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    Done,
    /// With the process's pidfd, then the terminal's master if it has one.
    Started {
        terminal: bool,
        warnings: Vec<String>,
    },
    /// With a socket.
    Socket,
    Usage(NodeUsage),
    /// With what is not kept, and why.
    Limited {
        warnings: Vec<String>,
    },
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Failure {
    NoSuchSandbox(String),
    SandboxExists(String),
    NoSuchContainer(String),
    ContainerExists(String),
    Launch(LaunchError),
    /// It cannot be, as things are.
    Refused {
        doing: String,
    },
    System {
        doing: String,
        errno: i32,
    },
}

/// What the child that becomes a container's process tells before it executes the program.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    /// With the terminal's master.
    Terminal,
    /// The number of the mount namespace by which the container's processes are known.
    Mounts(u64),
    Warning(String),
    Failed(LaunchError),
    /// A job that is no program, such as `RemoveTree`, failed.
    JobFailed {
        doing: String,
        errno: i32,
    },
}
