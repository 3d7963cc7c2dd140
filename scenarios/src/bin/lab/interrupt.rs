//! Ctrl-C and SIGTERM in the middle of something: what was begun is ended in order, and it is said so.
//!
//! Once more leaves at once. Then a simulated cluster and a container still end by themselves, and what
//! stays in somebody's cluster is named.

use std::sync::{Arc, Mutex, PoisonError};

use harness::{Cluster, Failure, backend::existing::RUN};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A run that was ended by a signal.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("interrupted by {name}")]
pub(crate) struct Interrupted {
    name: &'static str,
    number: u8,
}

impl Interrupted {
    /// What the shell is told, as of any program that a signal ended.
    pub(crate) fn exit_code(self) -> u8 {
        128 + self.number
    }
}

/// Listens from the moment it is made.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt {
    token: CancellationToken,
    by: Arc<Mutex<Option<Interrupted>>>,
    stays: Arc<Mutex<String>>,
}

impl Interrupt {
    /// Begins to listen.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let interrupt = signal(SignalKind::interrupt())?;
        let terminate = signal(SignalKind::terminate())?;
        let this = Self {
            token: CancellationToken::new(),
            by: Arc::default(),
            stays: Arc::default(),
        };
        tokio::spawn(this.clone().hear(interrupt, terminate));
        Ok(this)
    }

    async fn hear(self, mut interrupt: Signal, mut terminate: Signal) {
        let mut next = async || {
            tokio::select! {
                _ = interrupt.recv() => Interrupted { name: "Ctrl-C", number: 2 },
                _ = terminate.recv() => Interrupted { name: "SIGTERM", number: 15 },
            }
        };
        let first = next().await;
        *lock(&self.by) = Some(first);
        say(&format!(
            "\n{first}: ending what was begun; once more leaves at once"
        ));
        self.token.cancel();
        let second = next().await;
        say(&format!("left at once{}", lock(&self.stays)));
        // Nothing below may run: somebody does not want to wait for it.
        std::process::exit(i32::from(second.exit_code()));
    }

    /// The same as a token, for those who stop by one.
    pub(crate) fn token(&self) -> CancellationToken {
        self.token.clone()
    }

    /// The work's outcome, or that it was interrupted; then the work is given up where it stands.
    pub(crate) async fn or<T>(
        &self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        tokio::select! {
            outcome = Box::pin(work) => outcome,
            () = self.token.cancelled() => self.so_far().and(Err("interrupted".into())),
        }
    }

    /// An error if there was a signal.
    pub(crate) fn so_far(&self) -> Result<(), Failure> {
        match *lock(&self.by) {
            Some(by) => Err(by.into()),
            None => Ok(()),
        }
    }

    /// A cluster that is being started, in whole: half a start would leave something. If there was a signal
    /// meanwhile, the cluster is ended at once.
    pub(crate) async fn start(
        &self,
        starting: impl Future<Output = Result<Cluster, Failure>>,
    ) -> Result<Cluster, Failure> {
        self.so_far()?;
        *lock(&self.stays) = format!(
            "; a cluster that is not ours keeps what has the label {RUN}, if there is anything"
        );
        let cluster = Box::pin(starting).await?;
        lock(&self.stays).clear();
        if let Err(interrupted) = self.so_far() {
            for line in cluster.stop().await.0 {
                say(&format!("left behind: {line}"));
            }
            return Err(interrupted);
        }
        if cluster.backend().name() == "existing" {
            let namespace = cluster.namespace();
            *lock(&self.stays) = format!(
                "; in the cluster stays what has the label {RUN}={namespace}, and the namespace {namespace}"
            );
        }
        Ok(cluster)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[expect(
    clippy::print_stderr,
    reason = "whoever interrupts must see what happens, whatever standard output is used for"
)]
fn say(text: &str) {
    eprintln!("{text}");
}
