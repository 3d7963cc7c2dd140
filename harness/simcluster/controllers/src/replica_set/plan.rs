//! Which pods of a ReplicaSet come and go. Pure.

use std::{cmp::Ordering, sync::Arc};

use k8s_openapi::{
    api::{apps::v1::ReplicaSet, core::v1::Pod},
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};

use crate::pods::{self, rank};

/// What has to be done about the number of pods.
#[derive(Debug, PartialEq)]
pub(super) enum Plan {
    Enough,
    Create(usize),
    Delete(Vec<Arc<Pod>>),
}

/// Compares what is with what is wanted; at most `burst` pods come or go at a time.
pub(super) fn plan(set: &ReplicaSet, owned: &[Arc<Pod>], crowd: &[Arc<Pod>], burst: usize) -> Plan {
    let wanted = set
        .spec
        .as_ref()
        .and_then(|spec| spec.replicas)
        .unwrap_or(1);
    let wanted = usize::try_from(wanted).unwrap_or_default();
    let active: Vec<_> = owned
        .iter()
        .filter(|pod| pods::is_active(pod))
        .cloned()
        .collect();
    match active.len().cmp(&wanted) {
        Ordering::Less => Plan::Create((wanted - active.len()).min(burst)),
        Ordering::Equal => Plan::Enough,
        Ordering::Greater => {
            let surplus = (active.len() - wanted).min(burst);
            Plan::Delete(rank::to_delete(&active, crowd, surplus))
        }
    }
}

/// Pods as the set's template wants them, controlled by `owner`: the set, or what is shown as one.
pub(super) fn new_pods(set: &ReplicaSet, owner: &OwnerReference, number: usize) -> Vec<Pod> {
    let Some(template) = set.spec.as_ref().and_then(|spec| spec.template.as_ref()) else {
        return Vec::new();
    };
    let namespace = set.metadata.namespace.as_deref().unwrap_or_default();
    let mut pod = pods::from_template(template, namespace, owner.clone());
    pod.metadata.generate_name = Some(format!(
        "{}-",
        set.metadata.name.as_deref().unwrap_or_default()
    ));
    vec![pod; number]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set(replicas: i32) -> ReplicaSet {
        serde_json::from_value(json!({
            "metadata": {"name": "r", "namespace": "n", "uid": "1"},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": {"a": "b"}},
                "template": {
                    "metadata": {"labels": {"a": "b"}},
                    "spec": {"containers": [{"name": "c"}]},
                },
            },
        }))
        .unwrap()
    }

    fn pods(phases: &[&str]) -> Vec<Arc<Pod>> {
        phases
            .iter()
            .enumerate()
            .map(|(number, phase)| {
                Arc::new(
                    serde_json::from_value(json!({
                        "metadata": {"name": format!("p{number}")},
                        "status": {"phase": phase},
                    }))
                    .unwrap(),
                )
            })
            .collect()
    }

    #[test]
    fn the_number_of_active_pods_becomes_the_wanted_one() {
        for (wanted, phases, created, deleted) in [
            (0, &[][..], 0, 0),
            (3, &["Running"][..], 2, 0),
            (1, &["Running", "Failed", "Succeeded"][..], 0, 0),
            (1, &["Running", "Running", "Pending"][..], 0, 2),
            (600, &[][..], 500, 0),
        ] {
            let owned = pods(phases);
            let (create, delete) = match plan(&set(wanted), &owned, &owned, 500) {
                Plan::Enough => (0, 0),
                Plan::Create(missing) => (missing, 0),
                Plan::Delete(surplus) => (0, surplus.len()),
            };
            assert_eq!((create, delete), (created, deleted), "{wanted} {phases:?}");
        }
    }

    #[test]
    fn a_new_pod_is_its_template_controlled_by_the_set() {
        let set = set(1);
        let owner = crate::ownership::controller_reference(&set);
        let pod = new_pods(&set, &owner, 1).remove(0);
        assert_eq!(
            serde_json::to_value(pod).unwrap(),
            json!({
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    "generateName": "r-",
                    "namespace": "n",
                    "labels": {"a": "b"},
                    "ownerReferences": [{
                        "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "1",
                        "controller": true, "blockOwnerDeletion": true,
                    }],
                },
                "spec": {"containers": [{"name": "c"}]},
            })
        );
    }
}
