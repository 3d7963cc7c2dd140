//! The operator under test: a task of this process, or a process of its own.
//!
//! It knows no operator: a task is any future that ends when it is told to; a process is any program
//! that reads `KUBECONFIG`.

use std::{
    ffi::OsString,
    fmt, io,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
};

use tempfile::TempDir;
use tokio::{
    process::{Child, Command},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use crate::proof::Failure;

/// An operator that runs as a task of this process.
pub struct Task {
    shutdown: CancellationToken,
    handle: JoinHandle<Result<(), Failure>>,
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task")
            .field("finished", &self.handle.is_finished())
            .finish_non_exhaustive()
    }
}

impl Task {
    /// Starts what `run` gives; it must end soon after its token is cancelled.
    pub fn start<F>(run: impl FnOnce(CancellationToken) -> F) -> Self
    where
        F: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        let shutdown = CancellationToken::new();
        let handle = tokio::spawn(run(shutdown.clone()));
        Self { shutdown, handle }
    }

    /// Starts an operator that runs until somebody ends it: a future without a token. [`Task::stop`] ends it
    /// at its next await.
    ///
    /// ```no_run
    /// # async fn run(client: kube::Client) -> Result<(), kube::Error> { Ok(()) }
    /// # async fn example(cluster: &harness::Cluster) -> Result<(), harness::Failure> {
    /// let operator = harness::operator::Task::run(run(cluster.client_of("operator")));
    /// // … apply, wait …
    /// operator.stop().await
    /// # }
    /// ```
    pub fn run<E>(operator: impl Future<Output = Result<(), E>> + Send + 'static) -> Self
    where
        E: Into<Failure>,
    {
        Self::start(async move |stop: CancellationToken| {
            tokio::select! {
                () = stop.cancelled() => Ok(()),
                ended = operator => ended.map_err(Into::into),
            }
        })
    }

    /// Tells it to end and waits until it has.
    pub async fn stop(self) -> Result<(), Failure> {
        self.shutdown.cancel();
        self.handle.await.unwrap_or_else(|error| {
            if error.is_cancelled() {
                Ok(())
            } else {
                Err(error.into())
            }
        })
    }

    /// Ends it at its next await; an error if it had already ended in one.
    pub async fn end(self) -> Result<(), Failure> {
        if self.handle.is_finished() {
            return self.stop().await;
        }
        self.kill().await;
        Ok(())
    }

    /// Ends it at its next await, as a crash would.
    pub async fn kill(self) {
        self.handle.abort();
        // A task that was aborted answers with "cancelled"; any other answer does not matter either.
        drop(self.handle.await);
    }
}

/// An operator that runs as a process of its own, with a kubeconfig of its own.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
    _directory: TempDir,
}

impl Process {
    /// Starts `program` with `KUBECONFIG` set to a private file; its output goes to a file too.
    pub fn start(
        program: &Path,
        arguments: impl IntoIterator<Item = OsString>,
        kubeconfig: &kube::config::Kubeconfig,
    ) -> io::Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("harness-operator-")
            .tempdir()?;
        let config = directory.path().join("kubeconfig");
        std::fs::write(
            &config,
            serde_yaml::to_string(kubeconfig).map_err(io::Error::other)?,
        )?;
        let log = directory.path().join("operator.log");
        let output = std::fs::File::create(&log)?;
        let child = Command::new(program)
            .args(arguments)
            .env("KUBECONFIG", &config)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .kill_on_drop(true)
            .spawn()?;
        Ok(Self {
            child,
            log,
            _directory: directory,
        })
    }

    /// What it wrote so far.
    pub fn log(&self) -> io::Result<String> {
        std::fs::read_to_string(&self.log)
    }

    /// SIGKILL, as the kernel or a node failure would.
    pub async fn kill(mut self) -> io::Result<ExitStatus> {
        self.child.kill().await?;
        self.child.wait().await
    }
}
