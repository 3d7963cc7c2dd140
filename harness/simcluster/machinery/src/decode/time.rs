//! Times in objects: RFC 3339, read and written as Go does.

use jiff::Timestamp;

/// How finely a time is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Precision {
    Seconds,
    Microseconds,
}

/// The canonical form, in UTC.
pub(super) fn canonical(text: &str, precision: Precision) -> Result<String, String> {
    let layout = match precision {
        Precision::Seconds => "2006-01-02T15:04:05Z07:00",
        Precision::Microseconds => "2006-01-02T15:04:05.000000Z07:00",
    };
    let wrong = |rest: &str, element: &str| {
        format!("parsing time {text:?} as {layout:?}: cannot parse {rest:?} as {element:?}")
    };
    if let Some((rest, element)) = first_mismatch(text) {
        return Err(wrong(rest, element));
    }
    let timestamp: Timestamp = text
        .parse()
        .map_err(|_| format!("parsing time {text:?}: day out of range"))?;
    Ok(match precision {
        Precision::Seconds => timestamp.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        Precision::Microseconds => timestamp.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string(),
    })
}

/// What is left of the text where it departs from the layout, and the part of the layout.
fn first_mismatch(text: &str) -> Option<(&str, &'static str)> {
    const ELEMENTS: [(&str, usize); 11] = [
        ("2006", 4),
        ("-", 0),
        ("01", 2),
        ("-", 0),
        ("02", 2),
        ("T", 0),
        ("15", 2),
        (":", 0),
        ("04", 2),
        (":", 0),
        ("05", 2),
    ];
    let mut rest = text;
    for (element, digits) in ELEMENTS {
        let length = if digits == 0 { element.len() } else { digits };
        let fits = rest.get(..length).is_some_and(|part| match digits {
            0 => part == element,
            _ => part.bytes().all(|byte| byte.is_ascii_digit()),
        });
        if !fits {
            return Some((rest, element));
        }
        rest = &rest[length..];
    }
    if let Some(fraction) = rest.strip_prefix(['.', ',']) {
        rest = fraction.trim_start_matches(|char: char| char.is_ascii_digit());
    }
    let offset = |rest: &str| {
        let bytes = rest.as_bytes();
        bytes.len() == 6
            && matches!(bytes[0], b'+' | b'-')
            && bytes[3] == b':'
            && [1, 2, 4, 5]
                .iter()
                .all(|&index| bytes[index].is_ascii_digit())
    };
    (rest != "Z" && !offset(rest)).then_some((rest, "Z07:00"))
}
