//! Functions that compute; some of them with quantities and durations too ([`Amount`]).

use serde_json::Value;

use super::{Call, Function, amounts::Amount};
use crate::scenario::jmespath::{Problem, number};

pub(super) const FUNCTIONS: &[Function] = &[
    ("abs", 1, 1, |call| Ok(number(call.number(0)?.abs()))),
    ("add", 2, 2, |call| computed(call, Amount::add)),
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
    ("divide", 2, 2, |call| parted(call, Amount::divide)),
    ("floor", 1, 1, |call| Ok(number(call.number(0)?.floor()))),
    ("modulo", 2, 2, |call| parted(call, Amount::modulo)),
    ("multiply", 2, 2, |call| computed(call, Amount::multiply)),
    ("round", 2, 2, |call| {
        let places = call.whole(1)?.unwrap_or_default();
        let places =
            i32::try_from(places).map_err(|_| call.problem("so many places there are not"))?;
        let factor = 10_f64.powi(places);
        Ok(number((call.number(0)? * factor).round() / factor))
    }),
    ("subtract", 2, 2, |call| computed(call, Amount::subtract)),
    ("sum", 1, 1, |call| {
        let mut sum = None;
        for item in call.list(0)? {
            let amount = Amount::of(item).ok_or_else(|| call.problem(AMOUNTS))?;
            sum = match sum {
                None => Some(amount),
                Some(sum) => Some(Amount::add(sum, amount).ok_or_else(|| call.problem(UNLIKE))?),
            };
        }
        Ok(sum.map_or_else(|| number(0.0), Amount::value))
    }),
];

fn all(call: &Call<'_>) -> Result<Vec<f64>, Problem> {
    let numbers = call.list(0)?.iter().map(Value::as_f64);
    numbers
        .collect::<Option<_>>()
        .ok_or_else(|| call.problem("the list must be of numbers"))
}

const AMOUNTS: &str = "the list must be of numbers, quantities (1.5Gi) or durations (1h30m)";
const UNLIKE: &str = "numbers, quantities and durations do not go together in this way";

fn computed(
    call: &Call<'_>,
    compute: impl FnOnce(Amount, Amount) -> Option<Amount>,
) -> Result<Value, Problem> {
    let outcome = compute(call.amount(0)?, call.amount(1)?);
    let outcome = outcome.ok_or_else(|| call.problem(UNLIKE))?;
    Ok(outcome.value())
}

fn parted(
    call: &Call<'_>,
    compute: impl FnOnce(Amount, Amount) -> Option<Amount>,
) -> Result<Value, Problem> {
    if call.amount(1)?.is_nothing() {
        return Err(call.problem("there is no dividing by 0"));
    }
    computed(call, compute)
}
