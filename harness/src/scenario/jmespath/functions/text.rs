//! Functions about text, what is written in it, and what is encoded as it.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use regex::Regex;
use serde_json::Value;

use super::{Call, Function, as_text};
use crate::scenario::{jmespath::Problem, wildcard};

pub(super) const FUNCTIONS: &[Function] = &[
    ("as_string", 1, 1, |call| {
        let value = call.value(0)?;
        Ok(if value.is_string() {
            value.clone()
        } else {
            Value::Null
        })
    }),
    ("base64_decode", 1, 1, |call| {
        let bytes = STANDARD
            .decode(call.text(0)?)
            .map_err(|error| call.problem(&error.to_string()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned().into())
    }),
    ("base64_encode", 1, 1, |call| {
        Ok(STANDARD.encode(call.text(0)?).into())
    }),
    ("compare", 2, 2, |call| {
        Ok(Value::from(call.text(0)?.cmp(call.text(1)?) as i8))
    }),
    ("concat", 2, 2, |call| {
        Ok(format!("{}{}", call.text(0)?, call.text(1)?).into())
    }),
    ("ends_with", 2, 2, |call| {
        Ok(call.text(0)?.ends_with(call.text(1)?).into())
    }),
    ("env", 1, 1, |call| {
        Ok(std::env::var(call.text(0)?).unwrap_or_default().into())
    }),
    ("equal_fold", 2, 2, |call| {
        Ok((call.text(0)?.to_lowercase() == call.text(1)?.to_lowercase()).into())
    }),
    ("find_first", 2, 4, |call| {
        found(call, |text, part| text.find(part))
    }),
    ("find_last", 2, 4, |call| {
        found(call, |text, part| text.rfind(part))
    }),
    ("join", 2, 2, |call| {
        let glue = call.text(0)?;
        let parts = call.list(1)?.iter().map(|part| {
            part.as_str()
                .ok_or_else(|| call.problem("it joins strings only; see to_string"))
        });
        Ok(parts.collect::<Result<Vec<_>, _>>()?.join(glue).into())
    }),
    ("json_parse", 1, 1, parsed_json),
    ("lower", 1, 1, |call| {
        Ok(call.text(0)?.to_lowercase().into())
    }),
    ("pad_left", 2, 3, |call| padded(call, true)),
    ("pad_right", 2, 3, |call| padded(call, false)),
    ("parse_json", 1, 1, parsed_json),
    ("parse_yaml", 1, 1, |call| {
        serde_yaml::from_str(call.text(0)?)
            .map_err(|error| call.problem(&format!("the text is not YAML: {error}")))
    }),
    ("path_canonicalize", 1, 1, |call| {
        let text = call.text(0)?;
        let parts: Vec<&str> = text.split('/').filter(|part| !part.is_empty()).collect();
        let root = if text.starts_with('/') { "/" } else { "" };
        Ok(format!("{root}{}", parts.join("/")).into())
    }),
    ("pattern_match", 2, 2, |call| {
        Ok(wildcard::matches(call.text(0)?, &as_text(call.value(1)?)).into())
    }),
    ("regex_match", 2, 2, |call| {
        Ok(expression(call, 0)?
            .is_match(&as_text(call.value(1)?))
            .into())
    }),
    ("regex_replace_all", 3, 3, |call| {
        let text = as_text(call.value(1)?);
        let with = as_text(call.value(2)?);
        Ok(expression(call, 0)?
            .replace_all(&text, with.as_str())
            .into_owned()
            .into())
    }),
    ("regex_replace_all_literal", 3, 3, |call| {
        let text = as_text(call.value(1)?);
        let with = as_text(call.value(2)?);
        let with = regex::NoExpand(&with);
        Ok(expression(call, 0)?
            .replace_all(&text, with)
            .into_owned()
            .into())
    }),
    ("replace", 3, 4, |call| {
        let (text, old, new) = (call.text(0)?, call.text(1)?, call.text(2)?);
        // A negative number means all of them.
        let count = call.whole(3)?.and_then(|count| usize::try_from(count).ok());
        Ok(text.replacen(old, new, count.unwrap_or(usize::MAX)).into())
    }),
    ("replace_all", 3, 3, |call| {
        Ok(call.text(0)?.replace(call.text(1)?, call.text(2)?).into())
    }),
    ("split", 2, 3, |call| {
        let (text, at) = (call.text(0)?, call.text(1)?);
        let most = call.whole(2)?.and_then(|count| usize::try_from(count).ok());
        let count = most.map_or(usize::MAX, |count| count.saturating_add(1));
        let parts: Vec<&str> = if at.is_empty() {
            // Nothing stands between any two characters, but not before the first.
            text.splitn(count.saturating_add(1), "")
                .skip(1)
                .filter(|part| !part.is_empty())
                .collect()
        } else {
            text.splitn(count, at).collect()
        };
        Ok(parts.into())
    }),
    ("starts_with", 2, 2, |call| {
        Ok(call.text(0)?.starts_with(call.text(1)?).into())
    }),
    ("to_lower", 1, 1, |call| {
        Ok(call.text(0)?.to_lowercase().into())
    }),
    ("to_string", 1, 1, |call| Ok(as_text(call.value(0)?).into())),
    ("to_upper", 1, 1, |call| {
        Ok(call.text(0)?.to_uppercase().into())
    }),
    ("trim", 1, 2, |call| {
        let cut = cut(call)?;
        Ok(call.text(0)?.trim_matches(|one| is_cut(one, cut)).into())
    }),
    ("trim_left", 1, 2, |call| {
        let cut = cut(call)?;
        Ok(call
            .text(0)?
            .trim_start_matches(|one| is_cut(one, cut))
            .into())
    }),
    ("trim_prefix", 2, 2, |call| {
        let text = call.text(0)?;
        Ok(text.strip_prefix(call.text(1)?).unwrap_or(text).into())
    }),
    ("trim_right", 1, 2, |call| {
        let cut = cut(call)?;
        Ok(call
            .text(0)?
            .trim_end_matches(|one| is_cut(one, cut))
            .into())
    }),
    ("trim_space", 1, 1, |call| Ok(call.text(0)?.trim().into())),
    ("truncate", 2, 2, |call| {
        let length = call
            .whole(1)?
            .and_then(|length| usize::try_from(length).ok());
        Ok(call
            .text(0)?
            .chars()
            .take(length.unwrap_or_default())
            .collect::<String>()
            .into())
    }),
    ("upper", 1, 1, |call| {
        Ok(call.text(0)?.to_uppercase().into())
    }),
    ("wildcard", 2, 2, |call| {
        Ok(wildcard::matches(call.text(0)?, &as_text(call.value(1)?)).into())
    }),
];

fn parsed_json(call: &Call<'_>) -> Result<Value, Problem> {
    serde_json::from_str(call.text(0)?)
        .map_err(|error| call.problem(&format!("the text is not JSON: {error}")))
}

fn expression(call: &Call<'_>, index: usize) -> Result<Regex, Problem> {
    Regex::new(call.text(index)?).map_err(|error| call.problem(&error.to_string()))
}

/// What is to be cut off: spaces unless told.
fn cut<'a>(call: &'a Call<'_>) -> Result<&'a str, Problem> {
    if call.count() > 1 {
        call.text(1)
    } else {
        Ok("")
    }
}

fn is_cut(one: char, cut: &str) -> bool {
    if cut.is_empty() {
        one.is_whitespace()
    } else {
        cut.contains(one)
    }
}

/// Where a part stands in a text, counted in characters, or null.
fn found(call: &Call<'_>, find: fn(&str, &str) -> Option<usize>) -> Result<Value, Problem> {
    let (text, part) = (call.text(0)?, call.text(1)?);
    let length = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
    let place = |given: Option<i64>, unless: i64| {
        let given = given.unwrap_or(unless);
        let from_start = if given < 0 { given + length } else { given };
        usize::try_from(from_start.clamp(0, length)).unwrap_or_default()
    };
    let (first, last) = (place(call.whole(2)?, 0), place(call.whole(3)?, length));
    if part.is_empty() {
        return Ok(Value::Null);
    }
    let window: String = text.chars().take(last).skip(first).collect();
    Ok(find(&window, part).map_or(Value::Null, |byte| {
        Value::from(first + window[..byte].chars().count())
    }))
}

fn padded(call: &Call<'_>, left: bool) -> Result<Value, Problem> {
    let text = call.text(0)?;
    let width = call.whole(1)?.and_then(|width| usize::try_from(width).ok());
    let width = width.ok_or_else(|| call.problem("the width must not be negative"))?;
    let filler = if call.count() > 2 { call.text(2)? } else { " " };
    if filler.chars().count() != 1 {
        return Err(call.problem("it pads with one character"));
    }
    let padding = filler.repeat(width.saturating_sub(text.chars().count()));
    Ok(if left {
        format!("{padding}{text}")
    } else {
        format!("{text}{padding}")
    }
    .into())
}
