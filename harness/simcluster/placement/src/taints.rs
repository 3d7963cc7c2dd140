//! Taints of nodes, and what pods bear of them.
//!
//! How long a pod bears a taint is not asked here.

use k8s_openapi::api::core::v1::{Taint, Toleration};

/// Whether a toleration covers a taint.
pub fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let same = |wanted: Option<&str>, have: &str| {
        wanted.is_none_or(|wanted| wanted.is_empty() || wanted == have)
    };
    same(toleration.effect.as_deref(), &taint.effect)
        && same(toleration.key.as_deref(), &taint.key)
        && match toleration.operator.as_deref() {
            Some("Exists") => true,
            _ => {
                toleration.value.as_deref().unwrap_or_default()
                    == taint.value.as_deref().unwrap_or_default()
            }
        }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn what_a_toleration_does_not_say_it_says_of_all() {
        let taint: Taint =
            serde_json::from_value(json!({"key": "k", "value": "v", "effect": "NoExecute"}))
                .unwrap();
        let bears = |toleration: Value| {
            let toleration: Toleration = serde_json::from_value(toleration).unwrap();
            tolerates(&toleration, &taint)
        };
        assert!(bears(json!({"operator": "Exists"})));
        assert!(bears(json!({"key": "k", "operator": "Exists"})));
        assert!(bears(
            json!({"key": "k", "value": "v", "effect": "NoExecute"})
        ));
        assert!(!bears(json!({"key": "k", "value": "w"})));
        assert!(!bears(
            json!({"key": "k", "operator": "Exists", "effect": "NoSchedule"})
        ));
        assert!(!bears(json!({"key": "other", "operator": "Exists"})));
    }
}
