//! chainsaw's own functions: those that ask the cluster, and the one that reads metrics.
//!
//! They ask by [`Problem::Asks`]; the cluster is that of the scenario, whatever `$client` is given.

use serde_json::{Map, Value, json};

use super::{Call, Function};
use crate::scenario::jmespath::{Problem, Question, Which};

pub(super) const FUNCTIONS: &[Function] = &[
    ("x_k8s_exists", 5, 5, |call| {
        asked(call, Question::Exists(which(call)?))
    }),
    ("x_k8s_get", 5, 5, |call| {
        asked(call, Question::Get(which(call)?))
    }),
    ("x_k8s_list", 3, 4, |call| {
        asked(call, Question::List(which(call)?))
    }),
    ("x_k8s_resource_exists", 3, 3, |call| {
        asked(call, Question::KindExists(which(call)?))
    }),
    ("x_k8s_server_version", 1, 1, |call| {
        asked(call, Question::ServerVersion)
    }),
    ("x_metrics_decode", 1, 1, |call| {
        let lines = call.text(0)?.lines().map(str::trim);
        let samples = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        samples
            .map(|line| sample(line).ok_or_else(|| call.problem(&format!("{line:?} is no metric"))))
            .collect()
    }),
];

fn which(call: &Call<'_>) -> Result<Which, Problem> {
    let optional = |index: usize| {
        if index < call.count() {
            call.text(index).map(str::to_owned)
        } else {
            Ok(String::new())
        }
    };
    Ok(Which {
        api_version: call.text(1)?.to_owned(),
        kind: call.text(2)?.to_owned(),
        namespace: optional(3)?,
        name: optional(4)?,
    })
}

fn asked(call: &Call<'_>, question: Question) -> Result<Value, Problem> {
    match call.evaluation.surroundings.answer(&question) {
        Some(Ok(value)) => Ok(value.clone()),
        Some(Err(message)) => Err(call.problem(message)),
        None => Err(Problem::Asks(question)),
    }
}

/// `name{label="value"} 12 1700000000000`, as Prometheus writes it.
fn sample(line: &str) -> Option<Value> {
    let name_end = line.find(['{', ' ', '\t'])?;
    let (name, rest) = line.split_at(name_end);
    let mut metric = Map::from_iter([("__name__".to_owned(), Value::from(name))]);
    let rest = match rest.strip_prefix('{') {
        Some(inside) => labels(inside, &mut metric)?,
        None => rest,
    };
    let mut words = rest.split_whitespace();
    let value: f64 = words.next()?.parse().ok()?;
    let mut sample = json!({
        "metric": metric,
        // JSON has no infinity.
        "value": if value.is_finite() { super::super::number(value) } else { value.to_string().into() },
    });
    if let Some(time) = words.next() {
        sample["timestamp"] = time.parse::<i64>().ok()?.into();
    }
    words.next().is_none().then_some(sample)
}

/// Reads labels up to the closing brace; gives what follows it.
fn labels<'a>(text: &'a str, metric: &mut Map<String, Value>) -> Option<&'a str> {
    let mut rest = text.trim_start();
    loop {
        if let Some(after) = rest.strip_prefix('}') {
            return Some(after);
        }
        let (name, after) = rest.split_once("=\"")?;
        let mut value = String::new();
        let mut characters = after.char_indices();
        let end = loop {
            match characters.next()? {
                (at, '"') => break at,
                (_, '\\') => value.push(match characters.next()?.1 {
                    'n' => '\n',
                    other => other,
                }),
                (_, other) => value.push(other),
            }
        };
        metric.insert(name.trim().to_owned(), value.into());
        rest = after[end + 1..].trim_start();
        rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
    }
}
