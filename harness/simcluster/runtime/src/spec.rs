//! What to run and where: plain data, also the wire format to the node's init process.
//!
//! It decides nothing and checks nothing; paths on the host are absolute.

use std::{collections::BTreeMap, net::Ipv4Addr, path::PathBuf};

use serde::{Deserialize, Serialize};

/// The network of one node: a bridge inside a network namespace of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkSpec {
    /// The bridge's own address; pods use it as gateway. The node's address inside.
    pub gateway: Ipv4Addr,
    /// Bits of the pod network's prefix, for example 24.
    pub prefix: u8,
}

/// What containers of a pod share: network, host name, IPC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxSpec {
    /// Unique on the node; the pod's uid.
    pub id: String,
    /// The pod's host name.
    pub hostname: String,
    /// The pod's address, or `None` for the node's own network.
    pub address: Option<Ipv4Addr>,
    /// Directories that are in memory for as long as the sandbox is.
    pub memory: Vec<MemoryVolume>,
    /// Whether its containers see and may signal each other's processes, among which the first is none of theirs.
    pub share_processes: bool,
    /// The kernel's settings in its namespaces: `net.ipv4.tcp_syncookies` and the like, with what to set.
    pub sysctls: BTreeMap<String, String>,
}

/// A directory of the host on which a file system in memory is mounted, for containers that bind it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryVolume {
    /// On the host; it exists.
    pub path: PathBuf,
    /// Bytes; half of the machine's memory if absent.
    pub size: Option<u64>,
    /// The group that may write to it and gets what is made in it; everybody may write in any case.
    pub group: Option<u32>,
}

/// One mount, made in order, `target` inside the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mount {
    /// A directory or file of the host, with all that is mounted below it.
    Bind {
        /// On the host.
        source: PathBuf,
        /// In the container; made if absent.
        target: PathBuf,
        /// Refuse writes.
        read_only: bool,
    },
    /// A directory or file inside a directory of the host; no symbolic link in it leads out.
    BindPart {
        /// On the host.
        source: PathBuf,
        /// In the source; a directory is made if nothing is there.
        part: PathBuf,
        /// In the container; made if absent.
        target: PathBuf,
        /// Refuse writes.
        read_only: bool,
    },
    /// An empty file system in memory.
    Tmpfs {
        /// In the container; made if absent.
        target: PathBuf,
        /// Bytes, unlimited if absent.
        size: Option<u64>,
    },
}

/// One container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// Unique on the node.
    pub id: String,
    /// The sandbox it joins.
    pub sandbox: String,
    /// The image's layers, lowest first; joined by overlayfs under a writable layer.
    pub layers: Vec<PathBuf>,
    /// A directory of this container's own for the writable layer; the caller makes and removes it.
    pub scratch: PathBuf,
    /// Refuse writes to the root file system.
    pub read_only_root: bool,
    /// Volumes and files.
    pub mounts: Vec<Mount>,
    /// Program and arguments; the program is looked up in the container's `PATH`.
    pub command: Vec<String>,
    /// The whole environment.
    pub env: BTreeMap<String, String>,
    /// Where the program starts; made if absent.
    pub working_dir: PathBuf,
    /// User, as in OCI.
    pub user: User,
    /// Whether it may gain privileges through set-user-ID programs.
    pub no_new_privileges: bool,
    /// Capabilities to keep (`CAP_CHOWN`…); `None` keeps the container default set.
    pub capabilities: Option<Vec<String>>,
    /// Give it a terminal.
    pub tty: bool,
    /// Another container of the sandbox, whose processes it sees and may signal. It has processes of its own
    /// otherwise, unless those of the sandbox are shared.
    pub pids_of: Option<String>,
    /// Bytes of memory, of all its processes together; the kernel kills what wants more, and the container's end
    /// then says so in [`ExitStatus::oom_killed`]. Where no limit can be kept it runs without one, and a warning
    /// of its process says so.
    pub memory_limit: Option<u64>,
    /// Thousandths of a processor, of all its processes together; who wants more waits. Where no limit can be kept
    /// it is as with memory.
    pub cpu_limit: Option<u64>,
}

/// Numeric user and groups.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// User id in the container.
    pub uid: u32,
    /// Primary group id in the container.
    pub gid: u32,
    /// More groups.
    pub additional_gids: Vec<u32>,
}

/// A program to run in a running container, as that container's user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecSpec {
    /// The container.
    pub container: String,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Give it a terminal.
    pub tty: bool,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitStatus {
    /// Exit code, 128 + signal when killed.
    pub code: i32,
    /// The signal that killed it.
    pub signal: Option<i32>,
    /// The kernel killed it for its memory limit.
    pub oom_killed: bool,
}

/// What processes use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Processor time since the beginning, in nanoseconds. Where no control group counts it, it is that of the
    /// processes that live and of those they have waited for, so it may be less than before.
    pub cpu_nanos: u64,
    /// Bytes that cannot be taken back without harm: what limits are measured against.
    pub working_set: u64,
    /// Bytes of memory that belong to processes and not to files.
    pub rss: u64,
    /// How many there are.
    pub processes: u32,
}

/// What the processes of a node use, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeUsage {
    /// Of each running container, by its id.
    pub containers: BTreeMap<String, Usage>,
    /// Of what belongs to no container.
    pub rest: Usage,
}

/// Where a connection into the node's networks begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// In the network of the node itself.
    Node,
    /// In the network of a sandbox, so that its `127.0.0.1` is reached too.
    Sandbox(String),
}
