//! What can go wrong, in the words users of container runtimes know.
//!
//! It holds data only: the text for "which setting forbids this" is decided in `owner::isolation`.

use std::{fmt, io, net::SocketAddrV4, path::PathBuf};

use serde::{Deserialize, Serialize};

/// Why the runtime did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The machine does not let us make the namespaces a node needs.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// The node's init process has ended, and with it everything that ran in it.
    #[error("the node's init process has ended while it was asked to {doing}; start a new runtime")]
    Lost {
        /// What was asked.
        doing: &'static str,
    },
    /// There is no sandbox of that id, or it is being removed.
    #[error("no such sandbox: {id}")]
    NoSuchSandbox {
        /// What was asked for.
        id: String,
    },
    /// The id is taken.
    #[error("sandbox {id} exists already")]
    SandboxExists {
        /// The id in both.
        id: String,
    },
    /// No container of that id is running.
    #[error("no such container: {id}")]
    NoSuchContainer {
        /// What was asked for.
        id: String,
    },
    /// A container of that id is still running.
    #[error("container {id} exists already")]
    ContainerExists {
        /// The id in both.
        id: String,
    },
    /// A container's program could not be started.
    #[error("{reason}")]
    Start {
        /// The container.
        container: String,
        /// Why, in runc's words. It is the whole text of this error, and therefore not its source.
        reason: LaunchError,
    },
    /// A program could not be started in a running container.
    #[error("{reason}")]
    Exec {
        /// The container.
        container: String,
        /// As in [`Error::Start`].
        reason: LaunchError,
    },
    /// A connection inside the node's network failed.
    #[error("dial tcp {address}: connect")]
    Dial {
        /// Where to.
        address: SocketAddrV4,
        /// The system's answer.
        source: io::Error,
    },
    /// It cannot be, as things are.
    #[error("{why}")]
    Refused {
        /// What stands against it.
        why: String,
    },
    /// The system refused something that should have worked.
    #[error("unable to {doing}")]
    System {
        /// What was attempted, with the object's name.
        doing: String,
        /// The system's answer.
        source: io::Error,
    },
}

/// Why a program does not run in a container. The texts are those that runc gives, for they end up in pod statuses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum LaunchError {
    /// A bare name that no directory of `PATH` has.
    #[error("exec: {program:?}: executable file not found in $PATH")]
    NotInPath {
        /// As given.
        program: String,
    },
    /// A path that leads nowhere.
    #[error("exec: {program:?}: stat {program}: no such file or directory")]
    NoSuchFile {
        /// As given.
        program: String,
    },
    /// It is there, and is no program for this user.
    #[error("exec: {program:?}: {why}")]
    NotExecutable {
        /// As given.
        program: String,
        /// The system's answer, or "is a directory".
        why: String,
    },
    /// The kernel refused to execute it (wrong format, interpreter missing).
    #[error("exec {program}: {why}")]
    Refused {
        /// As found.
        program: String,
        /// The system's answer.
        why: String,
    },
    /// Nothing to run.
    #[error("no command specified")]
    NoCommand,
    /// The working directory cannot be entered.
    #[error("chdir to cwd ({path:?}) failed: {why}")]
    WorkingDirectory {
        /// In the container.
        path: PathBuf,
        /// The system's answer.
        why: String,
    },
    /// A mount failed.
    #[error("error mounting {from:?} to rootfs at {target:?}: {why}")]
    Mount {
        /// On the host, or the kind of file system.
        from: String,
        /// In the container.
        target: PathBuf,
        /// The system's answer.
        why: String,
    },
    /// The user cannot be had.
    #[error("unable to run as user {uid}:{gid}: {why}")]
    User {
        /// User id in the container.
        uid: u32,
        /// Group id in the container.
        gid: u32,
        /// The system's answer, and what would help.
        why: String,
    },
    /// A capability name that this kernel's list does not have.
    #[error("unknown capability {name:?}")]
    UnknownCapability {
        /// As given.
        name: String,
    },
    /// Anything else on the way.
    #[error("unable to {step}: {why}")]
    Step {
        /// What was attempted.
        step: String,
        /// The system's answer.
        why: String,
    },
}

/// Why this machine or this user cannot have a node.
#[derive(Debug)]
pub struct ProbeError {
    /// What failed.
    pub doing: String,
    /// What the system said, if it was the system.
    pub source: Option<io::Error>,
    /// What to change, one sentence each; the likeliest first.
    pub advice: Vec<String>,
}

impl fmt::Display for ProbeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pods cannot run here: unable to {}", self.doing)?;
        for line in &self.advice {
            write!(f, "; {line}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ProbeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}
