//! Lifecycle hooks: `postStart` and `preStop`, as a program, an HTTP request or a pause.

use std::{sync::Arc, time::Duration};

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{LifecycleHandler, Pod};

use super::{
    Worker,
    prober::{Target, exec, http},
};
use crate::pod::{Event, probes::ProbeOutcome};

impl Worker {
    pub(super) fn post_start(&mut self, index: usize, run: u32) {
        let hook = self.container(index).lifecycle.and_then(|l| l.post_start);
        let target = self.target(index);
        let events = self.handle.events.clone();
        self.spawn(async move {
            let result = run_hook(hook, &target).await;
            let _ = events.send(Event::PostStarted {
                container: index,
                run,
                result,
            });
        });
    }

    pub(super) fn pre_stop(&mut self, index: usize, run: u32, limit: SignedDuration) {
        let hook = self.container(index).lifecycle.and_then(|l| l.pre_stop);
        let target = self.target(index);
        let events = self.handle.events.clone();
        let limit = Duration::try_from(limit).unwrap_or_default();
        self.spawn(async move {
            let result = tokio::time::timeout(limit, run_hook(hook, &target))
                .await
                .unwrap_or_else(|_| Err("the grace period is over".into()));
            let _ = events.send(Event::PreStopped {
                container: index,
                run,
                result,
            });
        });
    }

    /// How hooks and probes reach a container.
    pub(super) fn target(&self, index: usize) -> Target {
        let pod: Arc<Pod> = Arc::clone(&self.pod.borrow());
        let shared = pod
            .spec
            .as_ref()
            .is_some_and(|s| s.host_network == Some(true));
        Target {
            context: Arc::clone(&self.context),
            handle: Arc::clone(&self.handle),
            container: self.container(index),
            address: self
                .address
                .filter(|_| !shared)
                .unwrap_or(self.context.host_ip),
        }
    }
}

async fn run_hook(hook: Option<LifecycleHandler>, target: &Target) -> Result<(), String> {
    let Some(hook) = hook else { return Ok(()) };
    let outcome = if let Some(action) = hook.exec {
        exec(target, action.command.unwrap_or_default()).await
    } else if let Some(action) = hook.http_get {
        http(target, &action).await
    } else if let Some(action) = hook.sleep {
        tokio::time::sleep(Duration::from_secs(
            u64::try_from(action.seconds).unwrap_or(0),
        ))
        .await;
        ProbeOutcome::Success
    } else {
        return Err("this hook has no action that the node knows".into());
    };
    match outcome {
        ProbeOutcome::Success => Ok(()),
        ProbeOutcome::Failure(text) | ProbeOutcome::Errored(text) => Err(text),
    }
}
