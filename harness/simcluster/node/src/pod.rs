//! The pod machine: what a node does with one pod, as a pure function of what happened.
//!
//! [`PodState::step`] takes one [`Event`] and the time, and answers with the [`Action`]s that follow.
//! It performs none of them: the worker of a pod does, against processes, and a model could against
//! functions. It has no clock, no I/O, no randomness; the same events at the same times give the same
//! actions.
//!
//! The parts: [`absorb`] takes events in, [`container`] is one container's state and restart rules, [`decide`] what is to be done
//! next, [`stop`] how running containers end, [`probes`] what probe results add up to, [`backoff`] how
//! long failures wait, [`resize`] other resources, [`status`] and [`conditions`] what the API is told, [`qos`] its resources.

use std::borrow::Cow;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, PodStatus, ResourceRequirements};

pub mod absorb;
pub mod backoff;
pub mod conditions;
pub mod container;
pub mod decide;
pub mod probes;
pub mod qos;
pub mod resize;
pub mod status;
pub mod stop;
#[cfg(test)]
mod tests;

use container::{Activity, ContainerState, Role, StartFailure, StopPhase};
use probes::{ProbeKind, ProbeOutcome};

/// Something that happened to a pod. Container numbers count init containers first.
#[derive(Clone, Debug)]
pub enum Event {
    /// The API object was seen, for the first time or changed.
    Seen(Box<Pod>),
    /// The API object is gone; what still runs must end.
    Gone,
    /// The node does not take the pod.
    Refused {
        /// In one word.
        reason: String,
        /// In a sentence.
        message: String,
    },
    /// Time has passed: an awaited moment has come.
    Tick,
    /// All volumes are in place.
    VolumesMounted,
    /// The pod uses more of the node than it may, and has to go.
    Evicted {
        /// Of what, for its status.
        message: String,
    },
    /// A critical pod needs what this one has.
    Preempted,
    /// The pod's namespaces exist.
    SandboxReady {
        /// The pod's addresses in them.
        ip: Option<String>,
    },
    /// They could not be made.
    SandboxFailed,
    /// They are gone again, with every process in them.
    SandboxRemoved,
    /// A container's program runs.
    Started {
        /// Which container.
        container: usize,
        /// `containerID`
        container_id: String,
        /// `image`
        image: String,
        /// `imageID`
        image_id: String,
        /// `startedAt`
        at: Timestamp,
    },
    /// A container did not come to run.
    StartFailed {
        /// Which container.
        container: usize,
        /// Why.
        failure: StartFailure,
    },
    /// A `postStart` hook ended.
    PostStarted {
        /// Which container.
        container: usize,
        /// Which run of it.
        run: u32,
        /// The error's text, if it failed.
        result: Result<(), String>,
    },
    /// A `preStop` hook ended.
    PreStopped {
        /// Which container.
        container: usize,
        /// Which run of it.
        run: u32,
        /// The error's text, if it failed.
        result: Result<(), String>,
    },
    /// A container's program ended.
    Exited {
        /// Which container.
        container: usize,
        /// Exit code, 128 + signal when killed.
        code: i32,
        /// Killed for its memory limit.
        oom_killed: bool,
        /// The termination message.
        message: Option<String>,
        /// `finishedAt`
        at: Timestamp,
    },
    /// Whether there is room for what the pod wants instead of what it was granted.
    ResizeJudged {
        /// Which question it answers.
        question: u32,
        /// The answer.
        fit: resize::Fit,
    },
    /// A running container was given other limits, or could not be; then it is tried again.
    Limited {
        /// Which container.
        container: usize,
        /// Which run of it.
        run: u32,
        /// Which ones.
        resources: Box<ResourceRequirements>,
        /// The error's text, if it failed.
        result: Result<(), String>,
    },
    /// A probe has a result.
    Probed {
        /// Which container.
        container: usize,
        /// Which run of it.
        run: u32,
        /// Which probe.
        kind: ProbeKind,
        /// The result.
        outcome: ProbeOutcome,
    },
}

/// Something to be done for a pod.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Put all volumes in place, trying again until it works; then [`Event::VolumesMounted`].
    MountVolumes,
    /// Stop trying to.
    CancelMounts,
    /// Make the pod's namespaces; then [`Event::SandboxReady`] or [`Event::SandboxFailed`].
    CreateSandbox,
    /// Remove them with every process; then [`Event::SandboxRemoved`].
    RemoveSandbox,
    /// Pull the image, make and start the container; then [`Event::Started`] or [`Event::StartFailed`].
    Start {
        /// Which container.
        container: usize,
        /// The number of the run.
        run: u32,
    },
    /// Give up a start that is under way; it still answers with one of the two events.
    CancelStart {
        /// Which container.
        container: usize,
    },
    /// Run the `postStart` hook; then [`Event::PostStarted`].
    PostStart {
        /// Which container.
        container: usize,
        /// The number of the run.
        run: u32,
    },
    /// Run the `preStop` hook; then [`Event::PreStopped`].
    PreStop {
        /// Which container.
        container: usize,
        /// The number of the run.
        run: u32,
        /// It is abandoned after this time.
        limit: SignedDuration,
    },
    /// Send the stop signal, or SIGKILL.
    Signal {
        /// Which container.
        container: usize,
        /// SIGKILL instead of the container's stop signal.
        kill: bool,
    },
    /// Probe the container periodically from now on: [`Event::Probed`].
    StartProbe {
        /// Which container.
        container: usize,
        /// The number of the run.
        run: u32,
        /// Which probe.
        kind: ProbeKind,
    },
    /// Stop all probes of the container.
    StopProbes {
        /// Which container.
        container: usize,
    },
    /// Find out whether there is room for what the pod wants: [`Event::ResizeJudged`], again while it has to wait.
    JudgeResize {
        /// Which question it is; none stops asking.
        question: Option<u32>,
    },
    /// Give a running container other limits; then [`Event::Limited`].
    Limit {
        /// Which container.
        container: usize,
        /// The number of the run.
        run: u32,
        /// Which ones.
        resources: Box<ResourceRequirements>,
    },
    /// Record an Event of the pod.
    Record(Record),
    /// Tell the API.
    WriteStatus(Box<PodStatus>),
    /// Send [`Event::Tick`] at this time; it replaces an earlier request.
    WakeAt(Timestamp),
    /// Nothing of the pod runs and the API object waits for its deletion: take its volumes down, remove
    /// the object with a grace period of 0.
    Delete,
    /// Nothing of the pod runs and its API object is gone: remove what is left on the node.
    Forget,
}

/// An Event about a pod or one of its containers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The container it is about, or the whole pod.
    pub container: Option<usize>,
    /// `type: Warning` instead of `Normal`.
    pub warning: bool,
    /// `reason`
    pub reason: Cow<'static, str>,
    /// `message`
    pub message: String,
}

/// Where something that exists once per pod stands.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Absent,
    Making,
    Ready,
    Failed { retry_at: Timestamp },
    Removing,
    Removed,
}

/// Why a pod ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Its containers have done what they were for, or failed for good.
    Completed,
    /// `activeDeadlineSeconds` is over.
    Deadline,
    /// It uses more of the node than it may, or another pod needs what it has.
    Evicted,
    /// The node has not taken it.
    Refused,
    /// It was deleted.
    Deleted,
}

/// Whether the node has taken a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Taken,
    /// Nothing of it was ever on the node, and its status tells nothing but why.
    Refused,
}

/// Everything a node knows of one pod.
#[derive(Clone, Debug)]
pub struct PodState {
    pod: Pod,
    host_ip: String,
    start_time: Timestamp,
    volumes: Part,
    sandbox: Part,
    ip: Option<String>,
    containers: Vec<ContainerState>,
    ending: Option<Ending>,
    /// `reason` and `message` of a pod that the node has made fail.
    failure: Option<(Cow<'static, str>, String)>,
    standing: Standing,
    /// The grace period in force, and when it ends, once the pod ends.
    grace_ends: Option<Timestamp>,
    gone: bool,
    delete_asked: bool,
    forgotten: bool,
    resize: resize::Resizing,
    reported: Option<PodStatus>,
    wake_at: Option<Timestamp>,
}

impl PodState {
    /// A pod that the node has just been given.
    pub fn new(pod: Pod, host_ip: &str, now: Timestamp) -> Self {
        let spec = pod.spec.clone().unwrap_or_default();
        let reason = first_reason(&spec);
        let ephemeral = ephemeral_containers(&spec);
        let inits = spec.init_containers.unwrap_or_default();
        let mut containers: Vec<_> = inits
            .into_iter()
            .map(|c| ContainerState::init(c, reason))
            .collect();
        let later = [(spec.containers, Role::Main), (ephemeral, Role::Ephemeral)];
        containers.extend(later.into_iter().flat_map(|(all, role)| {
            all.into_iter()
                .map(move |c| ContainerState::new(c, role, reason))
        }));
        Self {
            pod,
            host_ip: host_ip.to_owned(),
            start_time: now,
            volumes: Part::Absent,
            sandbox: Part::Absent,
            ip: None,
            containers,
            ending: None,
            failure: None,
            standing: Standing::Taken,
            grace_ends: None,
            gone: false,
            delete_asked: false,
            forgotten: false,
            resize: resize::Resizing::default(),
            reported: None,
            wake_at: None,
        }
    }

    /// The API object as it was last seen.
    pub fn pod(&self) -> &Pod {
        &self.pod
    }

    /// The containers, init containers first.
    pub fn containers(&self) -> &[ContainerState] {
        &self.containers
    }

    /// Takes one event and answers with what follows from it.
    pub fn step(&mut self, event: Event, now: Timestamp) -> Vec<Action> {
        let mut actions = Vec::new();
        self.absorb(event, now, &mut actions);
        self.decide(now, &mut actions);
        self.report(now, &mut actions);
        self.finish(&mut actions);
        self.set_alarm(now, &mut actions);
        actions
    }

    fn spec(&self) -> Option<&PodSpec> {
        self.pod.spec.as_ref()
    }

    fn restart_policy(&self) -> String {
        self.spec()
            .and_then(|s| s.restart_policy.clone())
            .unwrap_or_else(|| "Always".into())
    }

    /// `terminationGracePeriodSeconds` of the spec.
    fn own_grace(&self) -> SignedDuration {
        let seconds = self
            .spec()
            .and_then(|s| s.termination_grace_period_seconds)
            .unwrap_or(30);
        SignedDuration::from_secs(seconds)
    }

    /// `name_namespace(uid)`, as messages call a pod.
    fn full_name(&self) -> String {
        let meta = &self.pod.metadata;
        format!(
            "{}_{}({})",
            meta.name.as_deref().unwrap_or_default(),
            meta.namespace.as_deref().unwrap_or_default(),
            meta.uid.as_deref().unwrap_or_default()
        )
    }

    /// Asks to be woken at the nearest moment that something waits for.
    fn set_alarm(&mut self, now: Timestamp, out: &mut Vec<Action>) {
        let mut moments: Vec<Timestamp> = Vec::new();
        if let Part::Failed { retry_at } = self.sandbox {
            moments.push(retry_at);
        }
        if self.ending.is_none() {
            moments.extend(self.deadline());
        }
        for container in &self.containers {
            match (&container.stop, &container.activity) {
                (Some(stop), _) if stop.phase != StopPhase::Killed => moments.push(stop.kill_at),
                (_, Activity::Held { until }) if self.ending.is_none() => moments.push(*until),
                _ => {}
            }
        }
        let next = moments.into_iter().filter(|at| *at > now).min();
        if next.is_some() && next != self.wake_at {
            out.extend(next.map(Action::WakeAt));
        }
        self.wake_at = next;
    }

    /// When `activeDeadlineSeconds` is over.
    fn deadline(&self) -> Option<Timestamp> {
        let seconds = self.spec()?.active_deadline_seconds?;
        self.start_time
            .checked_add(SignedDuration::from_secs(seconds))
            .ok()
    }
}

/// Why a container that has not been tried yet waits.
fn first_reason(spec: &PodSpec) -> &'static str {
    match spec.init_containers.as_deref().unwrap_or_default() {
        [] => "ContainerCreating",
        [..] => "PodInitializing",
    }
}

/// `spec.ephemeralContainers`, as containers: all their fields but one are the same.
fn ephemeral_containers(spec: &PodSpec) -> Vec<Container> {
    let all = spec.ephemeral_containers.iter().flatten();
    all.filter_map(|container| {
        let fields = serde_json::to_value(container).ok()?;
        serde_json::from_value(fields).ok()
    })
    .collect()
}

/// Asks for an Event.
fn record(
    out: &mut Vec<Action>,
    container: Option<usize>,
    warning: bool,
    reason: impl Into<Cow<'static, str>>,
    message: impl Into<String>,
) {
    out.push(Action::Record(Record {
        container,
        warning,
        reason: reason.into(),
        message: message.into(),
    }));
}
