//! YAML as the API writes it: sorted block style, strings quoted only where they must be.

use serde_json::Value;

/// A document.
pub(crate) fn write(value: &Value) -> String {
    let mut text = String::new();
    match value {
        Value::Object(fields) if !fields.is_empty() => object(&mut text, value, 0),
        Value::Array(items) if !items.is_empty() => list(&mut text, value, 0),
        other => {
            text.push_str(&scalar(other, 0));
            text.push('\n');
        }
    }
    text
}

fn indent(text: &mut String, depth: usize) {
    text.extend(std::iter::repeat_n("  ", depth));
}

fn object(text: &mut String, value: &Value, depth: usize) {
    for (at, (name, field)) in value.as_object().into_iter().flatten().enumerate() {
        if at > 0 || text.is_empty() || text.ends_with('\n') {
            indent(text, depth);
        }
        text.push_str(&string(name, depth));
        text.push(':');
        nested(text, field, depth);
    }
}

fn nested(text: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            text.push('\n');
            object(text, value, depth + 1);
        }
        Value::Array(items) if !items.is_empty() => {
            text.push('\n');
            list(text, value, depth);
        }
        other => {
            text.push(' ');
            text.push_str(&scalar(other, depth + 1));
            text.push('\n');
        }
    }
}

fn list(text: &mut String, value: &Value, depth: usize) {
    for item in value.as_array().into_iter().flatten() {
        indent(text, depth);
        text.push('-');
        match item {
            Value::Object(fields) if !fields.is_empty() => {
                text.push(' ');
                object(text, item, depth + 1);
            }
            Value::Array(items) if !items.is_empty() => {
                text.push('\n');
                list(text, item, depth + 1);
            }
            other => {
                text.push(' ');
                text.push_str(&scalar(other, depth + 1));
                text.push('\n');
            }
        }
    }
}

fn scalar(value: &Value, depth: usize) -> String {
    match value {
        Value::Object(_) => "{}".to_owned(),
        Value::Array(_) => "[]".to_owned(),
        Value::String(text) => string(text, depth),
        other => other.to_string(),
    }
}

fn string(text: &str, depth: usize) -> String {
    if text.contains('\n')
        && !text.starts_with([' ', '\n'])
        && !text
            .chars()
            .any(|c| c.is_control() && c != '\n' && c != '\t')
    {
        return literal(text, depth);
    }
    if is_plain(text) {
        text.to_owned()
    } else {
        // JSON strings are YAML's double-quoted ones.
        Value::from(text).to_string()
    }
}

fn literal(text: &str, depth: usize) -> String {
    let kept = text.len() - text.trim_end_matches('\n').len();
    let mut block = String::from("|");
    match kept {
        0 => block.push('-'),
        1 => {}
        _ => block.push('+'),
    }
    for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
        block.push('\n');
        if !line.is_empty() {
            indent(&mut block, depth.max(1));
            block.push_str(line);
        }
    }
    block
}

/// Whether the text means itself when it stands bare.
fn is_plain(text: &str) -> bool {
    let Some(first) = text.chars().next() else {
        return false;
    };
    let special = "-?:,[]{}#&*!|>'\"%@` ";
    let safe_start = !special.contains(first)
        || (matches!(first, '-' | '?' | ':')
            && text[1..].starts_with(|c: char| c.is_alphanumeric()));
    safe_start
        && !text.ends_with([' ', ':'])
        && !text.contains(": ")
        && !text.contains(" #")
        && !text.chars().any(char::is_control)
        && !means_something_else(text)
}

/// Whether YAML 1.1 would read the bare text as something that is no string.
fn means_something_else(text: &str) -> bool {
    const WORDS: [&str; 13] = [
        "y", "n", "yes", "no", "on", "off", "true", "false", "null", "~", ".nan", ".inf", "=",
    ];
    let lower = text.to_ascii_lowercase();
    WORDS.contains(&lower.as_str())
        || text == "<<"
        || lower.trim_start_matches(['-', '+']) == ".inf"
        || is_number(&lower)
        || is_time(text)
}

fn is_number(text: &str) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    let all = |text: &str, allowed: fn(char) -> bool| {
        text.starts_with(|c: char| c != '_') && text.chars().all(|c| c == '_' || allowed(c))
    };
    if let Some(digits) = text.strip_prefix("0x") {
        return all(digits, |c| c.is_ascii_hexdigit());
    }
    if let Some(digits) = text.strip_prefix("0b").or_else(|| text.strip_prefix("0o")) {
        return all(digits, |c| c.is_ascii_digit());
    }
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
    mantissa.chars().any(|c| c.is_ascii_digit())
        && mantissa.matches('.').count() <= 1
        // Colons make numbers of base sixty.
        && mantissa.chars().all(|c| c.is_ascii_digit() || "._:".contains(c))
        && all(exponent, |c| c.is_ascii_digit())
}

/// Whether the text begins like a date: `2026-01-02`.
fn is_time(text: &str) -> bool {
    let mut parts = text.split(['-', 'T', 't', ' ']);
    let mut digits = |lengths: std::ops::RangeInclusive<usize>| {
        parts.next().is_some_and(|part| {
            lengths.contains(&part.len()) && part.chars().all(|c| c.is_ascii_digit())
        })
    };
    digits(4..=4) && digits(1..=2) && digits(1..=2)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::write;

    #[test]
    fn objects_read_as_kubectl_prints_them() {
        let value = json!({
            "apiVersion": "v1", "data": {"on": "yes", "text": "a\nb\n", "n": "1"},
            "empty": {}, "list": [{"a": 1, "b": ["x"]}, "y z"], "time": "2026-01-02T03:04:05Z",
            "version": "568",
        });
        assert_eq!(
            write(&value),
            "apiVersion: v1\ndata:\n  \"n\": \"1\"\n  \"on\": \"yes\"\n  text: |\n    a\n    b\n\
             empty: {}\nlist:\n- a: 1\n  b:\n  - x\n- y z\ntime: \"2026-01-02T03:04:05Z\"\n\
             version: \"568\"\n"
        );
    }

    #[test]
    fn uids_are_no_numbers() {
        let uid = "715d9e84-fccd-484a-8972-e28b4bf9a876";
        assert_eq!(write(&json!({"uid": uid})), format!("uid: {uid}\n"));
    }

    #[test]
    fn what_is_written_is_read_back() {
        for text in [
            "",
            " x",
            "x ",
            "- a",
            "a: b",
            "a #b",
            "'",
            "1e3",
            "0x1f",
            "null",
            "~",
            "a\n\nb",
            "\n",
            "tab\t",
            "@x",
            "-x",
            "x:",
            "1.2.3.4",
            "10.0.0.0/8",
        ] {
            let value = json!({"k": text, "l": [text]});
            let back: serde_json::Value = serde_yaml::from_str(&write(&value)).unwrap();
            assert_eq!(back, value, "{}", write(&value));
        }
    }
}
