//! Restart policies, back-off and what the statuses say meanwhile.

use super::*;
use crate::pod::probes::{ProbeKind, ProbeOutcome};

fn wake(at: Timestamp) -> Action {
    Action::WakeAt(at)
}

#[test]
fn a_crashing_container_restarts_at_once_and_then_backs_off() {
    let mut play = Play::up(one_container());
    play.started(0);
    assert_eq!(
        play.exited(0, 5),
        [Action::StopProbes { container: 0 }, start(0, 1)]
    );
    assert_eq!(
        play.container(0)["restartCount"],
        0,
        "the next run does not exist yet"
    );
    play.started(0);
    let status = play.container(0);
    assert_eq!(status["restartCount"], 1);
    assert_eq!(status["lastState"]["terminated"]["exitCode"], 5);
    assert_eq!(status["lastState"]["terminated"]["reason"], "Error");
    assert_eq!(play.phase(), "Running");

    let later = play.now + SignedDuration::from_secs(10);
    assert_eq!(
        play.exited(0, 5),
        [Action::StopProbes { container: 0 }, wake(later)]
    );
    let status = play.container(0);
    assert_eq!(status["state"]["waiting"]["reason"], "CrashLoopBackOff");
    assert_eq!(
        status["state"]["waiting"]["message"],
        "back-off 10s restarting failed container=c pod=p_ns(u-1)"
    );
    assert_eq!(status["restartCount"], 1);
    assert_eq!(
        play.records.last().unwrap().message,
        "Back-off restarting failed container c in pod p_ns(u-1)"
    );
    assert_eq!(play.phase(), "Running");
    assert_eq!(play.pass(9), []);
    assert_eq!(play.pass(1), [start(0, 2)]);
}

#[test]
fn on_failure_restarts_failures_only() {
    let spec = json!({"restartPolicy": "OnFailure", "containers": [{"name": "c", "image": "x"}]});
    let mut play = Play::up(spec);
    play.started(0);
    assert!(play.exited(0, 1).contains(&start(0, 1)));
    play.started(0);
    assert!(play.exited(0, 0).contains(&Action::RemoveSandbox));
    play.event(Event::SandboxRemoved);
    assert_eq!(play.phase(), "Succeeded");
}

#[test]
fn a_containers_own_rules_come_before_the_pods_policy() {
    let mut play = Play::up(json!({"restartPolicy": "Never", "containers": [{
        "name": "c", "image": "x", "restartPolicy": "Never",
        "restartPolicyRules": [
            {"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}},
        ],
    }]}));
    play.started(0);
    assert!(play.exited(0, 42).contains(&start(0, 1)));
    play.started(0);
    assert!(play.exited(0, 1).contains(&Action::RemoveSandbox));
}

#[test]
fn a_failed_liveness_probe_restarts_the_container() {
    let mut play = Play::up(json!({"containers": [
        {"name": "c", "image": "x", "livenessProbe": {"failureThreshold": 2}},
    ], "terminationGracePeriodSeconds": 0}));
    play.started(0);
    let failed = || Event::Probed {
        container: 0,
        run: 0,
        kind: ProbeKind::Liveness,
        outcome: ProbeOutcome::Failure("exit 1".into()),
    };
    play.event(failed());
    assert!(!play.actions.contains(&signal(0)));
    assert!(play.event(failed()).contains(&signal(0)));
    assert_eq!(
        play.records.last().unwrap().message,
        "Container c failed liveness probe, will be restarted"
    );
    let records = play.records.len();
    play.event(failed());
    assert_eq!(
        play.records.len(),
        records,
        "what ends already is not complained of again"
    );
    assert_eq!(play.pass(2), [kill(0)], "two seconds are the least it gets");
    assert!(play.exited(0, 137).contains(&start(0, 1)));
    play.started(0);
    assert_eq!(
        play.container(0)["lastState"]["terminated"]["exitCode"],
        137
    );
}

#[test]
fn a_failed_startup_probe_ends_a_container_that_is_never_restarted() {
    let mut play = Play::up(json!({"restartPolicy": "Never", "containers": [
        {"name": "c", "image": "x", "startupProbe": {"failureThreshold": 1}},
    ]}));
    play.started(0);
    let failed = Event::Probed {
        container: 0,
        run: 0,
        kind: ProbeKind::Startup,
        outcome: ProbeOutcome::Failure("exit 1".into()),
    };
    assert!(play.event(failed).contains(&signal(0)));
    assert_eq!(
        play.records.last().unwrap().message,
        "Container c failed startup probe"
    );
    assert!(play.exited(0, 143).contains(&Action::RemoveSandbox));
}

#[test]
fn a_failed_init_container_is_tried_again_unless_the_policy_is_never() {
    let spec = |policy: &str| {
        json!({
            "restartPolicy": policy,
            "initContainers": [{"name": "i", "image": "x"}],
            "containers": [{"name": "c", "image": "x"}],
        })
    };
    let mut play = Play::up(spec("Always"));
    play.started(0);
    assert!(play.exited(0, 1).contains(&start(0, 1)));

    let mut play = Play::up(spec("Never"));
    play.started(0);
    assert!(play.exited(0, 1).contains(&Action::RemoveSandbox));
    play.event(Event::SandboxRemoved);
    assert_eq!(play.phase(), "Failed");
    assert_eq!(
        play.condition("Initialized").1.as_deref(),
        Some("ContainersNotInitialized")
    );
    assert_eq!(
        play.container(0)["state"]["waiting"]["reason"],
        "PodInitializing"
    );
}

#[test]
fn a_changed_image_restarts_the_container() {
    let mut play = Play::up(one_container());
    play.started(0);
    play.change(|pod| {
        pod.spec.as_mut().unwrap().containers[0].image = Some("busybox:2".into());
    });
    assert!(play.actions.contains(&signal(0)));
    assert_eq!(
        play.records.last().unwrap().message,
        "Container c definition changed, will be restarted"
    );
    assert!(play.exited(0, 0).contains(&start(0, 1)));
}

#[test]
fn a_result_of_an_earlier_run_changes_nothing() {
    let mut play = Play::up(json!({"containers": [
        {"name": "c", "image": "x", "livenessProbe": {"failureThreshold": 1}},
    ]}));
    play.started(0);
    play.exited(0, 1);
    play.started(0);
    let stale = Event::Probed {
        container: 0,
        run: 0,
        kind: ProbeKind::Liveness,
        outcome: ProbeOutcome::Failure("late".into()),
    };
    assert_eq!(play.event(stale), []);
}

#[test]
fn a_container_whose_post_start_hook_failed_was_never_seen_to_run() {
    let mut play = Play::up(json!({"containers": [
        {"name": "a", "image": "x", "lifecycle": {"postStart": {"exec": {"command": ["x"]}}}},
    ]}));
    play.started(0);
    play.pass(3);
    play.event(Event::PostStarted {
        container: 0,
        run: 0,
        result: Err("the hook's words".into()),
    });
    assert_eq!(
        play.container(0)["state"]["waiting"]["reason"],
        "ContainerCreating"
    );
    assert_eq!(play.phase(), "Pending");
    assert!(play.exited(0, 137).contains(&start(0, 1)));
    let shown = play.container(0);
    let waiting = json!({"reason": "PostStartHookError", "message": "the hook's words"});
    assert_eq!(shown["state"]["waiting"], waiting);
    let last = &shown["lastState"]["terminated"];
    assert_eq!(last["exitCode"], 137);
    assert_eq!(last["startedAt"], "1970-01-01T00:16:40Z");
    assert_eq!(last["finishedAt"], "1970-01-01T00:16:43Z");
}
