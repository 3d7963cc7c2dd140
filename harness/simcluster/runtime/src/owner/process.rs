//! A process in a container, as its owner holds it.

use std::{
    fs, io,
    os::fd::{AsRawFd, OwnedFd},
    sync::Arc,
};

use tokio::sync::watch;

use super::{
    connection::Connection,
    refusal,
    stdio::{self, Ends, ProcessInput, ProcessOutput, StdioSpec},
    terminal::Terminal,
};
use crate::{
    error::{Error, LaunchError},
    protocol::{Answer, Failure, Request},
    spec::ExitStatus,
};

/// A container's first process.
pub type Container = Process;

/// A running or ended process. Dropping it closes its streams and lets it run on.
#[derive(Debug)]
pub struct Process {
    /// Its number as the owner sees it. Containers see their own numbers.
    pub pid: u32,
    /// If it was asked for as a pipe.
    pub stdin: Option<ProcessInput>,
    /// If it was asked for as a pipe.
    pub stdout: Option<ProcessOutput>,
    /// If it was asked for as a pipe.
    pub stderr: Option<ProcessOutput>,
    /// If it has one.
    pub terminal: Option<Terminal>,
    /// What was not as it should be, and how it was done instead.
    pub warnings: Vec<String>,
    key: u64,
    exit: ExitWatch,
    connection: Arc<Connection>,
}

impl Process {
    /// Waits until it has ended. Any number of callers, any number of times.
    pub async fn wait(&self) -> ExitStatus {
        self.exit.wait().await
    }

    /// To wait for its end elsewhere.
    pub fn exit_watch(&self) -> ExitWatch {
        self.exit.clone()
    }

    /// Sends it a signal; nothing happens if it has ended.
    pub async fn signal(&self, signal: i32) -> Result<(), Error> {
        let request = Request::SignalProcess {
            process: self.key,
            signal,
        };
        let reply = self
            .connection
            .call("signal a process", request, Vec::new())
            .await?;
        reply.map(drop).map_err(refusal)
    }
}

/// Knows when a process ends.
#[derive(Clone, Debug)]
pub struct ExitWatch(watch::Receiver<Option<ExitStatus>>);

impl ExitWatch {
    /// Waits until it has ended.
    pub async fn wait(&self) -> ExitStatus {
        // If the init process has ended, the kernel has killed all others.
        const KILLED: ExitStatus = ExitStatus {
            code: 137,
            signal: Some(9),
            oom_killed: false,
        };
        let mut status = self.0.clone();
        match status.wait_for(Option::is_some).await {
            Ok(status) => status.unwrap_or(KILLED),
            Err(_) => KILLED,
        }
    }

    /// How it ended, if it has.
    pub fn status(&self) -> Option<ExitStatus> {
        *self.0.borrow()
    }
}

/// Why there is no process.
pub(super) enum LaunchFailed {
    Launch(LaunchError),
    Other(Error),
}

/// Starts a process by the request that `request` makes of its number.
pub(super) async fn launch(
    connection: &Arc<Connection>,
    doing: &'static str,
    tty: bool,
    stdio: StdioSpec,
    request: impl FnOnce(u64) -> Request,
) -> Result<Process, LaunchFailed> {
    let system = |source: io::Error| {
        LaunchFailed::Other(Error::System {
            doing: "connect a process's streams".to_owned(),
            source,
        })
    };
    let (theirs, ends) = if tty {
        (Vec::new(), Ends::default())
    } else {
        stdio::open(stdio).map_err(system)?
    };
    let key = connection.number_process();
    let (exit, watch) = watch::channel(None);
    let reply = connection
        .call_for_process(doing, request(key), theirs, key, exit)
        .await
        .map_err(LaunchFailed::Other)?;
    let (answer, descriptors) = reply.map_err(|failure| match failure {
        Failure::Launch(error) => LaunchFailed::Launch(error),
        other => LaunchFailed::Other(refusal(other)),
    })?;
    let mut descriptors = descriptors.into_iter();
    let (Answer::Started { terminal, warnings }, Some(pidfd)) = (answer, descriptors.next()) else {
        return Err(LaunchFailed::Other(Error::Lost { doing }));
    };
    let terminal = descriptors
        .next()
        .filter(|_| terminal)
        .map(Terminal::new)
        .transpose()
        .map_err(system)?;
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    Ok(Process {
        pid: pid_behind(&pidfd),
        stdin: ends.stdin,
        stdout: ends.stdout,
        stderr: ends.stderr,
        terminal,
        warnings,
        key,
        exit: ExitWatch(watch),
        connection: Arc::clone(connection),
    })
}

/// The init process counts in its own pid namespace; the pidfd tells the number in ours. 0 if it has ended.
fn pid_behind(pidfd: &OwnedFd) -> u32 {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd()));
    let info = info.unwrap_or_default();
    let pid = info.lines().find_map(|line| line.strip_prefix("Pid:"));
    pid.and_then(|pid| pid.trim().parse().ok()).unwrap_or(0)
}
