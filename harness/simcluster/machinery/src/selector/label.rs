//! Label selectors: `a=b,c in (d,e),!f`, and the object form.

mod parse;

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use super::ParseError;
use crate::field::{Error, Path};
use crate::{name, status};

/// Requirements that must all hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector {
    /// The requirements, in the order of their keys.
    pub requirements: Vec<Requirement>,
    /// Nothing matches: the selector of an absent object.
    nothing: bool,
}

/// How a label's value is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `=`
    Equals,
    /// `==`
    DoubleEquals,
    /// `!=`
    NotEquals,
    /// `in`
    In,
    /// `notin`
    NotIn,
    /// only the key
    Exists,
    /// `!` and the key
    DoesNotExist,
    /// `>`
    GreaterThan,
    /// `<`
    LessThan,
}

/// What one label must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// The label's key.
    pub key: String,
    /// The comparison.
    pub operator: Operator,
    /// What it is compared with.
    pub values: Vec<String>,
}

impl Requirement {
    fn new(key: &str, operator: Operator, values: Vec<String>) -> Result<Self, ParseError> {
        let mut errors = Vec::new();
        let complaints = name::qualified_name(key);
        if !complaints.is_empty() {
            errors.push(Error::invalid(
                &Path::new("key"),
                key,
                complaints.join("; "),
            ));
        }
        let path = Path::new("values");
        let refused = match operator {
            Operator::In | Operator::NotIn if values.is_empty() => {
                "for 'in', 'notin' operators, values set can't be empty"
            }
            Operator::Exists | Operator::DoesNotExist if !values.is_empty() => {
                "values set must be empty for exists and does not exist"
            }
            Operator::Equals | Operator::DoubleEquals | Operator::NotEquals
                if values.len() != 1 =>
            {
                "exact-match compatibility requires one single value"
            }
            _ => "",
        };
        if !refused.is_empty() {
            errors.push(Error::invalid(&path, values.clone(), refused));
        }
        if matches!(operator, Operator::GreaterThan | Operator::LessThan) {
            for (index, value) in values.iter().enumerate() {
                if value.parse::<i64>().is_err() {
                    let why = "for 'Gt', 'Lt' operators, the value must be an integer";
                    errors.push(Error::invalid(&path.index(index), value.as_str(), why));
                }
            }
        }
        for (index, value) in values.iter().enumerate() {
            let complaints = name::label_value(value);
            if !complaints.is_empty() {
                let path = path.index(index).key(key);
                errors.push(Error::invalid(&path, value.as_str(), complaints.join("; ")));
            }
        }
        if errors.is_empty() {
            Ok(Self {
                key: key.to_owned(),
                operator,
                values,
            })
        } else {
            Err(ParseError(status::aggregate(
                errors.iter().map(ToString::to_string),
            )))
        }
    }

    /// Whether the requirement holds for a label's value, or for its absence.
    pub fn matches(&self, value: Option<&str>) -> bool {
        let has = |value: &str| self.values.iter().any(|one| one == value);
        let number = |text: &str| text.parse::<i64>().ok();
        match (self.operator, value) {
            (Operator::In | Operator::Equals | Operator::DoubleEquals, value) => {
                value.is_some_and(has)
            }
            (Operator::NotIn | Operator::NotEquals, value) => !value.is_some_and(has),
            (Operator::Exists, value) => value.is_some(),
            (Operator::DoesNotExist, value) => value.is_none(),
            (_, None) => false,
            (operator, Some(value)) => {
                let bound = self.values.first().and_then(|bound| number(bound));
                match (number(value), bound) {
                    (Some(value), Some(bound)) if operator == Operator::GreaterThan => {
                        value > bound
                    }
                    (Some(value), Some(bound)) => value < bound,
                    _ => false,
                }
            }
        }
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (key, values) = (&self.key, self.values.join(","));
        match self.operator {
            Operator::Equals => write!(f, "{key}={values}"),
            Operator::DoubleEquals => write!(f, "{key}=={values}"),
            Operator::NotEquals => write!(f, "{key}!={values}"),
            Operator::In => write!(f, "{key} in ({values})"),
            Operator::NotIn => write!(f, "{key} notin ({values})"),
            Operator::Exists => f.write_str(key),
            Operator::DoesNotExist => write!(f, "!{key}"),
            Operator::GreaterThan => write!(f, "{key}>{values}"),
            Operator::LessThan => write!(f, "{key}<{values}"),
        }
    }
}

impl LabelSelector {
    /// Reads a query parameter.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        Ok(Self::of(parse::requirements(text)?))
    }

    /// Reads the object form, `matchLabels` and `matchExpressions`. No object selects nothing, an
    /// empty one everything.
    pub fn from_object(selector: Option<&Value>) -> Result<Self, ParseError> {
        let Some(Value::Object(selector)) = selector else {
            return Ok(Self {
                nothing: true,
                ..Self::default()
            });
        };
        let mut requirements = Vec::new();
        if let Some(Value::Object(labels)) = selector.get("matchLabels") {
            for (key, value) in labels {
                let value = value.as_str().unwrap_or_default().to_owned();
                requirements.push(Requirement::new(key, Operator::Equals, vec![value])?);
            }
        }
        let expressions = selector.get("matchExpressions").and_then(Value::as_array);
        for expression in expressions.into_iter().flatten() {
            let text = |name| {
                expression
                    .get(name)
                    .and_then(Value::as_str)
                    .unwrap_or_default()
            };
            let operator = match text("operator") {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                other => {
                    let why = format!("{other:?} is not a valid label selector operator");
                    return Err(ParseError(why));
                }
            };
            let values = expression.get("values").and_then(Value::as_array);
            let values = values.into_iter().flatten().filter_map(Value::as_str);
            let values: Vec<String> = values.map(str::to_owned).collect();
            requirements.push(Requirement::new(text("key"), operator, values)?);
        }
        Ok(Self::of(requirements))
    }

    /// Exactly these labels.
    pub fn from_labels(labels: &BTreeMap<String, String>) -> Self {
        let requirement = |(key, value): (&String, &String)| Requirement {
            key: key.clone(),
            operator: Operator::Equals,
            values: vec![value.clone()],
        };
        Self::of(labels.iter().map(requirement).collect())
    }

    fn of(mut requirements: Vec<Requirement>) -> Self {
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Self {
            requirements,
            nothing: false,
        }
    }

    /// Whether everything matches.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty() && !self.nothing
    }

    /// Whether all requirements hold, with labels looked up by `value_of`.
    pub fn matches_with<'a>(&self, value_of: impl Fn(&str) -> Option<&'a str>) -> bool {
        let mut requirements = self.requirements.iter();
        !self.nothing && requirements.all(|one| one.matches(value_of(&one.key)))
    }

    /// Whether an object's `metadata.labels` match.
    pub fn matches_object(&self, object: &Value) -> bool {
        let labels = object
            .get("metadata")
            .and_then(|metadata| metadata.get("labels"));
        self.matches_with(|key| labels?.get(key)?.as_str())
    }

    /// Whether these labels match.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.matches_with(|key| labels.get(key).map(String::as_str))
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, requirement) in self.requirements.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{requirement}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn each_operator_selects_as_told() {
        let red = labels(&[("colour", "red"), ("n", "5")]);
        for (selector, expected) in [
            ("colour=red", true),
            ("colour==red", true),
            ("colour!=red", false),
            ("absent!=red", true),
            ("colour in (red,blue)", true),
            ("colour in (blue)", false),
            ("colour notin (blue),n", true),
            ("absent notin (x)", true),
            ("!colour", false),
            ("!absent", true),
            ("colour", true),
            ("n>4", true),
            ("n<5", false),
            ("", true),
            ("colour=", false),
            ("in in (in)", false),
        ] {
            let parsed = LabelSelector::parse(selector).unwrap();
            assert_eq!(parsed.matches(&red), expected, "{selector}");
        }
    }

    #[test]
    fn parse_errors_have_the_words_of_the_api() {
        for (selector, expected) in [
            (
                "a in b",
                "unable to parse requirement: found 'b' expected: '('",
            ),
            (
                "a=has space",
                "found 'space', expected: ',' or 'end of string'",
            ),
            ("a,", "found '', expected: identifier after ','"),
            (
                "=a",
                "found '=', expected: !, identifier, or 'end of string'",
            ),
            (
                "a b",
                "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt",
            ),
            (
                "a in (b",
                "unable to parse requirement: found '', expected: ',' or ')'",
            ),
        ] {
            assert_eq!(
                LabelSelector::parse(selector).unwrap_err().to_string(),
                expected
            );
        }
        let error = LabelSelector::parse("a=-").unwrap_err().to_string();
        assert!(
            error.starts_with(
                "unable to parse requirement: values[0][a]: Invalid value: \"-\": a valid label"
            ),
            "{error}"
        );
    }

    #[test]
    fn no_object_selects_nothing_and_an_empty_one_everything() {
        let none = LabelSelector::from_object(None).unwrap();
        assert!(!none.matches(&labels(&[])) && !none.is_empty());
        let all = LabelSelector::from_object(Some(&json!({}))).unwrap();
        assert!(all.matches(&labels(&[])) && all.is_empty());
    }

    #[test]
    fn the_object_form_selects_the_same() {
        let object = json!({
            "matchLabels": {"a": "1"},
            "matchExpressions": [{"key": "b", "operator": "NotIn", "values": ["x", "y"]}]
        });
        let selector = LabelSelector::from_object(Some(&object)).unwrap();
        assert_eq!(selector.to_string(), "a=1,b notin (x,y)");
        assert!(selector.matches(&labels(&[("a", "1")])));
        assert!(!selector.matches(&labels(&[("a", "1"), ("b", "x")])));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(text in "[a-c!=<>(), ]{0,12}|[abin ,()notx]{0,20}") {
            if let Ok(selector) = LabelSelector::parse(&text) {
                let again = LabelSelector::parse(&selector.to_string()).unwrap();
                prop_assert_eq!(selector.to_string(), again.to_string());
            }
        }
    }
}
