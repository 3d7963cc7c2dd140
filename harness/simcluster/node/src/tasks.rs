//! The tasks of a node: they end together, and the node knows when the last one has.

use tokio::task::{AbortHandle, JoinHandle};
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TrackedFuture},
};

/// Starts tasks; clones belong to the same node.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tasks {
    stop: CancellationToken,
    tracker: TaskTracker,
}

impl Tasks {
    /// Runs `task` until its end or the node's.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        self.spawn_joined(task).abort_handle()
    }

    /// As [`Tasks::spawn`], and its end can be waited for.
    pub(crate) fn spawn_joined(
        &self,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> JoinHandle<()> {
        let stop = self.stop.clone();
        self.tracker.spawn(async move {
            stop.run_until_cancelled(task).await;
        })
    }

    /// Counts a future that someone else runs and ends.
    pub(crate) fn track<F: Future>(&self, task: F) -> TrackedFuture<F> {
        self.tracker.track_future(task)
    }

    /// Ends all tasks, and waits until each has let go of what it held.
    pub(crate) async fn end(&self) {
        self.stop.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }

    /// Ends all tasks without waiting.
    pub(crate) fn cancel(&self) {
        self.stop.cancel();
    }
}
