//! How long a failing container or image pull waits before the next try. Pure: the clock is passed in.
//!
//! It does not know what it delays; the pod machine asks it when it may start and tells it when it did.

use jiff::{SignedDuration, Timestamp};

/// The first delay of a restart and of an image pull.
const INITIAL: SignedDuration = SignedDuration::from_secs(10);
/// Delays double up to this.
const LONGEST: SignedDuration = SignedDuration::from_mins(5);
/// A container that ran this long since its last restart begins anew.
const FORGIVEN_AFTER: SignedDuration = SignedDuration::from_mins(10);

/// The memory of one container's (or image's) failures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    entry: Option<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    delay: SignedDuration,
    since: Timestamp,
}

impl Backoff {
    /// When a try after the failure at `failed` may happen; `None` means at once.
    pub fn ready_at(&self, failed: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let entry = self.current(now)?;
        let at = failed.saturating_add(entry.delay).unwrap_or(Timestamp::MAX);
        (at > now).then_some(at)
    }

    /// Notes that a new try begins: should it fail too, the next one waits longer.
    pub fn tried(&mut self, now: Timestamp) {
        let delay = match self.current(now) {
            None => INITIAL,
            Some(entry) => (entry.delay * 2).min(LONGEST),
        };
        self.entry = Some(Entry { delay, since: now });
    }

    /// The delay that holds now, for the text `back-off 10s restarting …`.
    pub fn delay(&self) -> SignedDuration {
        self.entry.as_ref().map_or(INITIAL, |entry| entry.delay)
    }

    fn current(&self, now: Timestamp) -> Option<&Entry> {
        self.entry
            .as_ref()
            .filter(|entry| now.duration_since(entry.since) <= FORGIVEN_AFTER)
    }
}

/// A duration as Go prints whole seconds: `10s`, `1m20s`, `5m0s`.
pub fn go_seconds(duration: SignedDuration) -> String {
    let seconds = duration.as_secs();
    if seconds >= 60 {
        format!("{}m{}s", seconds / 60, seconds % 60)
    } else {
        format!("{seconds}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn the_first_restart_is_immediate_and_later_ones_double_to_five_minutes() {
        let mut backoff = Backoff::default();
        let mut now = at(1_000);
        assert_eq!(backoff.ready_at(now, now), None);
        let mut delays = Vec::new();
        for _ in 0..8 {
            backoff.tried(now);
            now += SignedDuration::from_secs(1);
            let ready = backoff.ready_at(now, now).unwrap();
            delays.push(ready.duration_since(now).as_secs());
            now = ready;
        }
        assert_eq!(delays, [10, 20, 40, 80, 160, 300, 300, 300]);
    }

    #[test]
    fn ten_quiet_minutes_forgive() {
        let mut backoff = Backoff::default();
        backoff.tried(at(0));
        backoff.tried(at(30));
        assert_eq!(backoff.ready_at(at(631), at(631)), None);
        backoff.tried(at(631));
        assert_eq!(backoff.delay(), INITIAL);
    }

    #[test]
    fn durations_read_as_go_prints_them() {
        let texts = [10, 80, 300].map(|s| go_seconds(SignedDuration::from_secs(s)));
        assert_eq!(texts, ["10s", "1m20s", "5m0s"]);
    }
}
