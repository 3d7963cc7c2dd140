//! How much of what a quota limits is used. Pure.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::{
    api::core::v1::{Container, PersistentVolumeClaim, Pod, ResourceQuota, Service},
    apimachinery::pkg::api::resource::Quantity,
};
use simcluster_placement::amount::Amount;

use crate::{pods, volumes};

/// What there is in a namespace.
#[derive(Debug)]
pub(super) struct Namespace<'a> {
    pub(super) quota: &'a ResourceQuota,
    pub(super) pods: &'a [Arc<Pod>],
    pub(super) claims: &'a [Arc<PersistentVolumeClaim>],
    pub(super) services: &'a [Arc<Service>],
    /// How many objects there are, by [`count_name`].
    pub(super) counts: &'a BTreeMap<String, usize>,
}

/// How objects of a kind are counted: `pods`, `deployments.apps`.
pub(super) fn count_name(plural: &str, group: &str) -> String {
    if group.is_empty() {
        plural.to_owned()
    } else {
        format!("{plural}.{group}")
    }
}

/// What is used of each limited resource.
pub(super) fn used(namespace: &Namespace<'_>) -> BTreeMap<String, Quantity> {
    let hard = namespace
        .quota
        .spec
        .as_ref()
        .and_then(|spec| spec.hard.as_ref());
    hard.into_iter()
        .flatten()
        .map(|(name, limit)| {
            let binary =
                limit.0.ends_with('i') || name.contains("memory") || name.contains("storage");
            (name.clone(), amount(name, namespace).to_quantity(binary))
        })
        .collect()
}

fn number(count: usize) -> Amount {
    Amount::whole(i64::try_from(count).unwrap_or(i64::MAX))
}

fn amount(name: &str, namespace: &Namespace<'_>) -> Amount {
    let counted = |name: &str| number(namespace.counts.get(name).copied().unwrap_or_default());
    if let Some(name) = name.strip_prefix("count/") {
        return counted(name);
    }
    if let Some((class, resource)) = name.split_once(".storageclass.storage.k8s.io/") {
        let of_class = namespace
            .claims
            .iter()
            .filter(|claim| volumes::class_of_claim(claim) == Some(class));
        return if resource == "persistentvolumeclaims" {
            number(of_class.count())
        } else {
            of_class.fold(Amount::ZERO, |sum, claim| {
                sum.saturating_add(volumes::requested(claim))
            })
        };
    }
    let of_type = |type_: &str| {
        let of_type = namespace.services.iter().filter(|service| {
            service.spec.as_ref().and_then(|spec| spec.type_.as_deref()) == Some(type_)
        });
        number(of_type.count())
    };
    match name {
        "pods" => number(in_scope(namespace).count()),
        "services.loadbalancers" => of_type("LoadBalancer"),
        "services.nodeports" => {
            let ports = namespace
                .services
                .iter()
                .filter_map(|service| service.spec.as_ref())
                .filter(|spec| matches!(spec.type_.as_deref(), Some("NodePort" | "LoadBalancer")))
                .flat_map(|spec| spec.ports.iter().flatten());
            number(ports.count())
        }
        "requests.storage" => namespace.claims.iter().fold(Amount::ZERO, |sum, claim| {
            sum.saturating_add(volumes::requested(claim))
        }),
        "services"
        | "configmaps"
        | "secrets"
        | "persistentvolumeclaims"
        | "replicationcontrollers"
        | "resourcequotas" => counted(name),
        _ => of_pods(name, namespace),
    }
}

/// The pods that count: those that have not ended and are in the quota's scopes.
fn in_scope<'a>(namespace: &'a Namespace<'_>) -> impl Iterator<Item = &'a Arc<Pod>> {
    let spec = namespace.quota.spec.as_ref();
    let scopes = spec
        .and_then(|spec| spec.scopes.as_deref())
        .unwrap_or_default();
    let selectors = spec
        .and_then(|spec| spec.scope_selector.as_ref()?.match_expressions.as_deref())
        .unwrap_or_default();
    namespace
        .pods
        .iter()
        .filter(|pod| !pods::is_finished(pod))
        .filter(|pod| scopes.iter().all(|scope| is_of_scope(pod, scope)))
        .filter(|pod| {
            selectors.iter().all(|requirement| {
                if requirement.scope_name == "PriorityClass" {
                    let class = pod
                        .spec
                        .as_ref()
                        .and_then(|spec| spec.priority_class_name.as_deref());
                    let values = requirement.values.as_deref().unwrap_or_default();
                    crate::selector::satisfies(class, &requirement.operator, values)
                } else {
                    is_of_scope(pod, &requirement.scope_name)
                }
            })
        })
}

fn is_of_scope(pod: &Pod, scope: &str) -> bool {
    let best_effort = pod
        .status
        .as_ref()
        .and_then(|status| status.qos_class.as_deref())
        == Some("BestEffort");
    let bounded = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.active_deadline_seconds)
        .is_some();
    match scope {
        "BestEffort" => best_effort,
        "NotBestEffort" => !best_effort,
        "Terminating" => bounded,
        "NotTerminating" => !bounded,
        _ => true,
    }
}

fn of_pods(name: &str, namespace: &Namespace<'_>) -> Amount {
    let (limits, resource) = match (name.strip_prefix("limits."), name.strip_prefix("requests.")) {
        (Some(resource), _) => (true, resource),
        (None, Some(resource)) => (false, resource),
        (None, None) => (false, name),
    };
    in_scope(namespace).fold(Amount::ZERO, |sum, pod| {
        sum.saturating_add(of_pod(pod, resource, limits))
    })
}

fn of_pod(pod: &Pod, resource: &str, limits: bool) -> Amount {
    let of = |container: &Container| {
        let resources = container.resources.as_ref();
        let amounts = if limits {
            resources.and_then(|resources| resources.limits.as_ref())
        } else {
            resources.and_then(|resources| resources.requests.as_ref())
        };
        amounts
            .and_then(|amounts| amounts.get(resource))
            .map(Amount::of)
            .unwrap_or_default()
    };
    let Some(spec) = &pod.spec else {
        return Amount::ZERO;
    };
    let all = spec.containers.iter().fold(Amount::ZERO, |sum, container| {
        sum.saturating_add(of(container))
    });
    let largest = spec
        .init_containers
        .iter()
        .flatten()
        .map(of)
        .max()
        .unwrap_or_default();
    all.max(largest)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_limited_resource_is_added_up() {
        let quota: ResourceQuota = serde_json::from_value(json!({
            "metadata": {},
            "spec": {"hard": {
                "pods": "10", "requests.cpu": "4", "limits.memory": "1Gi", "cpu": "4",
                "count/deployments.apps": "3", "configmaps": "5", "requests.storage": "10Gi",
            }},
        }))
        .unwrap();
        let pod = |phase: &str| -> Arc<Pod> {
            Arc::new(
                serde_json::from_value(json!({
                    "metadata": {},
                    "spec": {"containers": [{"name": "c", "resources": {
                        "requests": {"cpu": "250m"}, "limits": {"memory": "64Mi"}}}]},
                    "status": {"phase": phase},
                }))
                .unwrap(),
            )
        };
        let claim: Arc<PersistentVolumeClaim> = Arc::new(
            serde_json::from_value(json!({
                "metadata": {}, "spec": {"resources": {"requests": {"storage": "2Gi"}}},
            }))
            .unwrap(),
        );
        let counts = [
            ("deployments.apps".to_owned(), 2),
            ("configmaps".to_owned(), 1),
        ]
        .into();
        let used = used(&Namespace {
            quota: &quota,
            pods: &[pod("Running"), pod("Running"), pod("Succeeded")],
            claims: &[claim],
            services: &[],
            counts: &counts,
        });
        assert_eq!(
            serde_json::to_value(used).unwrap(),
            json!({
                "pods": "2", "requests.cpu": "500m", "cpu": "500m", "limits.memory": "128Mi",
                "count/deployments.apps": "2", "configmaps": "1", "requests.storage": "2Gi",
            })
        );
    }
}
