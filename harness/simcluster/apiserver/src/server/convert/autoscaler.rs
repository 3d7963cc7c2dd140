//! HorizontalPodAutoscalers in version 1, which has fields for the processor only: everything else is in
//! annotations there, as the real server writes and reads them.

use serde_json::{Map, Value, json};

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";
const CURRENT: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
/// What users may not keep in annotations of these names.
const OWN: [&str; 6] = [
    METRICS,
    BEHAVIOR,
    CURRENT,
    CONDITIONS,
    "autoscaling.alpha.kubernetes.io/scale-down-tolerance",
    "autoscaling.alpha.kubernetes.io/scale-up-tolerance",
];
/// Of a pod's processor, where nothing else is said.
const PERCENT: i64 = 80;
/// Types of metrics with their fields, in the order in which they are written.
const SOURCES: [&str; 5] = [
    "object",
    "pods",
    "resource",
    "containerResource",
    "external",
];

/// Version 1 as version 2.
pub(super) fn to_v2(value: &mut Value) {
    let kept = take_annotations(value);
    let of = |name: &str| -> Option<Value> {
        kept.iter()
            .find(|(own, _)| own == name)
            .and_then(|(_, text)| serde_json::from_str(text).ok())
    };
    let list = |name: &str| -> Option<Vec<Value>> { of(name)?.as_array().cloned() };
    let Some(spec) = value.get_mut("spec").and_then(Value::as_object_mut) else {
        return;
    };
    let mut metrics: Vec<Value> = list(METRICS).unwrap_or_default();
    for metric in &mut metrics {
        each_source(metric, |source, own| source_to_v2(source, own, "target"));
    }
    let percent = spec.remove("targetCPUUtilizationPercentage");
    if let Some(percent) = percent.filter(|percent| !percent.is_null()) {
        metrics.push(of_processor(&percent));
    }
    if metrics.is_empty() {
        metrics.push(of_processor(&json!(PERCENT)));
    }
    spec.insert("metrics".to_owned(), metrics.into());
    if let Some(behavior) = of(BEHAVIOR).filter(Value::is_object) {
        spec.insert("behavior".to_owned(), recased(&behavior, decapitalized));
    }
    let Some(status) = value.get_mut("status").and_then(Value::as_object_mut) else {
        return;
    };
    let percent = status.remove("currentCPUUtilizationPercentage");
    let percent = percent.filter(|percent| !percent.is_null());
    let mut current = percent.map_or(Value::Null, |percent| {
        json!([{"type": "Resource", "resource": {
            "name": "cpu", "current": {"averageUtilization": percent},
        }}])
    });
    if let Some(mut known) = list(CURRENT) {
        for metric in &mut known {
            each_source(metric, |source, own| source_to_v2(source, own, "current"));
        }
        current = known.into();
    }
    status.insert("currentMetrics".to_owned(), current);
    if status.get("currentReplicas") == Some(&json!(0)) {
        status.remove("currentReplicas");
    }
    if let Some(conditions) = list(CONDITIONS) {
        status.insert("conditions".to_owned(), conditions.into());
    }
}

/// Version 2 as version 1.
pub(super) fn to_v1(value: &mut Value) {
    take_annotations(value);
    let mut annotations: Vec<(&str, String)> = Vec::new();
    if let Some(spec) = value.get_mut("spec").and_then(Value::as_object_mut) {
        let metrics = spec.remove("metrics").unwrap_or_default();
        let mut others: Vec<String> = Vec::new();
        for metric in metrics.as_array().into_iter().flatten() {
            let percent = &metric["resource"]["target"]["averageUtilization"];
            let processor = metric["type"] == "Resource" && metric["resource"]["name"] == "cpu";
            if processor && percent.is_number() {
                spec.entry("targetCPUUtilizationPercentage")
                    .or_insert_with(|| percent.clone());
            } else {
                others.push(metric_text(metric, "target"));
            }
        }
        if !others.is_empty() {
            annotations.push((METRICS, array(others)));
        }
        if let Some(behavior) = spec.remove("behavior").filter(Value::is_object) {
            let rules = ["scaleUp", "scaleDown"].map(|name| rules_text(&behavior[name]));
            let [up, down] = rules;
            annotations.push((
                BEHAVIOR,
                format!("{{\"ScaleUp\":{up},\"ScaleDown\":{down}}}"),
            ));
        }
    }
    if let Some(status) = value.get_mut("status").and_then(Value::as_object_mut) {
        let current = status.remove("currentMetrics").unwrap_or_default();
        let current = current.as_array().cloned().unwrap_or_default();
        for metric in &current {
            let percent = &metric["resource"]["current"]["averageUtilization"];
            if metric["resource"]["name"] == "cpu" && percent.is_number() {
                status.insert(
                    "currentCPUUtilizationPercentage".to_owned(),
                    percent.clone(),
                );
            }
        }
        if !current.is_empty() {
            let texts = current.iter().map(|metric| metric_text(metric, "current"));
            annotations.push((CURRENT, array(texts)));
        }
        let conditions = status.remove("conditions").unwrap_or_default();
        let conditions = conditions.as_array().cloned().unwrap_or_default();
        if !conditions.is_empty() {
            const FIELDS: [&str; 5] = ["type", "status", "lastTransitionTime", "reason", "message"];
            let texts = conditions.iter().map(|one| {
                let fields = FIELDS.map(|field| (field, given(&one[field])));
                object(&fields)
            });
            annotations.push((CONDITIONS, array(texts)));
        }
        status.entry("currentReplicas").or_insert_with(|| json!(0));
    }
    for (name, text) in annotations {
        if !value["metadata"]["annotations"].is_object() {
            value["metadata"]["annotations"] = json!({});
        }
        value["metadata"]["annotations"][name] = text.into();
    }
}

/// Takes out the annotations that are not users'; the map too, when there was nothing else in it.
fn take_annotations(value: &mut Value) -> Vec<(String, String)> {
    let metadata = value.get_mut("metadata").and_then(Value::as_object_mut);
    let Some(metadata) = metadata else {
        return Vec::new();
    };
    let Some(annotations) = metadata
        .get_mut("annotations")
        .and_then(Value::as_object_mut)
    else {
        return Vec::new();
    };
    let mut taken = Vec::new();
    for name in OWN {
        if let Some(Value::String(text)) = annotations.remove(name) {
            taken.push((name.to_owned(), text));
        }
    }
    if annotations.is_empty() {
        metadata.remove("annotations");
    }
    taken
}

fn of_processor(percent: &Value) -> Value {
    json!({"type": "Resource", "resource": {
        "name": "cpu",
        "target": {"type": "Utilization", "averageUtilization": percent},
    }})
}

fn each_source(metric: &mut Value, change: impl Fn(&Map<String, Value>, &str) -> Value) {
    for own in SOURCES {
        if let Some(source) = metric.get(own).and_then(Value::as_object) {
            metric[own] = change(source, own);
        }
    }
}

/// A source of version 1 (`what` is wanted or measured) as one of version 2.
fn source_to_v2(source: &Map<String, Value>, own: &str, what: &str) -> Value {
    let field = |name: &str| source.get(name).filter(|value| !value.is_null()).cloned();
    let of = |rest: &str| field(&format!("{what}{rest}"));
    let mut amounts = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            amounts.insert(name.to_owned(), value);
        }
    };
    let kind = match own {
        "pods" => {
            put("averageValue", of("AverageValue"));
            "AverageValue"
        }
        "object" => {
            let (value, average) = (of("Value"), field("averageValue"));
            let kind = if average.is_none() {
                "Value"
            } else {
                "AverageValue"
            };
            // Version 1 cannot leave it out.
            let meant = average.is_none() || what == "current" || value != Some(json!("0"));
            put("value", value.filter(|_| meant));
            put("averageValue", average);
            kind
        }
        "external" => {
            let value = of("Value");
            let kind = if value.is_none() {
                "AverageValue"
            } else {
                "Value"
            };
            put("value", value);
            put("averageValue", of("AverageValue"));
            kind
        }
        _ => {
            let percent = of("AverageUtilization");
            let kind = if percent.is_none() {
                "AverageValue"
            } else {
                "Utilization"
            };
            put("averageValue", of("AverageValue"));
            put("averageUtilization", percent);
            kind
        }
    };
    if what == "target" {
        put("type", Some(kind.into()));
    }
    let mut result = json!({what: amounts});
    if matches!(own, "resource" | "containerResource") {
        for name in ["name", "container"] {
            if let Some(value) = field(name) {
                result[name] = value;
            }
        }
        return result;
    }
    result["metric"] = json!({"name": field("metricName").unwrap_or_default()});
    let selector = if own == "external" {
        "metricSelector"
    } else {
        "selector"
    };
    if let Some(selector) = field(selector) {
        result["metric"]["selector"] = selector;
    }
    if own == "object" {
        result["describedObject"] = field("target").unwrap_or_default();
    }
    result
}

/// A metric of version 2 as the text of one of version 1, with its fields in Go's order.
fn metric_text(metric: &Value, what: &str) -> String {
    let mut fields = vec![("type", Some(metric["type"].to_string()))];
    for own in SOURCES {
        let source = &metric[own];
        fields.push((
            own,
            source.is_object().then(|| source_text(source, own, what)),
        ));
    }
    object(&fields)
}

fn source_text(source: &Value, own: &str, what: &str) -> String {
    let amounts = &source[what];
    let is_status = what == "current";
    let [value, average, percent] = if is_status {
        [
            "currentValue",
            "currentAverageValue",
            "currentAverageUtilization",
        ]
    } else {
        [
            "targetValue",
            "targetAverageValue",
            "targetAverageUtilization",
        ]
    };
    let amount = |name: &str| given(&amounts[name]);
    // What version 1 cannot leave out.
    let always = |name: &str| Some(amount(name).unwrap_or_else(|| "\"0\"".to_owned()));
    let metric = Some(source["metric"]["name"].to_string());
    let selector = selector_text(&source["metric"]["selector"]);
    match own {
        "object" => {
            let target = &source["describedObject"];
            let fields = ["kind", "name", "apiVersion"].map(|name| (name, given(&target[name])));
            object(&[
                ("target", Some(object(&fields))),
                ("metricName", metric),
                (value, always("value")),
                ("selector", selector),
                ("averageValue", amount("averageValue")),
            ])
        }
        "pods" => object(&[
            ("metricName", metric),
            (average, always("averageValue")),
            ("selector", selector),
        ]),
        "external" => object(&[
            ("metricName", metric),
            ("metricSelector", selector),
            (
                value,
                if is_status {
                    always("value")
                } else {
                    amount("value")
                },
            ),
            (average, amount("averageValue")),
        ]),
        _ => {
            let own_average = if is_status {
                always("averageValue")
            } else {
                amount("averageValue")
            };
            object(&[
                ("name", Some(source["name"].to_string())),
                (percent, amount("averageUtilization")),
                (average, own_average),
                ("container", given(&source["container"])),
            ])
        }
    }
}

fn selector_text(selector: &Value) -> Option<String> {
    selector.is_object().then(|| {
        let fields = ["matchLabels", "matchExpressions"];
        object(&fields.map(|name| (name, given(&selector[name]))))
    })
}

/// Rules of scaling as the server has them inside, which is how they are kept.
fn rules_text(rules: &Value) -> String {
    if !rules.is_object() {
        return "null".to_owned();
    }
    let policies = rules["policies"].as_array().map(|policies| {
        let texts = policies.iter().map(|policy| {
            object(&[
                ("Type", Some(policy["type"].to_string())),
                ("Value", Some(policy["value"].to_string())),
                ("PeriodSeconds", Some(policy["periodSeconds"].to_string())),
            ])
        });
        array(texts)
    });
    object(&[
        (
            "StabilizationWindowSeconds",
            Some(rules["stabilizationWindowSeconds"].to_string()),
        ),
        ("SelectPolicy", Some(rules["selectPolicy"].to_string())),
        (
            "Policies",
            Some(policies.unwrap_or_else(|| "null".to_owned())),
        ),
        ("Tolerance", Some(rules["tolerance"].to_string())),
    ])
}

/// The same value with other names of fields, and without those that are null.
fn recased(value: &Value, rename: fn(&str) -> String) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (rename(name), recased(value, rename)))
            .collect(),
        Value::Array(items) => items.iter().map(|item| recased(item, rename)).collect(),
        other => other.clone(),
    }
}

fn decapitalized(name: &str) -> String {
    let mut letters = name.chars();
    let first = letters.next().map(|first| first.to_ascii_lowercase());
    first.into_iter().chain(letters).collect()
}

fn given(value: &Value) -> Option<String> {
    (!value.is_null()).then(|| value.to_string())
}

fn object(fields: &[(&str, Option<String>)]) -> String {
    let fields = fields
        .iter()
        .filter_map(|(name, text)| Some(format!("\"{name}\":{}", text.as_ref()?)));
    format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
}

fn array(texts: impl IntoIterator<Item = String>) -> String {
    let texts: Vec<String> = texts.into_iter().collect();
    format!("[{}]", texts.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(mut value: Value) -> (Value, Value) {
        to_v1(&mut value);
        let first = value.clone();
        to_v2(&mut value);
        (first, value)
    }

    #[test]
    fn what_version_1_has_no_field_for_is_in_annotations_and_comes_back() {
        let second = json!({
            "metadata": {"annotations": {"mine": "kept"}},
            "spec": {
                "metrics": [
                    {"type": "External", "external": {
                        "metric": {"name": "queue", "selector": {"matchLabels": {"a": "b"}}},
                        "target": {"type": "AverageValue", "averageValue": "30"}}},
                    {"type": "Resource", "resource": {"name": "cpu",
                        "target": {"type": "Utilization", "averageUtilization": 50}}},
                ],
                "behavior": {"scaleDown": {"selectPolicy": "Max", "policies": [
                    {"type": "Percent", "value": 100, "periodSeconds": 15}]}},
            },
            "status": {"desiredReplicas": 1, "conditions": [{"type": "AbleToScale", "status": "True"}],
                "currentMetrics": [{"type": "Resource", "resource": {"name": "cpu",
                    "current": {"averageUtilization": 7, "averageValue": "7m"}}}]},
        });
        let (first, again) = round(second.clone());
        assert_eq!(first["spec"], json!({"targetCPUUtilizationPercentage": 50}));
        let text = |name: &str| first["metadata"]["annotations"][name].as_str().unwrap();
        assert_eq!(
            text(METRICS),
            r#"[{"type":"External","external":{"metricName":"queue","metricSelector":{"matchLabels":{"a":"b"}},"targetAverageValue":"30"}}]"#
        );
        assert_eq!(
            text(BEHAVIOR),
            r#"{"ScaleUp":null,"ScaleDown":{"StabilizationWindowSeconds":null,"SelectPolicy":"Max","Policies":[{"Type":"Percent","Value":100,"PeriodSeconds":15}],"Tolerance":null}}"#
        );
        assert_eq!(
            text(CURRENT),
            r#"[{"type":"Resource","resource":{"name":"cpu","currentAverageUtilization":7,"currentAverageValue":"7m"}}]"#
        );
        assert_eq!(
            text(CONDITIONS),
            r#"[{"type":"AbleToScale","status":"True"}]"#
        );
        assert_eq!(
            first["status"],
            json!({"desiredReplicas": 1, "currentReplicas": 0, "currentCPUUtilizationPercentage": 7})
        );
        assert_eq!(again, second);
    }

    #[test]
    fn version_1_without_a_target_means_the_processor() {
        let mut value = json!({"metadata": {}, "spec": {"maxReplicas": 3}});
        to_v2(&mut value);
        assert_eq!(value["spec"]["metrics"], json!([of_processor(&json!(80))]));
        assert_eq!(value["metadata"], json!({}));
    }

    #[test]
    fn a_value_of_zero_that_version_1_cannot_leave_out_is_left_out() {
        let second = json!({"metadata": {}, "spec": {"metrics": [
            {"type": "Object", "object": {
                "describedObject": {"kind": "Service", "name": "s", "apiVersion": "v1"},
                "metric": {"name": "hits"}, "target": {"type": "AverageValue", "averageValue": "2"}}},
            {"type": "Pods", "pods": {"metric": {"name": "p"},
                "target": {"type": "AverageValue", "averageValue": "1k"}}},
            {"type": "ContainerResource", "containerResource": {"name": "memory", "container": "c",
                "target": {"type": "Utilization", "averageUtilization": 60}}},
        ]}});
        let (first, again) = round(second.clone());
        let text = first["metadata"]["annotations"][METRICS].as_str().unwrap();
        assert!(
            text.contains(r#""metricName":"hits","targetValue":"0","averageValue":"2""#),
            "{text}"
        );
        assert_eq!(again, second);
    }
}
