//! Completion, deletion, deadlines.

use super::{super::container::StartFailure, *};

fn hooked() -> Value {
    json!({"containers": [
        {"name": "c", "image": "x", "lifecycle": {"preStop": {"exec": {"command": ["x"]}}}},
    ]})
}

#[test]
fn a_pod_that_has_done_its_work_succeeds_when_nothing_of_it_runs() {
    let mut play =
        Play::up(json!({"restartPolicy": "Never", "containers": [{"name": "c", "image": "x"}]}));
    play.started(0);
    assert!(play.exited(0, 0).contains(&Action::RemoveSandbox));
    assert_eq!(play.phase(), "Running");
    play.event(Event::SandboxRemoved);
    assert_eq!(play.phase(), "Succeeded");
    let completed = |status: &str| (status.to_owned(), Some("PodCompleted".to_owned()), None);
    assert_eq!(play.condition("Initialized"), completed("True"));
    assert_eq!(play.condition("Ready"), completed("False"));
    assert_eq!(play.condition("ContainersReady"), completed("False"));
    assert_eq!(play.condition("PodReadyToStartContainers").0, "False");
    assert_eq!(play.status.pod_ip.as_deref(), Some("10.42.0.2"));
    assert_eq!(play.container(0)["started"], false);
}

#[test]
fn a_failed_pod_says_so_in_its_conditions() {
    let mut play =
        Play::up(json!({"restartPolicy": "Never", "containers": [{"name": "c", "image": "x"}]}));
    play.started(0);
    play.exited(0, 7);
    play.event(Event::SandboxRemoved);
    assert_eq!(play.phase(), "Failed");
    assert_eq!(play.condition("Ready").1.as_deref(), Some("PodFailed"));
    assert_eq!(play.condition("Initialized"), ("True".into(), None, None));
    assert_eq!(play.status.reason, None);
}

#[test]
fn deletion_signals_waits_kills_and_removes() {
    let mut play = Play::up(one_container());
    play.started(0);
    let end = play.now + SignedDuration::from_secs(5);
    assert_eq!(play.delete(5), [signal(0), Action::WakeAt(end)]);
    assert_eq!(play.records.last().unwrap().message, "Stopping container c");
    assert_eq!(play.phase(), "Running");
    assert_eq!(play.pass(4), []);
    assert_eq!(play.pass(1), [kill(0)]);
    assert!(play.exited(0, 137).contains(&Action::RemoveSandbox));
    assert_eq!(play.event(Event::SandboxRemoved), [Action::Delete]);
    assert_eq!(play.phase(), "Failed");
    assert_eq!(play.event(Event::Gone), [Action::Forget]);
    assert_eq!(play.event(Event::Tick), []);
}

#[test]
fn a_shorter_grace_period_shortens_a_deletion_under_way_and_a_longer_one_does_not() {
    let mut play = Play::up(one_container());
    play.started(0);
    play.delete(300);
    play.delete(400);
    let end = play.now + SignedDuration::from_secs(60);
    assert_eq!(play.delete(60), [Action::WakeAt(end)]);
    assert_eq!(play.pass(60), [kill(0)]);
}

#[test]
fn a_pod_removed_by_force_still_ends() {
    let mut play = Play::up(one_container());
    play.started(0);
    assert!(play.event(Event::Gone).contains(&signal(0)));
    assert_eq!(play.pass(1), [kill(0)]);
    play.exited(0, 137);
    assert_eq!(play.event(Event::SandboxRemoved), [Action::Forget]);
}

#[test]
fn the_pre_stop_hook_runs_before_the_signal_within_the_grace_period() {
    let mut play = Play::up(hooked());
    play.started(0);
    let limit = SignedDuration::from_secs(10);
    assert!(play.delete(10).contains(&Action::PreStop {
        container: 0,
        run: 0,
        limit
    }));
    assert!(!play.actions.contains(&signal(0)));
    play.pass(3);
    let done = Event::PreStopped {
        container: 0,
        run: 0,
        result: Ok(()),
    };
    assert_eq!(play.event(done), [signal(0)]);
    assert_eq!(play.pass(7), [kill(0)]);
}

#[test]
fn a_pre_stop_hook_that_hangs_is_overtaken_by_the_grace_period() {
    let mut play = Play::up(hooked());
    play.started(0);
    play.delete(3);
    let end = play.now + SignedDuration::from_secs(5);
    assert_eq!(play.pass(3), [signal(0), Action::WakeAt(end)]);
    assert_eq!(play.pass(2), [kill(0)]);
}

#[test]
fn sidecars_end_after_the_containers_in_reverse_order() {
    let mut play = Play::up(json!({
        "restartPolicy": "Never",
        "initContainers": [
            {"name": "s1", "image": "x", "restartPolicy": "Always"},
            {"name": "s2", "image": "x", "restartPolicy": "Always"},
        ],
        "containers": [{"name": "c", "image": "x"}],
    }));
    play.started(0);
    play.started(1);
    play.started(2);
    assert!(play.exited(2, 0).contains(&signal(1)));
    assert!(play.exited(1, 143).contains(&signal(0)));
    assert_eq!(play.phase(), "Running");
    assert!(play.exited(0, 143).contains(&Action::RemoveSandbox));
    play.event(Event::SandboxRemoved);
    assert_eq!(
        play.phase(),
        "Succeeded",
        "how a sidecar ends does not matter"
    );
}

#[test]
fn the_deadline_ends_the_pod() {
    let mut play = Play::new(json!({
        "activeDeadlineSeconds": 20,
        "restartPolicy": "Never",
        "containers": [{"name": "c", "image": "x"}],
    }));
    let end = play.now + SignedDuration::from_secs(20);
    assert_eq!(play.actions, [Action::MountVolumes, Action::WakeAt(end)]);
    play.event(Event::VolumesMounted);
    play.event(Event::SandboxReady { ip: None });
    play.started(0);
    assert!(play.pass(20).contains(&signal(0)));
    play.exited(0, 143);
    play.event(Event::SandboxRemoved);
    assert_eq!(play.phase(), "Failed");
    assert_eq!(play.status.reason.as_deref(), Some("DeadlineExceeded"));
    assert_eq!(play.reasons(), ["DeadlineExceeded", "Killing"]);
}

#[test]
fn an_evicted_pod_fails_and_says_why_also_while_it_is_deleted() {
    let mut play = Play::up(one_container());
    play.started(0);
    let message = "Usage of EmptyDir volume \"v\" exceeds the limit \"1Mi\". ".to_owned();
    play.event(Event::Evicted {
        message: message.clone(),
    });
    assert!(play.actions.contains(&signal(0)));
    assert_eq!(play.pass(1), [kill(0)]);
    play.exited(0, 137);
    play.event(Event::SandboxRemoved);
    assert_eq!(play.phase(), "Failed");
    assert_eq!(play.status.reason.as_deref(), Some("Evicted"));
    let reason = Some("TerminationByKubelet".to_owned());
    assert_eq!(
        play.condition("DisruptionTarget"),
        ("True".into(), reason, Some(message))
    );
    assert_eq!(play.delete(30), [Action::Delete]);
    assert_eq!(play.status.reason.as_deref(), Some("Evicted"));
}

#[test]
fn a_pod_that_a_critical_one_pushes_out_fails_and_says_why() {
    let mut play = Play::up(one_container());
    play.started(0);
    play.event(Event::Preempted);
    assert!(play.actions.contains(&signal(0)));
    play.exited(0, 143);
    play.event(Event::SandboxRemoved);
    assert_eq!(play.phase(), "Failed");
    assert_eq!(play.status.reason.as_deref(), Some("Preempting"));
    let message = Some("Preempted in order to admit critical pod");
    assert_eq!(play.status.message.as_deref(), message);
    let reason = Some("TerminationByKubelet".to_owned());
    let told = "Pod was preempted by Kubelet to accommodate a critical pod.".to_owned();
    assert_eq!(
        play.condition("DisruptionTarget"),
        ("True".into(), reason, Some(told))
    );
    assert!(play.reasons().contains(&"Preempting"));
}

#[test]
fn a_pod_deleted_while_it_waits_for_its_volumes_goes_at_once() {
    let mut play = Play::new(one_container());
    assert_eq!(play.delete(30), [Action::CancelMounts, Action::Delete]);
}

#[test]
fn a_pod_deleted_while_a_container_starts_cancels_the_start() {
    let mut play = Play::up(one_container());
    assert_eq!(play.delete(30), [Action::CancelStart { container: 0 }]);
    let failure = crate::pod::container::StartFailure::Cancelled;
    let actions = play.event(Event::StartFailed {
        container: 0,
        failure,
    });
    assert_eq!(actions, [Action::RemoveSandbox]);
}

#[test]
fn a_start_that_succeeds_after_the_deletion_is_stopped() {
    let mut play = Play::up(one_container());
    play.delete(30);
    assert!(play.started(0).contains(&signal(0)));
}

#[test]
fn a_refused_pod_fails_tells_nothing_else_and_goes_when_it_is_deleted() {
    let mut play = Play::new(one_container());
    let pod = play.state.pod().clone();
    play.state = PodState::new(pod, "10.0.0.1", play.now);
    let refused = Event::Refused {
        reason: "OutOfcpu".into(),
        message: "too much".into(),
    };
    assert_eq!(play.event(refused), []);
    assert_eq!(play.records.last().unwrap().message, "too much");
    assert_eq!(play.records.last().unwrap().reason, "OutOfcpu");
    let status = serde_json::to_value(&play.status).unwrap();
    let expected = json!({
        "phase": "Failed", "reason": "OutOfcpu", "message": "Pod was rejected: too much",
        "qosClass": "BestEffort", "startTime": "1970-01-01T00:16:40Z", "observedGeneration": 1,
        "conditions": [],
    });
    assert_eq!(status, expected);
    assert_eq!(play.delete(30), [Action::Delete]);
    assert_eq!(play.event(Event::Gone), [Action::Forget]);
}

#[test]
fn a_container_that_never_came_to_run_ends_as_unknown_with_its_pod() {
    let lost = json!({
        "exitCode": 137, "reason": "ContainerStatusUnknown",
        "message": "The container could not be located when the pod was terminated",
    });
    let pull = || Event::StartFailed {
        container: 0,
        failure: StartFailure::ImagePull("not found".into()),
    };
    let mut play = Play::up(json!({
        "activeDeadlineSeconds": 5, "containers": [{"name": "c", "image": "x"}],
    }));
    play.event(pull());
    play.pass(5);
    play.event(Event::SandboxRemoved);
    assert_eq!(play.phase(), "Failed");
    assert_eq!(play.container(0)["state"]["terminated"], lost);
    assert_eq!(play.condition("Ready").1.as_deref(), Some("PodFailed"));

    let mut play = Play::up(one_container());
    play.event(pull());
    play.delete(0);
    play.event(Event::SandboxRemoved);
    assert_eq!(play.phase(), "Failed");
    assert_eq!(play.container(0)["state"]["terminated"], lost);
    let condition = play.condition("Ready");
    assert_eq!(condition.1.as_deref(), Some("ContainersNotReady"));

    // Where an init container was still at work, those after it had not come to their turn.
    let mut play = Play::up(json!({
        "initContainers": [{"name": "i", "image": "x"}, {"name": "j", "image": "x"}],
        "containers": [{"name": "c", "image": "x"}],
    }));
    play.event(pull());
    play.delete(0);
    play.event(Event::SandboxRemoved);
    let inits = serde_json::to_value(&play.status.init_container_statuses).unwrap();
    assert_eq!(inits[0]["state"]["terminated"], lost);
    assert_eq!(inits[1]["state"]["waiting"]["reason"], "PodInitializing");
    assert_eq!(
        play.container(0)["state"]["waiting"]["reason"],
        "PodInitializing"
    );
}

#[test]
fn a_container_between_two_runs_ends_as_its_last_run_did() {
    let mut play = Play::up(one_container());
    for _ in 0..2 {
        play.started(0);
        play.exited(0, 3);
    }
    assert_eq!(
        play.container(0)["state"]["waiting"]["reason"],
        "CrashLoopBackOff"
    );
    play.delete(30);
    play.event(Event::SandboxRemoved);
    assert_eq!(play.container(0)["state"]["terminated"]["exitCode"], 3);
}
