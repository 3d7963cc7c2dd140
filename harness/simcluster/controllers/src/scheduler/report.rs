//! Why a pod could not be scheduled, in Kubernetes' words. Pure.

use std::collections::BTreeMap;

use super::{filter::Refusal, preemption::Outlook};

/// Why a pod has no node.
#[derive(Debug)]
pub(super) enum Failure {
    /// Something about the pod itself keeps it from any node.
    Pod { total: usize, why: String },
    /// Each node has its reasons.
    NoNode {
        total: usize,
        refusals: BTreeMap<String, Refusal>,
        helps: Outlook,
    },
}

impl Failure {
    pub(super) fn message(&self) -> String {
        match self {
            Self::Pod { total: 0, .. } | Self::NoNode { total: 0, .. } => {
                "no nodes available to schedule pods".to_owned()
            }
            // The last two words come from a step of the real scheduler that has nothing to look at then.
            Self::Pod { total, why } => format!("0/{total} nodes are available: {why}. not found"),
            Self::NoNode {
                total,
                refusals,
                helps,
            } => {
                let reasons = refusals.values().flat_map(|refusal| refusal.reasons.iter());
                let reasons = counted(reasons.map(String::as_str));
                let refused = format!("0/{total} nodes are available: {reasons}.");
                match helps.words(*total) {
                    // Whoever makes room has nothing more to say.
                    None => refused,
                    Some(words) => {
                        format!("{refused} no new claims to deallocate, preemption: {words}")
                    }
                }
            }
        }
    }
}

/// `1 this, 2 that`, in the order of the words.
pub(super) fn counted<'a>(reasons: impl Iterator<Item = &'a str>) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for reason in reasons {
        *counts.entry(reason).or_default() += 1;
    }
    let mut parts: Vec<_> = counts
        .into_iter()
        .map(|(reason, count)| format!("{count} {reason}"))
        .collect();
    parts.sort();
    parts.join(", ")
}
