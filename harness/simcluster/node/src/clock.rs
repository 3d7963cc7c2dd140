//! The node's clock: wall time that moves with tokio's, so that paused tests and model runs have one too.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// Reads the time; cheap to clone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    wall: Timestamp,
    start: Instant,
}

impl Clock {
    /// A clock that goes on from now.
    pub(crate) fn start() -> Self {
        Self {
            wall: Timestamp::now(),
            start: Instant::now(),
        }
    }

    /// The time.
    pub(crate) fn now(&self) -> Timestamp {
        let passed = SignedDuration::try_from(self.start.elapsed()).unwrap_or(SignedDuration::MAX);
        self.wall.saturating_add(passed).unwrap_or(Timestamp::MAX)
    }

    /// When it began.
    pub(crate) fn beginning(&self) -> Timestamp {
        self.wall
    }

    /// When tokio's clock shows `at`.
    pub(crate) fn instant(&self, at: Timestamp) -> Instant {
        let from_start = at.duration_since(self.wall);
        self.start + Duration::try_from(from_start).unwrap_or_default()
    }
}
