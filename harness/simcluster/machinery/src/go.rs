//! How Go writes values, where an answer of the API shows them: `%v` of decoded JSON, and JSON as
//! its encoder writes it; and the durations that Go reads.

use std::fmt::Write;

use serde_json::Value;

/// The nanoseconds of a duration as Go writes it: `1h30m`, `-1.5s`.
pub fn duration(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|char: char| !char.is_ascii_digit() && char != '.')?;
        let (number, tail) = rest.split_at(digits);
        let unit = tail
            .find(|char: char| char.is_ascii_digit() || char == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit);
        let scale = match unit {
            "ns" => 1e-9,
            "us" | "\u{b5}s" | "\u{3bc}s" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        seconds += number.parse::<f64>().ok()? * scale;
        rest = tail;
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a duration beyond the limit is taken for the longest there is"
    )]
    Some((sign * seconds * 1e9).round() as i64)
}

/// A duration of so many nanoseconds as Go prints it: `15.041s`, `1m0s`, `1h0m0.5s`, `250ms`.
pub fn format_duration(nanoseconds: i64) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let total = nanoseconds.unsigned_abs();
    let decimal = |value: u64, unit: u64| {
        let width = unit.ilog10() as usize;
        let fraction = format!("{:0width$}", value % unit);
        let fraction = fraction.trim_end_matches('0');
        let point = if fraction.is_empty() || width == 0 {
            ""
        } else {
            "."
        };
        let fraction = if width == 0 { "" } else { fraction };
        format!("{}{point}{fraction}", value / unit)
    };
    match total {
        0 => "0s".to_owned(),
        1..1_000 => format!("{sign}{total}ns"),
        1_000..1_000_000 => format!("{sign}{}\u{b5}s", decimal(total, 1_000)),
        1_000_000..1_000_000_000 => format!("{sign}{}ms", decimal(total, 1_000_000)),
        _ => {
            let minutes = total / 60_000_000_000;
            let seconds = decimal(total % 60_000_000_000, 1_000_000_000);
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{sign}{seconds}s"),
                (0, minutes) => format!("{sign}{minutes}m{seconds}s"),
                (hours, minutes) => format!("{sign}{hours}h{minutes}m{seconds}s"),
            }
        }
    }
}

/// The same, or what Go says is wrong with it.
pub fn parse_duration(text: &str) -> Result<i64, String> {
    if let Some(nanoseconds) = duration(text) {
        return Ok(nanoseconds);
    }
    let quoted = serde_json::Value::from(text);
    let invalid = format!("time: invalid duration {quoted}");
    let is_number = |char: char| char.is_ascii_digit() || char == '.';
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    while !rest.is_empty() {
        let tail = rest.trim_start_matches(is_number);
        if !rest.starts_with(|char: char| char.is_ascii_digit()) {
            break;
        }
        let (unit, after) = tail.split_at(tail.find(is_number).unwrap_or(tail.len()));
        if unit.is_empty() {
            return Err(format!("time: missing unit in duration {quoted}"));
        }
        if !["ns", "us", "\u{b5}s", "\u{3bc}s", "ms", "s", "m", "h"].contains(&unit) {
            let unit = serde_json::Value::from(unit);
            return Err(format!("time: unknown unit {unit} in duration {quoted}"));
        }
        rest = after;
    }
    Err(invalid)
}

/// A value as `%v` prints it: `map[a:1 b:[x y]]`.
pub fn verb_v(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() => format_float(float),
            _ => number.to_string(),
        },
        Value::Bool(flag) => flag.to_string(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(verb_v).collect();
            format!("[{}]", items.join(" "))
        }
        Value::Object(fields) => {
            let mut fields: Vec<(&String, &Value)> = fields.iter().collect();
            fields.sort_by_key(|(name, _)| *name);
            let fields: Vec<String> = fields
                .iter()
                .map(|(name, value)| format!("{name}:{}", verb_v(value)))
                .collect();
            format!("map[{}]", fields.join(" "))
        }
    }
}

/// A value as `%#v` prints it: `map[string]interface {}{"a":1}`.
pub fn syntax(value: &Value) -> String {
    match value {
        Value::Null => "interface {}(nil)".to_owned(),
        Value::String(text) => quote(text),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(syntax).collect();
            format!("[]interface {{}}{{{}}}", items.join(", "))
        }
        Value::Object(fields) => {
            let mut fields: Vec<(&String, &Value)> = fields.iter().collect();
            fields.sort_by_key(|(name, _)| *name);
            let fields: Vec<String> = fields
                .iter()
                .map(|(name, value)| format!("{}:{}", quote(name), syntax(value)))
                .collect();
            format!("map[string]interface {{}}{{{}}}", fields.join(", "))
        }
        other => verb_v(other),
    }
}

/// A floating point number as `%v` prints it: shortest, with an exponent when it is very large or
/// very small.
pub fn format_float(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude != 0.0 && !(1e-4..1e21).contains(&magnitude) {
        let text = format!("{value:e}");
        let Some((mantissa, exponent)) = text.split_once('e') else {
            return text;
        };
        let (sign, digits) = match exponent.strip_prefix('-') {
            Some(digits) => ('-', digits),
            None => ('+', exponent),
        };
        return format!("{mantissa}e{sign}{digits:0>2}");
    }
    format!("{value}")
}

/// A string as `%q` prints it.
pub fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for char in text.chars() {
        match char {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{b}' => quoted.push_str("\\v"),
            '\u{c}' => quoted.push_str("\\f"),
            other if other.is_control() => {
                let code = u32::from(other);
                let _ = if code < 0x80 {
                    write!(quoted, "\\x{code:02x}")
                } else {
                    write!(quoted, "\\u{code:04x}")
                };
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

/// The JSON kind as Go's decoder names it in its errors.
pub fn json_kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn durations_are_printed_as_go_does() {
        let cases: [(i64, &str); 9] = [
            (0, "0s"),
            (7, "7ns"),
            (1_500, "1.5\u{b5}s"),
            (250_000_000, "250ms"),
            (15_041_000_000, "15.041s"),
            (60_000_000_000, "1m0s"),
            (-90_500_000_000, "-1m30.5s"),
            (3_600_000_000_001, "1h0m0.000000001s"),
            (10_000_000_000, "10s"),
        ];
        for (nanoseconds, printed) in cases {
            assert_eq!(format_duration(nanoseconds), printed);
            assert_eq!(duration(printed), Some(nanoseconds), "{printed}");
        }
    }

    #[test]
    fn maps_are_printed_in_the_order_of_their_keys() {
        let value = json!({"spec": {"b": [1, "x", null], "a": true}});
        assert_eq!(verb_v(&value), "map[spec:map[a:true b:[1 x <nil>]]]");
    }

    #[test]
    fn floats_get_an_exponent_only_when_far_from_one() {
        assert_eq!(format_float(0.7), "0.7");
        assert_eq!(format_float(1e21), "1e+21");
        assert_eq!(format_float(1e-7), "1e-07");
        assert_eq!(format_float(100.0), "100");
    }

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(quote("a\"\u{1}\n'"), "\"a\\\"\\x01\\n'\"");
    }

    #[test]
    fn durations_are_read_as_go_writes_them() {
        const SECOND: i64 = 1_000_000_000;
        assert_eq!(duration("1h30m"), Some(90 * 60 * SECOND));
        assert_eq!(duration("-1.5s"), Some(-3 * SECOND / 2));
        assert_eq!(duration("1m.5s"), Some(60 * SECOND + SECOND / 2));
        assert_eq!(duration("0"), Some(0));
        for wrong in ["", "-", "1 hour", "1", "h"] {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
    }
}
