//! Expressions: JMESPath with chainsaw's bindings (`$name`) and the functions that its tests use.
//!
//! Pure: an expression sees a value and bindings, nothing else. Not there: the arithmetic operators and
//! `let` of JMESPath's community edition; [`functions`](mod@self) such as `add` do the former's work.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jmespath::{Context, ErrorReason, JmespathError, Rcvar, Runtime, Variable};
use serde_json::Value;

/// Values by name, without the dollar sign.
pub type Bindings = BTreeMap<String, Value>;

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

/// Whether an expression can be read at all; for the linter.
pub fn check(expression: &str) -> Result<(), ExpressionError> {
    let failed = |error: &JmespathError| unreadable(expression, error);
    RUNTIME
        .compile(&with_function_calls(expression))
        .map(drop)
        .map_err(|error| failed(&error))
}

/// The value of an expression on `input`.
pub fn evaluate(
    expression: &str,
    input: &Value,
    bindings: &Bindings,
) -> Result<Value, ExpressionError> {
    let text = with_function_calls(expression);
    let compiled = RUNTIME
        .compile(&text)
        .map_err(|error| unreadable(expression, &error))?;
    // Bindings travel beside the input: a function sees neither, so the runtime is made with them.
    let wants_bindings = text.contains(BINDING);
    let search = |expression: &jmespath::Expression<'_>| expression.search(input);
    let found = if wants_bindings {
        let runtime = runtime_with(bindings);
        let compiled = runtime
            .compile(&text)
            .map_err(|error| unreadable(expression, &error))?;
        search(&compiled)
    } else {
        search(&compiled)
    };
    let found = found.map_err(|error| {
        let reason = reason(&error);
        ExpressionError {
            expression: expression.to_owned(),
            problem: format!("has no value: {reason}"),
            is_final: reason.contains(NO_BINDING) || reason.contains("undefined function"),
        }
    })?;
    serde_json::to_value(&*found)
        .map(whole_numbers)
        .map_err(|error| ExpressionError {
            expression: expression.to_owned(),
            problem: format!("has a value that is not JSON: {error}"),
            is_final: true,
        })
}

fn unreadable(expression: &str, error: &JmespathError) -> ExpressionError {
    ExpressionError {
        expression: expression.to_owned(),
        problem: format!("cannot be read: {}", reason(error)),
        is_final: true,
    }
}

fn reason(error: &JmespathError) -> String {
    match &error.reason {
        ErrorReason::Parse(text) => text.clone(),
        ErrorReason::Runtime(error) => error.to_string(),
    }
}

/// `2.0` as `2`: functions of JMESPath compute with floating point numbers.
fn whole_numbers(value: Value) -> Value {
    match value {
        Value::Number(number) => {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "only whole numbers are cast"
            )]
            let whole = number
                .as_f64()
                .filter(|float| !number.is_i64() && !number.is_u64() && float.fract() == 0.0)
                .filter(|float| float.abs() < 9e15)
                .map(|float| float as i64);
            whole.map_or(Value::Number(number), Value::from)
        }
        Value::Array(items) => items.into_iter().map(whole_numbers).collect(),
        Value::Object(map) => map
            .into_iter()
            .map(|(key, value)| (key, whole_numbers(value)))
            .collect(),
        other => other,
    }
}

const NO_BINDING: &str = "there is no binding";

/// The function that stands for `$`.
const BINDING: &str = "__binding";

/// `$name` as a call of [`BINDING`], outside of quotes: the crate knows no variables.
fn with_function_calls(expression: &str) -> String {
    let mut text = String::with_capacity(expression.len());
    let mut characters = expression.chars().peekable();
    let mut quote = None;
    while let Some(character) = characters.next() {
        match (quote, character) {
            (Some(_), '\\') => {
                text.push(character);
                text.extend(characters.next());
                continue;
            }
            (Some(open), close) if open == close => quote = None,
            (None, '\'' | '"' | '`') => quote = Some(character),
            (None, '$') => {
                let mut name = String::new();
                while let Some(next) =
                    characters.next_if(|next| next.is_alphanumeric() || *next == '_')
                {
                    name.push(next);
                }
                text.extend([BINDING, "('", &name, "')"]);
                continue;
            }
            _ => {}
        }
        text.push(character);
    }
    text
}

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| runtime_with(&Bindings::new()));

fn runtime_with(bindings: &Bindings) -> Runtime {
    let mut runtime = Runtime::new();
    runtime.register_builtin_functions();
    let bindings: BTreeMap<String, Rcvar> = bindings
        .iter()
        .filter_map(|(name, value)| Some((name.clone(), variable(value)?)))
        .collect();
    let binding = move |arguments: &[Rcvar], context: &mut Context<'_>| {
        let name = text_of(arguments, 0, context)?;
        bindings.get(&name).cloned().ok_or_else(|| {
            let known: Vec<_> = bindings.keys().map(|name| format!("${name}")).collect();
            let known = known.join(", ");
            failure(
                context,
                &format!("{NO_BINDING} ${name}; there are: {known}"),
            )
        })
    };
    runtime.register_function(BINDING, Box::new(binding));
    for (name, function) in FUNCTIONS {
        runtime.register_function(name, Box::new(*function));
    }
    runtime
}

fn variable(value: &Value) -> Option<Rcvar> {
    Variable::from_serializable(value).ok().map(Arc::new)
}

type Function = fn(&[Rcvar], &mut Context<'_>) -> Result<Rcvar, JmespathError>;

/// Beyond JMESPath's own: those that chainsaw's tests use most.
const FUNCTIONS: &[(&str, Function)] = &[
    ("add", |arguments, context| {
        arithmetic(arguments, context, |a, b| a + b)
    }),
    ("subtract", |arguments, context| {
        arithmetic(arguments, context, |a, b| a - b)
    }),
    ("multiply", |arguments, context| {
        arithmetic(arguments, context, |a, b| a * b)
    }),
    ("divide", |arguments, context| {
        arithmetic(arguments, context, |a, b| a / b)
    }),
    ("modulo", |arguments, context| {
        arithmetic(arguments, context, |a, b| a % b)
    }),
    ("trim_space", |arguments, context| {
        Ok(text(text_of(arguments, 0, context)?.trim()))
    }),
    ("trim", |arguments, context| {
        let cut = text_of(arguments, 1, context)?;
        let of = text_of(arguments, 0, context)?;
        Ok(text(of.trim_matches(|character| cut.contains(character))))
    }),
    ("to_upper", |arguments, context| {
        Ok(text(&text_of(arguments, 0, context)?.to_uppercase()))
    }),
    ("to_lower", |arguments, context| {
        Ok(text(&text_of(arguments, 0, context)?.to_lowercase()))
    }),
    ("split", |arguments, context| {
        let (of, at) = (
            text_of(arguments, 0, context)?,
            text_of(arguments, 1, context)?,
        );
        Ok(Arc::new(Variable::Array(of.split(&at).map(text).collect())))
    }),
    ("replace_all", |arguments, context| {
        let (of, old) = (
            text_of(arguments, 0, context)?,
            text_of(arguments, 1, context)?,
        );
        Ok(text(&of.replace(&old, &text_of(arguments, 2, context)?)))
    }),
    ("regex_match", |arguments, context| {
        let pattern = text_of(arguments, 0, context)?;
        let pattern =
            regex::Regex::new(&pattern).map_err(|error| failure(context, &error.to_string()))?;
        let matches = pattern.is_match(&text_of(arguments, 1, context)?);
        Ok(Arc::new(Variable::Bool(matches)))
    }),
    ("base64_encode", |arguments, context| {
        Ok(text(&STANDARD.encode(text_of(arguments, 0, context)?)))
    }),
    ("base64_decode", |arguments, context| {
        let bytes = STANDARD
            .decode(text_of(arguments, 0, context)?)
            .map_err(|error| failure(context, &error.to_string()))?;
        Ok(text(&String::from_utf8_lossy(&bytes)))
    }),
    ("json_parse", |arguments, context| {
        parsed(
            serde_json::from_str(&text_of(arguments, 0, context)?)
                .ok()
                .as_ref(),
            context,
        )
    }),
    ("parse_json", |arguments, context| {
        parsed(
            serde_json::from_str(&text_of(arguments, 0, context)?)
                .ok()
                .as_ref(),
            context,
        )
    }),
    ("parse_yaml", |arguments, context| {
        parsed(
            serde_yaml::from_str(&text_of(arguments, 0, context)?)
                .ok()
                .as_ref(),
            context,
        )
    }),
    ("lookup", |arguments, context| {
        let (Some(from), Some(key)) = (arguments.first(), arguments.get(1)) else {
            return Err(failure(context, "lookup takes a collection and a key"));
        };
        Ok(match (key.as_string(), key.as_number()) {
            (Some(key), _) => from.get_field(key),
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "an index that does not fit finds nothing, as any other wrong one"
            )]
            (None, Some(index)) => from.get_index(index as usize),
            (None, None) => Arc::new(Variable::Null),
        })
    }),
];

fn parsed(value: Option<&Value>, context: &Context<'_>) -> Result<Rcvar, JmespathError> {
    value
        .and_then(variable)
        .ok_or_else(|| failure(context, "the text cannot be parsed"))
}

fn arithmetic(
    arguments: &[Rcvar],
    context: &Context<'_>,
    compute: fn(f64, f64) -> f64,
) -> Result<Rcvar, JmespathError> {
    let number = |index: usize| {
        arguments
            .get(index)
            .and_then(|argument| argument.as_number())
    };
    let (Some(a), Some(b)) = (number(0), number(1)) else {
        return Err(failure(context, "two numbers are needed"));
    };
    serde_json::Number::from_f64(compute(a, b))
        .map(|number| Arc::new(Variable::Number(number)))
        .ok_or_else(|| failure(context, "the result is not a number"))
}

fn text(text: &str) -> Rcvar {
    Arc::new(Variable::String(text.to_owned()))
}

fn text_of(
    arguments: &[Rcvar],
    index: usize,
    context: &Context<'_>,
) -> Result<String, JmespathError> {
    arguments
        .get(index)
        .and_then(|argument| argument.as_string())
        .cloned()
        .ok_or_else(|| failure(context, &format!("argument {} must be a string", index + 1)))
}

fn failure(context: &Context<'_>, problem: &str) -> JmespathError {
    JmespathError::new(
        context.expression,
        context.offset,
        ErrorReason::Parse(problem.to_owned()),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn value(expression: &str, input: &Value, bindings: &[(&str, Value)]) -> Value {
        let bindings = bindings
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect();
        evaluate(expression, input, &bindings).expect("a value")
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
}
