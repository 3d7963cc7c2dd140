//! What a program of the model says it uses, as processor time in tokio's clock.

use std::sync::{Arc, Mutex, PoisonError};

use simcluster_runtime::spec::Usage;
use tokio::time::Instant;

/// One container's; clones are the same one.
#[derive(Clone, Debug, Default)]
pub(super) struct Load(Arc<Mutex<State>>);

#[derive(Clone, Copy, Debug, Default)]
struct State {
    /// Used before `since`.
    cpu_nanos: u64,
    since: Option<Instant>,
    milli_cpus: u64,
    memory: u64,
}

impl State {
    fn cpu_nanos(&self) -> u64 {
        let passed = self.since.map_or(0, |since| since.elapsed().as_micros());
        let passed = u64::try_from(passed).unwrap_or(u64::MAX);
        // A thousandth of a processor is a nanosecond in each microsecond.
        self.cpu_nanos
            .saturating_add(passed.saturating_mul(self.milli_cpus))
    }
}

impl Load {
    pub(super) fn set(&self, milli_cpus: u64, memory: u64) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *state = State {
            cpu_nanos: state.cpu_nanos(),
            since: Some(Instant::now()),
            milli_cpus,
            memory,
        };
    }

    pub(super) fn usage(&self) -> Usage {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Usage {
            cpu_nanos: state.cpu_nanos(),
            working_set: state.memory,
            rss: state.memory,
            processes: 1,
        }
    }
}
