//! Expressions in files: where they stand, in which language, what they see.
//!
//! Pure: JMESPath of the community edition unless `compiler: cel` or `(cel; …)` says CEL. An expression sees a
//! value, bindings, and what the cluster answered to questions that were asked before.

mod cel;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::jmespath::{self, Problem, Question, Surroundings};

/// In which language expressions are written that do not say it themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Compiler {
    /// JMESPath.
    #[default]
    Jp,
    /// CEL: `object` is the value, `bindings.resolve('name')` a binding.
    Cel,
}

/// What expressions see beside their input: values by name, without the dollar sign.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bindings {
    values: BTreeMap<String, Value>,
    answers: BTreeMap<Question, Result<Value, String>>,
    /// The language of expressions that do not say it.
    pub compiler: Compiler,
}

impl Bindings {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives a value a name.
    pub fn insert(&mut self, name: impl Into<String>, value: Value) {
        self.values.insert(name.into(), value);
    }

    /// Takes a name away.
    pub fn remove(&mut self, name: &str) {
        self.values.remove(name);
    }

    /// The value of a name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    /// These, and no answers of the cluster: what is asked again is asked anew.
    #[must_use]
    pub fn without_answers(&self) -> Self {
        Self {
            answers: BTreeMap::new(),
            ..self.clone()
        }
    }

    /// Remembers what the cluster said.
    pub fn learn(&mut self, question: Question, answer: Result<Value, String>) {
        self.answers.insert(question, answer);
    }

    /// The same names, with expressions in another language.
    #[must_use]
    pub fn with_compiler(&self, compiler: Option<Compiler>) -> Self {
        Self {
            compiler: compiler.unwrap_or(self.compiler),
            ..self.clone()
        }
    }
}

impl<const N: usize> From<[(String, Value); N]> for Bindings {
    fn from(values: [(String, Value); N]) -> Self {
        Self {
            values: values.into(),
            ..Self::default()
        }
    }
}

impl Surroundings for Bindings {
    fn binding(&self, name: &str) -> Option<&Value> {
        self.get(name)
    }

    fn names(&self) -> Vec<String> {
        self.values.keys().cloned().collect()
    }

    fn answer(&self, question: &Question) -> Option<&Result<Value, String>> {
        self.answers.get(question)
    }
}

/// An expression that cannot be read or evaluated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the expression ({expression}) {problem}")]
pub struct ExpressionError {
    /// As written.
    pub expression: String,
    /// "has no value: …", "cannot be read: …".
    pub problem: String,
    /// Whether another input would not help.
    pub is_final: bool,
    /// What the cluster would have to be asked first.
    pub asks: Option<Box<Question>>,
}

impl ExpressionError {
    fn new(expression: &str, verb: &str, problem: Problem) -> Self {
        Self {
            expression: expression.to_owned(),
            problem: format!("{verb}: {problem}"),
            is_final: !matches!(problem, Problem::NoValue(_)),
            asks: match problem {
                Problem::Asks(question) => Some(Box::new(question)),
                _ => None,
            },
        }
    }
}

/// The expression in a scalar that is one: what stands between its parentheses.
pub fn in_parentheses(text: &str) -> Option<&str> {
    let text = text.trim();
    let inner = text.strip_prefix('(')?.strip_suffix(')')?;
    // `(a) and (b)` is a sentence, not an expression.
    let mut depth = 0_i32;
    let mut quote = None;
    for character in inner.chars() {
        match (quote, character) {
            (Some(open), close) if open == close => quote = None,
            (None, '\'' | '"' | '`') => quote = Some(character),
            (None, '(') => depth += 1,
            (None, ')') => depth -= 1,
            _ => {}
        }
        if depth < 0 {
            return None;
        }
    }
    (depth == 0).then_some(inner)
}

/// `cel; a` as CEL and `a`.
fn language(expression: &str, default: Compiler) -> (Compiler, &str) {
    let named = expression.split_once(';').and_then(|(name, rest)| {
        let compiler = match name.trim() {
            "jp" => Compiler::Jp,
            "cel" => Compiler::Cel,
            _ => return None,
        };
        Some((compiler, rest.trim()))
    });
    named.unwrap_or((default, expression))
}

/// Whether an expression can be read at all; for the linter.
pub fn check(expression: &str, default: Compiler) -> Result<(), ExpressionError> {
    let (compiler, text) = language(expression, default);
    let outcome = match compiler {
        Compiler::Jp => jmespath::parse(text).map(drop),
        Compiler::Cel => cel::check(text),
    };
    outcome.map_err(|problem| ExpressionError::new(expression, "cannot be read", problem))
}

/// The value of an expression on `input`.
pub fn evaluate(
    expression: &str,
    input: &Value,
    bindings: &Bindings,
) -> Result<Value, ExpressionError> {
    let (compiler, text) = language(expression, bindings.compiler);
    if compiler == Compiler::Cel {
        return cel::evaluate(text, input, bindings)
            .map_err(|problem| ExpressionError::new(expression, "has no value", problem));
    }
    let node = jmespath::parse(text)
        .map_err(|problem| ExpressionError::new(expression, "cannot be read", problem))?;
    jmespath::evaluate(&node, input, bindings)
        .map_err(|problem| ExpressionError::new(expression, "has no value", problem))
}

/// A value with its `(expressions)` replaced by their values.
pub fn evaluated(
    value: &Value,
    input: &Value,
    bindings: &Bindings,
) -> Result<Value, ExpressionError> {
    Ok(match value {
        Value::String(text) => match in_parentheses(text) {
            Some(expression) => evaluate(expression, input, bindings)?,
            None => value.clone(),
        },
        Value::Array(items) => items
            .iter()
            .map(|item| evaluated(item, input, bindings))
            .collect::<Result<_, _>>()?,
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| Ok((key.clone(), evaluated(value, input, bindings)?)))
            .collect::<Result<_, ExpressionError>>()?,
        other => other.clone(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn value(expression: &str, input: &Value, bindings: &[(&str, Value)]) -> Value {
        let mut all = Bindings::new();
        for (name, value) in bindings {
            all.insert(*name, value.clone());
        }
        evaluate(expression, input, &all).expect("a value")
    }

    #[test]
    fn bindings_are_seen_also_inside_of_filters() {
        let input = json!({"items": [{"name": "a"}, {"name": "b"}]});
        let found = value(
            "items[?name == $want] | length(@)",
            &input,
            &[("want", json!("b"))],
        );
        assert_eq!(found, json!(1));
        let found = value(
            "$pod.status.phase",
            &Value::Null,
            &[("pod", json!({"status": {"phase": "Running"}}))],
        );
        assert_eq!(found, json!("Running"));
    }

    #[test]
    fn a_dollar_in_quotes_is_a_dollar() {
        assert_eq!(value("'$5'", &Value::Null, &[]), json!("$5"));
    }

    #[test]
    fn an_unknown_binding_is_named_with_those_there_are() {
        let bindings = Bindings::from([("namespace".to_owned(), json!("x"))]);
        let error = evaluate("$nmespace", &Value::Null, &bindings).expect_err("unknown");
        assert!(error.problem.contains("$nmespace"), "{error}");
        assert!(error.problem.contains("there are: $namespace"), "{error}");
    }

    #[test]
    fn only_a_whole_scalar_in_parentheses_is_an_expression() {
        assert_eq!(in_parentheses("(a == 'b)')"), Some("a == 'b)'"));
        assert_eq!(in_parentheses("(a) and (b)"), None);
        assert_eq!(in_parentheses("a (b)"), None);
    }

    #[test]
    fn functions_of_chainsaw_work() {
        let of = |expression| value(expression, &json!({"n": 2}), &[("out", json!(" x\n"))]);
        assert_eq!(of("trim_space($out)"), json!("x"));
        assert_eq!(of("add(n, `1`)"), json!(3));
        assert_eq!(of("join('-', split('a b', ' '))"), json!("a-b"));
        assert_eq!(of("regex_match('^a+$', 'aaa')"), json!(true));
        assert_eq!(of("base64_decode('aGk=')"), json!("hi"));
        assert_eq!(of("parse_json('{\"a\": 1}').a"), json!(1));
    }

    #[test]
    fn the_community_s_operators_and_let_work() {
        let of = |expression| value(expression, &json!({"a": {"b": [1, 2, 3]}}), &[]);
        assert_eq!(of("a.b[0] + a.b[1] * `4` - `1`"), json!(8));
        assert_eq!(
            of("let $x = a.b, $n = length(a.b) in $x[?@ > $n - `2`]"),
            json!([2, 3])
        );
        assert_eq!(of("'hello'[1:-1]"), json!("ell"));
        assert_eq!(of("a.b[?@ == $.a.b[1]]"), json!([2]));
        assert_eq!(of("`7` // `2`"), json!(3));
    }

    #[test]
    fn an_expression_may_be_cel_by_its_own_word_or_by_default() {
        let mut bindings = Bindings::from([("n".to_owned(), json!(2))]);
        let input = json!({"spec": {"replicas": 3}});
        let of = |text: &str, bindings: &Bindings| evaluate(text, &input, bindings);
        assert_eq!(
            of(
                "cel; string(bindings.resolve('n') + object.spec.replicas)",
                &bindings
            ),
            Ok(json!("5"))
        );
        assert_eq!(of("jp; spec.replicas + $n", &bindings), Ok(json!(5)));
        bindings.compiler = Compiler::Cel;
        assert_eq!(of("object.spec.replicas > 2", &bindings), Ok(json!(true)));
        let unknown = of("bindings.resolve('m')", &bindings).expect_err("unknown");
        assert!(
            unknown.problem.contains("there is no binding $m"),
            "{unknown}"
        );
        assert!(check("object.(", Compiler::Cel).is_err());
    }
}
