//! Functions that compute. Numbers only: kyverno's also take quantities and durations.

use serde_json::Value;

use super::{Call, Function};
use crate::scenario::jmespath::{Problem, number};

pub(super) const FUNCTIONS: &[Function] = &[
    ("abs", 1, 1, |call| Ok(number(call.number(0)?.abs()))),
    ("add", 2, 2, |call| {
        Ok(number(call.number(0)? + call.number(1)?))
    }),
    ("avg", 1, 1, |call| {
        let numbers = all(call)?;
        #[expect(clippy::cast_precision_loss, reason = "no list is that long")]
        let count = numbers.len() as f64;
        Ok(if numbers.is_empty() {
            Value::Null
        } else {
            number(numbers.iter().sum::<f64>() / count)
        })
    }),
    ("ceil", 1, 1, |call| Ok(number(call.number(0)?.ceil()))),
    ("divide", 2, 2, |call| {
        let by = divisor(call)?;
        Ok(number(call.number(0)? / by))
    }),
    ("floor", 1, 1, |call| Ok(number(call.number(0)?.floor()))),
    ("modulo", 2, 2, |call| {
        let by = divisor(call)?;
        Ok(number(call.number(0)? % by))
    }),
    ("multiply", 2, 2, |call| {
        Ok(number(call.number(0)? * call.number(1)?))
    }),
    ("round", 2, 2, |call| {
        let places = call.whole(1)?.unwrap_or_default();
        let places =
            i32::try_from(places).map_err(|_| call.problem("so many places there are not"))?;
        let factor = 10_f64.powi(places);
        Ok(number((call.number(0)? * factor).round() / factor))
    }),
    ("subtract", 2, 2, |call| {
        Ok(number(call.number(0)? - call.number(1)?))
    }),
    ("sum", 1, 1, |call| Ok(number(all(call)?.iter().sum()))),
];

fn all(call: &Call<'_>) -> Result<Vec<f64>, Problem> {
    let numbers = call.list(0)?.iter().map(Value::as_f64);
    numbers
        .collect::<Option<_>>()
        .ok_or_else(|| call.problem("the list must be of numbers"))
}

fn divisor(call: &Call<'_>) -> Result<f64, Problem> {
    match call.number(1)? {
        0.0 => Err(call.problem("there is no dividing by 0")),
        by => Ok(by),
    }
}
