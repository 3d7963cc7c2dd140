//! What each event changes in a pod's state. Pure.
//!
//! What is to be done next follows from the state, not from the event: that is [`super::decide`]'s.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;

use super::{
    Action, Ending, Event, Part, PodState, Standing, backoff,
    conditions::PREEMPTING,
    container::{Activity, ContainerState, Role, Shown, StartFailure, Terminated},
    ephemeral_containers, first_reason,
    probes::{ProbeKind, ProbeOutcome, ProbeResults},
    record, stop,
};

/// A sandbox that could not be made is tried again after this.
const SANDBOX_RETRY: SignedDuration = SignedDuration::from_secs(1);
/// How long after a failed pull `ErrImagePull` is shown, before `ImagePullBackOff` is.
const PULL_ERROR_SHOWN: SignedDuration = SignedDuration::from_secs(1);

impl PodState {
    pub(super) fn absorb(&mut self, event: Event, now: Timestamp, out: &mut Vec<Action>) {
        match event {
            Event::Seen(pod) => self.seen(*pod, now, out),
            Event::Gone => self.gone = true,
            Event::Evicted { message } if self.ending.is_none() => {
                record(out, None, true, "Evicted", message.clone());
                self.fail(Ending::Evicted, "Evicted", message);
                self.shorten_grace(now);
            }
            Event::Refused { reason, message } => {
                record(out, None, true, reason.clone(), message.clone());
                self.standing = Standing::Refused;
                self.fail(
                    Ending::Refused,
                    reason,
                    format!("Pod was rejected: {message}"),
                );
            }
            Event::Preempted if self.ending.is_none() => {
                let message = "Preempted in order to admit critical pod";
                record(out, None, true, PREEMPTING, message.to_owned());
                self.fail(Ending::Evicted, PREEMPTING, message.to_owned());
                self.shorten_grace(now);
            }
            Event::Tick | Event::Evicted { .. } | Event::Preempted => {}
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
            Event::ResizeJudged { question, fit } => self.judged(question, fit, out),
            Event::Limited {
                container,
                run,
                resources,
                result,
            } => self.limited(container, run, *resources, result, out),
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
        let ephemeral = ephemeral_containers(&spec);
        let reason = first_reason(&spec);
        let inits = spec.init_containers.unwrap_or_default();
        let all = inits.into_iter().chain(spec.containers).chain(ephemeral);
        for (index, fresh) in all.enumerate() {
            let Some(container) = self.containers.get_mut(index) else {
                // Only these can come later.
                let added = ContainerState::new(fresh, Role::Ephemeral, reason);
                self.containers.push(added);
                continue;
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
        self.notice_resize(out);
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
        container.shown_restarts = container.restart_count;
        container.container_id = Some(container_id);
        container.image = Some(image);
        container.probes = ProbeResults::default();
        container.create_failures = 0;
        container.pull_error = None;
        container.hook_error = None;
        container.started_at = Some(at);
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
            record(
                out,
                Some(index),
                true,
                "FailedPostStartHook",
                "PostStartHook failed",
            );
            // Until its end the API does not see it run: it was never started as it should be.
            self.containers[index].hook_error = Some(message);
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
            return;
        }
        let since = self.containers[index].started_at.unwrap_or(now);
        self.running(index, since, out);
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
            Shown::Waiting { .. } | Shown::Terminated(_) => container.started_at.unwrap_or(at),
        };
        let reason = match (oom_killed, code) {
            (true, _) => "OOMKilled",
            (false, 0) => "Completed",
            (false, _) => "Error",
        };
        container.stop = None;
        container.limiting = None;
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
        let container = &mut self.containers[index];
        if container.activity != Activity::Idle {
            return;
        }
        // Its next run is at hand; until then the failed hook is what the API tells.
        if let (Some(message), Shown::Terminated(ended)) =
            (container.hook_error.take(), container.shown.clone())
        {
            container.last = Some(ended);
            container.shown = Shown::Waiting {
                reason: "PostStartHookError".into(),
                message: Some(message),
            };
        }
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
        record(out, Some(index), true, "BackOff", message);
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
        record(out, Some(index), true, "Failed", text);
    }

    /// The container exists but its program cannot be run: that is a run that ended at once.
    fn could_not_run(
        &mut self,
        index: usize,
        message: String,
        now: Timestamp,
        out: &mut Vec<Action>,
    ) {
        record(
            out,
            Some(index),
            true,
            "Failed",
            format!("Error: {message}"),
        );
        let container = &mut self.containers[index];
        container.ran = true;
        container.run_to_count = true;
        container.shown_restarts = container.restart_count;
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
        // A run that failed for good is not asked again, and one whose pod goes needs no judgement any more.
        let goes = self.pod.metadata.deletion_timestamp.is_some() && kind != ProbeKind::Readiness;
        if goes || container.probes.on_hold(kind) {
            return;
        }
        let title = kind.title();
        let success = match outcome {
            ProbeOutcome::Success => true,
            ProbeOutcome::Failure(text) => {
                let text = format!("{title} probe failed: {text}");
                record(out, Some(index), true, "Unhealthy", text);
                false
            }
            ProbeOutcome::Errored(text) => {
                let text = format!("{title} probe errored and resulted in unknown state: {text}");
                record(out, Some(index), true, "Unhealthy", text);
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
            let after = if self.restart_policy() == "Never" {
                ""
            } else {
                ", will be restarted"
            };
            let text = format!("Container {name} failed {kind} probe{after}");
            self.begin_stop(index, grace, stop::SHORTEST, text, now, out);
        }
    }
}
