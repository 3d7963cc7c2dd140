//! The pure halves together: a set, its pods, and what is done and reported.

use serde_json::{Value, json};

use super::*;

fn set(spec: &Value, status: &Value) -> StatefulSet {
    let mut whole = json!({
        "serviceName": "svc", "selector": {}, "replicas": 3,
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c"}]}},
        "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {}}],
    });
    for (key, value) in spec.as_object().unwrap() {
        whole[key] = value.clone();
    }
    serde_json::from_value(json!({
        "metadata": {"name": "s", "namespace": "n", "uid": "1", "generation": 1},
        "spec": whole, "status": status,
    }))
    .unwrap()
}

fn revisions(current: &str, update: &str) -> Revisions {
    let revision = |name: &str| {
        let mut revision = ControllerRevision::default();
        revision.metadata.name = Some(name.to_owned());
        Arc::new(revision)
    };
    Revisions {
        current: revision(current),
        update: revision(update),
    }
}

fn pod(set: &StatefulSet, ordinal: i32, revision: &str, state: &str) -> Arc<Pod> {
    let mut pod = identity::pod(set, ordinal, &revisions(revision, revision).current);
    pod.metadata.uid = Some(ordinal.to_string());
    let (phase, ready) = match state {
        "ready" => ("Running", "True"),
        "ended" => ("Failed", "False"),
        _ => ("Running", "False"),
    };
    if state == "going" {
        pod.metadata.deletion_timestamp =
            Some(crate::clock::whole_seconds(jiff::Timestamp::UNIX_EPOCH));
    }
    pod.status = Some(
        serde_json::from_value(
            json!({"phase": phase, "conditions": [{"type": "Ready", "status": ready}]}),
        )
        .unwrap(),
    );
    Arc::new(pod)
}

/// `(created, deleted)` by number.
fn steps(set: &StatefulSet, states: &[(i32, &str, &str)]) -> (Vec<i32>, Vec<i32>) {
    let pods: Vec<_> = states
        .iter()
        .map(|(ordinal, revision, state)| pod(set, *ordinal, revision, state))
        .collect();
    let plan = plan::plan(
        set,
        &pods,
        &revisions("old", "new"),
        jiff::Timestamp::UNIX_EPOCH,
    );
    (
        plan.create.iter().map(|(ordinal, _)| *ordinal).collect(),
        plan.delete
            .iter()
            .filter_map(|pod| identity::ordinal(set, pod))
            .collect(),
    )
}

#[test]
fn in_order_each_step_waits_for_the_one_before() {
    let set = set(&json!({}), &json!({"replicas": 0}));
    for (states, expected) in [
        (&[][..], (vec![0], vec![])),
        (&[(0, "new", "starting")], (vec![], vec![])),
        (&[(0, "new", "ready")], (vec![1], vec![])),
        (
            &[(0, "new", "ready"), (2, "new", "ready")],
            (vec![1], vec![]),
        ),
        (
            &[(0, "new", "ended"), (1, "new", "ready")],
            (vec![], vec![0]),
        ),
        (
            &[
                (0, "new", "ready"),
                (1, "new", "ready"),
                (2, "new", "ready"),
                (3, "new", "ready"),
                (4, "new", "ready"),
            ],
            (vec![], vec![4]),
        ),
        (
            &[
                (0, "new", "ready"),
                (1, "new", "ready"),
                (2, "new", "ready"),
                (3, "new", "ready"),
                (4, "new", "going"),
            ],
            (vec![], vec![]),
        ),
    ] {
        assert_eq!(steps(&set, states), expected, "{states:?}");
    }
}

#[test]
fn in_parallel_all_that_can_be_done_is_done() {
    let set = set(
        &json!({"podManagementPolicy": "Parallel"}),
        &json!({"replicas": 0}),
    );
    assert_eq!(steps(&set, &[]), (vec![0, 1, 2], vec![]));
    assert_eq!(
        steps(
            &set,
            &[
                (0, "new", "ended"),
                (3, "new", "ready"),
                (4, "new", "ready")
            ]
        ),
        (vec![1, 2], vec![0, 4, 3])
    );
}

#[test]
fn an_update_replaces_the_last_first_and_waits_until_it_is_ready() {
    let all =
        |states: [(&'static str, &'static str); 3]| -> Vec<(i32, &'static str, &'static str)> {
            states
                .iter()
                .zip(0..)
                .map(|((revision, state), n)| (n, *revision, *state))
                .collect()
        };
    let plain = set(&json!({}), &json!({"replicas": 3}));
    let old = ("old", "ready");
    assert_eq!(steps(&plain, &all([old, old, old])).1, [2]);
    assert_eq!(steps(&plain, &all([old, old, ("old", "going")])).1, [0; 0]);
    assert_eq!(
        steps(&plain, &all([old, old, ("new", "starting")])).1,
        [0; 0]
    );
    assert_eq!(steps(&plain, &all([old, old, ("new", "ready")])).1, [1]);
    let partition = json!({"updateStrategy": {"rollingUpdate": {"partition": 2}}});
    let partitioned = set(&partition, &json!({"replicas": 3}));
    assert_eq!(
        steps(&partitioned, &all([old, old, ("new", "ready")])).1,
        [0; 0]
    );
    let on_delete = set(
        &json!({"updateStrategy": {"type": "OnDelete"}}),
        &json!({"replicas": 3}),
    );
    assert_eq!(steps(&on_delete, &all([old, old, old])).1, [0; 0]);
}

#[test]
fn a_share_of_pods_that_may_be_missing_is_rounded_down_to_one_at_least() {
    for (share, expected) in [(json!("50%"), 2), (json!("10%"), 1), (json!(3), 3)] {
        let strategy = json!({"updateStrategy": {"rollingUpdate": {"maxUnavailable": share}}});
        let mut set = set(&strategy, &json!({}));
        set.spec.get_or_insert_default().replicas = Some(5);
        assert_eq!(plan::max_unavailable(&set), expected, "{share}");
    }
}

#[test]
fn a_pod_has_its_name_its_place_and_its_claims() {
    let set = set(&json!({}), &json!({"replicas": 0}));
    let pod = identity::pod(&set, 1, &revisions("s-x", "s-x").current);
    let pod = serde_json::to_value(pod).unwrap();
    assert_eq!(pod["metadata"]["name"], "s-1");
    assert_eq!(
        pod["metadata"]["labels"],
        json!({
            "a": "b", "apps.kubernetes.io/pod-index": "1", "controller-revision-hash": "s-x",
            "statefulset.kubernetes.io/pod-name": "s-1",
        })
    );
    assert_eq!(pod["spec"]["hostname"], "s-1");
    assert_eq!(pod["spec"]["subdomain"], "svc");
    assert_eq!(
        pod["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"],
        "data-s-1"
    );
    assert_eq!(
        identity::claims(&set, 1)[0].metadata.name.as_deref(),
        Some("data-s-1")
    );
}

#[test]
fn a_finished_update_becomes_the_current_revision() {
    let set = set(&json!({"replicas": 1}), &json!({"replicas": 1}));
    let reported = |state| {
        let pods = [pod(&set, 0, "new", state)];
        let status = status::status(
            &set,
            &pods,
            &revisions("old", "new"),
            jiff::Timestamp::UNIX_EPOCH,
        );
        (
            status.current_revision.unwrap(),
            status.current_replicas,
            status.updated_replicas,
        )
    };
    assert_eq!(reported("starting"), ("old".to_owned(), None, Some(1)));
    assert_eq!(reported("ready"), ("new".to_owned(), Some(1), Some(1)));
}

#[test]
fn on_delete_leaves_old_pods_alone_and_gives_new_ones_the_new_template() {
    let set = set(
        &json!({"replicas": 2, "updateStrategy": {"type": "OnDelete"}}),
        &json!({"replicas": 2, "currentReplicas": 2}),
    );
    let ready = [(0, "old", "ready"), (1, "old", "ready")];
    assert_eq!(steps(&set, &ready), (vec![], vec![]));
    let left = [pod(&set, 0, "old", "ready")];
    let plan = plan::plan(
        &set,
        &left,
        &revisions("old", "new"),
        jiff::Timestamp::UNIX_EPOCH,
    );
    assert_eq!(plan.create, [(1, true)]);
}

#[test]
fn a_roll_out_is_finished_only_where_there_is_one() {
    let now = jiff::Timestamp::UNIX_EPOCH;
    for (strategy, current) in [("RollingUpdate", "new"), ("OnDelete", "old")] {
        let spec = json!({"replicas": 1, "updateStrategy": {"type": strategy}});
        let set = set(&spec, &json!({"currentRevision": "old"}));
        let pods = [pod(&set, 0, "new", "ready")];
        let status = status::status(&set, &pods, &revisions("old", "new"), now);
        assert_eq!(
            status.current_revision.as_deref(),
            Some(current),
            "{strategy}"
        );
    }
}
