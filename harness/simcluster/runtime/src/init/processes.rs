//! The children of the init process, by pid: whose they are and how far they are. Pure bookkeeping.

use std::{
    collections::BTreeMap,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use nix::unistd::Pid;

use super::leftovers::MountNamespace;
use crate::{protocol::Report, wire::Inbox};

/// One child.
#[derive(Debug)]
pub(super) struct Process {
    /// The owner's number for it; none for a job.
    pub(super) key: Option<u64>,
    pub(super) sandbox: Option<String>,
    /// The container whose first process it is.
    pub(super) container: Option<String>,
    pub(super) phase: Phase,
}

/// How far it is.
#[derive(Debug)]
pub(super) enum Phase {
    /// On the way to its program; the call waits for the answer.
    Starting { call: u64, reports: Reports },
    /// The program runs, and the owner knows.
    Running,
    /// The owner has been told that it never ran; only its end is awaited.
    Failed,
    /// No program: the call is answered when it ends.
    Job { call: u64, reports: Reports },
}

/// The init's end of the channel on which a child reports.
#[derive(Debug)]
pub(super) struct Reports {
    channel: OwnedFd,
    inbox: Inbox,
    /// For the owner.
    pub(super) pidfd: Option<OwnedFd>,
    pub(super) terminal: Option<OwnedFd>,
    pub(super) mounts: Option<MountNamespace>,
    pub(super) warnings: Vec<String>,
}

/// What a look at the channel found.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Nothing final yet.
    Pending,
    /// The channel closed without a failure: the program was executed, or the job is done.
    Closed,
    /// It failed: [`Report::Failed`] or [`Report::JobFailed`].
    Failed(Report),
}

impl Reports {
    pub(super) fn new(channel: OwnedFd, pidfd: OwnedFd) -> Self {
        Self {
            channel,
            inbox: Inbox::default(),
            pidfd: Some(pidfd),
            terminal: None,
            mounts: None,
            warnings: Vec::new(),
        }
    }

    pub(super) fn channel(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }

    /// Reads what is there without waiting.
    pub(super) fn look(&mut self) -> Outcome {
        loop {
            match self.inbox.take::<Report>() {
                Ok(Some((Report::Terminal, mut fds))) => self.terminal = fds.pop(),
                Ok(Some((Report::Mounts(number), _))) => {
                    self.mounts = Some(MountNamespace::numbered(number));
                }
                Ok(Some((Report::Warning(text), _))) => self.warnings.push(text),
                Ok(Some((failure, _))) => return Outcome::Failed(failure),
                Ok(None) => match self.inbox.fill(self.channel.as_fd()) {
                    Ok(0) => return Outcome::Closed,
                    Ok(_) => {}
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                        return Outcome::Pending;
                    }
                    Err(_) => return Outcome::Closed,
                },
                Err(_) => return Outcome::Closed,
            }
        }
    }
}

/// All children.
#[derive(Debug, Default)]
pub(super) struct Processes(BTreeMap<i32, Process>);

impl Processes {
    pub(super) fn insert(&mut self, pid: Pid, process: Process) {
        self.0.insert(pid.as_raw(), process);
    }

    pub(super) fn remove(&mut self, pid: Pid) -> Option<Process> {
        self.0.remove(&pid.as_raw())
    }

    pub(super) fn get_mut(&mut self, pid: Pid) -> Option<&mut Process> {
        self.0.get_mut(&pid.as_raw())
    }

    /// The process of the owner's number.
    pub(super) fn by_key(&self, key: u64) -> Option<Pid> {
        let (pid, _) = self
            .0
            .iter()
            .find(|(_, process)| process.key == Some(key))?;
        Some(Pid::from_raw(*pid))
    }

    /// The first process of a container.
    pub(super) fn by_container(&self, container: &str) -> Option<Pid> {
        let (pid, _) = self
            .0
            .iter()
            .find(|(_, process)| process.container.as_deref() == Some(container))?;
        Some(Pid::from_raw(*pid))
    }

    /// As [`Self::by_container`], if it has reached its program.
    pub(super) fn running_container(&self, container: &str) -> Option<Pid> {
        let pid = self.by_container(container)?;
        let process = self.0.get(&pid.as_raw())?;
        matches!(process.phase, Phase::Running).then_some(pid)
    }

    /// All in a sandbox.
    pub(super) fn in_sandbox(&self, sandbox: &str) -> Vec<Pid> {
        let here = |process: &Process| process.sandbox.as_deref() == Some(sandbox);
        self.0
            .iter()
            .filter(|(_, process)| here(process))
            .map(|(pid, _)| Pid::from_raw(*pid))
            .collect()
    }

    /// Those that are on the way to their program, with their channels.
    pub(super) fn starting(&self) -> impl Iterator<Item = (Pid, BorrowedFd<'_>)> {
        self.0
            .iter()
            .filter_map(|(pid, process)| match &process.phase {
                Phase::Starting { reports, .. } => Some((Pid::from_raw(*pid), reports.channel())),
                Phase::Running | Phase::Failed | Phase::Job { .. } => None,
            })
    }
}
