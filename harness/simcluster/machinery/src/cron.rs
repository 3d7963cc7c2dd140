//! Schedules as CronJobs write them: five fields, names, ranges, steps, and the shorthands with `@`.
//!
//! The language and the words for what is wrong with a text are those of `robfig/cron` v3, which
//! Kubernetes uses. Whether somebody may name a time zone within a schedule is not judged here.

use jiff::{SignedDuration, Timestamp, ToSpan, civil::DateTime, tz::TimeZone};

use crate::go;

/// When something is to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// At the times that fit.
    Fitting(Fields),
    /// Again and again after so long.
    Every(SignedDuration),
}

/// Which times fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields {
    minutes: Numbers,
    hours: Numbers,
    days: Numbers,
    months: Numbers,
    weekdays: Numbers,
}

/// The numbers of one field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Numbers {
    bits: u64,
    /// Written as `*`: it restricts nothing.
    any: bool,
}

/// What a field may hold.
struct Field {
    low: u32,
    high: u32,
    names: &'static [&'static str],
}

const MINUTES: Field = Field {
    low: 0,
    high: 59,
    names: &[],
};
const HOURS: Field = Field {
    low: 0,
    high: 23,
    names: &[],
};
const DAYS: Field = Field {
    low: 1,
    high: 31,
    names: &[],
};
const MONTHS: Field = Field {
    low: 1,
    high: 12,
    names: &[
        "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
    ],
};
const WEEKDAYS: Field = Field {
    low: 0,
    high: 6,
    names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
};

/// A time that does not come within so many years never comes.
const YEARS: i64 = 5;

impl Schedule {
    /// Reads a schedule; the error is the one that users of the API meet.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = without_zone(text);
        if let Some(rest) = text.strip_prefix("@every ") {
            return every(text, rest);
        }
        let text = match text {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            other if other.starts_with('@') => {
                return Err(format!("unrecognized descriptor: {other}"));
            }
            other => other,
        };
        let parts: Vec<_> = text.split_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = parts[..] else {
            return Err(format!(
                "expected exactly 5 fields, found {}: [{}]",
                parts.len(),
                parts.join(" ")
            ));
        };
        Ok(Self::Fitting(Fields {
            minutes: numbers(minutes, &MINUTES)?,
            hours: numbers(hours, &HOURS)?,
            days: numbers(days, &DAYS)?,
            months: numbers(months, &MONTHS)?,
            weekdays: numbers(weekdays, &WEEKDAYS)?,
        }))
    }

    /// The first time after `from`, by the clocks of `zone`, if there is one within five years.
    pub fn after(&self, from: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        match self {
            Self::Fitting(fields) => fields.after(from, zone),
            Self::Every(pause) => {
                let whole = Timestamp::from_second(from.as_second()).ok()?;
                whole.checked_add(*pause).ok()
            }
        }
    }
}

impl Fields {
    fn after(&self, from: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
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
            if !self.months.has(at.month()) {
                at = midnight(at.first_of_month())?.checked_add(1.month()).ok()?;
            } else if !self.fits_day(at) {
                at = midnight(at)?.checked_add(1.day()).ok()?;
            } else if !self.hours.has(at.hour()) {
                let hour = at.with().minute(0).build().ok()?;
                at = hour.checked_add(1.hour()).ok()?;
            } else {
                if self.minutes.has(at.minute()) {
                    let found = zone.to_timestamp(at).ok()?;
                    // Where the clock is put back, a local time may come twice: the first counts.
                    if found > from {
                        return Some(found);
                    }
                }
                at = at.checked_add(1.minute()).ok()?;
            }
        }
        None
    }

    /// One of day and weekday is enough, unless one of them is unrestricted.
    fn fits_day(&self, at: DateTime) -> bool {
        let day = self.days.has(at.day());
        let weekday = self.weekdays.has(at.weekday().to_sunday_zero_offset());
        if self.days.any || self.weekdays.any {
            day && weekday
        } else {
            day || weekday
        }
    }
}

impl Numbers {
    fn has(self, number: i8) -> bool {
        u32::try_from(number).is_ok_and(|number| self.bits >> number & 1 == 1)
    }
}

fn midnight(at: DateTime) -> Option<DateTime> {
    at.with().hour(0).minute(0).build().ok()
}

/// A time zone before the schedule is understood; what is due is asked by the clocks of another.
fn without_zone(text: &str) -> &str {
    let zone = ["TZ=", "CRON_TZ="]
        .iter()
        .find_map(|mark| text.strip_prefix(mark));
    match zone.and_then(|rest| rest.split_once(' ')) {
        Some((_, schedule)) => schedule.trim(),
        None => text,
    }
}

fn every(text: &str, pause: &str) -> Result<Schedule, String> {
    let nanoseconds = go::duration(pause).ok_or_else(|| {
        format!("failed to parse duration {text}: time: invalid duration {pause:?}")
    })?;
    let whole = SignedDuration::from_nanos(nanoseconds).as_secs().max(1);
    Ok(Schedule::Every(SignedDuration::from_secs(whole)))
}

fn numbers(text: &str, field: &Field) -> Result<Numbers, String> {
    let mut all = Numbers::default();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let one = range(part, field)?;
        all.bits |= one.bits;
        all.any |= one.any;
    }
    Ok(all)
}

/// `*`, `N` or `N-M`, each with `/STEP` or without.
fn range(expression: &str, field: &Field) -> Result<Numbers, String> {
    let (span, step) = match expression.split('/').collect::<Vec<_>>()[..] {
        [span] => (span, None),
        [span, step] => (span, Some(step)),
        _ => return Err(format!("too many slashes: {expression}")),
    };
    let mut any = false;
    let bounds: Vec<&str> = span.split('-').collect();
    let (start, mut end) = match bounds[..] {
        ["*" | "?"] => {
            any = true;
            (field.low, field.high)
        }
        [single] => {
            let number = value(single, field)?;
            (number, number)
        }
        [low, high] => (value(low, field)?, value(high, field)?),
        _ => return Err(format!("too many hyphens: {expression}")),
    };
    let mut pace = 1;
    if let Some(step) = step {
        pace = number(step)?;
        if bounds.len() == 1 {
            // `N/step` means from N to the end.
            end = field.high;
        }
        any &= pace == 1;
    }
    let (low, high) = (field.low, field.high);
    match () {
        () if start < low => Err(format!(
            "beginning of range ({start}) below minimum ({low}): {expression}"
        )),
        () if end > high => Err(format!(
            "end of range ({end}) above maximum ({high}): {expression}"
        )),
        () if start > end => Err(format!(
            "beginning of range ({start}) beyond end of range ({end}): {expression}"
        )),
        () if pace == 0 => Err(format!(
            "step of range should be a positive number: {expression}"
        )),
        () => {
            let fitting = (start..=end).filter(|number| (number - start) % pace == 0);
            let bits = fitting.fold(0, |bits, number| bits | 1 << number);
            Ok(Numbers { bits, any })
        }
    }
}

fn value(text: &str, field: &Field) -> Result<u32, String> {
    let lower = text.to_ascii_lowercase();
    let mut names = field.names.iter().zip(field.low..);
    match names.find(|(name, _)| **name == lower) {
        Some((_, number)) => Ok(number),
        None => number(text),
    }
}

fn number(text: &str) -> Result<u32, String> {
    match text.parse::<i64>() {
        Ok(negative) if negative < 0 => {
            Err(format!("negative number ({negative}) not allowed: {text}"))
        }
        Ok(number) => u32::try_from(number).map_err(|_| format!("value out of range: {text}")),
        Err(_) => Err(format!(
            "failed to parse int from {text}: strconv.Atoi: parsing {text:?}: invalid syntax"
        )),
    }
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
            // A star with a step is a restriction like any other.
            (
                "0 0 */10 * 5",
                "2026-01-03T00:00:00Z",
                "2026-01-09T00:00:00Z",
            ),
            ("0 0 29 2 *", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z"),
            (
                "0 0 * * SUN",
                "2026-01-01T00:00:00Z",
                "2026-01-04T00:00:00Z",
            ),
            (
                "5/20 * ? * *",
                "2026-01-01T00:25:00Z",
                "2026-01-01T00:45:00Z",
            ),
            ("@hourly", "2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z"),
            ("@every 90s", "2026-01-01T00:00:00Z", "2026-01-01T00:01:30Z"),
            (
                "@every 1h30m",
                "2026-01-01T00:00:00Z",
                "2026-01-01T01:30:00Z",
            ),
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
    fn what_is_wrong_with_a_schedule_is_said() {
        for (text, error) in [
            ("61 * * * *", "end of range (61) above maximum (59): 61"),
            ("0 0 * * 7", "end of range (7) above maximum (6): 7"),
            ("* * *", "expected exactly 5 fields, found 3: [* * *]"),
            ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
            (
                "5-1 * * * *",
                "beginning of range (5) beyond end of range (1): 5-1",
            ),
            (
                "*/0 * * * *",
                "step of range should be a positive number: */0",
            ),
            (
                "a * * * *",
                "failed to parse int from a: strconv.Atoi: parsing \"a\": invalid syntax",
            ),
            ("@often", "unrecognized descriptor: @often"),
            (
                "@every day",
                "failed to parse duration @every day: time: invalid duration \"day\"",
            ),
        ] {
            assert_eq!(Schedule::parse(text), Err(error.to_owned()));
        }
    }
}
