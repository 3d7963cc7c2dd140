//! The entry into a node's init process: code that runs before `main` of whichever program links this crate.
//!
//! The owner executes its own program again with a marker in the environment. With the marker this
//! function never returns, and `main` never runs; without it, it only notes that it was called. It knows
//! nothing of what the init process does.

use std::sync::atomic::{AtomicBool, Ordering};

use super::SingleThreaded;

/// The environment variable that marks an init process.
pub(crate) const MARKER: &str = "SIMCLUSTER_RUNTIME_INIT";

static LINKED: AtomicBool = AtomicBool::new(false);

/// Whether the constructor ran in this process. If not, executing the program again would run its `main`.
pub(crate) fn is_linked() -> bool {
    LINKED.load(Ordering::Relaxed)
}

#[ctor::ctor(unsafe)]
fn enter() {
    LINKED.store(true, Ordering::Relaxed);
    if std::env::var_os(MARKER).is_some() {
        crate::init::main(SingleThreaded(()))
    }
}
