//! When backups are due: cron patterns in UTC. Pure; it starts nothing.

use std::str::FromStr as _;

use croner::Cron;
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// A cron pattern of five fields, or one of the aliases `@hourly`, `@daily`, ….
#[derive(Clone, Debug)]
pub struct Schedule(Cron);

impl Schedule {
    /// Reads a pattern; an error says what is wrong with it.
    pub fn parse(pattern: &str) -> Result<Self, String> {
        Cron::from_str(pattern).map(Self).map_err(|error| {
            format!("spec.backup.schedule {pattern:?} is no cron pattern: {error}")
        })
    }

    /// The latest moment after `since` and not after `now` at which a backup was due.
    pub fn due(&self, since: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let now = now.to_zoned(TimeZone::UTC);
        let latest = self
            .0
            .find_previous_occurrence(&now, true)
            .ok()?
            .timestamp();
        (latest > since).then_some(latest)
    }

    /// The next moment after `now`; `None` for a pattern that never comes again.
    pub fn next(&self, now: Timestamp) -> Option<Timestamp> {
        let now = now.to_zoned(TimeZone::UTC);
        let next = self.0.find_next_occurrence(&now, false).ok()?;
        Some(next.timestamp())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_backup_is_due_once_for_each_moment_of_the_schedule() {
        let nightly = Schedule::parse("30 2 * * *").unwrap();
        let (before, due) = (at("2026-01-01T02:29:59Z"), at("2026-01-01T02:30:00Z"));
        let since = at("2025-12-31T12:00:00Z");
        assert_eq!(nightly.due(since, before), None);
        assert_eq!(nightly.due(since, due), Some(due));
        assert_eq!(nightly.due(due, at("2026-01-01T20:00:00Z")), None);
        assert_eq!(nightly.next(due), Some(at("2026-01-02T02:30:00Z")));
    }

    #[test]
    fn of_several_that_were_missed_only_the_latest_is_made_up_for() {
        let nightly = Schedule::parse("@daily").unwrap();
        assert_eq!(
            nightly.due(at("2026-01-01T12:00:00Z"), at("2026-01-05T12:00:00Z")),
            Some(at("2026-01-05T00:00:00Z"))
        );
    }

    #[test]
    fn a_pattern_that_is_none_is_an_error_that_names_it() {
        let error = Schedule::parse("every night").unwrap_err();
        assert!(error.contains("every night"), "{error}");
        assert!(Schedule::parse("61 * * * *").is_err());
    }
}
