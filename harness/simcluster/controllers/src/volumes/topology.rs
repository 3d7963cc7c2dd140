//! On which nodes something may be: node selector terms against a node's labels and name. Pure.

use k8s_openapi::api::core::v1::{Node, NodeSelector, NodeSelectorTerm, PersistentVolume};

use crate::selector::satisfies;

/// Whether one of the terms holds; a term that says nothing holds for no node.
pub(crate) fn matches_any(selector: &NodeSelector, node: &Node) -> bool {
    selector
        .node_selector_terms
        .iter()
        .any(|term| matches_term(term, node))
}

/// Whether all requirements of a term hold.
pub(crate) fn matches_term(term: &NodeSelectorTerm, node: &Node) -> bool {
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

/// Whether a volume can be used on a node.
pub(crate) fn is_reachable(volume: &PersistentVolume, node: &Node) -> bool {
    let required = volume
        .spec
        .as_ref()
        .and_then(|spec| spec.node_affinity.as_ref()?.required.as_ref());
    required.is_none_or(|required| matches_any(required, node))
}
