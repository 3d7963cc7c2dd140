//! Labels and the names of nodes against what selects them.
//!
//! Reading selectors from text is the API server's.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, NodeSelector, NodeSelectorTerm, Pod, PodSpec};

/// Labels of an object.
pub type Labels = BTreeMap<String, String>;

/// Whether a value, or its absence, satisfies an operator of a label or node selector.
pub fn satisfies(value: Option<&str>, operator: &str, values: &[String]) -> bool {
    match operator {
        "In" => value.is_some_and(|value| values.iter().any(|allowed| allowed == value)),
        "NotIn" => value.is_none_or(|value| values.iter().all(|refused| refused != value)),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" | "Lt" => {
            let number = |text: &str| text.parse::<i64>().ok();
            match (
                value.and_then(number),
                values.first().and_then(|text| number(text)),
            ) {
                (Some(have), Some(bound)) if operator == "Gt" => have > bound,
                (Some(have), Some(bound)) => have < bound,
                _ => false,
            }
        }
        _ => false,
    }
}

/// Whether all of `wanted` are among the labels.
pub fn has_all(labels: Option<&Labels>, wanted: &Labels) -> bool {
    wanted
        .iter()
        .all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value))
}

/// Whether a node's labels and name are what a pod asks for.
pub fn is_selected(pod: &Pod, node: &Node) -> bool {
    pod.spec.as_ref().is_none_or(|spec| selects(spec, node))
}

/// As [`is_selected`], by the pod's spec.
pub fn selects(spec: &PodSpec, node: &Node) -> bool {
    let labels = node.metadata.labels.as_ref();
    let by_labels = spec
        .node_selector
        .as_ref()
        .is_none_or(|wanted| has_all(labels, wanted));
    let required = spec.affinity.as_ref().and_then(|affinity| {
        affinity
            .node_affinity
            .as_ref()?
            .required_during_scheduling_ignored_during_execution
            .as_ref()
    });
    by_labels && required.is_none_or(|required| matches_any(required, node))
}

/// Whether one of the terms holds; a term that says nothing holds for no node.
pub fn matches_any(selector: &NodeSelector, node: &Node) -> bool {
    selector
        .node_selector_terms
        .iter()
        .any(|term| matches_term(term, node))
}

/// Whether all requirements of a term hold.
pub fn matches_term(term: &NodeSelectorTerm, node: &Node) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    if expressions.is_empty() && fields.is_empty() {
        return false;
    }
    let label = |key: &str| {
        node.metadata
            .labels
            .as_ref()
            .and_then(|labels| labels.get(key))
            .map(String::as_str)
    };
    let field = |key: &str| {
        (key == "metadata.name")
            .then_some(node.metadata.name.as_deref())
            .flatten()
    };
    expressions.iter().all(|requirement| {
        satisfies(
            label(&requirement.key),
            &requirement.operator,
            requirement.values.as_deref().unwrap_or_default(),
        )
    }) && fields.iter().all(|requirement| {
        satisfies(
            field(&requirement.key),
            &requirement.operator,
            requirement.values.as_deref().unwrap_or_default(),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_treat_an_absent_label_as_kubernetes_does() {
        let values = ["a".to_owned(), "b".to_owned()];
        assert!(satisfies(Some("a"), "In", &values));
        assert!(!satisfies(None, "In", &values));
        assert!(satisfies(None, "NotIn", &values));
        assert!(!satisfies(Some("b"), "NotIn", &values));
        assert!(!satisfies(None, "Exists", &[]));
        assert!(satisfies(None, "DoesNotExist", &[]));
        assert!(satisfies(Some("5"), "Gt", &["4".to_owned()]));
        assert!(!satisfies(Some("x"), "Lt", &["4".to_owned()]));
    }
}
