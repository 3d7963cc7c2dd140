//! Running a compiled expression against `self` and `oldSelf`.

use std::sync::{Arc, LazyLock};

use kube_cel::KubeCelExt;
use kube_cel::cel::objects::{Key, OptionalValue};
use kube_cel::cel::{Context, ExecutionError, IdedExpr, Value};

use super::authorizer;
use super::cost;
use super::source::{OPTIONAL_ENTRY, OPTIONAL_FIELD};

/// A message that is longer than this is not used.
pub(super) const MAX_MESSAGE: usize = 5 * 1024;

/// The functions of the language, made once.
pub(super) static LIBRARY: LazyLock<Context<'static>> = LazyLock::new(|| {
    let mut context = Context::default().with_all();
    context.add_function(OPTIONAL_FIELD, optional_entry);
    context.add_function(OPTIONAL_ENTRY, optional_entry);
    context.add_function(cost::TURN, cost::turn);
    authorizer::register(&mut context);
    context
});

/// What lies under a key or index, if anything does; of something that may be absent, too.
#[expect(
    clippy::unnecessary_wraps,
    reason = "functions of the library may fail"
)]
fn optional_entry(value: Value, key: Value) -> Result<Value, ExecutionError> {
    let value = match <&OptionalValue>::try_from(&value) {
        Ok(optional) => optional.value().cloned(),
        Err(_) => Some(value),
    };
    let key = match (value.is_some(), key) {
        (true, Value::String(key)) => Some(Key::String(key)),
        (true, Value::Int(key)) => Some(Key::Int(key)),
        (true, Value::Bool(key)) => Some(Key::Bool(key)),
        _ => None,
    };
    let found = match (value, key) {
        (Some(Value::Map(map)), Some(key)) => map.map.get(&key).cloned(),
        (Some(Value::List(items)), Some(Key::Int(index))) => usize::try_from(index)
            .ok()
            .and_then(|index| items.get(index).cloned()),
        _ => None,
    };
    let found = found.map_or_else(OptionalValue::none, OptionalValue::of);
    Ok(Value::Opaque(Arc::new(found)))
}

/// The variables of one evaluation.
pub(super) struct Scope {
    context: Context<'static>,
}

impl Scope {
    pub(super) fn new(this: &Value, old: Option<&Value>, optional: bool) -> Self {
        let mut context = LIBRARY.new_inner_scope();
        context.add_variable_from_value("self", this.clone());
        if optional {
            let old = old.map_or_else(OptionalValue::none, |old| OptionalValue::of(old.clone()));
            context.add_variable_from_value("oldSelf", Value::Opaque(Arc::new(old)));
        } else if let Some(old) = old {
            context.add_variable_from_value("oldSelf", old.clone());
        }
        Self { context }
    }

    /// Whether a condition holds, and what it has cost to find out.
    pub(super) fn condition(&self, expression: &IdedExpr) -> (Result<bool, String>, i64) {
        let (value, cost) = cost::of(|| Value::resolve(expression, &self.context));
        let held = match value {
            Ok(Value::Bool(held)) => Ok(held),
            Ok(_) => Ok(false),
            Err(error) => Err(describe(&error)),
        };
        (held, cost)
    }

    /// The text that an expression makes, if it makes a sensible one.
    pub(super) fn message(&self, expression: &IdedExpr) -> Option<String> {
        let (value, _) = cost::of(|| Value::resolve(expression, &self.context));
        let Ok(Value::String(text)) = value else {
            return None;
        };
        sensible(&text)
    }
}

/// A message without space around it, unless it is empty, too long or of several lines.
pub(super) fn sensible(text: &str) -> Option<String> {
    let text = text.trim();
    let sensible = !text.is_empty() && text.len() <= MAX_MESSAGE && !text.contains('\n');
    sensible.then(|| text.to_owned())
}

/// An error in the words of the real interpreter.
pub(super) fn describe(error: &ExecutionError) -> String {
    match error {
        ExecutionError::NoSuchKey(key) => format!("no such key: {key}"),
        ExecutionError::UndeclaredReference(name) => format!("no such attribute(s): {name}"),
        ExecutionError::DivisionByZero(_) => "division by zero".to_owned(),
        ExecutionError::RemainderByZero(_) => "modulus by zero".to_owned(),
        ExecutionError::Overflow(..) => "integer overflow".to_owned(),
        ExecutionError::IndexOutOfBounds(Value::Int(index)) => {
            format!("index out of bounds: {index}")
        }
        ExecutionError::FunctionError { message, .. } => message.clone(),
        _ => "no such overload".to_owned(),
    }
}
