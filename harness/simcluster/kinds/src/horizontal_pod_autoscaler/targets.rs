//! What a HorizontalPodAutoscaler measures against what it wants, on one line of a table. Nothing
//! is measured here.

use serde_json::Value;

use crate::read::Read;

/// As many metrics as are written out.
const SHOWN: usize = 2;

/// The line.
pub(super) fn text(autoscaler: &Value) -> String {
    let cpu = autoscaler.integer("spec.targetCPUUtilizationPercentage");
    let now = autoscaler.integer("status.currentCPUUtilizationPercentage");
    let mut texts: Vec<String> = cpu
        .iter()
        .map(|percent| format!("cpu: {}/{percent}%", in_percent(now)))
        .collect();
    let current = autoscaler.list("status.currentMetrics");
    for (index, metric) in autoscaler.list("spec.metrics").iter().enumerate() {
        texts.push(of_metric(metric, current.get(index)));
    }
    if texts.is_empty() {
        return "<none>".to_owned();
    }
    let more = texts.len().saturating_sub(SHOWN);
    texts.truncate(SHOWN);
    let shown = texts.join(", ");
    if more > 0 {
        format!("{shown} + {more} more...")
    } else {
        shown
    }
}

fn in_percent(number: Option<i64>) -> String {
    number.map_or_else(|| "<unknown>".to_owned(), |number| format!("{number}%"))
}

/// One metric with its source, and what was measured of it.
fn of_metric(metric: &Value, current: Option<&Value>) -> String {
    let (field, named) = match metric.text("type") {
        "External" => ("external", false),
        "Pods" => ("pods", false),
        "Object" => ("object", false),
        "Resource" => ("resource", true),
        "ContainerResource" => ("containerResource", true),
        _ => return "<unknown type>".to_owned(),
    };
    let source = &metric[field];
    let measured = current.and_then(|current| current.at(&format!("{field}.current")));
    let amount = |name: &str| {
        let given = measured.map(|measured| measured.text(name));
        match given {
            None => "<unknown>",
            Some("") => "0",
            Some(given) => given,
        }
    };
    let average = source.at("target.averageValue").and_then(Value::as_str);
    match (named, average) {
        (true, Some(wanted)) => {
            format!(
                "{}: {}/{wanted}",
                source.text("name"),
                amount("averageValue")
            )
        }
        (true, None) => {
            let now = measured.and_then(|measured| measured.integer("averageUtilization"));
            let wanted = source.integer("target.averageUtilization");
            let wanted = wanted.map_or_else(|| "<auto>".to_owned(), |one| format!("{one}%"));
            format!("{}: {}/{wanted}", source.text("name"), in_percent(now))
        }
        (false, Some(wanted)) => {
            let mark = if field == "pods" { "" } else { " (avg)" };
            format!("{}/{wanted}{mark}", amount("averageValue"))
        }
        (false, None) => format!("{}/{}", amount("value"), source.text("target.value")),
    }
}
