//! One test's life: a runtime and a cluster of its own, the body, evidence if it failed, the end.
//!
//! The body may return an error or panic; either way the cluster is asked what happened before it is
//! ended. If the whole process is killed, the cluster ends itself (see `simcluster-runtime`).

use std::{error::Error, panic::AssertUnwindSafe, sync::Arc, thread};

use futures::FutureExt;
use simcluster::{ImageStore, StoreConfig};
use tokio::runtime::Runtime;
use tracing::Dispatch;
use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

use crate::{
    Cluster,
    backend::{Leftovers, Selection},
    evidence::{self, RunLog},
    scenario::{Failed, Run},
};

/// Why a scenario failed: any error, printed with its causes.
pub type Failure = Box<dyn Error + Send + Sync>;

/// Runs `body` on a cluster of its own and panics if it fails.
///
/// The cluster is simulated unless the environment selects another: see [`crate::backend::select`].
///
/// # Panics
/// With the failure, its causes and the place of the evidence.
#[track_caller]
pub fn prove<F>(body: F)
where
    F: AsyncFnOnce(&Cluster) -> Result<(), Failure>,
{
    prove_with(
        async || Ok(Arc::new(ImageStore::open(StoreConfig::default())?)),
        &[],
        body,
    );
}

/// As [`prove`], with images of the caller's; `carried` are those that a k3s container must be given.
///
/// # Panics
/// With the failure, its causes and the place of the evidence.
#[track_caller]
pub fn prove_with<F>(
    images: impl AsyncFnOnce() -> Result<Arc<ImageStore>, Failure>,
    carried: &[&str],
    body: F,
) where
    F: AsyncFnOnce(&Cluster) -> Result<(), Failure>,
{
    let test = thread::current().name().unwrap_or("main").to_owned();
    let log = RunLog::default();
    let outcome = with_own_runtime(&log, async {
        let selection = Selection::from_environment()?;
        let cluster = selection.start(images().await?, carried).await?;
        let cluster = cluster.logged_in(&log);
        let outcome = AssertUnwindSafe(body(&cluster)).catch_unwind().await;
        let failure = match outcome {
            Ok(Ok(())) => None,
            Ok(Err(error)) => {
                let run = error.downcast_ref::<Failed>().map(|failed| &*failed.run);
                Some(keep_evidence(&cluster, &log, &test, &chain(&*error), run).await)
            }
            Err(panic) => {
                let failure = panic_text(&*panic);
                Some(keep_evidence(&cluster, &log, &test, &failure, None).await)
            }
        };
        let mut left = cluster.clean_up().await;
        left.0.extend(cluster.stop().await.0);
        // The verdict is one thing and the clean-up another; both are said.
        say_leftovers(&test, &left);
        failure.map_or(Ok(()), |text| Err(Failure::from(text)))
    });
    if let Err(failure) = outcome {
        panic!("{}", chain(&*failure));
    }
}

#[expect(
    clippy::print_stderr,
    reason = "what a run leaves in somebody's cluster must be seen, also when the test passes"
)]
fn say_leftovers(test: &str, left: &Leftovers) {
    for line in &left.0 {
        eprintln!("{test} left behind: {line}");
    }
}

/// A runtime whose threads log to `log` and to no one else, so that tests in parallel keep apart.
fn with_own_runtime<T>(log: &RunLog, body: impl Future<Output = T>) -> T {
    let dispatch = subscriber(log);
    let runtime = runtime(&dispatch);
    let outcome = tracing::dispatcher::with_default(&dispatch, || runtime.block_on(body));
    drop(runtime);
    outcome
}

/// What of the log is kept for evidence; `HARNESS_LOG` asks for something else.
pub fn kept() -> EnvFilter {
    EnvFilter::try_from_env("HARNESS_LOG").unwrap_or_else(|_| {
        EnvFilter::new("info,kube_client=warn,kube_runtime=info,mysql_operator=debug")
    })
}

fn subscriber(log: &RunLog) -> Dispatch {
    let log = log.clone();
    Dispatch::new(
        tracing_subscriber::fmt()
            .with_env_filter(kept())
            .with_ansi(false)
            .with_writer(log)
            .finish(),
    )
}

impl<'a> MakeWriter<'a> for RunLog {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

fn runtime(dispatch: &Dispatch) -> Runtime {
    thread_local! {
        static LOG: std::cell::RefCell<Option<tracing::dispatcher::DefaultGuard>> =
            const { std::cell::RefCell::new(None) };
    }
    let dispatch = dispatch.clone();
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .on_thread_start(move || {
            LOG.with_borrow_mut(|log| *log = Some(tracing::dispatcher::set_default(&dispatch)));
        })
        .on_thread_stop(|| LOG.with_borrow_mut(|log| *log = None))
        .build()
        .expect("a tokio runtime needs only threads and epoll")
}

async fn keep_evidence(
    cluster: &Cluster,
    log: &RunLog,
    test: &str,
    failure: &str,
    run: Option<&Run>,
) -> String {
    let directory = evidence::directory(test);
    let cluster_name = cluster.backend().name();
    let case = evidence::Case {
        failure,
        reproduce: &format!("HARNESS_CLUSTER={cluster_name} cargo test {test} -- --exact"),
        run,
        log: Some(log),
    };
    let kept = evidence::collect(cluster, case, &directory).await;
    format!("{}\n{kept}", kept.secrets.hide(failure))
}

/// An error and its causes, a line each.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str("\n  because: ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied());
    format!("the test panicked: {}", text.unwrap_or("(no text)"))
}
