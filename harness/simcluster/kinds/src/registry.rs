//! Which rules belong to which kind.

use simcluster_machinery::kind::GroupVersionKind;

use crate::rules::KindRules;

struct Plain;

impl KindRules for Plain {}

/// The rules of a kind; those of a plain kind for all that have nothing special, custom resources
/// among them.
pub fn rules(kind: &GroupVersionKind) -> &'static dyn KindRules {
    match (kind.group.as_str(), kind.kind.as_str()) {
        _ => &Plain,
    }
}
