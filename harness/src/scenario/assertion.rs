//! Assertion trees: a fragment of what one expects, compared with what is there.
//!
//! | in the fragment | means |
//! |---|---|
//! | `key: {…}` | that field is there, and as the fragment says; other fields do not matter |
//! | `[a, b]` | a list of as many items, each as the fragment says |
//! | `(expression): {…}` | the value of the expression is as the fragment says |
//! | `~.(expression): {…}` | so is each item of it; `~name.(…)` binds the index to `$name` |
//! | `(expression)->name: {…}` | the value is bound to `$name` below |
//! | `key: (expression)` | that field has the value of the expression |
//!
//! Pure. It finds all differences, not only the first, and says where each is.

use serde_json::Value;

use super::{
    expression::{Bindings, ExpressionError, evaluate, in_parentheses},
    jmespath::same,
};

/// One place where the two differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Where: `status.(conditions[?type=='Ready'])[0].status`.
    pub path: String,
    /// What the fragment says.
    pub expected: String,
    /// What is there.
    pub actual: String,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            path,
            expected,
            actual,
        } = self;
        let path = if path.is_empty() { "(the whole)" } else { path };
        write!(f, "{path}: expected {expected}, but is {actual}")
    }
}

/// All differences between a fragment and a value; none if the value is as the fragment says.
pub fn differences(
    expected: &Value,
    actual: &Value,
    bindings: &Bindings,
) -> Result<Vec<Difference>, ExpressionError> {
    let mut found = Vec::new();
    compare("", expected, Some(actual), bindings, &mut found)?;
    Ok(found)
}

fn compare(
    path: &str,
    expected: &Value,
    actual: Option<&Value>,
    bindings: &Bindings,
    found: &mut Vec<Difference>,
) -> Result<(), ExpressionError> {
    let mut differ = |expected: String, actual: String| {
        found.push(Difference {
            path: path.to_owned(),
            expected,
            actual,
        });
    };
    let Some(actual) = actual else {
        differ(shown(expected), "absent".to_owned());
        return Ok(());
    };
    match expected {
        Value::Object(fragment) => {
            // With nothing but expressions it may be about any value, also about none.
            let needs_object = fragment.keys().any(|key| Key::parse(key).is_plain());
            if needs_object && !actual.is_object() {
                differ("an object".to_owned(), shown(actual));
                return Ok(());
            }
            for (key, expected) in fragment {
                compare_field(path, key, expected, actual, bindings, found)?;
            }
        }
        Value::Array(fragment) => {
            let Some(items) = actual.as_array() else {
                differ("a list".to_owned(), shown(actual));
                return Ok(());
            };
            if fragment.len() != items.len() {
                differ(
                    format!("a list of {}", fragment.len()),
                    format!("a list of {}: {}", items.len(), shown(actual)),
                );
                return Ok(());
            }
            for (index, (expected, actual)) in fragment.iter().zip(items).enumerate() {
                let path = format!("{path}[{index}]");
                compare(&path, expected, Some(actual), bindings, found)?;
            }
        }
        scalar => {
            let expected = match scalar.as_str().and_then(in_parentheses) {
                Some(expression) => match evaluate(expression, actual, bindings) {
                    Ok(value) => value,
                    Err(error) if error.is_final => return Err(error),
                    Err(error) => {
                        differ(shown(scalar), error.problem);
                        return Ok(());
                    }
                },
                None => scalar.clone(),
            };
            if !same(&expected, actual) {
                differ(shown(&expected), shown(actual));
            }
        }
    }
    Ok(())
}

fn compare_field(
    path: &str,
    key: &str,
    expected: &Value,
    actual: &Value,
    bindings: &Bindings,
    found: &mut Vec<Difference>,
) -> Result<(), ExpressionError> {
    let parsed = Key::parse(key);
    let below = if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    };
    let value = match parsed.subject {
        Subject::Field(name) => actual.get(name).cloned(),
        Subject::Expression(expression) => match evaluate(expression, actual, bindings) {
            Ok(value) => Some(value),
            Err(error) if error.is_final => return Err(error),
            // On what is not there yet it has no value; that is a difference like any other.
            Err(error) => {
                found.push(Difference {
                    path: below,
                    expected: shown(expected),
                    actual: error.problem,
                });
                return Ok(());
            }
        },
    };
    let mut bindings = std::borrow::Cow::Borrowed(bindings);
    if let Some(name) = parsed.binding {
        bindings
            .to_mut()
            .insert(name.to_owned(), value.clone().unwrap_or(Value::Null));
    }
    let Some(index_name) = parsed.each else {
        return compare(&below, expected, value.as_ref(), &bindings, found);
    };
    let items: Vec<(Value, Value)> = match value {
        Some(Value::Array(items)) => items
            .into_iter()
            .enumerate()
            .map(|(index, item)| (index.into(), item))
            .collect(),
        Some(Value::Object(map)) => map
            .into_iter()
            .map(|(key, item)| (key.into(), item))
            .collect(),
        other => {
            return compare(
                &below,
                &Value::Array(Vec::new()),
                other.as_ref(),
                &bindings,
                found,
            );
        }
    };
    for (index, item) in items {
        let below = format!("{below}[{index}]");
        bindings.to_mut().insert(index_name.to_owned(), index);
        compare(&below, expected, Some(&item), &bindings, found)?;
    }
    Ok(())
}

/// A key of a fragment, taken apart.
struct Key<'a> {
    /// For each item of the subject, with the name of the index.
    each: Option<&'a str>,
    subject: Subject<'a>,
    /// Under which name the subject is bound.
    binding: Option<&'a str>,
}

enum Subject<'a> {
    Field(&'a str),
    Expression(&'a str),
}

impl<'a> Key<'a> {
    fn parse(key: &'a str) -> Self {
        let (each, rest) = match key.strip_prefix('~') {
            Some(rest) => match rest.split_once('.') {
                Some((name, rest)) if !name.contains('(') => {
                    (Some(if name.is_empty() { "index" } else { name }), rest)
                }
                _ => (Some("index"), rest),
            },
            None => (None, key),
        };
        let (subject, binding) = match rest.rsplit_once("->") {
            Some((subject, name)) if is_name(name) && in_parentheses(subject).is_some() => {
                (subject, Some(name))
            }
            _ => (rest, None),
        };
        let subject = match in_parentheses(subject) {
            Some(expression) => Subject::Expression(expression),
            // `\(a)\` is the way to speak of a field whose name has parentheses.
            None => Subject::Field(
                subject
                    .strip_prefix('\\')
                    .and_then(|subject| subject.strip_suffix('\\'))
                    .unwrap_or(subject),
            ),
        };
        Self {
            each,
            subject,
            binding,
        }
    }

    fn is_plain(&self) -> bool {
        matches!(self.subject, Subject::Field(_))
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text
            .chars()
            .all(|character| character.is_alphanumeric() || character == '_')
}

/// All expressions in a fragment, for the linter.
pub fn expressions(fragment: &Value, found: &mut Vec<String>) {
    match fragment {
        Value::Object(map) => {
            for (key, value) in map {
                if let Subject::Expression(expression) = Key::parse(key).subject {
                    found.push(expression.to_owned());
                }
                expressions(value, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| expressions(item, found)),
        Value::String(text) => found.extend(in_parentheses(text).map(str::to_owned)),
        _ => {}
    }
}

/// A value on one line, cut when it is long.
fn shown(value: &Value) -> String {
    const MOST: usize = 200;
    let text = value.to_string();
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn paths(expected: &str, actual: &Value) -> Vec<String> {
        let expected: Value = serde_yaml::from_str(expected).expect("YAML");
        let bindings = Bindings::from([("want".to_owned(), json!("b"))]);
        differences(&expected, actual, &bindings)
            .expect("expressions with values")
            .into_iter()
            .map(|difference| difference.path)
            .collect()
    }

    fn pod() -> Value {
        json!({
            "metadata": {"name": "a", "labels": {"app": "a", "tier": "db"}},
            "spec": {"replicas": 3, "containers": [{"name": "x", "ready": true}, {"name": "b", "ready": true}]},
            "status": {"conditions": [
                {"type": "Ready", "status": "True"}, {"type": "Synced", "status": "False"}]},
        })
    }

    #[test]
    fn what_holds_has_no_differences() {
        for fragment in [
            "{metadata: {name: a}}",
            r#"{spec: {"(replicas > `1` && replicas < `4`)": true}}"#,
            r#"{status: {"(conditions[?type == 'Ready'])": [{status: 'True'}]}}"#,
            "{spec: {~.(containers): {ready: true}}}",
            "{spec: {~i.(containers): {($i < `2`): true}}}",
            r#"{spec: {"(containers[1])->c": {($c.name == $want): true}}}"#,
            "{spec: {containers: [{name: x}, {name: ($want)}]}}",
            "{metadata: {~.labels: {(length(@) > `0`): true}}}",
            "{($want): b}",
        ] {
            assert_eq!(paths(fragment, &pod()), Vec::<String>::new(), "{fragment}");
        }
    }

    #[test]
    fn each_difference_is_told_with_its_place() {
        let fragment = r#"{metadata: {name: b, uid: x}, spec: {containers: [{name: x}]},
            status: {"(conditions[?type == 'Synced'])": [{status: 'True'}]}}"#;
        assert_eq!(
            paths(fragment, &pod()),
            [
                "metadata.name",
                "metadata.uid",
                "spec.containers",
                "status.(conditions[?type == 'Synced'])[0].status",
            ]
        );
    }

    #[test]
    fn each_item_is_looked_at() {
        assert_eq!(
            paths("{spec: {~.(containers): {name: x}}}", &pod()),
            ["spec.~.(containers)[1].name"]
        );
    }

    #[test]
    fn an_expression_without_a_value_is_a_difference_and_one_that_is_wrong_an_error() {
        let fragment = r#"{status: {"(ends_with(message, 'x'))": true}}"#;
        assert_eq!(
            paths(fragment, &pod()),
            ["status.(ends_with(message, 'x'))"]
        );
        let wrong: Value = serde_yaml::from_str("(ends_wth(a, 'x')): true").expect("YAML");
        assert!(differences(&wrong, &pod(), &Bindings::new()).is_err());
        let unknown: Value = serde_yaml::from_str("{a: ($b)}").expect("YAML");
        assert!(differences(&unknown, &json!({"a": 1}), &Bindings::new()).is_err());
    }

    #[test]
    fn a_number_is_a_number_and_text_is_text() {
        assert_eq!(
            paths("{spec: {replicas: 3.0}}", &pod()),
            Vec::<String>::new()
        );
        assert_eq!(paths("{spec: {replicas: '3'}}", &pod()), ["spec.replicas"]);
    }
}
