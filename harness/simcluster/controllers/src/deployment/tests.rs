//! The pure halves together: whole rollouts, step by step.

use serde_json::{Value, json};

use super::*;
use crate::clock::whole_seconds;

fn now() -> jiff::Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

fn deployment(replicas: i32, rolling: &Value) -> Deployment {
    serde_json::from_value(json!({
        "metadata": {"name": "d", "namespace": "n", "uid": "1", "generation": 1},
        "spec": {
            "replicas": replicas, "progressDeadlineSeconds": 600, "revisionHistoryLimit": 1,
            "selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c"}]}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": rolling},
        },
    }))
    .unwrap()
}

fn with_round(deployment: &Deployment, round: &str) -> Deployment {
    let mut deployment = deployment.clone();
    let template = &mut deployment.spec.as_mut().unwrap().template;
    template.metadata.as_mut().unwrap().annotations =
        Some([("round".to_owned(), round.to_owned())].into());
    deployment
}

/// A set of this template; all its pods are available, or none.
fn set(of: &Deployment, revision: i64, replicas: i32, available: i32) -> Arc<ReplicaSet> {
    let mut set = revision::new_set(of, &Found::default(), revision);
    set.metadata.uid = Some(revision.to_string());
    set.metadata.creation_timestamp = Some(whole_seconds(
        jiff::Timestamp::from_second(revision).unwrap(),
    ));
    resized(&set, replicas, available)
}

fn resized(set: &ReplicaSet, replicas: i32, available: i32) -> Arc<ReplicaSet> {
    let mut set = set.clone();
    set.spec.as_mut().unwrap().replicas = Some(replicas);
    set.status = Some(
        serde_json::from_value(json!({
            "replicas": replicas, "readyReplicas": available, "availableReplicas": available,
        }))
        .unwrap(),
    );
    Arc::new(set)
}

/// Takes steps until nothing changes; new pods become available only between steps.
fn roll(deployment: &Deployment, mut sets: Vec<Arc<ReplicaSet>>) -> (Vec<i32>, i32, i32) {
    let (mut least, mut most) = (i32::MAX, 0);
    for _ in 0..100 {
        let found = revision::find(deployment, &sets);
        let available: i32 = sets.iter().map(|set| rolling::available_of(set)).sum();
        least = least.min(available);
        most = most.max(rolling::total(&sets));
        let mut resizes = rolling::new_set_wanted(deployment, &found);
        if resizes.is_empty() {
            resizes = rolling::old_sets_wanted(deployment, &found);
        }
        if resizes.is_empty() {
            let settled = sets
                .iter()
                .all(|set| rolling::available_of(set) == rolling::wanted_of(set));
            if settled {
                break;
            }
            sets = sets
                .iter()
                .map(|set| resized(set, rolling::wanted_of(set), rolling::wanted_of(set)))
                .collect();
        }
        for Resize { set, replicas } in resizes {
            let available = rolling::available_of(&set).min(replicas);
            sets.retain(|known| known.metadata.uid != set.metadata.uid);
            sets.push(resized(&set, replicas, available));
        }
    }
    let found = revision::find(deployment, &sets);
    (
        found.all().map(|set| rolling::wanted_of(set)).collect(),
        least,
        most,
    )
}

#[test]
fn a_rollout_never_has_too_few_nor_too_many_pods() {
    for (replicas, rolling, least, most) in [
        (1, json!({"maxSurge": 1, "maxUnavailable": 0}), 1, 2),
        (
            10,
            json!({"maxSurge": "25%", "maxUnavailable": "25%"}),
            8,
            13,
        ),
        (4, json!({"maxSurge": 0, "maxUnavailable": 1}), 3, 4),
        (3, json!({"maxSurge": 3, "maxUnavailable": 3}), 0, 6),
    ] {
        let first = deployment(replicas, &rolling);
        let second = with_round(&first, "2");
        let sets = vec![set(&first, 1, replicas, replicas), set(&second, 2, 0, 0)];
        let (sizes, lowest, highest) = roll(&second, sets);
        assert_eq!(sizes, [0, replicas], "{rolling}");
        assert!(
            lowest >= least && highest <= most,
            "{rolling}: {lowest}..{highest}"
        );
    }
}

#[test]
fn pods_that_never_were_available_go_first() {
    let first = deployment(10, &json!({"maxSurge": 2, "maxUnavailable": 2}));
    let (second, third) = (with_round(&first, "2"), with_round(&first, "3"));
    let sets = [
        set(&first, 1, 8, 8),
        set(&second, 2, 4, 0),
        set(&third, 3, 0, 0),
    ];
    let found = revision::find(&third, &sets);
    let sizes: Vec<_> = rolling::old_sets_wanted(&third, &found)
        .iter()
        .map(|resize| (resize.set.metadata.uid.clone().unwrap(), resize.replicas))
        .collect();
    assert_eq!(sizes, [("2".to_owned(), 0)]);
}

#[test]
fn a_change_of_size_is_shared_in_proportion() {
    let rolling = json!({"maxSurge": 3, "maxUnavailable": 2});
    let first = deployment(10, &rolling);
    let second = with_round(&first, "2");
    let sets = [set(&first, 1, 8, 8), set(&second, 2, 5, 0)];
    let mut larger = second.clone();
    larger.spec.as_mut().unwrap().replicas = Some(15);
    assert!(scale::is_scaling(&larger, &sets));
    let sizes = |deployment: &Deployment, sets: &[Arc<ReplicaSet>]| -> Vec<i32> {
        let found = revision::find(deployment, sets);
        let resizes = scale::scale(deployment, &found);
        let size_of = |set: &Arc<ReplicaSet>| {
            resizes
                .iter()
                .find(|resize| resize.set.metadata.uid == set.metadata.uid)
                .map_or(rolling::wanted_of(set), |resize| resize.replicas)
        };
        found.all().map(size_of).collect()
    };
    assert_eq!(
        sizes(&larger, &sets),
        [11, 7],
        "as in Kubernetes' documentation"
    );
    let only = [set(&second, 2, 10, 10)];
    assert_eq!(sizes(&larger, &only), [15]);
    let mut none = second.clone();
    none.spec.as_mut().unwrap().replicas = Some(0);
    assert_eq!(sizes(&none, &sets), [0, 0]);
}

#[test]
fn an_old_template_that_comes_back_gets_a_new_number_and_keeps_its_history() {
    let first = deployment(1, &json!({}));
    let second = with_round(&first, "2");
    let sets = [set(&first, 1, 0, 0), set(&second, 2, 1, 1)];
    let found = revision::find(&first, &sets);
    let back = found.new.clone().unwrap();
    let patch = revision::update(&first, &back, revision::next(&found.old)).unwrap();
    assert_eq!(
        patch["metadata"]["annotations"],
        json!({"deployment.kubernetes.io/revision": "3",
               "deployment.kubernetes.io/revision-history": "1"})
    );
}

#[test]
fn only_empty_sets_beyond_the_history_are_removed() {
    let first = deployment(1, &json!({}));
    let rounds: Vec<_> = (2..6)
        .map(|round| with_round(&first, &round.to_string()))
        .collect();
    let sets: Vec<_> = rounds
        .iter()
        .zip(2..)
        .map(|(deployment, revision)| set(deployment, revision, i32::from(revision == 3), 0))
        .collect();
    let removed: Vec<_> = revision::too_old(&first, &sets)
        .iter()
        .map(|set| set.metadata.uid.clone().unwrap())
        .collect();
    assert_eq!(
        removed,
        ["2", "4"],
        "3 still has a pod, 5 is the history that is kept"
    );
}

#[test]
fn progress_is_told_once_and_its_end_by_deadline_or_completion() {
    let mut first = deployment(1, &json!({"maxSurge": 1, "maxUnavailable": 0}));
    let reason = |status: &k8s_openapi::api::apps::v1::DeploymentStatus| {
        let conditions = status.conditions.clone().unwrap();
        let progressing = conditions
            .into_iter()
            .find(|condition| condition.type_ == "Progressing")
            .unwrap();
        (progressing.status, progressing.reason.unwrap())
    };
    let found = |available| Found {
        new: Some(set(&first, 1, 1, available)),
        old: Vec::new(),
    };
    let (nothing, done) = (found(0), found(1));
    let created = Some(Progress::created("d-x"));
    let (status, recheck) = status::status(&first, &nothing, created, true, now());
    assert_eq!(reason(&status), ("True".into(), "ReplicaSetUpdated".into()));
    assert_eq!(recheck.unwrap().duration_since(now()).as_secs(), 601);
    first.status = Some(status);
    let late = recheck.unwrap();
    let (stuck, _) = status::status(&first, &nothing, None, true, late);
    assert_eq!(
        reason(&stuck),
        ("False".into(), "ProgressDeadlineExceeded".into())
    );
    let (complete, recheck) = status::status(&first, &done, None, true, late);
    assert_eq!(
        reason(&complete),
        ("True".into(), "NewReplicaSetAvailable".into())
    );
    assert_eq!(recheck, None);
    first.status = Some(complete.clone());
    let (again, _) = status::status(&first, &done, None, true, late);
    assert_eq!(again, complete);
}
