//! What time it is for the controllers, and when a point in time comes.
//!
//! Wall time is read once, at the start; from then on tokio's clock moves it, so that a paused tokio clock moves all
//! deadlines with it. It does NOT follow later changes of the machine's wall clock.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use tokio::time::Instant;

/// Wall time that moves with tokio's clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    wall_at_start: Timestamp,
    start: Instant,
}

impl Clock {
    /// Reads wall time once.
    pub(crate) fn start() -> Self {
        Self {
            wall_at_start: Timestamp::now(),
            start: Instant::now(),
        }
    }

    /// The present, with all its digits.
    pub(crate) fn now(&self) -> Timestamp {
        let elapsed = SignedDuration::try_from(self.start.elapsed()).unwrap_or(SignedDuration::MAX);
        self.wall_at_start
            .checked_add(elapsed)
            .unwrap_or(Timestamp::MAX)
    }

    /// The present as API objects write it: whole seconds.
    pub(crate) fn time(&self) -> Time {
        whole_seconds(self.now())
    }

    /// When `at` comes, in tokio's time; at once if it is past.
    pub(crate) fn instant(&self, at: Timestamp) -> Instant {
        let ahead = at.duration_since(self.now());
        let ahead = std::time::Duration::try_from(ahead).unwrap_or_default();
        Instant::now() + ahead
    }
}

/// Cuts the digits that [`Time`] does not keep, so that what is compared equals what is stored.
pub(crate) fn whole_seconds(at: Timestamp) -> Time {
    Time(Timestamp::from_second(at.as_second()).unwrap_or(at))
}

/// `from` plus `seconds`, at most the end of time.
pub(crate) fn seconds_after(from: Timestamp, seconds: i64) -> Timestamp {
    from.checked_add(SignedDuration::from_secs(seconds))
        .unwrap_or(Timestamp::MAX)
}
