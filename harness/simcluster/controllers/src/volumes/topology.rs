//! On which nodes a volume can be used. Pure.

use k8s_openapi::api::core::v1::{Node, PersistentVolume};
use simcluster_placement::selection::matches_any;

/// Whether a volume can be used on a node.
pub(crate) fn is_reachable(volume: &PersistentVolume, node: &Node) -> bool {
    let required = volume
        .spec
        .as_ref()
        .and_then(|spec| spec.node_affinity.as_ref()?.required.as_ref());
    required.is_none_or(|required| matches_any(required, node))
}
