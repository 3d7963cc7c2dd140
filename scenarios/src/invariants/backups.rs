//! Once there was a verified generation, there is one: the claim of the backup volume never loses its mark
//! and never goes while the operator works. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::ResourceExt as _;

const VERIFIED: &str = "otus.homework/last-verified-generation";

/// The marks that have been seen, by the claim's UID.
#[derive(Clone, Debug, Default)]
pub struct Known(BTreeMap<String, String>);

impl Known {
    /// Takes a claim in as it is now; tells what it has lost.
    pub fn lost(&mut self, claim: &PersistentVolumeClaim) -> Option<String> {
        let uid = claim.uid()?;
        let mark = claim.annotations().get(VERIFIED).cloned();
        match (self.0.get(&uid), mark) {
            (Some(before), None) => Some(format!(
                "I2: the claim {} had the verified generation {before} and does not know of it any more",
                claim.name_any()
            )),
            (_, Some(mark)) => {
                self.0.insert(uid, mark);
                None
            }
            (None, None) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn claim(annotations: &serde_json::Value) -> PersistentVolumeClaim {
        let value = json!({"metadata": {"name": "c", "uid": "u", "annotations": annotations}});
        serde_json::from_value(value).expect("a claim")
    }

    #[test]
    fn a_mark_that_vanishes_is_noticed() {
        let mut known = Known::default();
        assert_eq!(known.lost(&claim(&json!({}))), None);
        assert_eq!(known.lost(&claim(&json!({VERIFIED: "gen-1"}))), None);
        assert_eq!(known.lost(&claim(&json!({VERIFIED: "gen-2"}))), None);
        assert!(
            known
                .lost(&claim(&json!({})))
                .is_some_and(|text| text.contains("gen-2"))
        );
    }
}
