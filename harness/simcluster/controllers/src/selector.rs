//! Whether labels match a selector. Pure; reading selectors from text is the API server's.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
pub(crate) use simcluster_placement::selection::{Labels, has_all, satisfies};

/// Whether the labels match; an empty selector matches everything, as does one whose operator is unknown to nobody.
pub(crate) fn matches(selector: &LabelSelector, labels: Option<&Labels>) -> bool {
    let value = |key: &str| labels.and_then(|labels| labels.get(key));
    let exact = selector
        .match_labels
        .iter()
        .flatten()
        .all(|(key, wanted)| value(key) == Some(wanted));
    exact
        && selector
            .match_expressions
            .iter()
            .flatten()
            .all(|requirement| {
                satisfies(
                    value(&requirement.key).map(String::as_str),
                    &requirement.operator,
                    requirement.values.as_deref().unwrap_or_default(),
                )
            })
}

/// Whether a selector says nothing, and so would match everything.
pub(crate) fn is_empty(selector: &LabelSelector) -> bool {
    selector
        .match_labels
        .as_ref()
        .is_none_or(BTreeMap::is_empty)
        && selector
            .match_expressions
            .as_ref()
            .is_none_or(Vec::is_empty)
}

/// A selector as events of Kubernetes quote one.
pub(crate) fn as_go_prints(selector: Option<&LabelSelector>) -> String {
    let Some(selector) = selector else {
        return "nil".to_owned();
    };
    let mut labels = String::new();
    for (key, value) in selector.match_labels.iter().flatten() {
        labels.extend([key, ": ", value, ","]);
    }
    let mut requirements = String::new();
    for wanted in selector.match_expressions.iter().flatten() {
        let values = wanted.values.as_deref().unwrap_or_default().join(" ");
        requirements.extend(["LabelSelectorRequirement{Key:", &wanted.key]);
        requirements.extend([",Operator:", &wanted.operator, ",Values:[", &values, "],},"]);
    }
    format!(
        "&LabelSelector{{MatchLabels:map[string]string{{{labels}}},\
         MatchExpressions:[]LabelSelectorRequirement{{{requirements}}},}}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_is_quoted_as_events_have_it() {
        let selector: LabelSelector = serde_json::from_value(serde_json::json!({
            "matchLabels": {"app": "web"},
            "matchExpressions": [{"key": "a", "operator": "In", "values": ["x", "y"]}],
        }))
        .unwrap();
        assert_eq!(
            as_go_prints(Some(&selector)),
            "&LabelSelector{MatchLabels:map[string]string{app: web,},MatchExpressions:\
             []LabelSelectorRequirement{LabelSelectorRequirement{Key:a,Operator:In,Values:[x y],},},}"
        );
    }
}
