//! What was measured, and the rates that follow from it. Pure.
//!
//! A rate is taken over some ten seconds, as metrics are scraped; of what has just begun, over its life so far.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use simcluster_runtime::spec::NodeUsage;

/// The least time that a rate is taken over, where there is so much.
const WINDOW: SignedDuration = SignedDuration::from_secs(10);
/// What has not lived so long has no rate yet.
const SHORTEST: SignedDuration = SignedDuration::from_secs(1);

/// Processor time used until a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Point {
    at: Timestamp,
    cpu_nanos: u64,
}

/// How much processor time something uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rate {
    /// In which time.
    pub(super) window: Duration,
    /// In billionths of a processor.
    pub(super) nano_cores: u64,
    /// Altogether, in nanoseconds.
    pub(super) cpu_nanos: u64,
}

/// The newest points of one thing, the oldest first.
#[derive(Clone, Debug, Default)]
struct Track(VecDeque<Point>);

impl Track {
    fn add(&mut self, at: Timestamp, cpu_nanos: u64) {
        // What was counted is not uncounted when a process takes its share with it.
        let before = self.0.back().map_or(0, |point| point.cpu_nanos);
        let cpu_nanos = cpu_nanos.max(before);
        self.0.push_back(Point { at, cpu_nanos });
        while self.0.get(1).is_some_and(|next| is_base(at, next.at)) {
            self.0.pop_front();
        }
    }

    fn total(&self) -> u64 {
        self.0.back().map_or(0, |point| point.cpu_nanos)
    }

    fn rate(&self, began: Timestamp) -> Option<Rate> {
        let newest = self.0.back()?;
        let base = self
            .0
            .iter()
            .rev()
            .find(|point| is_base(newest.at, point.at));
        let base = base.copied().unwrap_or(Point {
            at: began,
            cpu_nanos: 0,
        });
        let window = newest.at.duration_since(base.at);
        if window < SHORTEST {
            return None;
        }
        let used = u128::from(newest.cpu_nanos.saturating_sub(base.cpu_nanos));
        let nanos = window.as_nanos().unsigned_abs();
        Some(Rate {
            window: window.unsigned_abs(),
            nano_cores: u64::try_from(used * 1_000_000_000 / nanos).unwrap_or(u64::MAX),
            cpu_nanos: newest.cpu_nanos,
        })
    }
}

fn is_base(now: Timestamp, then: Timestamp) -> bool {
    now.duration_since(then) >= WINDOW
}

/// What was measured of a node and of its containers.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    node: Track,
    rest: u64,
    containers: BTreeMap<String, Track>,
}

impl History {
    /// One more measurement; containers that are not in it have ended.
    pub(super) fn add(&mut self, at: Timestamp, usage: &NodeUsage) {
        self.containers
            .retain(|id, _| usage.containers.contains_key(id));
        // What ended containers have used stays used by the node.
        let mut fresh = usage.rest.cpu_nanos.saturating_sub(self.rest);
        self.rest = self.rest.max(usage.rest.cpu_nanos);
        for (id, own) in &usage.containers {
            let track = self.containers.entry(id.clone()).or_default();
            let before = track.total();
            track.add(at, own.cpu_nanos);
            fresh += track.total() - before;
        }
        self.node.add(at, self.node.total() + fresh);
    }

    /// The rate of a container that began at that time.
    pub(super) fn of_container(&self, id: &str, began: Timestamp) -> Option<Rate> {
        self.containers.get(id)?.rate(began)
    }

    /// That of the whole node.
    pub(super) fn of_node(&self, began: Timestamp) -> Option<Rate> {
        self.node.rate(began)
    }
}

#[cfg(test)]
mod tests {
    use simcluster_runtime::spec::Usage;

    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(1_000_000 + millis).expect("a time")
    }

    /// Milliseconds of processor time of each container.
    fn usage(of: &[(&str, u64)]) -> NodeUsage {
        let one = |(id, millis): &(&str, u64)| {
            let usage = Usage {
                cpu_nanos: millis * 1_000_000,
                ..Usage::default()
            };
            ((*id).to_owned(), usage)
        };
        NodeUsage {
            containers: of.iter().map(one).collect(),
            rest: Usage::default(),
        }
    }

    #[test]
    fn what_has_just_begun_is_measured_from_its_beginning() {
        let mut history = History::default();
        history.add(at(500), &usage(&[("a", 400)]));
        assert_eq!(history.of_container("a", at(0)), None, "too short a life");
        history.add(at(2_000), &usage(&[("a", 1_000)]));
        let rate = history.of_container("a", at(0)).expect("two seconds old");
        assert_eq!(
            (rate.window, rate.nano_cores, rate.cpu_nanos),
            (Duration::from_secs(2), 500_000_000, 1_000_000_000)
        );
    }

    #[test]
    fn a_rate_is_that_of_the_last_ten_seconds_or_little_more() {
        let mut history = History::default();
        for second in 0..60_u64 {
            // Idle for half a minute, then a quarter of a processor.
            let used = second.saturating_sub(30) * 250;
            let moment = i64::try_from(second).expect("it is small") * 1_000;
            history.add(at(moment), &usage(&[("a", used)]));
        }
        let rate = history.of_container("a", at(0)).expect("a minute old");
        assert_eq!(
            (rate.window, rate.nano_cores),
            (Duration::from_secs(10), 250_000_000)
        );
        assert!(history.containers["a"].0.len() <= 12, "the past is let go");
    }

    #[test]
    fn what_is_counted_stays_counted() {
        let mut history = History::default();
        history.add(at(0), &usage(&[("a", 4_000), ("b", 1_000)]));
        history.add(at(2_000), &usage(&[("a", 3_000)]));
        history.add(at(4_000), &usage(&[("a", 5_000)]));
        assert_eq!(history.of_container("b", at(0)), None, "it has ended");
        let rate = history.of_container("a", at(0)).expect("it lives");
        assert_eq!(rate.cpu_nanos, 5_000_000_000);
        let node = history.of_node(at(0)).expect("it lives");
        assert_eq!(node.cpu_nanos, 6_000_000_000);
    }
}
