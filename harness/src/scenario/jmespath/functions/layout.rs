//! Times in layouts of their own, which show how Go's reference time would look: `Jan _2 15:04:05 2006`.
//!
//! What a layout leaves out is the first of January of year 0, midnight, UTC, as in Go. Abbreviations of zones (`MST`)
//! are not understood: they say no offset. Writing times in a layout is not here.

use jiff::{civil::Time, fmt::strtime::BrokenDownTime, tz::Offset};

/// Parts of the reference time and what they are for `strptime`; of two that begin alike the longer comes first.
const PARTS: [(&str, &str); 26] = [
    ("January", "%B"),
    ("Jan", "%b"),
    ("Monday", "%A"),
    ("Mon", "%a"),
    ("2006", "%Y"),
    ("002", "%j"),
    ("01", "%m"),
    ("02", "%d"),
    ("03", "%I"),
    ("04", "%M"),
    ("05", "%S"),
    ("06", "%y"),
    ("15", "%H"),
    ("_2", "%e"),
    ("-07:00", "%:z"),
    ("-0700", "%z"),
    ("Z07:00", ZULU),
    ("Z0700", SHORT_ZULU),
    ("PM", "%p"),
    ("pm", "%P"),
    ("1", "%m"),
    ("2", "%d"),
    ("3", "%I"),
    ("4", "%M"),
    ("5", "%S"),
    ("%", "%%"),
];
/// An offset, or `Z` for none: two formats in one, of which neither can be in a layout.
const ZULU: &str = "%!z";
const SHORT_ZULU: &str = "%!Z";

/// The time as RFC 3339 writes it.
pub(super) fn parse(layout: &str, text: &str) -> Result<String, String> {
    let format = format(layout)?;
    let with = |zulu, short| format.replace(ZULU, zulu).replace(SHORT_ZULU, short);
    let of_layout =
        |error: jiff::Error| format!("{text:?} is not of the layout {layout:?}: {error}");
    let mut time = BrokenDownTime::parse(with("%:z", "%z"), text)
        .or_else(|error| BrokenDownTime::parse(with("Z", "Z"), text).map_err(|_| error))
        .map_err(of_layout)?;
    let offset = time.offset().unwrap_or(Offset::UTC);
    complete(&mut time).map_err(of_layout)?;
    let date = time.to_date().map_err(of_layout)?;
    let clock = if time.hour().is_some() {
        time.to_time().map_err(of_layout)?
    } else {
        Time::midnight()
    };
    let zone = if offset == Offset::UTC {
        "Z".to_owned()
    } else {
        let minutes = offset.seconds() / 60;
        let sign = if minutes < 0 { '-' } else { '+' };
        format!("{sign}{:02}:{:02}", minutes.abs() / 60, minutes.abs() % 60)
    };
    let shown = date
        .to_datetime(clock)
        .strftime("%Y-%m-%dT%H:%M:%S")
        .to_string();
    Ok(shown + &zone)
}

/// Puts the first of January of year 0 where the layout says nothing of a day.
fn complete(time: &mut BrokenDownTime) -> Result<(), jiff::Error> {
    if time.year().is_none() {
        time.set_year(Some(0))?;
    }
    if time.day_of_year().is_some() {
        return Ok(());
    }
    if time.month().is_none() {
        time.set_month(Some(1))?;
    }
    if time.day().is_none() {
        time.set_day(Some(1))?;
    }
    Ok(())
}

/// A layout as `strptime` wants it.
fn format(layout: &str) -> Result<String, String> {
    let mut format = String::new();
    let mut rest = layout;
    'next: while let Some(first) = rest.chars().next() {
        if rest.starts_with("MST") {
            return Err(format!(
                "{layout:?} has the name of a zone, which says no offset; write -0700"
            ));
        }
        for (part, directive) in PARTS {
            if let Some(after) = rest.strip_prefix(part) {
                format.push_str(directive);
                rest = after;
                continue 'next;
            }
        }
        // Fractions of a second: as many digits as there are.
        let after = &rest[first.len_utf8()..];
        let fraction = after.trim_start_matches(['0', '9']);
        if ['.', ','].contains(&first) && fraction.len() < after.len() && format.ends_with("%S") {
            format.push_str("%.f");
            rest = fraction;
            continue;
        }
        format.push(first);
        rest = after;
    }
    Ok(format)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_as_its_layout_shows() {
        for (layout, text, time) in [
            (
                "2006-01-02T15:04:05Z07:00",
                "2026-11-21T23:20:31Z",
                "2026-11-21T23:20:31Z",
            ),
            (
                "2006-01-02T15:04:05Z07:00",
                "2026-11-21T23:20:31+02:00",
                "2026-11-21T23:20:31+02:00",
            ),
            (
                "Mon Jan 02 2006 15:04:05 -0700",
                "Fri Jun 22 2012 17:45:00 +0100",
                "2012-06-22T17:45:00+01:00",
            ),
            (
                "Jan _2 15:04:05 2006",
                "Feb  4 21:00:57 2010",
                "2010-02-04T21:00:57Z",
            ),
            (
                "02 January 06 3:04 PM",
                "03 August 24 5:09 PM",
                "2024-08-03T17:09:00Z",
            ),
            ("2006-002", "2024-060", "2024-02-29T00:00:00Z"),
            ("15:04:05.000", "01:02:03.456", "0000-01-01T01:02:03Z"),
            ("1/2/2006, %", "7/4/2026, %", "2026-07-04T00:00:00Z"),
        ] {
            assert_eq!(parse(layout, text).as_deref(), Ok(time), "{layout}");
        }
    }

    #[test]
    fn what_is_not_of_the_layout_is_said() {
        for (layout, text, said) in [
            ("2006-01-02", "21.11.2026", "is not of the layout"),
            ("15:04 MST", "10:00 CET", "write -0700"),
            ("ö2006", "2026", "is not of the layout"),
        ] {
            let problem = parse(layout, text).expect_err(layout);
            assert!(problem.contains(said), "{problem}");
        }
    }
}
