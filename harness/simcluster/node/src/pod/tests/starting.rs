//! From the first sight of a pod to Ready.

use super::*;
use crate::pod::{
    container::StartFailure,
    probes::{ProbeKind, ProbeOutcome},
};

#[test]
fn volumes_then_sandbox_then_containers_one_after_another() {
    let mut play = Play::new(json!({"containers": [
        {"name": "a", "image": "x"}, {"name": "b", "image": "x"},
    ]}));
    assert_eq!(play.actions, [Action::MountVolumes]);
    assert_eq!(play.event(Event::VolumesMounted), [Action::CreateSandbox]);
    assert_eq!(play.condition("PodReadyToStartContainers").0, "False");
    assert_eq!(
        play.event(Event::SandboxReady {
            ip: Some("10.42.0.2".into())
        }),
        [start(0, 0)]
    );
    assert_eq!(play.condition("PodReadyToStartContainers").0, "True");
    assert_eq!(play.status.pod_ip.as_deref(), Some("10.42.0.2"));
    assert_eq!(play.started(0), [start(1, 0)]);
    assert_eq!(play.phase(), "Pending", "b is still waiting");
    play.started(1);
    assert_eq!(play.phase(), "Running");
    assert_eq!(play.condition("Ready").0, "True");
    assert_eq!(play.container(0)["started"], true);
}

#[test]
fn a_new_pod_says_what_it_waits_for() {
    let play = Play::new(one_container());
    assert_eq!(play.phase(), "Pending");
    assert_eq!(
        play.container(0)["state"]["waiting"]["reason"],
        "ContainerCreating"
    );
    assert_eq!(
        play.condition("Ready"),
        (
            "False".into(),
            Some("ContainersNotReady".into()),
            Some("containers with unready status: [c]".into())
        )
    );
    assert_eq!(play.condition("Initialized").0, "True");
    assert_eq!(play.status.host_ip.as_deref(), Some("10.0.0.1"));
    assert_eq!(play.status.qos_class.as_deref(), Some("BestEffort"));
}

#[test]
fn init_containers_run_in_order_before_the_rest() {
    let mut play = Play::up(json!({
        "initContainers": [{"name": "one", "image": "x"}, {"name": "two", "image": "x"}],
        "containers": [{"name": "c", "image": "x"}],
    }));
    assert_eq!(play.actions, [start(0, 0)]);
    assert_eq!(play.started(0), []);
    assert_eq!(
        play.condition("Initialized").2.as_deref(),
        Some("containers with incomplete status: [one two]")
    );
    assert_eq!(
        play.container(0)["state"]["waiting"]["reason"],
        "PodInitializing"
    );
    assert_eq!(
        play.exited(0, 0),
        [Action::StopProbes { container: 0 }, start(1, 0)]
    );
    play.started(1);
    assert_eq!(play.phase(), "Pending");
    assert_eq!(
        play.exited(1, 0),
        [Action::StopProbes { container: 1 }, start(2, 0)]
    );
    play.started(2);
    assert_eq!(play.phase(), "Running");
    assert_eq!(play.condition("Initialized"), ("True".into(), None, None));
}

#[test]
fn a_sidecar_holds_the_next_until_its_startup_probe_succeeds() {
    let mut play = Play::up(json!({
        "initContainers": [
            {"name": "side", "image": "x", "restartPolicy": "Always", "startupProbe": {}},
        ],
        "containers": [{"name": "c", "image": "x"}],
    }));
    let probe = Action::StartProbe {
        container: 0,
        run: 0,
        kind: ProbeKind::Startup,
    };
    assert_eq!(play.started(0), [probe]);
    let outcome = ProbeOutcome::Success;
    let actions = play.event(Event::Probed {
        container: 0,
        run: 0,
        kind: ProbeKind::Startup,
        outcome,
    });
    assert_eq!(actions, [Action::StopProbes { container: 0 }, start(1, 0)]);
    play.started(1);
    assert_eq!(play.condition("Ready").0, "True");
}

#[test]
fn a_container_runs_in_the_status_only_after_its_post_start_hook() {
    let mut play = Play::up(json!({"containers": [
        {"name": "a", "image": "x", "lifecycle": {"postStart": {"exec": {"command": ["x"]}}}},
        {"name": "b", "image": "x"},
    ]}));
    assert_eq!(
        play.started(0),
        [Action::PostStart {
            container: 0,
            run: 0
        }]
    );
    assert_eq!(
        play.container(0)["state"]["waiting"]["reason"],
        "ContainerCreating"
    );
    let done = Event::PostStarted {
        container: 0,
        run: 0,
        result: Ok(()),
    };
    assert_eq!(
        play.event(done),
        [start(1, 0)],
        "the next one waits for the hook"
    );
    assert!(play.container(0)["state"]["running"].is_object());
}

#[test]
fn a_failed_post_start_hook_kills_the_container() {
    let mut play = Play::up(json!({"containers": [
        {"name": "a", "image": "x", "lifecycle": {"postStart": {"exec": {"command": ["x"]}}}},
    ]}));
    play.started(0);
    let failed = Event::PostStarted {
        container: 0,
        run: 0,
        result: Err("exit 1".into()),
    };
    assert!(play.event(failed).contains(&signal(0)));
    assert_eq!(play.reasons(), ["FailedPostStartHook", "Killing"]);
}

#[test]
fn readiness_follows_the_probe_and_the_gates() {
    let mut play = Play::up(json!({
        "readinessGates": [{"conditionType": "example.com/ok"}],
        "containers": [{"name": "c", "image": "x", "readinessProbe": {"failureThreshold": 1}}],
    }));
    play.started(0);
    assert_eq!(play.condition("ContainersReady").0, "False");
    let probed = |outcome| Event::Probed {
        container: 0,
        run: 0,
        kind: ProbeKind::Readiness,
        outcome,
    };
    play.event(probed(ProbeOutcome::Success));
    assert_eq!(play.condition("ContainersReady").0, "True");
    assert_eq!(
        play.condition("Ready").2.as_deref(),
        Some("corresponding condition of pod readiness gate \"example.com/ok\" does not exist.")
    );
    play.change(|pod| {
        pod.status = serde_json::from_value(
            json!({"conditions": [{"type": "example.com/ok", "status": "True"}]}),
        )
        .unwrap();
    });
    assert_eq!(play.condition("Ready").0, "True");
    play.event(probed(ProbeOutcome::Failure("no".into())));
    assert_eq!(
        play.condition("Ready").1.as_deref(),
        Some("ContainersNotReady")
    );
    assert_eq!(
        play.records.last().unwrap().message,
        "Readiness probe failed: no"
    );
}

#[test]
fn a_failed_pull_shows_the_error_then_backs_off_and_tries_again() {
    let mut play = Play::up(one_container());
    let failure = StartFailure::ImagePull("no such image".into());
    play.event(Event::StartFailed {
        container: 0,
        failure,
    });
    let waiting = &play.container(0)["state"]["waiting"];
    assert_eq!(waiting["reason"], "ErrImagePull");
    assert_eq!(waiting["message"], "no such image");
    let retry = play.now + SignedDuration::from_secs(11);
    assert_eq!(play.pass(1), [Action::WakeAt(retry)]);
    let waiting = &play.container(0)["state"]["waiting"];
    assert_eq!(waiting["reason"], "ImagePullBackOff");
    assert_eq!(
        waiting["message"],
        "Back-off pulling image \"busybox\": ErrImagePull: no such image"
    );
    assert_eq!(play.pass(10), [start(0, 0)]);
    assert_eq!(play.container(0)["restartCount"], 0);
    assert_eq!(play.phase(), "Pending");
    assert_eq!(play.reasons(), ["Failed", "BackOff", "Failed"]);
}

#[test]
fn a_wrong_configuration_is_shown_and_tried_again() {
    let mut play = Play::up(one_container());
    let failure = StartFailure::Config("secret \"s\" not found".into());
    play.event(Event::StartFailed {
        container: 0,
        failure,
    });
    let waiting = &play.container(0)["state"]["waiting"];
    assert_eq!(waiting["reason"], "CreateContainerConfigError");
    assert_eq!(play.records[0].message, "Error: secret \"s\" not found");
    assert_eq!(play.pass(2), [start(0, 0)]);
}

#[test]
fn a_program_that_cannot_be_run_is_a_failed_run() {
    let mut play = Play::up(one_container());
    let failure = StartFailure::Run("exec: \"nosuch\": not found".into());
    play.event(Event::StartFailed {
        container: 0,
        failure,
    });
    assert_eq!(
        play.actions,
        [start(0, 1)],
        "the first restart is immediate"
    );
    let status = play.container(0);
    assert_eq!(status["state"]["waiting"]["reason"], "RunContainerError");
    assert_eq!(status["lastState"]["terminated"]["reason"], "StartError");
    assert_eq!(status["lastState"]["terminated"]["exitCode"], 128);
}

#[test]
fn a_container_added_to_look_into_a_pod_starts_at_once_and_changes_nothing_else() {
    let spec = json!({
        "initContainers": [{"name": "i", "image": "x"}],
        "containers": [{"name": "c", "image": "x"}],
    });
    let mut play = Play::up(spec.clone());
    play.started(0);
    let mut pod = play.state.pod().clone();
    let added = json!([{"name": "look", "image": "y", "targetContainerName": "c"}]);
    pod.spec.as_mut().unwrap().ephemeral_containers = Some(serde_json::from_value(added).unwrap());
    assert_eq!(
        play.event(Event::Seen(Box::new(pod))),
        [start(2, 0)],
        "it does not wait for init containers"
    );
    play.started(2);
    let seen = |play: &Play| {
        let all = play.status.ephemeral_container_statuses.as_ref();
        serde_json::to_value(&all.unwrap()[0]).unwrap()
    };
    assert_eq!(seen(&play)["name"], "look");
    assert_ne!(seen(&play)["state"]["running"], serde_json::Value::Null);
    assert_eq!(seen(&play)["ready"], false);
    assert_eq!(play.phase(), "Pending");
    play.exited(2, 1);
    assert_eq!(seen(&play)["state"]["terminated"]["exitCode"], 1);
    assert_eq!(
        play.actions,
        [Action::StopProbes { container: 2 }],
        "it does not run again"
    );
    play.exited(0, 0);
    play.started(1);
    assert_eq!(play.condition("Ready").0, "True");
}
