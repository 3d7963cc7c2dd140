//! Promises of the pod machine, each played through events at chosen times.

mod endings;
mod resizing;
mod restarts;
mod starting;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use serde_json::{Value, json};

use super::{Action, Event, PodState, Record};

/// A machine with a clock in hand and everything it has asked for so far.
struct Play {
    state: PodState,
    now: Timestamp,
    actions: Vec<Action>,
    records: Vec<Record>,
    status: PodStatus,
}

impl Play {
    #[expect(clippy::needless_pass_by_value, reason = "json! makes values")]
    fn new(spec: Value) -> Self {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "ns", "uid": "u-1", "generation": 1},
            "spec": spec,
        }))
        .unwrap();
        let now = Timestamp::from_second(1_000).unwrap();
        let mut play = Self {
            state: PodState::new(pod.clone(), "10.0.0.1", now),
            now,
            actions: Vec::new(),
            records: Vec::new(),
            status: PodStatus::default(),
        };
        play.event(Event::Seen(Box::new(pod)));
        play
    }

    /// A pod with its volumes and namespaces in place.
    fn up(spec: Value) -> Self {
        let mut play = Self::new(spec);
        play.event(Event::VolumesMounted);
        play.event(Event::SandboxReady {
            ip: Some("10.42.0.2".into()),
        });
        play
    }

    fn event(&mut self, event: Event) -> &[Action] {
        self.actions.clear();
        for action in self.state.step(event, self.now) {
            match action {
                Action::Record(record) => self.records.push(record),
                Action::WriteStatus(status) => self.status = *status,
                other => self.actions.push(other),
            }
        }
        &self.actions
    }

    fn pass(&mut self, seconds: i64) -> &[Action] {
        self.now += SignedDuration::from_secs(seconds);
        self.event(Event::Tick)
    }

    fn started(&mut self, container: usize) -> &[Action] {
        self.event(Event::Started {
            container,
            container_id: format!("containerd://{container}"),
            image: "busybox".into(),
            image_id: "sha256:1".into(),
            at: self.now,
        })
    }

    fn exited(&mut self, container: usize, code: i32) -> &[Action] {
        let at = self.now;
        self.event(Event::Exited {
            container,
            code,
            oom_killed: false,
            message: None,
            at,
        })
    }

    fn change(&mut self, change: impl FnOnce(&mut Pod)) -> &[Action] {
        let mut pod = self.state.pod().clone();
        change(&mut pod);
        self.event(Event::Seen(Box::new(pod)))
    }

    fn delete(&mut self, grace: i64) -> &[Action] {
        let now = self.now;
        self.change(|pod| {
            pod.metadata.deletion_timestamp = Some(now.into());
            pod.metadata.deletion_grace_period_seconds = Some(grace);
        })
    }

    fn phase(&self) -> &str {
        self.status.phase.as_deref().unwrap()
    }

    fn container(&self, index: usize) -> Value {
        let statuses = self.status.container_statuses.as_ref().unwrap();
        serde_json::to_value(&statuses[index]).unwrap()
    }

    fn condition(&self, kind: &str) -> (String, Option<String>, Option<String>) {
        let all = self.status.conditions.as_ref().unwrap();
        let found = all.iter().find(|c| c.type_ == kind).unwrap();
        (
            found.status.clone(),
            found.reason.clone(),
            found.message.clone(),
        )
    }

    fn reasons(&self) -> Vec<&str> {
        self.records.iter().map(|r| r.reason.as_ref()).collect()
    }
}

fn one_container() -> Value {
    json!({"containers": [{"name": "c", "image": "busybox"}]})
}

fn start(container: usize, run: u32) -> Action {
    Action::Start { container, run }
}

fn signal(container: usize) -> Action {
    Action::Signal {
        container,
        kill: false,
    }
}

fn kill(container: usize) -> Action {
    Action::Signal {
        container,
        kill: true,
    }
}
