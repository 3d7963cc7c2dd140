//! Cron expressions: five fields, names, ranges, steps, and the shorthands with `@`. Pure.

use jiff::{Timestamp, ToSpan, civil::DateTime, tz::TimeZone};

/// When something is to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Schedule {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// A day fits if one of day and weekday does, unless one of them is unrestricted.
    any_day: bool,
    any_weekday: bool,
    every: Option<std::time::Duration>,
}

const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
/// A time that does not come within so many years never comes.
const YEARS: i64 = 5;

impl Schedule {
    /// Reads an expression; the error says which part cannot be read.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if let Some(every) = text.strip_prefix("@every ") {
            let every: jiff::SignedDuration = every
                .trim()
                .parse()
                .map_err(|_| format!("failed to parse duration {text}"))?;
            let every = std::time::Duration::try_from(every)
                .map_err(|_| format!("failed to parse duration {text}"))?;
            let every = std::time::Duration::from_secs(every.as_secs().max(1));
            return Ok(Self {
                every: Some(every),
                ..Self::parse("* * * * *")?
            });
        }
        let text = match text {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            other => other,
        };
        let fields: Vec<_> = text.split_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = fields.as_slice() else {
            return Err(format!(
                "expected exactly 5 fields, found {}: [{text}]",
                fields.len()
            ));
        };
        // Sunday may be written as 7.
        let weekday_bits = field(weekdays, 0, 7, &WEEKDAYS)?;
        Ok(Self {
            minutes: field(minutes, 0, 59, &[])?,
            hours: field(hours, 0, 23, &[])?,
            days: field(days, 1, 31, &[])?,
            months: field(months, 1, 12, &MONTHS)?,
            weekdays: weekday_bits | (weekday_bits >> 7 & 1),
            any_day: days.starts_with(['*', '?']),
            any_weekday: weekdays.starts_with(['*', '?']),
            every: None,
        })
    }

    /// The first time after `from`, if there is one.
    pub(super) fn after(&self, from: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        if let Some(every) = self.every {
            let seconds = i64::try_from(every.as_secs()).ok()?;
            return Timestamp::from_second(from.as_second().checked_add(seconds)?).ok();
        }
        let local = zone.to_datetime(from);
        let end = local.checked_add(YEARS.years()).ok()?;
        let mut at = local
            .with()
            .second(0)
            .subsec_nanosecond(0)
            .build()
            .ok()?
            .checked_add(1.minute())
            .ok()?;
        while at < end {
            if !has(self.months, at.month()) {
                at = first_of(at.first_of_month())?.checked_add(1.month()).ok()?;
            } else if !self.fits_day(at) {
                at = first_of(at)?.checked_add(1.day()).ok()?;
            } else if !has(self.hours, at.hour()) {
                at = at
                    .with()
                    .minute(0)
                    .build()
                    .ok()?
                    .checked_add(1.hour())
                    .ok()?;
            } else if has(self.minutes, at.minute()) {
                let found = zone.to_timestamp(at).ok()?;
                // Where the clock is put back, a local time may come twice: the first counts.
                if found > from {
                    return Some(found);
                }
                at = at.checked_add(1.minute()).ok()?;
            } else {
                at = at.checked_add(1.minute()).ok()?;
            }
        }
        None
    }

    fn fits_day(&self, at: DateTime) -> bool {
        let day = has(self.days, at.day());
        let weekday = has(self.weekdays, at.weekday().to_sunday_zero_offset());
        if self.any_day || self.any_weekday {
            day && weekday
        } else {
            day || weekday
        }
    }
}

fn first_of(at: DateTime) -> Option<DateTime> {
    at.with().hour(0).minute(0).build().ok()
}

fn has(bits: u64, number: i8) -> bool {
    u32::try_from(number).is_ok_and(|number| bits >> number & 1 == 1)
}

fn field(text: &str, least: u32, most: u32, names: &[&str]) -> Result<u64, String> {
    let mut bits = 0;
    for part in text.split(',') {
        let (range, step) = match part.split_once('/') {
            None => (part, None),
            Some((range, step)) => {
                let step: u32 = step
                    .parse()
                    .map_err(|_| format!("failed to parse int from {step}"))?;
                if step == 0 {
                    return Err(format!("step of range should be a positive number: {part}"));
                }
                (range, Some(step))
            }
        };
        let (from, to) = if matches!(range, "*" | "?") {
            (least, if names.len() == 7 { 6 } else { most })
        } else if let Some((from, to)) = range.split_once('-') {
            (number(from, least, names)?, number(to, least, names)?)
        } else {
            let only = number(range, least, names)?;
            (only, if step.is_some() { most } else { only })
        };
        if from < least || to > most || from > to {
            return Err(format!("out of range: {part}"));
        }
        for number in (from..=to).step_by(usize::try_from(step.unwrap_or(1)).unwrap_or(1)) {
            bits |= 1 << number;
        }
    }
    Ok(bits)
}

fn number(text: &str, least: u32, names: &[&str]) -> Result<u32, String> {
    if let Ok(number) = text.parse() {
        return Ok(number);
    }
    let lower = text.to_ascii_lowercase();
    names
        .iter()
        .zip(least..)
        .find(|(name, _)| **name == lower)
        .map(|(_, number)| number)
        .ok_or_else(|| format!("failed to parse int from {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(expression: &str, from: &str) -> String {
        let schedule = Schedule::parse(expression).unwrap();
        schedule
            .after(from.parse().unwrap(), &TimeZone::UTC)
            .map(|at| at.to_string())
            .unwrap_or_default()
    }

    #[test]
    fn the_next_time_follows_all_fields() {
        for (expression, from, expected) in [
            ("* * * * *", "2026-01-01T00:00:30Z", "2026-01-01T00:01:00Z"),
            (
                "*/15 * * * *",
                "2026-01-01T00:15:00Z",
                "2026-01-01T00:30:00Z",
            ),
            ("0 3 * * *", "2026-01-01T03:00:00Z", "2026-01-02T03:00:00Z"),
            ("0 0 1 1 *", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"),
            (
                "30 9-17/4 * * mon-fri",
                "2026-01-02T17:30:00Z",
                "2026-01-05T09:30:00Z",
            ),
            ("0 0 13 * 5", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"),
            ("0 0 29 2 *", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z"),
            ("0 0 * * 7", "2026-01-01T00:00:00Z", "2026-01-04T00:00:00Z"),
            ("@hourly", "2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z"),
            ("@every 90s", "2026-01-01T00:00:00Z", "2026-01-01T00:01:30Z"),
            ("0 0 31 2 *", "2026-01-01T00:00:00Z", ""),
        ] {
            assert_eq!(
                next(expression, from),
                expected,
                "{expression} after {from}"
            );
        }
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for expression in [
            "* * * *",
            "60 * * * *",
            "*/0 * * * *",
            "x * * * *",
            "5-1 * * * *",
        ] {
            assert!(Schedule::parse(expression).is_err(), "{expression}");
        }
    }
}
