//! Lifecycle hooks: `postStart` and `preStop`, as a program, an HTTP request or a pause.

use std::{sync::Arc, time::Duration};

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{LifecycleHandler, Pod};

use super::{
    Worker,
    prober::{REFUSED, Target, http, run},
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
            pod: Arc::clone(&pod),
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
    let whose = {
        let (pod, container) = (&target.pod.metadata, &target.container.name);
        let pod = format!(
            "{}_{}({})",
            pod.name.as_deref().unwrap_or_default(),
            pod.namespace.as_deref().unwrap_or_default(),
            pod.uid.as_deref().unwrap_or_default()
        );
        format!("for Container {container:?} in Pod {pod:?} failed - error:")
    };
    if let Some(action) = hook.exec {
        let command = action.command.unwrap_or_default();
        let words = command.join(" ");
        let (why, output) = match run(target, command).await {
            Ok(said) if said.code == 0 => return Ok(()),
            Ok(said) => {
                let complaints = String::from_utf8_lossy(&said.complaints);
                let why = format!("command '{words}' exited with {}: {complaints}", said.code);
                (why, String::from_utf8_lossy(&said.output).into_owned())
            }
            Err(error) => (error, String::new()),
        };
        Err(format!(
            "Exec lifecycle hook ([{words}]) {whose} {why}, message: {output:?}"
        ))
    } else if let Some(action) = hook.http_get {
        match http(target, &action).await {
            ProbeOutcome::Success => Ok(()),
            // Whatever the answer, it is one.
            ProbeOutcome::Failure(text) if text.starts_with(REFUSED) => Ok(()),
            ProbeOutcome::Failure(why) | ProbeOutcome::Errored(why) => {
                let path = action.path.unwrap_or_default();
                Err(format!("HTTP lifecycle hook ({path}) {whose} {why}"))
            }
        }
    } else if let Some(action) = hook.sleep {
        let seconds = u64::try_from(action.seconds).unwrap_or(0);
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        Ok(())
    } else {
        Err("this hook has no action that the node knows".into())
    }
}
