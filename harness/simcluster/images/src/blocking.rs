//! Network work on a thread that may block, which ends as soon as nobody waits for it.

use std::{future::Future, io, time::Duration};

use crate::source::Reporter;

/// How often it is looked whether somebody still waits.
const LOOK: Duration = Duration::from_millis(100);

/// Runs `work` to its end on an event loop of its own; `None` when nobody waits for its result any more.
///
/// Of its own, because the caller's loop may end before the work does.
pub(crate) fn run<F: Future>(work: F, reporter: &dyn Reporter) -> io::Result<Option<F::Output>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let result = runtime.block_on(async {
        tokio::select! {
            result = work => Some(result),
            () = cancelled(reporter) => None,
        }
    });
    // A name that is still being looked up is not waited for.
    runtime.shutdown_background();
    Ok(result)
}

async fn cancelled(reporter: &dyn Reporter) {
    while !reporter.is_cancelled() {
        tokio::time::sleep(LOOK).await;
    }
}
