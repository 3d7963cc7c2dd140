//! How running containers end: hook, signal, and SIGKILL when the grace period is over. Pure.

use jiff::{SignedDuration, Timestamp};

use super::{
    Action, PodState,
    container::{Activity, Role, Stop, StopPhase},
    record,
};

/// What a container gets between its stop signal and SIGKILL, however short the grace period is.
pub const SHORTEST: SignedDuration = SignedDuration::from_secs(2);
/// The same for a pod that was deleted.
pub const SHORTEST_OF_DELETED: SignedDuration = SignedDuration::from_secs(1);

impl PodState {
    /// Begins to stop a running container. `text` is the event's.
    pub(super) fn begin_stop(
        &mut self,
        index: usize,
        grace: SignedDuration,
        shortest: SignedDuration,
        text: String,
        now: Timestamp,
        out: &mut Vec<Action>,
    ) {
        record(out, Some(index), false, "Killing", text);
        let container = &mut self.containers[index];
        let hook = container
            .spec
            .lifecycle
            .as_ref()
            .is_some_and(|l| l.pre_stop.is_some());
        if hook && grace > SignedDuration::ZERO {
            container.stop = Some(Stop {
                kill_at: now + grace,
                phase: StopPhase::PreStop,
            });
            let run = container.restart_count;
            out.push(Action::PreStop {
                container: index,
                run,
                limit: grace,
            });
        } else {
            let kill_at = now + grace.max(shortest);
            container.stop = Some(Stop {
                kill_at,
                phase: StopPhase::Signalled,
            });
            out.push(Action::Signal {
                container: index,
                kill: false,
            });
        }
    }

    pub(super) fn pre_stopped(
        &mut self,
        index: usize,
        run: u32,
        result: Result<(), String>,
        now: Timestamp,
        out: &mut Vec<Action>,
    ) {
        let container = &self.containers[index];
        let waiting = container
            .stop
            .as_ref()
            .is_some_and(|stop| stop.phase == StopPhase::PreStop);
        if container.restart_count != run || !waiting {
            return;
        }
        if let Err(message) = result {
            tracing::debug!(%message, "preStop hook failed");
            record(
                out,
                Some(index),
                true,
                "FailedPreStopHook",
                "PreStopHook failed",
            );
        }
        self.signal_after_hook(index, now, out);
    }

    /// The hook is over or its time is: the stop signal, and never less than the shortest time to obey it.
    fn signal_after_hook(&mut self, index: usize, now: Timestamp, out: &mut Vec<Action>) {
        if let Some(stop) = &mut self.containers[index].stop {
            stop.phase = StopPhase::Signalled;
            stop.kill_at = stop.kill_at.max(now + SHORTEST);
            out.push(Action::Signal {
                container: index,
                kill: false,
            });
        }
    }

    /// Does what is due for containers that are being stopped.
    pub(super) fn press_stops(&mut self, now: Timestamp, out: &mut Vec<Action>) {
        for index in 0..self.containers.len() {
            let Some(stop) = &mut self.containers[index].stop else {
                continue;
            };
            if stop.kill_at > now {
                continue;
            }
            match stop.phase {
                StopPhase::PreStop => self.signal_after_hook(index, now, out),
                StopPhase::Signalled => {
                    stop.phase = StopPhase::Killed;
                    out.push(Action::Signal {
                        container: index,
                        kill: true,
                    });
                }
                StopPhase::Killed => {}
            }
        }
    }

    /// A deletion may shorten the grace period of one that is under way, never lengthen it.
    pub(super) fn shorten_grace(&mut self, ends: Timestamp) {
        if self.grace_ends.is_some_and(|now_ends| now_ends <= ends) {
            return;
        }
        self.grace_ends = Some(ends);
        for container in &mut self.containers {
            if let Some(stop) = &mut container.stop {
                stop.kill_at = stop.kill_at.min(ends);
            }
        }
    }

    /// Stops what may be stopped now: first everything but the sidecars, then these from the last to the
    /// first, each when the one that was started after it has ended.
    pub(super) fn stop_in_order(
        &mut self,
        shortest: SignedDuration,
        now: Timestamp,
        out: &mut Vec<Action>,
    ) {
        let left = self
            .grace_ends
            .map_or(SignedDuration::ZERO, |ends| ends.duration_since(now));
        let left = left.max(SignedDuration::ZERO);
        let stoppable = |c: &super::ContainerState| c.alive() && c.stop.is_none();
        let mut order: Vec<usize> = (0..self.containers.len())
            .filter(|i| self.containers[*i].role != Role::Sidecar)
            .filter(|i| !self.containers[*i].quiet())
            .collect();
        if order.is_empty() {
            let last = (0..self.containers.len())
                .rev()
                .find(|i| !self.containers[*i].quiet());
            order.extend(last);
        }
        for index in order {
            if self.containers[index].activity == Activity::Starting {
                out.push(Action::CancelStart { container: index });
            } else if stoppable(&self.containers[index]) {
                let text = format!("Stopping container {}", self.containers[index].spec.name);
                self.begin_stop(index, left, shortest, text, now, out);
            }
        }
    }
}
