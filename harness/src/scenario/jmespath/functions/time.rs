//! Functions about time, which is written as RFC 3339 and, for durations, as Go writes it.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp, Zoned, civil::DateTime};
use serde_json::Value;

use super::{Call, Function, layout};
use crate::scenario::{duration, jmespath::Problem};

pub(super) const FUNCTIONS: &[Function] = &[
    ("time_add", 2, 2, |call| {
        let to = time(call, 0)?;
        let text = call.text(1)?;
        let by =
            duration::parse(text.trim_start_matches('-')).map_err(|error| call.problem(&error))?;
        let by = SignedDuration::try_from(by).map_err(|error| call.problem(&error.to_string()))?;
        let sum = if text.starts_with('-') {
            to.checked_sub(by)
        } else {
            to.checked_add(by)
        };
        sum.map(written)
            .map_err(|error| call.problem(&error.to_string()))
    }),
    ("time_after", 2, 2, |call| {
        Ok((time(call, 0)? > time(call, 1)?).into())
    }),
    ("time_before", 2, 2, |call| {
        Ok((time(call, 0)? < time(call, 1)?).into())
    }),
    ("time_between", 3, 3, |call| {
        let at = time(call, 0)?;
        Ok((time(call, 1)? < at && at < time(call, 2)?).into())
    }),
    ("time_diff", 2, 2, |call| {
        Ok(as_go(time(call, 1)?.duration_since(time(call, 0)?)).into())
    }),
    ("time_now", 0, 0, |_| {
        Ok(Zoned::now()
            .strftime("%Y-%m-%dT%H:%M:%S%:z")
            .to_string()
            .into())
    }),
    ("time_now_utc", 0, 0, |_| Ok(written(Timestamp::now()))),
    ("time_since", 3, 3, |call| {
        let layout = call.text(0)?;
        let time = |index| {
            if layout.is_empty() {
                return time(call, index);
            }
            let shown = layout::parse(layout, call.text(index)?);
            timestamp(call, &shown.map_err(|why| call.problem(&why))?)
        };
        let end = if call.text(2)?.is_empty() {
            Timestamp::now()
        } else {
            time(2)?
        };
        Ok(as_go(end.duration_since(time(1)?)).into())
    }),
    ("time_parse", 2, 2, |call| {
        let time = layout::parse(call.text(0)?, call.text(1)?);
        time.map(Value::from).map_err(|why| call.problem(&why))
    }),
    ("time_to_cron", 1, 1, |call| {
        time(call, 0)?;
        // As the clock shows it where the time was written.
        let shown = call.text(0)?.trim_end_matches(['Z', 'z']);
        let shown: DateTime = shown
            .parse()
            .map_err(|error: jiff::Error| call.problem(&error.to_string()))?;
        Ok(format!(
            "{} {} {} {} {}",
            shown.minute(),
            shown.hour(),
            shown.day(),
            shown.month(),
            shown.weekday().to_sunday_zero_offset()
        )
        .into())
    }),
    ("time_truncate", 2, 2, |call| {
        let at = time(call, 0)?;
        let to: Duration = duration::parse(call.text(1)?).map_err(|error| call.problem(&error))?;
        let seconds = i64::try_from(to.as_secs()).unwrap_or(i64::MAX).max(1);
        let whole = at.as_second().div_euclid(seconds).saturating_mul(seconds);
        Timestamp::from_second(whole)
            .map(written)
            .map_err(|error| call.problem(&error.to_string()))
    }),
    ("time_utc", 1, 1, |call| time(call, 0).map(written)),
];

fn time(call: &Call<'_>, index: usize) -> Result<Timestamp, Problem> {
    timestamp(call, call.text(index)?)
}

fn timestamp(call: &Call<'_>, text: &str) -> Result<Timestamp, Problem> {
    text.parse()
        .map_err(|error: jiff::Error| call.problem(&error.to_string()))
}

fn written(time: Timestamp) -> Value {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string().into()
}

/// So many seconds as Go writes a duration; beyond the longest there is, that.
pub(super) fn written_duration(seconds: f64) -> String {
    let longest = if seconds < 0.0 {
        SignedDuration::MIN
    } else {
        SignedDuration::MAX
    };
    as_go(SignedDuration::try_from_secs_f64(seconds).unwrap_or(longest))
}

/// `1h2m3s`, as Go writes a duration.
fn as_go(duration: SignedDuration) -> String {
    let sign = if duration.is_negative() { "-" } else { "" };
    let all = duration.unsigned_abs();
    let (seconds, rest) = (all.as_secs(), all.subsec_nanos());
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let fraction = if rest == 0 {
        String::new()
    } else {
        format!(".{rest:09}").trim_end_matches('0').to_owned()
    };
    match (hours, minutes) {
        (0, 0) => format!("{sign}{seconds}{fraction}s"),
        (0, _) => format!("{sign}{minutes}m{seconds}{fraction}s"),
        _ => format!("{sign}{hours}h{minutes}m{seconds}{fraction}s"),
    }
}
