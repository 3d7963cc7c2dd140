//! What a pod's worker asks of a container runtime, and the runtime of real processes behind it.
//!
//! The trait is narrow on purpose: [`crate::model`], whose programs are functions in virtual time, is
//! behind it as well. It knows sandboxes and containers, not pods.

use std::{fmt, net::Ipv4Addr, path::Path, sync::Arc};

use futures::{FutureExt as _, future::BoxFuture};
use simcluster_kubelet_api::{Duplex, Input, Output, TerminalSize};
use simcluster_runtime::{
    Error, Process, Runtime, StdioSpec,
    spec::{ContainerSpec, ExecSpec, ExitStatus, NodeUsage, SandboxSpec, Target},
};

use crate::directory::Directory;

/// Why a runtime did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RuntimeError {
    /// The program of a container or exec could not be run: absent, not executable…
    #[error("{0}")]
    Program(String),
    /// No such container runs.
    #[error("{0}")]
    NotRunning(String),
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

/// An answer of a runtime.
pub(crate) type Answer<'a, T> = BoxFuture<'a, Result<T, RuntimeError>>;

/// Changes the size of a process's terminal.
pub(crate) type Resize = Box<dyn Fn(TerminalSize) + Send + Sync>;

/// A process that a runtime has started.
pub(crate) struct Running {
    /// If it was asked for.
    pub(crate) stdin: Option<Input>,
    /// Output; with a terminal all of it.
    pub(crate) stdout: Option<Output>,
    /// Complaints; absent with a terminal.
    pub(crate) stderr: Option<Output>,
    /// With a terminal.
    pub(crate) resize: Option<Resize>,
    /// How it ends.
    pub(crate) exit: BoxFuture<'static, ExitStatus>,
    /// Kills it, and nothing else.
    pub(crate) kill: BoxFuture<'static, ()>,
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").finish_non_exhaustive()
    }
}

/// Runs the containers of pods.
pub(crate) trait PodRuntime: Send + Sync + 'static {
    /// Makes what the containers of a pod share.
    fn create_sandbox(&self, spec: SandboxSpec) -> Answer<'_, ()>;
    /// Ends and removes all of it.
    fn remove_sandbox<'a>(&'a self, id: &'a str) -> Answer<'a, ()>;
    /// Starts a container of that image; `stdin` keeps its input open.
    fn start<'a>(&'a self, spec: ContainerSpec, image: &'a str, stdin: bool)
    -> Answer<'a, Running>;
    /// Runs one more program in a container.
    fn exec(&self, spec: ExecSpec, stdin: bool) -> Answer<'_, Running>;
    /// Sends a signal to a container's first process.
    fn signal<'a>(&'a self, container: &'a str, signal: i32) -> Answer<'a, ()>;
    /// Gives a container other limits, bytes and thousandths of a processor, and tells which are not kept.
    fn limit<'a>(
        &'a self,
        container: &'a str,
        memory: Option<u64>,
        cpu: Option<u64>,
    ) -> Answer<'a, Vec<String>>;
    /// What its containers use.
    fn usage(&self) -> Answer<'_, NodeUsage>;
    /// Connects to an address as seen from inside a sandbox.
    fn dial(&self, sandbox: String, address: Ipv4Addr, port: u16) -> Answer<'_, Box<dyn Duplex>>;
    /// Removes a directory with whatever containers left in it.
    fn remove_tree<'a>(&'a self, path: &'a Path) -> Answer<'a, ()>;
}

/// The runtime of real processes on a directory of its own. Dropped, it first ends what runs, then
/// removes what that has left.
#[derive(Debug)]
pub(crate) struct Ground {
    // The order counts: fields are dropped from the first to the last.
    pub(crate) runtime: Runtime,
    pub(crate) directory: Directory,
}

impl PodRuntime for Ground {
    fn create_sandbox(&self, spec: SandboxSpec) -> Answer<'_, ()> {
        self.runtime
            .create_sandbox(spec)
            .map(|r| r.map_err(failed))
            .boxed()
    }

    fn remove_sandbox<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        async move {
            match self.runtime.remove_sandbox(id).await {
                Err(Error::NoSuchSandbox { .. }) => Ok(()),
                other => other.map_err(failed),
            }
        }
        .boxed()
    }

    // What the image is made of stands in the spec.
    fn start<'a>(
        &'a self,
        spec: ContainerSpec,
        _image: &'a str,
        stdin: bool,
    ) -> Answer<'a, Running> {
        let streams = if stdin {
            StdioSpec::piped()
        } else {
            StdioSpec::output()
        };
        async move {
            self.runtime
                .start_container(spec, streams)
                .await
                .map(running)
                .map_err(failed)
        }
        .boxed()
    }

    fn exec(&self, spec: ExecSpec, stdin: bool) -> Answer<'_, Running> {
        let streams = if stdin {
            StdioSpec::piped()
        } else {
            StdioSpec::output()
        };
        async move {
            self.runtime
                .exec(spec, streams)
                .await
                .map(running)
                .map_err(failed)
        }
        .boxed()
    }

    fn signal<'a>(&'a self, container: &'a str, signal: i32) -> Answer<'a, ()> {
        self.runtime
            .signal(container, signal)
            .map(|r| r.map_err(failed))
            .boxed()
    }

    fn limit<'a>(
        &'a self,
        container: &'a str,
        memory: Option<u64>,
        cpu: Option<u64>,
    ) -> Answer<'a, Vec<String>> {
        self.runtime
            .limit(container, memory, cpu)
            .map(|r| r.map_err(failed))
            .boxed()
    }

    fn usage(&self) -> Answer<'_, NodeUsage> {
        self.runtime.usage().map(|r| r.map_err(failed)).boxed()
    }

    fn dial(&self, sandbox: String, address: Ipv4Addr, port: u16) -> Answer<'_, Box<dyn Duplex>> {
        async move {
            let stream = self
                .runtime
                .dial(Target::Sandbox(sandbox), address, port)
                .await;
            stream
                .map(|stream| Box::new(stream) as Box<dyn Duplex>)
                .map_err(failed)
        }
        .boxed()
    }

    fn remove_tree<'a>(&'a self, path: &'a Path) -> Answer<'a, ()> {
        self.runtime
            .remove_tree(path)
            .map(|r| r.map_err(failed))
            .boxed()
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is what map_err gives")]
fn failed(error: Error) -> RuntimeError {
    let text = with_sources(&error);
    match error {
        Error::Start { .. } | Error::Exec { .. } => RuntimeError::Program(text),
        Error::NoSuchContainer { .. } | Error::NoSuchSandbox { .. } => {
            RuntimeError::NotRunning(text)
        }
        _ => RuntimeError::Failed(text),
    }
}

/// An error with its causes, as one line.
pub(crate) fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

fn running(mut process: Process) -> Running {
    let exit = process.exit_watch();
    let terminal = process.terminal.take();
    let resize = terminal.clone().map(|terminal| -> Resize {
        Box::new(move |size| {
            if let Err(error) = terminal.resize(size.width, size.height) {
                tracing::debug!(%error, "terminal not resized");
            }
        })
    });
    let (stdin, stdout, stderr) = match terminal {
        Some(terminal) => {
            let input: Input = Box::new(terminal.clone());
            let output: Output = Box::new(terminal);
            (Some(input), Some(output), None)
        }
        None => (
            process.stdin.take().map(|input| Box::new(input) as Input),
            process
                .stdout
                .take()
                .map(|output| Box::new(output) as Output),
            process
                .stderr
                .take()
                .map(|output| Box::new(output) as Output),
        ),
    };
    let process = Arc::new(process);
    let kill = async move {
        // It can only have ended already.
        let _ = process.signal(SIGKILL).await;
    };
    Running {
        stdin,
        stdout,
        stderr,
        resize,
        exit: async move { exit.wait().await }.boxed(),
        kill: kill.boxed(),
    }
}

/// The signal that nothing can refuse.
pub(crate) const SIGKILL: i32 = 9;
/// The signal that asks to end.
pub(crate) const SIGTERM: i32 = 15;

/// The number of a signal by its name (`SIGQUIT`, `QUIT`) or number.
pub(crate) fn signal_number(name: &str) -> Option<i32> {
    const NAMES: [(&str, i32); 17] = [
        ("HUP", 1),
        ("INT", 2),
        ("QUIT", 3),
        ("ABRT", 6),
        ("KILL", 9),
        ("USR1", 10),
        ("SEGV", 11),
        ("USR2", 12),
        ("PIPE", 13),
        ("ALRM", 14),
        ("TERM", 15),
        ("CHLD", 17),
        ("CONT", 18),
        ("STOP", 19),
        ("TSTP", 20),
        ("WINCH", 28),
        ("PWR", 30),
    ];
    if let Ok(number) = name.parse() {
        return Some(number);
    }
    let bare = name.trim_start_matches("SIG");
    if let Some(offset) = bare.strip_prefix("RTMIN") {
        return Some(34 + offset.trim_start_matches('+').parse::<i32>().unwrap_or(0));
    }
    NAMES
        .iter()
        .find(|(known, _)| *known == bare)
        .map(|(_, number)| *number)
}
