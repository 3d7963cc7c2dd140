//! Whether a pod that fits nowhere may push others off a node, and whom. Pure.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::api::{core::v1::Pod, policy::v1::PodDisruptionBudget};
use kube::ResourceExt;
use simcluster_placement::{ports, resources};

use super::{
    filter::{self, Refusal, World},
    report::counted,
    state::OnNode,
};
use crate::{pods, selector};

/// The pods that have to go from a node.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Plan {
    pub(super) node: String,
    pub(super) victims: Vec<Arc<Pod>>,
}

/// What preemption can do.
#[derive(Debug)]
pub(super) struct Outlook {
    never: bool,
    /// The pods that it has pushed out are still on their way.
    waits: bool,
    hopeless: usize,
    without_victims: usize,
    pub(super) plan: Option<Plan>,
}

impl Outlook {
    /// Why nothing is pushed out; `None` if something is.
    pub(super) fn words(&self, total: usize) -> Option<String> {
        if self.plan.is_some() {
            return None;
        }
        if self.never {
            return Some("not eligible due to preemptionPolicy=Never.".to_owned());
        }
        if self.waits {
            let why = "not eligible due to terminating pod on the nominated node.";
            return Some(why.to_owned());
        }
        let parts = std::iter::repeat_n(
            "No preemption victims found for incoming pod",
            self.without_victims,
        )
        .chain(std::iter::repeat_n(
            "Preemption is not helpful for scheduling",
            self.hopeless,
        ));
        Some(format!(
            "0/{total} nodes are available: {}.",
            counted(parts)
        ))
    }
}

fn priority(pod: &Pod) -> i32 {
    pod.spec
        .as_ref()
        .and_then(|spec| spec.priority)
        .unwrap_or_default()
}

/// Looks for the node where the least has to go.
pub(super) fn outlook(
    pod: &Pod,
    world: &World<'_>,
    refusals: &BTreeMap<String, Refusal>,
) -> Outlook {
    let policy = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.preemption_policy.as_deref());
    let mut outlook = Outlook {
        never: policy == Some("Never"),
        waits: false,
        hopeless: 0,
        without_victims: 0,
        plan: None,
    };
    let mut plans = Vec::new();
    for (name, refusal) in refusals {
        let Some(on_node) = world.state.get(name) else {
            continue;
        };
        if !refusal.others_in_the_way {
            outlook.hopeless += 1;
        } else if let Some(victims) = victims(pod, on_node, world) {
            plans.push(Plan {
                node: name.clone(),
                victims,
            });
        } else {
            outlook.without_victims += 1;
        }
    }
    if outlook.never {
        return outlook;
    }
    // Who has been nominated waits until his victims are gone, instead of choosing more.
    let nominated = pod
        .status
        .as_ref()
        .and_then(|status| status.nominated_node_name.as_deref())
        .and_then(|name| world.state.get(name));
    outlook.waits = nominated.is_some_and(|on_node| {
        on_node
            .pods
            .values()
            .any(|other| pods::is_terminating(other) && priority(other) < priority(pod))
    });
    if !outlook.waits {
        outlook.plan = plans.into_iter().min_by_key(|plan| {
            let highest = plan.victims.iter().map(|victim| priority(victim)).max();
            (highest, plan.victims.len(), plan.node.clone())
        });
    }
    outlook
}

/// The fewest and least important pods without which the pod would fit.
fn victims(pod: &Pod, on_node: &OnNode, world: &World<'_>) -> Option<Vec<Arc<Pod>>> {
    let node = on_node.node.as_ref()?;
    let mut lesser: Vec<_> = on_node
        .pods
        .values()
        .filter(|other| priority(other) < priority(pod))
        .cloned()
        .collect();
    if lesser.is_empty() {
        return None;
    }
    let fits = |without: &[Arc<Pod>]| {
        let mut rest = on_node.clone();
        for gone in without {
            rest.pods
                .remove(gone.metadata.uid.as_deref().unwrap_or_default());
            rest.used.subtract(&resources::of_pod(gone));
        }
        rest.ports = rest
            .pods
            .values()
            .flat_map(|pod| ports::of_pod(pod))
            .collect();
        filter::refuse(pod, node, &rest, world).is_none()
    };
    if !fits(&lesser) {
        return None;
    }
    // The most important ones are spared first.
    lesser.sort_by_key(|victim| (priority(victim), victim.metadata.name.clone()));
    let mut going = lesser.clone();
    for spared in lesser.iter().rev() {
        let without: Vec<_> = going
            .iter()
            .filter(|victim| victim.metadata.uid != spared.metadata.uid)
            .cloned()
            .collect();
        if fits(&without) {
            going = without;
        }
    }
    Some(going)
}

/// The victims whose disruption budget allows no disruption now.
pub(super) fn protected(victims: &[Arc<Pod>], budgets: &[Arc<PodDisruptionBudget>]) -> Vec<String> {
    victims
        .iter()
        .filter(|victim| {
            budgets.iter().any(|budget| {
                let wanted = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
                let allowed = budget
                    .status
                    .as_ref()
                    .and_then(|status| status.disruptions_allowed)
                    .unwrap_or_default();
                budget.metadata.namespace == victim.metadata.namespace
                    && allowed == 0
                    && wanted.is_some_and(|wanted| {
                        selector::matches(wanted, victim.metadata.labels.as_ref())
                    })
            })
        })
        .map(|victim| victim.name_any())
        .collect()
}
