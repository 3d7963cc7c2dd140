//! String formats: which are known, and which texts have them.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use base64::Engine;
use regex::Regex;

use crate::name;

/// Whether texts are checked against this format; others are ignored.
pub fn is_supported(format: &str) -> bool {
    matches!(
        format,
        "bsonobjectid"
            | "uri"
            | "email"
            | "hostname"
            | "ipv4"
            | "ipv6"
            | "cidr"
            | "mac"
            | "uuid"
            | "uuid3"
            | "uuid4"
            | "uuid5"
            | "isbn"
            | "isbn10"
            | "isbn13"
            | "creditcard"
            | "ssn"
            | "hexcolor"
            | "rgbcolor"
            | "byte"
            | "password"
            | "date"
            | "duration"
            | "datetime"
            | "date-time"
            | "k8s-short-name"
            | "k8s-long-name"
    )
}

/// Whether a text has a format.
pub(super) fn holds(format: &str, text: &str) -> bool {
    match format {
        "bsonobjectid" => text.len() == 24 && text.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "uri" => is_uri(text),
        "email" => is_email(text),
        "hostname" => is_hostname(text),
        "ipv4" => is_ipv4(text),
        "ipv6" => text.parse::<Ipv6Addr>().is_ok(),
        "cidr" => is_cidr(text),
        "mac" => is_mac(text),
        "uuid" => is_uuid(text, None),
        "uuid3" => is_uuid(text, Some('3')),
        "uuid4" => is_uuid(text, Some('4')),
        "uuid5" => is_uuid(text, Some('5')),
        "isbn" => is_isbn10(text) || is_isbn13(text),
        "isbn10" => is_isbn10(text),
        "isbn13" => is_isbn13(text),
        "creditcard" => is_credit_card(text),
        "ssn" => SSN.is_match(text),
        "hexcolor" => HEX_COLOUR.is_match(text),
        "rgbcolor" => is_rgb_colour(text),
        "byte" => is_base64(text),
        "date" => is_date(text),
        "duration" => is_duration(text),
        "datetime" | "date-time" => is_date_time(text),
        "k8s-short-name" => name::dns1123_label(text).is_empty(),
        "k8s-long-name" => name::dns1123_subdomain(text).is_empty(),
        _ => true,
    }
}

fn pattern(source: &str) -> Regex {
    Regex::new(source).expect("the pattern is a constant")
}

static SSN: LazyLock<Regex> = LazyLock::new(|| pattern(r"^\d{3}[- ]?\d{2}[- ]?\d{4}$"));
static HEX_COLOUR: LazyLock<Regex> =
    LazyLock::new(|| pattern("^#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})$"));
static RGB_COLOUR: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"^rgb\(\s*(\d{1,3})\s*,\s*(\d{1,3})\s*,\s*(\d{1,3})\s*\)$"));
static TIME: LazyLock<Regex> = LazyLock::new(|| {
    pattern(r"^([0-9]{2}):([0-9]{2}):([0-9]{2})(.[0-9]+)?(z|([+-][0-9]{2}:[0-9]{2}))$")
});
static DURATION: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"^[-+]?([0-9]*(\.[0-9]*)?(ns|us|µs|μs|ms|s|m|h))+$"));
static LONG_DURATION: LazyLock<Regex> = LazyLock::new(|| pattern(r"(\d+)\s*([A-Za-zµ]+)"));
static CREDIT_CARD: LazyLock<Regex> = LazyLock::new(|| pattern("^[0-9]{13,19}$"));

/// A path or a whole address, as the first line of a request could have it.
fn is_uri(text: &str) -> bool {
    let scheme = text.split_once(':').is_some_and(|(scheme, rest)| {
        scheme.starts_with(|char: char| char.is_ascii_alphabetic())
            && scheme
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
            && rest.starts_with('/')
    });
    (scheme || text.starts_with('/'))
        && !text.contains(|char: char| char.is_control() || char == ' ')
}

fn is_email(text: &str) -> bool {
    let address = match text.split_once('<') {
        Some((_, rest)) => match rest.strip_suffix('>') {
            Some(address) => address,
            None => return false,
        },
        None => text,
    };
    let Some((local, domain)) = address.trim().rsplit_once('@') else {
        return false;
    };
    let atoms = |text: &str| {
        text.split('.').all(|atom| {
            let allowed =
                |char: char| char.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(char);
            !atom.is_empty() && atom.chars().all(allowed)
        })
    };
    let quoted = local.len() > 2 && local.starts_with('"') && local.ends_with('"');
    (quoted || atoms(local)) && atoms(domain)
}

fn is_hostname(text: &str) -> bool {
    let label = |label: &str| {
        let inner = |char: char| char.is_alphanumeric() || char == '-';
        !label.is_empty()
            && label.len() <= 63
            && label.chars().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let parts: Vec<&str> = text.split('.').collect();
    let last = parts.last().copied().unwrap_or_default();
    let top = parts.len() == 1 || (last.len() >= 2 && last.chars().all(char::is_alphabetic));
    text.len() <= 255 && top && parts.iter().all(|part| label(part))
}

/// Leading zeros are let through, as they always were.
fn is_ipv4(text: &str) -> bool {
    let parts: Vec<&str> = text.split('.').collect();
    let part = |part: &&str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_digit())
            && part.trim_start_matches('0').len() <= 3
            && part.parse::<u64>().is_ok_and(|value| value < 256)
    };
    (parts.len() == 4 && parts.iter().all(part))
        || (text.contains('.') && text.parse::<Ipv6Addr>().is_ok())
}

fn is_cidr(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else {
        return false;
    };
    let length = match length.parse::<u8>() {
        Ok(parsed) if !length.starts_with('+') => parsed,
        _ => return false,
    };
    (is_ipv4(address) && !address.contains(':') && length <= 32)
        || (address.parse::<Ipv6Addr>().is_ok() && length <= 128)
        || (address.parse::<Ipv4Addr>().is_ok() && length <= 32)
}

fn is_mac(text: &str) -> bool {
    let groups = |separator: char, width: usize, counts: &[usize]| {
        let parts: Vec<&str> = text.split(separator).collect();
        let part =
            |part: &&str| part.len() == width && part.bytes().all(|byte| byte.is_ascii_hexdigit());
        counts.contains(&parts.len()) && parts.iter().all(part)
    };
    groups(':', 2, &[6, 8, 20]) || groups('-', 2, &[6, 8, 20]) || groups('.', 4, &[3, 4, 10])
}

fn is_uuid(text: &str, version: Option<char>) -> bool {
    let hyphens: Vec<usize> = text
        .char_indices()
        .filter(|(_, char)| *char == '-')
        .map(|(index, _)| index)
        .collect();
    let digits: String = text.chars().filter(|char| *char != '-').collect();
    if digits.len() != 32 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return false;
    }
    // Each hyphen may be missing, but stands at its place.
    let expected = [8, 12, 16, 20];
    let placed = hyphens
        .iter()
        .enumerate()
        .all(|(seen, index)| expected.contains(&(index - seen)));
    let variant = digits
        .chars()
        .nth(16)
        .is_some_and(|char| "89abAB".contains(char));
    let is_version = |wanted| digits.chars().nth(12) == Some(wanted);
    let fits = match version {
        None => true,
        Some('3') => is_version('3'),
        Some(version) => is_version(version) && variant,
    };
    hyphens.len() <= 4 && placed && fits
}

fn digits_of(text: &str) -> String {
    text.chars()
        .filter(|char| !matches!(char, ' ' | '-'))
        .collect()
}

fn is_isbn10(text: &str) -> bool {
    let digits = digits_of(text);
    let value = |(index, char): (usize, char)| match char {
        'X' if index == 9 => Some(10),
        _ => char.to_digit(10),
    };
    let values: Option<Vec<u32>> = digits.chars().enumerate().map(value).collect();
    values.is_some_and(|values| {
        let weights = (1..=10_u32).rev();
        values.len() == 10
            && values
                .iter()
                .zip(weights)
                .map(|(value, weight)| value * weight)
                .sum::<u32>()
                % 11
                == 0
    })
}

fn is_isbn13(text: &str) -> bool {
    let values: Option<Vec<u32>> = digits_of(text)
        .chars()
        .map(|char| char.to_digit(10))
        .collect();
    values.is_some_and(|values| {
        let weights = [1, 3].into_iter().cycle();
        values.len() == 13
            && values
                .iter()
                .zip(weights)
                .map(|(value, weight)| value * weight)
                .sum::<u32>()
                % 10
                == 0
    })
}

fn is_credit_card(text: &str) -> bool {
    let digits = digits_of(text);
    if !CREDIT_CARD.is_match(&digits) {
        return false;
    }
    let sum: u32 = digits
        .chars()
        .rev()
        .filter_map(|char| char.to_digit(10))
        .enumerate()
        .map(|(index, digit)| match (index % 2, digit * 2) {
            (0, _) => digit,
            (_, doubled) if doubled > 9 => doubled - 9,
            (_, doubled) => doubled,
        })
        .sum();
    sum.is_multiple_of(10)
}

fn is_rgb_colour(text: &str) -> bool {
    RGB_COLOUR.captures(text).is_some_and(|parts| {
        parts
            .iter()
            .skip(1)
            .flatten()
            .all(|part| part.as_str().parse::<u32>().is_ok_and(|v| v < 256))
    })
}

fn is_base64(text: &str) -> bool {
    !text.is_empty()
        && base64::engine::general_purpose::STANDARD
            .decode(text)
            .is_ok()
}

fn is_date(text: &str) -> bool {
    text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok()
}

fn is_date_time(text: &str) -> bool {
    let lower = text.to_lowercase();
    let mut parts = lower.split('t');
    let (Some(date), Some(time)) = (parts.next(), parts.next()) else {
        return false;
    };
    is_date(date)
        && TIME
            .captures(time)
            .is_some_and(|parts| &parts[1] <= "23" && &parts[2] <= "59" && &parts[3] <= "59")
}

fn is_duration(text: &str) -> bool {
    const UNITS: [&str; 22] = [
        "ns", "nano", "us", "µs", "micro", "ms", "milli", "s", "sec", "m", "min", "h", "hr",
        "hour", "d", "day", "w", "wk", "week", "nanos", "micros", "millis",
    ];
    let short = DURATION.is_match(text) && text.contains(|char: char| char.is_ascii_digit());
    short
        || matches!(text, "0" | "+0" | "-0")
        || LONG_DURATION.captures_iter(text).any(|found| {
            let unit = found[2].to_lowercase();
            let long = [
                "nano", "micro", "milli", "sec", "min", "hour", "day", "week", "s", "m",
            ];
            UNITS.contains(&unit.as_str()) || long[..8].iter().any(|one| unit.starts_with(one))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_known_format_tells_right_from_wrong() {
        for (format, right, wrong) in [
            ("date-time", "2020-01-02T03:04:05Z", "yesterday"),
            (
                "date-time",
                "2020-01-02t03:04:05.5+02:00",
                "2020-01-02T25:04:05Z",
            ),
            ("date", "2020-02-29", "2021-02-29"),
            ("ipv4", "10.0.0.1", "300.1.1.1"),
            ("ipv6", "::1", "10.0.0.1"),
            ("cidr", "10.0.0.0/8", "10.0.0.0/33"),
            ("email", "a.b@example.com", "nobody"),
            ("uuid", "11111111-2222-3333-4444-555555555555", "12"),
            (
                "uuid4",
                "11111111-2222-4333-8444-555555555555",
                "11111111-2222-3333-4444-555555555555",
            ),
            ("byte", "YWJj", "***"),
            ("hostname", "db.example.com", "-x"),
            ("uri", "https://example.com/x", "no address"),
            ("mac", "00:00:5e:00:53:01", "00:00"),
            ("duration", "1h30m", "soon"),
            ("duration", "2 days", "days"),
            ("hexcolor", "#fff", "#ggg"),
            ("rgbcolor", "rgb(1, 2, 3)", "rgb(1,2,300)"),
            ("isbn10", "0-306-40615-2", "0-306-40615-3"),
            ("isbn13", "978-0-306-40615-7", "978-0-306-40615-8"),
            ("creditcard", "4111 1111 1111 1111", "4111 1111 1111 1112"),
            ("k8s-short-name", "a-b", "a.b"),
        ] {
            assert!(holds(format, right), "{right} is a {format}");
            assert!(!holds(format, wrong), "{wrong} is no {format}");
        }
        assert!(!is_supported("unheard-of"));
    }
}
