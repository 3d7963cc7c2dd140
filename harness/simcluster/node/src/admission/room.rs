//! Which pods must go so that a critical one fits: as few as can be, and the least entitled first. Pure.
//!
//! Pods of the class `BestEffort` go before those of `Burstable`, and these before `Guaranteed` ones. Among pods of one
//! class it is the one that comes nearest to what is still needed, and of two as near the smaller.

use k8s_openapi::api::core::v1::{Pod, PodSpec};

use super::{Amounts, requests};
use crate::pod::qos;

/// From this priority on, a pod is critical: no user may give it a higher one.
const CRITICAL: i32 = 2_000_000_000;
/// In which order the classes give way.
const CLASSES: [&str; 3] = ["BestEffort", "Burstable", "Guaranteed"];

/// Whether others have to make room for a pod.
pub(super) fn is_critical(spec: &PodSpec) -> bool {
    spec.priority.is_some_and(|priority| priority >= CRITICAL)
}

/// Whether `other` has to make room for a pod of that spec, which is critical.
fn gives_way(spec: &PodSpec, other: &PodSpec) -> bool {
    !is_critical(other) || spec.priority > other.priority
}

/// A pod that could go.
#[derive(Clone, Debug)]
struct Candidate {
    /// Its place in the list of all.
    index: usize,
    asks: Amounts,
}

impl Candidate {
    fn amount(&self, resource: &str) -> i128 {
        if resource == "pods" {
            return 1;
        }
        self.asks.get(resource).copied().unwrap_or_default()
    }
}

/// The places of those that have to go for a pod, so that there is `needed` more; or what could not be had.
pub(super) fn victims(
    spec: &PodSpec,
    needed: &Amounts,
    others: &[&Pod],
) -> Result<Vec<usize>, String> {
    let mut classes = CLASSES.map(|_| Vec::new());
    for (index, other) in others.iter().enumerate() {
        let Some(other) = other.spec.as_ref().filter(|other| gives_way(spec, other)) else {
            continue;
        };
        let class = qos::class(other);
        let candidate = Candidate {
            index,
            asks: requests(other),
        };
        for (name, list) in CLASSES.iter().zip(&mut classes) {
            if *name == class {
                list.push(candidate.clone());
            }
        }
    }
    let [best_effort, burstable, guaranteed] = classes;
    let rest = less(
        needed,
        best_effort.iter().chain(&burstable).chain(&guaranteed),
    );
    if !rest.is_empty() {
        return Err(none_found(&rest));
    }
    // The most entitled ones go only for what all others together do not have.
    let rest = less(needed, best_effort.iter().chain(&burstable));
    let guaranteed = nearest(guaranteed, rest)?;
    let rest = less(needed, best_effort.iter().chain(&guaranteed));
    let burstable = nearest(burstable, rest)?;
    let rest = less(needed, burstable.iter().chain(&guaranteed));
    let best_effort = nearest(best_effort, rest)?;
    let all = best_effort.into_iter().chain(burstable).chain(guaranteed);
    Ok(all.map(|candidate| candidate.index).collect())
}

/// What is still needed when those have gone.
fn less<'a>(needed: &Amounts, gone: impl Iterator<Item = &'a Candidate>) -> Amounts {
    let gone: Vec<_> = gone.collect();
    let rest = needed.iter().map(|(name, amount)| {
        let freed: i128 = gone.iter().map(|candidate| candidate.amount(name)).sum();
        (name.clone(), amount - freed)
    });
    rest.filter(|(_, amount)| *amount > 0).collect()
}

/// Those that have to go for what is needed, one after the other.
fn nearest(mut candidates: Vec<Candidate>, mut needed: Amounts) -> Result<Vec<Candidate>, String> {
    let mut chosen = Vec::new();
    while !needed.is_empty() {
        let best = candidates
            .iter()
            .enumerate()
            .min_by(|(_, one), (_, other)| {
                distance(one, &needed)
                    .total_cmp(&distance(other, &needed))
                    .then_with(|| size(one).cmp(&size(other)))
            })
            .map(|(place, _)| place);
        let Some(place) = best else {
            return Err(none_found(&needed));
        };
        let candidate = candidates.swap_remove(place);
        needed = less(&needed, std::iter::once(&candidate));
        chosen.push(candidate);
    }
    Ok(chosen)
}

/// How far from enough it would be if that one went, each resource weighing the same.
fn distance(candidate: &Candidate, needed: &Amounts) -> f64 {
    let parts = needed.iter().map(|(name, amount)| {
        let missing = (amount - candidate.amount(name)).max(0);
        #[expect(
            clippy::cast_precision_loss,
            reason = "a comparison needs no more digits than a float has"
        )]
        let share = missing as f64 / *amount as f64;
        share * share
    });
    parts.sum()
}

fn size(candidate: &Candidate) -> (i128, i128) {
    (candidate.amount("memory"), candidate.amount("cpu"))
}

fn none_found(needed: &Amounts) -> String {
    let list: Vec<_> = needed
        .iter()
        .map(|(name, amount)| format!("(res: {name}, q: {amount}), "))
        .collect();
    let list = list.concat();
    format!("no set of running pods found to reclaim resources: [{list}]")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(cpu: &str, limited: bool, priority: Option<i64>) -> Pod {
        let mut resources = json!({});
        if cpu != "0" {
            resources = json!({"requests": {"cpu": cpu, "memory": "1Mi"}});
        }
        if limited {
            resources["limits"] = resources["requests"].clone();
        }
        let spec: Value = json!({"priority": priority,
            "containers": [{"name": "c", "resources": resources}]});
        serde_json::from_value(json!({"spec": spec})).unwrap()
    }

    fn critical() -> PodSpec {
        pod("1", false, Some(2_000_000_000)).spec.unwrap()
    }

    fn gone(needed: &[(&str, i128)], others: &[Pod]) -> Result<Vec<usize>, String> {
        let needed = needed
            .iter()
            .map(|(name, amount)| ((*name).to_owned(), *amount));
        let others: Vec<&Pod> = others.iter().collect();
        victims(&critical(), &needed.collect(), &others)
    }

    #[test]
    fn as_few_as_can_be_go_and_the_smaller_of_those_that_do() {
        let others = ["100m", "300m", "600m", "500m"].map(|cpu| pod(cpu, false, None));
        assert_eq!(gone(&[("cpu", 450)], &others), Ok(vec![3]));
        assert_eq!(gone(&[("cpu", 650)], &others), Ok(vec![2, 0]));
        assert_eq!(gone(&[], &others), Ok(vec![]));
    }

    #[test]
    fn the_less_entitled_go_first() {
        let others = [
            pod("500m", true, None),
            pod("500m", false, None),
            pod("0", false, None),
        ];
        assert_eq!(gone(&[("cpu", 400)], &others), Ok(vec![1]));
        assert_eq!(gone(&[("cpu", 900)], &others), Ok(vec![1, 0]));
        assert_eq!(gone(&[("pods", 1)], &others), Ok(vec![2]));
    }

    #[test]
    fn other_critical_pods_stay_and_what_cannot_be_had_is_said() {
        let equal = pod("500m", false, Some(2_000_000_000));
        let ordinary = pod("100m", false, Some(5));
        assert_eq!(
            gone(&[("cpu", 400)], &[equal, ordinary]),
            Err("no set of running pods found to reclaim resources: [(res: cpu, q: 300), ]".into())
        );
    }
}
