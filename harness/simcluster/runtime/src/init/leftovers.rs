//! Finding and killing what a container leaves behind among processes that others go on using.
//!
//! A process belongs to the container whose mounts it sees. Zombies see none, and are not looked for; so the first
//! process of a container has to tell its own before it becomes a program that may end at once.

use std::{fmt::Display, fs, io, os::unix::fs::MetadataExt as _};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// Whoever forks faster than it is killed is looked for so many times.
const ROUNDS: usize = 100;

/// A mount namespace, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct MountNamespace(u64);

fn number_of(process: impl Display) -> io::Result<u64> {
    Ok(fs::metadata(format!("/proc/{process}/ns/mnt"))?.ino())
}

/// The number of the mount namespace of the process that asks.
pub(super) fn own_number() -> io::Result<u64> {
    number_of("self")
}

impl MountNamespace {
    /// The one of a number that [`own_number`] has given.
    pub(super) fn numbered(number: u64) -> Self {
        Self(number)
    }

    /// That of a process, if it still has one.
    pub(super) fn of(pid: Pid) -> Option<Self> {
        number_of(pid).ok().map(Self)
    }

    /// Kills all processes in it.
    pub(super) fn kill_all(self) {
        for _ in 0..ROUNDS {
            let mut alive = self.members().peekable();
            if alive.peek().is_none() {
                return;
            }
            for pid in alive {
                // It can only have ended meanwhile.
                let _ = kill(pid, Signal::SIGKILL);
            }
        }
    }

    /// The processes in it.
    pub(super) fn members(self) -> impl Iterator<Item = Pid> {
        let all = fs::read_dir("/proc").into_iter().flatten().flatten();
        all.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .map(Pid::from_raw)
            .filter(move |pid| Self::of(*pid) == Some(self))
    }
}
