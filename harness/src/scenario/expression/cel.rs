//! Expressions in CEL: `object` is the input, `bindings.resolve('name')`, or `name` alone, the value of a
//! binding.
//!
//! The interpreter and Kubernetes' libraries are those of the crates `cel` and `kube-cel`.

use std::sync::Arc;

use kube_cel::{
    KubeCelExt as _,
    cel::{
        Context, ExecutionError, Program, Value as Cel,
        extractors::This,
        objects::{Key, Map},
        to_value,
    },
};
use serde_json::Value;

use super::Bindings;
use crate::scenario::jmespath::{Problem, Surroundings as _};

/// Whether it can be read.
pub(super) fn check(text: &str) -> Result<(), Problem> {
    program(text).map(drop)
}

/// The value of an expression on `input`.
pub(super) fn evaluate(text: &str, input: &Value, bindings: &Bindings) -> Result<Value, Problem> {
    let program = program(text)?;
    let mut context = Context::default().with_all();
    context.add_function("resolve", resolve);
    let values: serde_json::Map<String, Value> = bindings
        .names()
        .into_iter()
        .filter_map(|name| Some((name.clone(), bindings.get(&name)?.clone())))
        .collect();
    // kuttl's expressions speak of objects by their names alone.
    for (name, value) in &values {
        context.add_variable_from_value(name.clone(), converted(value)?);
    }
    context.add_variable_from_value("object", converted(input)?);
    context.add_variable_from_value("bindings", converted(&values.into())?);
    let found = program
        .execute(&context)
        .map_err(|error| Problem::NoValue(error.to_string()))?;
    json(&found).ok_or_else(|| Problem::NoValue("the value is no JSON".to_owned()))
}

fn program(text: &str) -> Result<Program, Problem> {
    Program::compile(text).map_err(|error| Problem::Wrong(error.to_string()))
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "functions of the library own their arguments"
)]
fn resolve(This(bindings): This<Cel>, name: Arc<String>) -> Result<Cel, ExecutionError> {
    let Cel::Map(map) = bindings else {
        return Err(ExecutionError::function_error(
            "resolve",
            "it is for `bindings`",
        ));
    };
    map.map
        .get(&Key::String(name.clone()))
        .cloned()
        .ok_or_else(|| {
            ExecutionError::function_error("resolve", format!("there is no binding ${name}"))
        })
}

fn converted(value: &Value) -> Result<Cel, Problem> {
    // JSON's whole numbers are CEL's int, also those that would fit an unsigned one.
    Ok(match value {
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Cel::Int(whole),
            (None, Some(float)) => Cel::Float(float),
            (None, None) => Cel::Null,
        },
        Value::Array(items) => Cel::List(Arc::new(
            items.iter().map(converted).collect::<Result<_, _>>()?,
        )),
        Value::Object(fields) => {
            let fields = fields
                .iter()
                .map(|(key, value)| Ok((Key::String(Arc::new(key.clone())), converted(value)?)));
            Cel::Map(Map {
                map: Arc::new(fields.collect::<Result<_, Problem>>()?),
            })
        }
        scalar => to_value(scalar).map_err(|error| Problem::Wrong(error.to_string()))?,
    })
}

fn json(value: &Cel) -> Option<Value> {
    Some(match value {
        Cel::Null => Value::Null,
        Cel::Bool(is) => (*is).into(),
        Cel::Int(whole) => (*whole).into(),
        Cel::UInt(whole) => (*whole).into(),
        Cel::Float(float) => (*float).into(),
        Cel::String(text) => text.as_str().into(),
        Cel::Timestamp(time) => time.to_rfc3339().into(),
        Cel::List(items) => items.iter().map(json).collect::<Option<_>>()?,
        Cel::Map(map) => {
            let field = |(key, value): (&Key, &Cel)| Some((key.to_string(), json(value)?));
            let fields: Option<serde_json::Map<_, _>> = map.map.iter().map(field).collect();
            fields?.into()
        }
        _ => return None,
    })
}
