//! Tables: what `kubectl get` prints, column by column.
//!
//! Columns and cells of a kind stand in the kind's own file; here is what they share. How a table
//! is wrapped and which objects are in it is the server's business.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::read::{Read, text_or};

/// One column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// The heading.
    pub name: &'static str,
    /// `string`, `integer`, `boolean`, `date` …
    pub kind: &'static str,
    /// `name` for the column of names, else empty.
    pub format: &'static str,
    /// 0 is always shown, 1 with `-o wide`.
    pub priority: i32,
}

impl Column {
    /// A column of text that is always shown.
    pub const fn text(name: &'static str) -> Self {
        Self {
            name,
            kind: "string",
            format: "",
            priority: 0,
        }
    }

    /// A column of text that is shown with `-o wide`.
    pub const fn wide(name: &'static str) -> Self {
        Self {
            name,
            kind: "string",
            format: "",
            priority: 1,
        }
    }

    /// A column of integers that is always shown.
    pub const fn integer(name: &'static str) -> Self {
        Self {
            name,
            kind: "integer",
            format: "",
            priority: 0,
        }
    }

    /// The same column, with another type.
    #[must_use]
    pub const fn of(self, kind: &'static str) -> Self {
        Self { kind, ..self }
    }
}

/// The first column of every table.
pub const NAME: Column = Column {
    name: "Name",
    kind: "string",
    format: "name",
    priority: 0,
};
/// The column of ages.
pub const AGE: Column = Column::text("Age");

/// The columns of a kind that has none of its own.
pub const NAME_AND_AGE: &[Column] = &[
    NAME,
    Column {
        name: "Created At",
        kind: "date",
        format: "",
        priority: 0,
    },
];

/// One row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    /// As many as columns.
    pub cells: Vec<Value>,
    /// `TableRowCondition`s: a finished pod is `Completed`.
    pub conditions: Vec<Value>,
}

impl Row {
    /// A row without conditions.
    pub fn new(cells: Vec<Value>) -> Self {
        Self {
            cells,
            conditions: Vec::new(),
        }
    }
}

/// The object's name.
pub fn name(object: &Value) -> Value {
    Value::from(object.text("metadata.name"))
}

/// The time since the object was created, in words.
pub fn age(object: &Value, now: Timestamp) -> Value {
    Value::from(since(object.text("metadata.creationTimestamp"), now))
}

/// The time since `time`, in words; `<unknown>` when it is absent.
pub fn since(time: &str, now: Timestamp) -> String {
    match time.parse::<Timestamp>() {
        Ok(time) => human_duration(now.duration_since(time)),
        Err(_) => "<unknown>".to_owned(),
    }
}

/// A duration in the words of `kubectl get`: two units while they matter.
pub fn human_duration(duration: SignedDuration) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    const YEAR: i64 = 365 * DAY;
    let seconds = duration.as_secs();
    let two = |count: i64, unit: char, rest: i64, rest_unit: char| {
        if rest == 0 {
            format!("{count}{unit}")
        } else {
            format!("{count}{unit}{rest}{rest_unit}")
        }
    };
    match seconds {
        ..=-2 => "<invalid>".to_owned(),
        -1 => "0s".to_owned(),
        _ if seconds < 2 * MINUTE => format!("{seconds}s"),
        _ if seconds < 10 * MINUTE => two(seconds / MINUTE, 'm', seconds % MINUTE, 's'),
        _ if seconds < 3 * HOUR => format!("{}m", seconds / MINUTE),
        _ if seconds < 8 * HOUR => two(seconds / HOUR, 'h', seconds % HOUR / MINUTE, 'm'),
        _ if seconds < 2 * DAY => format!("{}h", seconds / HOUR),
        _ if seconds < 8 * DAY => two(seconds / DAY, 'd', seconds % DAY / HOUR, 'h'),
        _ if seconds < 2 * YEAR => format!("{}d", seconds / DAY),
        _ if seconds < 8 * YEAR => two(seconds / YEAR, 'y', seconds % YEAR / DAY, 'd'),
        _ => format!("{}y", seconds / YEAR),
    }
}

/// Names and images of the containers of a pod template, each joined by commas.
pub(crate) fn containers(template_spec: &Value) -> [Value; 2] {
    let join = |field: &str| {
        let containers = template_spec.list("containers");
        let texts: Vec<&str> = containers
            .iter()
            .map(|container| container.text(field))
            .collect();
        Value::from(texts.join(","))
    };
    [join("name"), join("image")]
}

/// A label selector on one line: `a=b,c in (d,e)`, `<none>` when it is empty.
pub(crate) fn selector(selector: Option<&Value>) -> Value {
    json!(text_or(&selector_text(selector), "<none>"))
}

/// A label selector on one line, with `<none>` for one that matches nothing.
pub(crate) fn selector_text(selector: Option<&Value>) -> String {
    let Some(selector) = selector else {
        return "<none>".to_owned();
    };
    let mut terms: Vec<(&str, String)> = selector
        .map("matchLabels")
        .map(|(key, value)| {
            (
                key.as_str(),
                format!("{key}={}", value.as_str().unwrap_or_default()),
            )
        })
        .collect();
    for expression in selector.list("matchExpressions") {
        let key = expression.text("key");
        let mut values: Vec<&str> = expression
            .list("values")
            .iter()
            .filter_map(Value::as_str)
            .collect();
        values.sort_unstable();
        let values = values.join(",");
        terms.push((
            key,
            match expression.text("operator") {
                "In" => format!("{key} in ({values})"),
                "NotIn" => format!("{key} notin ({values})"),
                "Exists" => key.to_owned(),
                _ => format!("!{key}"),
            },
        ));
    }
    terms.sort_by_key(|(key, _)| *key);
    let terms: Vec<String> = terms.into_iter().map(|(_, text)| text).collect();
    terms.join(",")
}

/// Labels on one line, `<none>` when there are none.
pub(crate) fn labels(object: &Value, path: &str) -> Value {
    let terms: Vec<String> = object
        .map(path)
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    json!(text_or(&terms.join(","), "<none>"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_two_units_while_they_matter() {
        for (seconds, text) in [
            (-5, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (125, "2m5s"),
            (600, "10m"),
            (10_799, "179m"),
            (10_800, "3h"),
            (11_000, "3h3m"),
            (28_800, "8h"),
            (172_800, "2d"),
            (180_000, "2d2h"),
            (691_200, "8d"),
            (63_072_000, "2y"),
            (63_158_400, "2y1d"),
            (252_288_000, "8y"),
        ] {
            assert_eq!(
                human_duration(SignedDuration::from_secs(seconds)),
                text,
                "{seconds}"
            );
        }
    }

    #[test]
    fn selectors_are_one_line_in_the_order_of_their_keys() {
        let given = json!({
            "matchLabels": {"b": "1"},
            "matchExpressions": [{"key": "a", "operator": "In", "values": ["y", "x"]},
                                 {"key": "c", "operator": "DoesNotExist"}],
        });
        assert_eq!(selector(Some(&given)), json!("a in (x,y),b=1,!c"));
        assert_eq!(selector(Some(&json!({}))), json!("<none>"));
        assert_eq!(selector(None), json!("<none>"));
    }
}
