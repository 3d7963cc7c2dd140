//! Bounds of numbers.

use serde_json::{Number, Value};

use super::{Outcome, at};
use crate::field::{Error, Path};
use crate::go;
use crate::schema::{Schema, Type};

pub(super) fn check(number: &Number, schema: &Schema, path: &str) -> Outcome {
    let mut outcome = Outcome::default();
    // A fraction where a whole number should be is told a second time, and of no field.
    if schema.kind == Some(Type::Integer) && !fits(number, schema.format.as_deref()) {
        let format = match schema.format.as_deref() {
            Some(format @ ("int32" | "int64")) => format!("with format {format}"),
            _ => "(default format)".to_owned(),
        };
        let why = format!("Checked value must be of type integer {format} in {path}");
        outcome.errors.push(Error::invalid(&Path::root(), "", why));
    }
    let mut refuse = |why: String| {
        let why = format!("{path} in body should be {why}");
        outcome.errors.push(Error::invalid(
            &at(path),
            Value::Number(number.clone()),
            why,
        ));
    };
    if let (Some(bounds), Some(value)) = (&schema.bounds, number.as_f64()) {
        if let Some(factor) = bounds.multiple_of
            && !is_multiple(number, value, factor)
        {
            refuse(format!("a multiple of {}", go::format_float(factor)));
        }
        if let Some(limit) = bounds.minimum {
            let shown = go::format_float(limit);
            if bounds.exclusive_minimum && value <= limit {
                refuse(format!("greater than {shown}"));
            } else if value < limit {
                refuse(format!("greater than or equal to {shown}"));
            }
        }
        if let Some(limit) = bounds.maximum {
            let shown = go::format_float(limit);
            if bounds.exclusive_maximum && value >= limit {
                refuse(format!("less than {shown}"));
            } else if value > limit {
                refuse(format!("less than or equal to {shown}"));
            }
        }
    }
    outcome.matches += 1;
    outcome
}

fn fits(number: &Number, format: Option<&str>) -> bool {
    match (number.as_i64(), format) {
        (Some(value), Some("int32")) => i32::try_from(value).is_ok(),
        (Some(_), _) => true,
        (None, _) => number
            .as_f64()
            .is_some_and(|value| value.fract() == 0.0 && value.abs() < 9e18),
    }
}

fn is_multiple(number: &Number, value: f64, factor: f64) -> bool {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "integers are divided as integers"
    )]
    if let Some(value) = number.as_i64()
        && factor.fract() == 0.0
    {
        return factor as i64 != 0 && value % (factor as i64) == 0;
    }
    let times = if factor < 1.0 {
        1.0 / factor * value
    } else {
        value / factor
    };
    (times - times.round()).abs() < 1e-9
}
