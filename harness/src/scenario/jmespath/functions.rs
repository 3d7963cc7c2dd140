//! The functions of expressions: JMESPath's own, those that kyverno and chainsaw add.
//!
//! A table each, by what they are about. A function sees its arguments through [`Call`], which tells what
//! is wrong with them in the same words for all.

mod amounts;
mod cluster;
mod collections;
mod layout;
mod numbers;
mod random;
mod text;
mod time;
mod versions;

use serde_json::{Map, Value};

use self::amounts::Amount;
use super::{Node, Problem, evaluate::Evaluation};

/// A function: its name, the least and the largest number of its arguments, what it does.
pub(super) type Function = (
    &'static str,
    usize,
    usize,
    fn(&Call<'_>) -> Result<Value, Problem>,
);

/// As many arguments as one likes.
const ANY: usize = usize::MAX;

/// Functions that chainsaw has and that are not here.
pub const MISSING: [&str; 1] = ["x509_decode"];

fn find(name: &str) -> Option<&'static Function> {
    [
        collections::FUNCTIONS,
        text::FUNCTIONS,
        numbers::FUNCTIONS,
        random::FUNCTIONS,
        time::FUNCTIONS,
        versions::FUNCTIONS,
        cluster::FUNCTIONS,
    ]
    .into_iter()
    .flatten()
    .find(|(known, ..)| *known == name)
}

/// Whether there is such a function for so many arguments.
pub(super) fn check(name: &str, arguments: usize) -> Result<(), Problem> {
    let Some((_, least, most, _)) = find(name) else {
        let hint = if MISSING.contains(&name) {
            "; chainsaw has it, but it is not here"
        } else {
            ""
        };
        return Err(Problem::Wrong(format!("there is no function {name}{hint}")));
    };
    if (*least..=*most).contains(&arguments) {
        return Ok(());
    }
    let wanted = match (*least, *most) {
        (least, ANY) => format!("{least} or more arguments"),
        (least, most) if least == most => format!("{least} arguments"),
        (least, most) => format!("{least} to {most} arguments"),
    };
    Err(Problem::Wrong(format!(
        "{name} takes {wanted}, not {arguments}"
    )))
}

/// The value of a call.
pub(super) fn call(
    evaluation: Evaluation<'_>,
    name: &str,
    arguments: &[Node],
    input: &Value,
) -> Result<Value, Problem> {
    let (_, _, _, function) =
        find(name).ok_or_else(|| Problem::Wrong(format!("there is no function {name}")))?;
    let arguments = arguments
        .iter()
        .map(|argument| match argument {
            Node::Reference(node) => Ok(Argument::Expression(node)),
            node => evaluation.value(node, input).map(Argument::Value),
        })
        .collect::<Result<_, _>>()?;
    function(&Call {
        name,
        arguments,
        evaluation,
    })
}

enum Argument<'a> {
    Value(Value),
    Expression(&'a Node),
}

/// One call, as its function sees it.
pub(super) struct Call<'a> {
    name: &'a str,
    arguments: Vec<Argument<'a>>,
    evaluation: Evaluation<'a>,
}

impl Call<'_> {
    fn problem(&self, what: &str) -> Problem {
        Problem::NoValue(format!("{}: {what}", self.name))
    }

    fn count(&self) -> usize {
        self.arguments.len()
    }

    fn value(&self, index: usize) -> Result<&Value, Problem> {
        match self.arguments.get(index) {
            Some(Argument::Value(value)) => Ok(value),
            _ => Err(self.problem(&format!("argument {} is missing", index + 1))),
        }
    }

    fn values(&self) -> Result<Vec<&Value>, Problem> {
        (0..self.count()).map(|index| self.value(index)).collect()
    }

    fn of_type<'v, T>(
        &'v self,
        index: usize,
        wanted: &str,
        take: impl FnOnce(&'v Value) -> Option<T>,
    ) -> Result<T, Problem> {
        let value = self.value(index)?;
        take(value).ok_or_else(|| {
            self.problem(&format!(
                "argument {} must be {wanted}, but is {}",
                index + 1,
                kind_of(value)
            ))
        })
    }

    fn text(&self, index: usize) -> Result<&str, Problem> {
        self.of_type(index, "a string", Value::as_str)
    }

    fn number(&self, index: usize) -> Result<f64, Problem> {
        self.of_type(index, "a number", Value::as_f64)
    }

    fn amount(&self, index: usize) -> Result<Amount, Problem> {
        self.of_type(index, "a number, a quantity or a duration", Amount::of)
    }

    fn list(&self, index: usize) -> Result<&Vec<Value>, Problem> {
        self.of_type(index, "a list", Value::as_array)
    }

    fn object(&self, index: usize) -> Result<&Map<String, Value>, Problem> {
        self.of_type(index, "an object", Value::as_object)
    }

    /// A whole number; `None` if the argument is not given.
    fn whole(&self, index: usize) -> Result<Option<i64>, Problem> {
        if index >= self.count() {
            return Ok(None);
        }
        let float = self.number(index)?;
        if float.fract() != 0.0 || float.abs() > 9e15 {
            return Err(self.problem(&format!("argument {} must be whole", index + 1)));
        }
        #[expect(
            clippy::cast_possible_truncation,
            reason = "it is whole and small enough"
        )]
        Ok(Some(float as i64))
    }

    /// The value of the expression that is an argument, on an item.
    fn apply(&self, index: usize, item: &Value) -> Result<Value, Problem> {
        match self.arguments.get(index) {
            Some(Argument::Expression(node)) => self.evaluation.value(node, item),
            _ => Err(self.problem(&format!(
                "argument {} must be an expression, as in &name",
                index + 1
            ))),
        }
    }
}

/// What JMESPath calls the type of a value.
fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// A value as text: text as it is, all else as JSON.
fn as_text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests;
