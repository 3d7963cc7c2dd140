//! Finds out whether the node has what a pod wants, and gives running containers their limits.

use std::{sync::Arc, time::Duration};

use futures::future::select_all;
use k8s_openapi::api::core::v1::{Pod, ResourceRequirements};
use tokio::sync::mpsc;

use super::Worker;
use crate::{
    agent::Pods,
    context::Context,
    pod::{Event, resize::Fit},
    quantity,
    runtime::RuntimeError,
};

/// How long a change waits for room that nobody was seen to make.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// When limits that a container could not be given are tried again.
const TRY_AGAIN: Duration = Duration::from_secs(5);

impl Worker {
    pub(super) fn judge_resize(&mut self, question: Option<u32>) {
        if let Some(task) = self.judging.take() {
            task.abort();
        }
        if let Some(question) = question {
            let pod = Arc::clone(&self.pod.borrow());
            let (context, pods) = (Arc::clone(&self.context), self.pods.clone());
            let events = self.handle.events.clone();
            self.judging = Some(self.spawn(judge(context, pods, pod, question, events)));
        }
    }

    /// Gives a running container other limits, again and again until it has them.
    pub(super) fn limit(&mut self, index: usize, run: u32, resources: ResourceRequirements) {
        if let Some(task) = self.limiting.remove(&index) {
            task.abort();
        }
        let name = self.state.containers()[index].spec.name.clone();
        let Some(current) = self.handle.runs(&name).current else {
            return;
        };
        let memory = limit_of(Some(&resources), "memory", "1");
        let cpu = limit_of(Some(&resources), "cpu", "1m");
        let (context, events) = (Arc::clone(&self.context), self.handle.events.clone());
        let task = self.spawn(async move {
            loop {
                let given = context.runtime.limit(&current.id, memory, cpu).await;
                let result = match given {
                    Ok(warnings) => {
                        for warning in warnings {
                            tracing::warn!(container = name, "{warning}");
                        }
                        Ok(())
                    }
                    // Its next run begins with them.
                    Err(RuntimeError::NotRunning(_)) => return,
                    Err(error) => Err(error.to_string()),
                };
                let done = result.is_ok();
                let _ = events.send(Event::Limited {
                    container: index,
                    run,
                    resources: Box::new(resources.clone()),
                    result,
                });
                if done {
                    return;
                }
                tokio::time::sleep(TRY_AGAIN).await;
            }
        });
        self.limiting.insert(index, task);
    }
}

/// A limit in so many of `unit`, if there is one.
pub(super) fn limit_of(
    resources: Option<&ResourceRequirements>,
    name: &str,
    unit: &str,
) -> Option<u64> {
    let amount = quantity::divide(&resources?.limits.as_ref()?.get(name)?.0, unit)?;
    u64::try_from(amount).ok().filter(|amount| *amount > 0)
}

/// Asks the node until it has room, or never will.
async fn judge(
    context: Arc<Context>,
    pods: Pods,
    pod: Arc<Pod>,
    question: u32,
    events: mpsc::UnboundedSender<Event>,
) {
    let mut said = None;
    loop {
        let (fit, others) = pods.grant(&context, &pod);
        let waits = matches!(&fit, Fit::Pending { reason, .. } if *reason == "Deferred");
        if said.as_ref() != Some(&fit) {
            let answer = Event::ResizeJudged {
                question,
                fit: fit.clone(),
            };
            let _ = events.send(answer);
            said = Some(fit);
        }
        if !waits {
            return;
        }
        let ends = others.iter().map(|other| Box::pin(other.ended()));
        let ends: Vec<_> = ends.collect();
        tokio::select! {
            _ = select_all(ends), if !others.is_empty() => {}
            () = tokio::time::sleep(LOOK_AGAIN) => {}
        }
    }
}
