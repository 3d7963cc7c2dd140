//! How long to wait after the failures of an instance in a row. It schedules nothing itself.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::names::Instance;

const CONFLICT: Duration = Duration::from_millis(20);
const FIRST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(60);

/// Counts failures in a row.
#[derive(Clone, Debug, Default)]
pub struct Retries(Arc<Mutex<HashMap<Instance, u32>>>);

impl Retries {
    /// The instance failed; gives the time to wait. Conflicts are nobody's fault and cost little.
    pub fn failed(&self, instance: &Instance, conflict: bool) -> Duration {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(instance.clone()).or_default();
        *count = count.saturating_add(1);
        if conflict && *count < 10 {
            return CONFLICT;
        }
        FIRST
            .saturating_mul(2_u32.saturating_pow(*count - 1))
            .min(LONGEST)
    }

    /// The instance did not fail.
    pub fn succeeded(&self, instance: &Instance) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(instance);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_in_a_row_wait_longer_and_longer() {
        let retries = Retries::default();
        let instance = Instance::new("a", "b");
        assert_eq!(retries.failed(&instance, false), FIRST);
        assert_eq!(retries.failed(&instance, false), FIRST * 2);
        for _ in 0..100 {
            retries.failed(&instance, false);
        }
        assert_eq!(retries.failed(&instance, false), LONGEST);
        retries.succeeded(&instance);
        assert_eq!(retries.failed(&instance, true), CONFLICT);
    }
}
