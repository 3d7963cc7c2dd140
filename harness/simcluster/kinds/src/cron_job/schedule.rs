//! Whether a text is a schedule as in crontab, and what the API says when it is not.
//!
//! When a schedule is due is the controller's business.

const DESCRIPTORS: [&str; 7] = [
    "@yearly",
    "@annually",
    "@monthly",
    "@weekly",
    "@daily",
    "@midnight",
    "@hourly",
];

struct Field {
    low: u32,
    high: u32,
    names: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    Field {
        low: 0,
        high: 59,
        names: &[],
    },
    Field {
        low: 0,
        high: 23,
        names: &[],
    },
    Field {
        low: 1,
        high: 31,
        names: &[],
    },
    Field {
        low: 1,
        high: 12,
        names: &[
            "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
        ],
    },
    Field {
        low: 0,
        high: 6,
        names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
    },
];

/// Whether `text` is a schedule; the error is the one that users meet.
pub(super) fn check(text: &str) -> Result<(), String> {
    // A time zone before the schedule is understood, though not allowed.
    let zone = ["TZ=", "CRON_TZ="]
        .iter()
        .find_map(|mark| text.strip_prefix(mark));
    let text = match zone.and_then(|rest| rest.split_once(' ')) {
        Some((_, schedule)) => schedule.trim(),
        None => text,
    };
    if let Some(rest) = text.strip_prefix("@every ") {
        return every(text, rest);
    }
    if text.starts_with('@') {
        return if DESCRIPTORS.contains(&text) {
            Ok(())
        } else {
            Err(format!("unrecognized descriptor: {text}"))
        };
    }
    let parts: Vec<&str> = text.split_whitespace().collect();
    if parts.len() != FIELDS.len() {
        return Err(format!(
            "expected exactly {} fields, found {}: [{}]",
            FIELDS.len(),
            parts.len(),
            parts.join(" ")
        ));
    }
    for (part, field) in parts.iter().zip(&FIELDS) {
        part.split(',')
            .filter(|range| !range.is_empty())
            .try_for_each(|one| range(one, field))?;
    }
    Ok(())
}

fn every(text: &str, duration: &str) -> Result<(), String> {
    let known = !duration.is_empty()
        && duration.starts_with(|first: char| first.is_ascii_digit())
        && duration.ends_with(['s', 'm', 'h']);
    if known {
        Ok(())
    } else {
        Err(format!(
            "failed to parse duration {text}: time: invalid duration {duration:?}"
        ))
    }
}

fn range(expression: &str, field: &Field) -> Result<(), String> {
    let (span, step) = match expression.split('/').collect::<Vec<_>>()[..] {
        [span] => (span, None),
        [span, step] => (span, Some(step)),
        _ => return Err(format!("too many slashes: {expression}")),
    };
    let bounds: Vec<&str> = span.split('-').collect();
    let (start, mut end) = match bounds[..] {
        ["*" | "?"] => (field.low, field.high),
        [single] => {
            let number = value(single, field)?;
            (number, number)
        }
        [low, high] => (value(low, field)?, value(high, field)?),
        _ => return Err(format!("too many hyphens: {expression}")),
    };
    let mut step_size = 1;
    if let Some(step) = step {
        step_size = number(step)?;
        if bounds.len() == 1 {
            // `N/step` means from N to the end.
            end = field.high;
        }
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
        () if step_size == 0 => Err(format!(
            "step of range should be a positive number: {expression}"
        )),
        () => Ok(()),
    }
}

fn value(text: &str, field: &Field) -> Result<u32, String> {
    let lower = text.to_ascii_lowercase();
    match field
        .names
        .iter()
        .zip(field.low..)
        .find(|(name, _)| **name == lower)
    {
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
    use super::check;

    #[test]
    fn schedules_as_in_crontab_are_accepted() {
        for text in [
            "*/5 * * * *",
            "0 0 1,15 * 1-5",
            "@hourly",
            "@every 90s",
            "30 4 * jan SUN",
            "5/10 * ? * *",
        ] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_schedule_is_said() {
        for (text, error) in [
            ("61 * * * *", "end of range (61) above maximum (59): 61"),
            ("* * *", "expected exactly 5 fields, found 3: [* * *]"),
            ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
            (
                "5-1 * * * *",
                "beginning of range (5) beyond end of range (1): 5-1",
            ),
            (
                "a * * * *",
                "failed to parse int from a: strconv.Atoi: parsing \"a\": invalid syntax",
            ),
            ("@often", "unrecognized descriptor: @often"),
        ] {
            assert_eq!(check(text), Err(error.to_owned()));
        }
    }
}
