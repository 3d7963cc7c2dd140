//! What a pod needs next: bring it up, keep it up, or wind it down. Pure.
//!
//! Level-triggered: each call looks at the whole state and asks for the next thing that is missing, so a
//! lost thought does not exist. How a single container ends is [`super::stop`]'s.

use std::borrow::Cow;

use jiff::Timestamp;

use super::{
    Action, Ending, Part, PodState,
    container::{Activity, Role, Shown, Terminated},
    record, stop,
};

impl PodState {
    pub(super) fn decide(&mut self, now: Timestamp, out: &mut Vec<Action>) {
        self.notice_ending(now, out);
        self.press_stops(now, out);
        self.pursue_resize(now, out);
        match self.ending {
            None => self.bring_up(now, out),
            Some(ending) => self.wind_down(ending, now, out),
        }
    }

    /// Sees whether the pod has begun to end, and for which reason.
    fn notice_ending(&mut self, now: Timestamp, out: &mut Vec<Action>) {
        if self.gone || self.pod.metadata.deletion_timestamp.is_some() {
            let seconds = self.pod.metadata.deletion_grace_period_seconds;
            let grace = seconds.map_or(self.own_grace(), jiff::SignedDuration::from_secs);
            let deleted_before = self.ending == Some(Ending::Deleted);
            // An object that is gone while its pod still runs was removed by force: what is left of the
            // grace period is the shortest one.
            let grace = if self.gone {
                stop::SHORTEST_OF_DELETED
            } else {
                grace
            };
            self.shorten_grace(now + grace.max(stop::SHORTEST_OF_DELETED));
            if !deleted_before {
                self.ending = Some(Ending::Deleted);
            }
            return;
        }
        if self.ending.is_some() {
            return;
        }
        if self.deadline().is_some_and(|at| at <= now) {
            self.fail(
                Ending::Deadline,
                "DeadlineExceeded",
                DEADLINE_MESSAGE.to_owned(),
            );
            record(out, None, false, "DeadlineExceeded", DEADLINE_MESSAGE);
        } else if self.completed() {
            self.ending = Some(Ending::Completed);
        }
        if self.ending.is_some() {
            self.shorten_grace(now + self.own_grace());
        }
    }

    /// The node makes the pod fail.
    pub(super) fn fail(
        &mut self,
        ending: Ending,
        reason: impl Into<Cow<'static, str>>,
        message: String,
    ) {
        self.ending = Some(ending);
        self.failure = Some((reason.into(), message));
    }

    /// Whether no container will run again: all have finished, or one that the others need has failed.
    fn completed(&self) -> bool {
        let finished = |c: &super::ContainerState| c.activity == Activity::Finished;
        let failed_init = self.containers.iter().any(|c| {
            c.role == Role::Init && finished(c) && !c.ended().is_some_and(Terminated::succeeded)
        });
        failed_init
            || self
                .containers
                .iter()
                .filter(|c| c.role == Role::Main)
                .all(finished)
    }

    fn bring_up(&mut self, now: Timestamp, out: &mut Vec<Action>) {
        if self.volumes == Part::Absent {
            self.volumes = Part::Making;
            out.push(Action::MountVolumes);
        }
        if self.volumes != Part::Ready {
            return;
        }
        let make = match self.sandbox {
            Part::Absent => true,
            Part::Failed { retry_at } => retry_at <= now,
            Part::Making | Part::Ready | Part::Removing | Part::Removed => false,
        };
        if make {
            self.sandbox = Part::Making;
            out.push(Action::CreateSandbox);
        }
        if self.sandbox == Part::Ready {
            self.release_held(now, out);
            self.start_next(now, out);
        }
    }

    /// Containers whose waiting time is over become free to start.
    fn release_held(&mut self, now: Timestamp, out: &mut Vec<Action>) {
        for index in 0..self.containers.len() {
            let container = &mut self.containers[index];
            let Activity::Held { until } = container.activity else {
                continue;
            };
            if until > now {
                continue;
            }
            let failed_pull = match (&container.shown, &container.pull_error) {
                (Shown::Waiting { reason, .. }, Some(error)) if reason == "ErrImagePull" => {
                    Some(error.clone())
                }
                _ => None,
            };
            let Some(error) = failed_pull else {
                container.activity = Activity::Idle;
                continue;
            };
            // The error was shown; the rest of the delay passes as back-off.
            let until = container.pulls.ready_at(until, now).unwrap_or(now);
            let image = container.spec.image.clone().unwrap_or_default();
            let text = format!("Back-off pulling image {image:?}");
            container.shown = Shown::Waiting {
                reason: "ImagePullBackOff".into(),
                message: Some(format!("{text}: ErrImagePull: {error}")),
            };
            container.activity = Activity::Held { until };
            record(out, Some(index), false, "BackOff", text);
            record(out, Some(index), true, "Failed", "Error: ImagePullBackOff");
        }
    }

    /// Starts the first container whose turn it is; one at a time, in the spec's order.
    fn start_next(&mut self, now: Timestamp, out: &mut Vec<Action>) {
        let busy = |c: &super::ContainerState| {
            matches!(c.activity, Activity::Starting | Activity::PostStart)
        };
        if self.containers.iter().any(busy) {
            return;
        }
        let mains_have_run = self
            .containers
            .iter()
            .any(|c| c.role == Role::Main && c.ran);
        // Those that look into a pod wait for nothing.
        let waits =
            |c: &super::ContainerState| c.role == Role::Ephemeral && c.activity == Activity::Idle;
        if let Some(index) = self.containers.iter().position(waits) {
            self.start(index, now, out);
            return;
        }
        for index in 0..self.containers.len() {
            let container = &self.containers[index];
            if container.activity == Activity::Idle {
                self.start(index, now, out);
                return;
            }
            // An init container holds back all that follow, until the pod has once been initialized.
            let done = match container.role {
                Role::Init => container.activity == Activity::Finished,
                Role::Sidecar => container.started() || mains_have_run,
                Role::Main | Role::Ephemeral => true,
            };
            if !done {
                return;
            }
        }
    }

    fn start(&mut self, index: usize, now: Timestamp, out: &mut Vec<Action>) {
        let container = &mut self.containers[index];
        if container.run_to_count {
            container.restart_count += 1;
            container.crashes.tried(now);
            container.run_to_count = false;
        }
        container.activity = Activity::Starting;
        container.actual = container.granted.clone();
        out.push(Action::Start {
            container: index,
            run: container.restart_count,
        });
    }

    fn wind_down(&mut self, ending: Ending, now: Timestamp, out: &mut Vec<Action>) {
        let shortest = match ending {
            Ending::Deleted | Ending::Evicted | Ending::Refused => stop::SHORTEST_OF_DELETED,
            Ending::Completed | Ending::Deadline => stop::SHORTEST,
        };
        self.stop_in_order(shortest, now, out);
        if !self.containers.iter().all(super::ContainerState::quiet) {
            return;
        }
        for container in &mut self.containers {
            // What waited for its turn or a retry will not run any more.
            if matches!(container.activity, Activity::Held { .. }) {
                container.activity = Activity::Idle;
            }
        }
        if self.volumes == Part::Making {
            self.volumes = Part::Removed;
            out.push(Action::CancelMounts);
        }
        match self.sandbox {
            Part::Ready => {
                self.sandbox = Part::Removing;
                out.push(Action::RemoveSandbox);
            }
            Part::Making | Part::Removing | Part::Removed => {}
            Part::Absent | Part::Failed { .. } => self.sandbox = Part::Removed,
        }
    }

    /// When nothing of the pod is left: has its object deleted, or what is on the node forgotten.
    pub(super) fn finish(&mut self, out: &mut Vec<Action>) {
        if !self.at_rest() {
            return;
        }
        if self.gone {
            if !self.forgotten {
                self.forgotten = true;
                out.push(Action::Forget);
            }
        } else if self.ending == Some(Ending::Deleted) && !self.delete_asked {
            self.delete_asked = true;
            out.push(Action::Delete);
        }
    }

    /// Whether nothing of the pod runs any more and nothing will.
    pub(super) fn at_rest(&self) -> bool {
        self.ending.is_some() && self.sandbox == Part::Removed
    }
}

/// What the status and the event of a pod over its `activeDeadlineSeconds` say.
const DEADLINE_MESSAGE: &str = "Pod was active on the node longer than the specified deadline";
