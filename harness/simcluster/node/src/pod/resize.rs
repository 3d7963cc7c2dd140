//! Other resources for a pod that is there: what its spec wants, what the node has granted, what its containers have.
//! Pure.
//!
//! Whether there is room is [`crate::admission`]'s to say, and giving a container its limits the runtime's. Processors
//! and memory of regular containers and sidecars can change; everything else of a pod stays.

use std::borrow::Cow;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, PodSpec, ResourceRequirements};

use super::{
    Action, PodState,
    backoff::Backoff,
    container::{ContainerState, Role},
    record, stop,
};
use crate::quantity;

/// What can be changed.
const RESOURCES: [&str; 2] = ["cpu", "memory"];

/// Whether the node can give a pod what it wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fit {
    /// It has been granted.
    Fits,
    /// Not now.
    Pending {
        /// `Deferred`, or `Infeasible` for ever on this node.
        reason: &'static str,
        /// What is missing.
        message: String,
    },
}

/// What keeps a pod from what it wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pending {
    pub(super) reason: &'static str,
    pub(super) message: String,
    pub(super) generation: Option<i64>,
}

/// What has been granted and is not had yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UnderWay {
    pub(super) generation: Option<i64>,
    pub(super) error: Option<String>,
}

/// Where a pod's change of resources stands.
#[derive(Clone, Debug, Default)]
pub(super) struct Resizing {
    /// What the node was asked for last, if it was more or less than granted.
    asked: Option<Vec<ResourceRequirements>>,
    /// Tells the questions apart.
    question: u32,
    pub(super) pending: Option<Pending>,
    pub(super) under_way: Option<UnderWay>,
}

/// Whether both are the same amounts of what can be changed.
pub(crate) fn same(one: &ResourceRequirements, other: &ResourceRequirements) -> bool {
    RESOURCES.iter().all(|name| same_in(name, one, other))
}

fn same_in(name: &str, one: &ResourceRequirements, other: &ResourceRequirements) -> bool {
    same_limit(name, one, other) && {
        let request = |of: &ResourceRequirements| Some(of.requests.as_ref()?.get(name)?.0.clone());
        amount(request(one)) == amount(request(other))
    }
}

fn same_limit(name: &str, one: &ResourceRequirements, other: &ResourceRequirements) -> bool {
    let limit = |of: &ResourceRequirements| Some(of.limits.as_ref()?.get(name)?.0.clone());
    amount(limit(one)) == amount(limit(other))
}

fn amount(text: Option<String>) -> Option<i128> {
    text.and_then(|text| quantity::nanos(&text))
}

fn is_resizable(container: &ContainerState) -> bool {
    matches!(container.role, Role::Main | Role::Sidecar)
}

fn wanted(container: &Container) -> ResourceRequirements {
    container.resources.clone().unwrap_or_default()
}

/// Whether the container has to be started again when it gets these.
fn restarts(container: &ContainerState) -> bool {
    let policies = container.spec.resize_policy.iter().flatten();
    policies.into_iter().any(|policy| {
        policy.restart_policy == "RestartContainer"
            && !same_in(&policy.resource_name, &container.actual, &container.granted)
    })
}

impl PodState {
    /// The spec may want something else now.
    pub(super) fn notice_resize(&mut self, out: &mut Vec<Action>) {
        if self.ending.is_some() {
            return;
        }
        let those = || self.containers.iter().filter(|c| is_resizable(c));
        if those().all(|c| same(&wanted(&c.spec), &c.granted)) {
            if self.resize.asked.take().is_some() {
                self.resize.pending = None;
                out.push(Action::JudgeResize { question: None });
            }
            return;
        }
        let asked: Vec<_> = those().map(|c| wanted(&c.spec)).collect();
        if self.resize.asked.as_ref() != Some(&asked) {
            self.resize.asked = Some(asked);
            self.resize.question += 1;
            let question = Some(self.resize.question);
            out.push(Action::JudgeResize { question });
        }
    }

    /// The node has said whether there is room.
    pub(super) fn judged(&mut self, question: u32, fit: Fit, out: &mut Vec<Action>) {
        // What is no longer wanted is not answered.
        let resize = &self.resize;
        if resize.asked.is_none() || resize.question != question || self.ending.is_some() {
            return;
        }
        let generation = self.pod.metadata.generation;
        match fit {
            Fit::Fits => {
                for container in self.containers.iter_mut().filter(|c| is_resizable(c)) {
                    container.granted = wanted(&container.spec);
                }
                self.resize = Resizing {
                    under_way: Some(UnderWay {
                        generation,
                        error: None,
                    }),
                    question,
                    ..Resizing::default()
                };
                self.say(false, "ResizeStarted", "Pod resize started", None, out);
            }
            Fit::Pending { reason, message } => {
                let pending = Pending {
                    reason,
                    message: message.clone(),
                    generation,
                };
                if self.resize.pending.as_ref() == Some(&pending) {
                    return;
                }
                self.resize.pending = Some(pending);
                let event = format!("Resize{reason}");
                let what = format!("Pod resize {reason}");
                self.say(true, event, &what, Some(&message), out);
            }
        }
    }

    /// Has containers given what is granted, and sees whether they all have it.
    pub(super) fn pursue_resize(&mut self, now: Timestamp, out: &mut Vec<Action>) {
        if self.resize.under_way.is_none() || self.ending.is_some() {
            return;
        }
        for index in 0..self.containers.len() {
            let container = &mut self.containers[index];
            let has_it = same(&container.actual, &container.granted);
            if has_it || !is_resizable(container) || !container.alive() || container.stop.is_some()
            {
                continue;
            }
            if restarts(container) {
                let text = format!("Container {} resize requires restart", container.spec.name);
                container.crashes = Backoff::default();
                self.begin_stop(index, self.own_grace(), stop::SHORTEST, text, now, out);
                continue;
            }
            let limited = |name: &str| !same_limit(name, &container.actual, &container.granted);
            if !RESOURCES.iter().any(|name| limited(name)) {
                // What is only asked for is kept by the node's reckoning.
                container.actual = container.granted.clone();
            } else if container.limiting.as_ref() != Some(&container.granted) {
                container.limiting = Some(container.granted.clone());
                out.push(Action::Limit {
                    container: index,
                    run: container.restart_count,
                    resources: Box::new(container.granted.clone()),
                });
            }
        }
        let mut those = self.containers.iter();
        // What does not run gets it at its next start.
        let waits =
            |c: &ContainerState| is_resizable(c) && c.alive() && !same(&c.actual, &c.granted);
        if !those.any(waits) {
            self.say(false, "ResizeCompleted", "Pod resize completed", None, out);
            self.resize.under_way = None;
        }
    }

    /// A running container was given other limits, or could not be.
    pub(super) fn limited(
        &mut self,
        index: usize,
        run: u32,
        resources: ResourceRequirements,
        result: Result<(), String>,
        out: &mut Vec<Action>,
    ) {
        let container = &mut self.containers[index];
        if container.restart_count != run || !container.alive() {
            return;
        }
        match result {
            Ok(()) => {
                container.actual = resources;
                container.limiting = None;
            }
            Err(error) => {
                let under_way = self.resize.under_way.as_mut();
                let Some(under_way) = under_way.filter(|it| it.error.as_ref() != Some(&error))
                else {
                    return;
                };
                under_way.error = Some(error.clone());
                self.say(true, "ResizeError", "Pod resize error", Some(&error), out);
            }
        }
    }

    /// An Event with the resources that it is about.
    fn say(
        &self,
        warning: bool,
        reason: impl Into<Cow<'static, str>>,
        what: &str,
        error: Option<&str>,
        out: &mut Vec<Action>,
    ) {
        let generation = self.resize.under_way.as_ref().map(|it| it.generation);
        let generation = generation.unwrap_or(self.pod.metadata.generation);
        let list = |role: fn(Role) -> bool| {
            let those = self.containers.iter().filter(|c| role(c.role));
            let each: Vec<_> = those
                .map(|c| {
                    let name = serde_json::Value::from(c.spec.name.as_str());
                    let resources = serde_json::to_string(&wanted(&c.spec)).unwrap_or_default();
                    format!("{{\"name\":{name},\"resources\":{resources}}}")
                })
                .collect();
            each.join(",")
        };
        let mut parts = Vec::new();
        let inits = list(|role| matches!(role, Role::Init | Role::Sidecar));
        if !inits.is_empty() {
            parts.push(format!("\"initContainers\":[{inits}]"));
        }
        let mains = list(|role| role == Role::Main);
        parts.push(format!("\"containers\":[{mains}]"));
        parts.push(format!("\"generation\":{}", generation.unwrap_or_default()));
        if let Some(error) = error {
            parts.push(format!("\"error\":{}", serde_json::Value::from(error)));
        }
        let text = format!("{what}: {{{}}}", parts.join(","));
        record(out, None, warning, reason, text);
    }

    /// The spec with what is granted in place of what is wanted.
    pub(super) fn granted_spec(&self) -> PodSpec {
        let mut spec = self.pod.spec.clone().unwrap_or_default();
        let inits = spec.init_containers.iter_mut().flatten();
        for container in inits.chain(&mut spec.containers) {
            let known = self
                .containers
                .iter()
                .find(|c| c.spec.name == container.name);
            if let Some(known) = known.filter(|c| is_resizable(c))
                && container.resources.is_some()
            {
                container.resources = Some(known.granted.clone());
            }
        }
        spec
    }
}
