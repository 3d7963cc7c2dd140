//! How long a job waits before it replaces a failed pod: ten seconds, doubled with each failure since the last
//! success, at most ten minutes. Pure.

use std::{collections::HashSet, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use crate::clock::seconds_after;

const FIRST_SECONDS: i64 = 10;
const MOST_SECONDS: i64 = 600;

/// How the latest pods of a job ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Backoff {
    failures: u32,
    last_failure: Option<Timestamp>,
    /// Uids of pods that are in the numbers already, until their end is counted.
    learned: HashSet<String>,
}

impl Backoff {
    /// Takes in the ends that have not been counted yet; those known already do not count twice.
    pub(super) fn learn(&mut self, succeeded: &[Arc<Pod>], failed: &[Arc<Pod>], now: Timestamp) {
        let uid = |pod: &Pod| pod.metadata.uid.clone().unwrap_or_default();
        let ends = succeeded
            .iter()
            .map(|pod| (pod, true))
            .chain(failed.iter().map(|pod| (pod, false)));
        let mut ends: Vec<_> = ends
            .map(|(pod, success)| (ended_at(pod).unwrap_or(now), success, uid(pod)))
            .collect();
        let present: HashSet<String> = ends.iter().map(|(_, _, uid)| uid.clone()).collect();
        ends.retain(|(_, _, uid)| !self.learned.contains(uid));
        ends.sort();
        for (at, success, _) in ends {
            if success {
                self.failures = 0;
                self.last_failure = None;
            } else {
                self.failures += 1;
                self.last_failure = Some(at);
            }
        }
        self.learned = present;
    }

    /// Until when no new pod is made.
    pub(super) fn until(&self) -> Option<Timestamp> {
        pause_after(self.last_failure?, self.failures)
    }
}

/// The end of the pause after so many failures, the last of them at `last`.
pub(super) fn pause_after(last: Timestamp, failures: u32) -> Option<Timestamp> {
    let doublings = failures.checked_sub(1)?.min(10);
    Some(seconds_after(
        last,
        (FIRST_SECONDS << doublings).min(MOST_SECONDS),
    ))
}

/// When the last container of a pod ended, or the pod was deleted.
pub(super) fn ended_at(pod: &Pod) -> Option<Timestamp> {
    let containers = pod
        .status
        .as_ref()
        .and_then(|status| status.container_statuses.as_ref());
    let last = containers
        .into_iter()
        .flatten()
        .filter_map(|container| {
            Some(
                container
                    .state
                    .as_ref()?
                    .terminated
                    .as_ref()?
                    .finished_at
                    .as_ref()?
                    .0,
            )
        })
        .max();
    last.or_else(|| pod.metadata.deletion_timestamp.as_ref().map(|time| time.0))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(uid: &str, second: i64) -> Arc<Pod> {
        let at = Timestamp::from_second(second).unwrap().to_string();
        Arc::new(
            serde_json::from_value(json!({
                "metadata": {"uid": uid},
                "status": {"containerStatuses": [{
                    "name": "c", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                    "state": {"terminated": {"exitCode": 1, "finishedAt": at}},
                }]},
            }))
            .unwrap(),
        )
    }

    fn seconds(backoff: &Backoff) -> Option<i64> {
        backoff.until().map(Timestamp::as_second)
    }

    #[test]
    fn each_failure_doubles_the_pause_and_success_ends_it() {
        let mut backoff = Backoff::default();
        let now = Timestamp::from_second(1000).unwrap();
        assert_eq!(seconds(&backoff), None);
        backoff.learn(&[], &[pod("a", 100)], now);
        assert_eq!(seconds(&backoff), Some(110));
        backoff.learn(&[], &[pod("a", 100)], now);
        assert_eq!(
            seconds(&backoff),
            Some(110),
            "the same failure does not count twice"
        );
        backoff.learn(&[], &[pod("b", 200)], now);
        assert_eq!(seconds(&backoff), Some(220));
        backoff.learn(&[pod("c", 300)], &[], now);
        assert_eq!(seconds(&backoff), None);
    }

    #[test]
    fn the_pause_is_bounded() {
        let last = Timestamp::from_second(0).unwrap();
        assert_eq!(pause_after(last, 99).unwrap().as_second(), 600);
    }
}
