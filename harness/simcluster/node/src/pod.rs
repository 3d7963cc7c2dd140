//! The pod machine: what a node does with one pod, as a pure function of what happened.
//!
//! [`PodState::step`] takes one [`Event`] and the time, and answers with the [`Action`]s that follow.
//! It performs none of them: the worker of a pod does, against processes, and a model could against
//! functions. It has no clock, no I/O, no randomness; the same events at the same times give the same
//! actions.
//!
//! The parts: [`container`] is one container's state and restart rules, [`decide`] what is to be done
//! next, [`stop`] how running containers end, [`probes`] what probe results add up to, [`backoff`] how
//! long failures wait, [`status`] and [`conditions`] what the API is told, [`qos`] its resources.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, PodSpec, PodStatus};

pub mod backoff;
pub mod conditions;
pub mod container;
pub mod decide;
pub mod probes;
pub mod qos;
pub mod status;
pub mod stop;
#[cfg(test)]
mod tests;

use container::{Activity, ContainerState, Shown, StartFailure, StopPhase, Terminated};
use probes::{ProbeKind, ProbeOutcome};

/// Something that happened to a pod. Container numbers count init containers first.
#[derive(Clone, Debug)]
pub enum Event {
    /// The API object was seen, for the first time or changed.
    Seen(Box<Pod>),
    /// The API object is gone; what still runs must end.
    Gone,
    /// Time has passed: an awaited moment has come.
    Tick,
    /// All volumes are in place.
    VolumesMounted,
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
    pub reason: &'static str,
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
    /// It was deleted.
    Deleted,
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
    /// The grace period in force, and when it ends, once the pod ends.
    grace_ends: Option<Timestamp>,
    gone: bool,
    delete_asked: bool,
    forgotten: bool,
    reported: Option<PodStatus>,
    wake_at: Option<Timestamp>,
}

/// A sandbox that could not be made is tried again after this.
const SANDBOX_RETRY: SignedDuration = SignedDuration::from_secs(1);
/// How long after a failed pull `ErrImagePull` is shown, before `ImagePullBackOff` is.
const PULL_ERROR_SHOWN: SignedDuration = SignedDuration::from_secs(1);

impl PodState {
    /// A pod that the node has just been given.
    pub fn new(pod: Pod, host_ip: &str, now: Timestamp) -> Self {
        let spec = pod.spec.clone().unwrap_or_default();
        let inits = spec.init_containers.unwrap_or_default();
        let reason = if inits.is_empty() {
            "ContainerCreating"
        } else {
            "PodInitializing"
        };
        let mut containers: Vec<_> = inits
            .into_iter()
            .map(|c| ContainerState::new(c, true, reason))
            .collect();
        containers.extend(
            spec.containers
                .into_iter()
                .map(|c| ContainerState::new(c, false, reason)),
        );
        Self {
            pod,
            host_ip: host_ip.to_owned(),
            start_time: now,
            volumes: Part::Absent,
            sandbox: Part::Absent,
            ip: None,
            containers,
            ending: None,
            grace_ends: None,
            gone: false,
            delete_asked: false,
            forgotten: false,
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

    fn absorb(&mut self, event: Event, now: Timestamp, out: &mut Vec<Action>) {
        match event {
            Event::Seen(pod) => self.seen(*pod, now, out),
            Event::Gone => self.gone = true,
            Event::Tick => {}
            Event::VolumesMounted => self.volumes = Part::Ready,
            Event::SandboxReady { ip } => {
                self.sandbox = Part::Ready;
                self.ip = ip.or(self.ip.take());
            }
            Event::SandboxFailed => {
                self.sandbox = Part::Failed {
                    retry_at: now + SANDBOX_RETRY,
                };
            }
            Event::SandboxRemoved => self.sandbox = Part::Removed,
            Event::Started {
                container,
                container_id,
                image,
                image_id,
                at,
            } => {
                self.started(container, container_id, (image, image_id), at, out);
            }
            Event::StartFailed { container, failure } => {
                self.start_failed(container, failure, now, out);
            }
            Event::PostStarted {
                container,
                run,
                result,
            } => {
                self.post_started(container, run, result, now, out);
            }
            Event::PreStopped {
                container,
                run,
                result,
            } => {
                self.pre_stopped(container, run, result, now, out);
            }
            Event::Exited {
                container,
                code,
                oom_killed,
                message,
                at,
            } => {
                self.exited(container, code, oom_killed, message, at, now, out);
            }
            Event::Probed {
                container,
                run,
                kind,
                outcome,
            } => {
                self.probed(container, run, kind, outcome, now, out);
            }
        }
    }

    fn seen(&mut self, pod: Pod, now: Timestamp, out: &mut Vec<Action>) {
        let spec = pod.spec.clone().unwrap_or_default();
        let inits = spec.init_containers.unwrap_or_default();
        for (index, fresh) in inits.into_iter().chain(spec.containers).enumerate() {
            let Some(container) = self.containers.get_mut(index) else {
                break;
            };
            let replaced = container.spec.image != fresh.image;
            container.spec = fresh;
            if replaced && container.alive() && container.stop.is_none() && self.ending.is_none() {
                let name = container.spec.name.clone();
                let text = format!("Container {name} definition changed, will be restarted");
                self.begin_stop(index, self.own_grace(), stop::SHORTEST, text, now, out);
            }
        }
        self.pod = pod;
    }

    fn started(
        &mut self,
        index: usize,
        container_id: String,
        image: (String, String),
        at: Timestamp,
        out: &mut Vec<Action>,
    ) {
        let container = &mut self.containers[index];
        container.ran = true;
        container.run_to_count = true;
        container.container_id = Some(container_id);
        container.image = Some(image);
        container.probes = probes::ProbeResults::default();
        container.create_failures = 0;
        container.pull_error = None;
        let run = container.restart_count;
        if container
            .spec
            .lifecycle
            .as_ref()
            .is_some_and(|l| l.post_start.is_some())
        {
            container.activity = Activity::PostStart;
            // Kept for the moment the hook ends: the API shows the container as waiting until then.
            if let Shown::Terminated(ended) = &container.shown {
                container.last = Some(ended.clone());
                container.shown = Shown::waiting("ContainerCreating");
            }
            out.push(Action::PostStart {
                container: index,
                run,
            });
        } else {
            self.running(index, at, out);
        }
    }

    fn running(&mut self, index: usize, since: Timestamp, out: &mut Vec<Action>) {
        let container = &mut self.containers[index];
        let run = container.restart_count;
        if let Shown::Terminated(ended) = &container.shown {
            container.last = Some(ended.clone());
        }
        container.activity = Activity::Running;
        container.shown = Shown::Running { since };
        let startup = container.spec.startup_probe.is_some();
        for kind in [
            ProbeKind::Startup,
            ProbeKind::Readiness,
            ProbeKind::Liveness,
        ] {
            // Until the startup probe has succeeded, the others hold still.
            if kind.of(&container.spec).is_some() && (!startup || kind == ProbeKind::Startup) {
                out.push(Action::StartProbe {
                    container: index,
                    run,
                    kind,
                });
            }
        }
    }

    fn post_started(
        &mut self,
        index: usize,
        run: u32,
        result: Result<(), String>,
        now: Timestamp,
        out: &mut Vec<Action>,
    ) {
        let container = &self.containers[index];
        if container.activity != Activity::PostStart || container.restart_count != run {
            return;
        }
        if let Err(message) = result {
            self.record(
                out,
                Some(index),
                true,
                "FailedPostStartHook",
                "PostStartHook failed",
            );
            tracing::debug!(%message, "postStart hook failed");
            if self.containers[index].stop.is_none() {
                self.begin_stop(
                    index,
                    self.own_grace(),
                    stop::SHORTEST,
                    "FailedPostStartHook".into(),
                    now,
                    out,
                );
            }
        }
        self.running(index, now, out);
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of one event")]
    fn exited(
        &mut self,
        index: usize,
        code: i32,
        oom_killed: bool,
        message: Option<String>,
        at: Timestamp,
        now: Timestamp,
        out: &mut Vec<Action>,
    ) {
        let container = &mut self.containers[index];
        let started_at = match container.shown {
            Shown::Running { since } => since,
            Shown::Waiting { .. } | Shown::Terminated(_) => at,
        };
        let reason = match (oom_killed, code) {
            (true, _) => "OOMKilled",
            (false, 0) => "Completed",
            (false, _) => "Error",
        };
        container.stop = None;
        container.shown = Shown::Terminated(Terminated {
            exit_code: code,
            reason: reason.to_owned(),
            message,
            started_at,
            finished_at: at,
            container_id: container.container_id.clone(),
        });
        out.push(Action::StopProbes { container: index });
        self.settle(index, code, at, now, out);
    }

    /// After a run has ended: another one at once, later, or never.
    fn settle(
        &mut self,
        index: usize,
        code: i32,
        failed_at: Timestamp,
        now: Timestamp,
        out: &mut Vec<Action>,
    ) {
        let policy = self.restart_policy();
        let ending = self.ending.is_some();
        let container = &mut self.containers[index];
        if ending || !container.restarts_after(code, &policy) {
            container.activity = Activity::Finished;
            return;
        }
        match container.crashes.ready_at(failed_at, now) {
            None => container.activity = Activity::Idle,
            Some(until) => {
                container.activity = Activity::Held { until };
                self.crash_loop(index, out);
            }
        }
    }

    fn crash_loop(&mut self, index: usize, out: &mut Vec<Action>) {
        let pod = self.full_name();
        let container = &mut self.containers[index];
        if let Shown::Terminated(ended) = &container.shown {
            container.last = Some(ended.clone());
        }
        let name = &container.spec.name;
        let delay = backoff::go_seconds(container.crashes.delay());
        let message = format!("Back-off restarting failed container {name} in pod {pod}");
        container.shown = Shown::Waiting {
            reason: "CrashLoopBackOff".into(),
            message: Some(format!(
                "back-off {delay} restarting failed container={name} pod={pod}"
            )),
        };
        self.record(out, Some(index), true, "BackOff", message);
    }

    fn start_failed(
        &mut self,
        index: usize,
        failure: StartFailure,
        now: Timestamp,
        out: &mut Vec<Action>,
    ) {
        let container = &mut self.containers[index];
        if let Shown::Terminated(ended) = &container.shown {
            container.last = Some(ended.clone());
        }
        let (reason, message) = match failure {
            StartFailure::Cancelled => {
                container.activity = Activity::Idle;
                return;
            }
            StartFailure::ImagePull(message) => {
                container.pulls.tried(now);
                container.pull_error = Some(message.clone());
                container.activity = Activity::Held {
                    until: now + PULL_ERROR_SHOWN,
                };
                ("ErrImagePull", message)
            }
            StartFailure::ImageNeverPull(message) => ("ErrImageNeverPull", message),
            StartFailure::InvalidImageName(message) => ("InvalidImageName", message),
            StartFailure::Config(message) => ("CreateContainerConfigError", message),
            StartFailure::Create(message) => ("CreateContainerError", message),
            StartFailure::Run(message) => {
                self.could_not_run(index, message, now, out);
                return;
            }
        };
        if container.pull_error.is_none() {
            container.create_failures += 1;
            let seconds = i64::from(1u32 << container.create_failures.min(4)).min(10);
            container.activity = Activity::Held {
                until: now + SignedDuration::from_secs(seconds),
            };
        }
        container.shown = Shown::Waiting {
            reason: reason.into(),
            message: Some(message.clone()),
        };
        let text = match reason {
            "ErrImagePull" | "ErrImageNeverPull" | "InvalidImageName" => format!("Error: {reason}"),
            _ => format!("Error: {message}"),
        };
        self.record(out, Some(index), true, "Failed", text);
    }

    /// The container exists but its program cannot be run: that is a run that ended at once.
    fn could_not_run(
        &mut self,
        index: usize,
        message: String,
        now: Timestamp,
        out: &mut Vec<Action>,
    ) {
        self.record(
            out,
            Some(index),
            true,
            "Failed",
            format!("Error: {message}"),
        );
        let container = &mut self.containers[index];
        container.ran = true;
        container.run_to_count = true;
        let ended = Terminated {
            exit_code: 128,
            reason: "StartError".into(),
            message: Some(message.clone()),
            started_at: Timestamp::UNIX_EPOCH,
            finished_at: now,
            container_id: container.container_id.clone(),
        };
        container.shown = Shown::Terminated(ended.clone());
        self.settle(index, 128, now, now, out);
        let container = &mut self.containers[index];
        if container.activity == Activity::Idle {
            container.last = Some(ended);
            container.shown = Shown::Waiting {
                reason: "RunContainerError".into(),
                message: Some(message),
            };
        }
    }

    fn probed(
        &mut self,
        index: usize,
        run: u32,
        kind: ProbeKind,
        outcome: ProbeOutcome,
        now: Timestamp,
        out: &mut Vec<Action>,
    ) {
        let container = &mut self.containers[index];
        if container.activity != Activity::Running || container.restart_count != run {
            return;
        }
        let title = kind.title();
        let success = match outcome {
            ProbeOutcome::Success => true,
            ProbeOutcome::Failure(text) => {
                let text = format!("{title} probe failed: {text}");
                self.record(out, Some(index), true, "Unhealthy", text);
                false
            }
            ProbeOutcome::Errored(text) => {
                let text = format!("{title} probe errored: {text}");
                self.record(out, Some(index), true, "Unhealthy", text);
                return;
            }
        };
        let container = &mut self.containers[index];
        let was_started = container.started();
        let verdict = container.probes.count(&container.spec, kind, success);
        if kind == ProbeKind::Startup && !was_started && verdict == Some(true) {
            out.push(Action::StopProbes { container: index });
            for kind in [ProbeKind::Readiness, ProbeKind::Liveness] {
                if kind.of(&container.spec).is_some() {
                    out.push(Action::StartProbe {
                        container: index,
                        run,
                        kind,
                    });
                }
            }
        }
        if kind != ProbeKind::Readiness && verdict == Some(false) && container.stop.is_none() {
            let grace = kind
                .of(&container.spec)
                .and_then(|probe| probe.termination_grace_period_seconds)
                .map_or(self.own_grace(), SignedDuration::from_secs);
            let name = &self.containers[index].spec.name;
            let kind = title.to_lowercase();
            let text = format!("Container {name} failed {kind} probe, will be restarted");
            self.begin_stop(index, grace, stop::SHORTEST, text, now, out);
        }
    }

    fn record(
        &self,
        out: &mut Vec<Action>,
        container: Option<usize>,
        warning: bool,
        reason: &'static str,
        message: impl Into<String>,
    ) {
        out.push(Action::Record(Record {
            container,
            warning,
            reason,
            message: message.into(),
        }));
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
