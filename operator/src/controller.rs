//! One instance, one step nearer to what its resource says: observe → validate → plan → build and
//! apply → report. Each verb is a module; the pure ones are marked.
//!
//! * [`observe`] reads everything that belongs to the instance;
//! * [`validate`] (pure) refuses what cannot be worked on, the only place that does;
//! * [`plan`] (pure) tells the state and the steps;
//! * [`build`] (pure) makes the objects;
//! * [`apply`] carries the steps out;
//! * [`report`] tells people.

pub mod apply;
pub mod build;
#[cfg(test)]
mod fixtures;
pub mod observe;
pub mod plan;
pub mod report;
pub mod trouble;
pub mod validate;

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kube::runtime::controller::Action;
use kube::runtime::events::Recorder;
use kube::{Client, ResourceExt as _};
use thiserror::Error;

use crate::crd::MySQL;
use crate::ledger::Ledger;
use crate::metrics::{Metrics, Outcome};
use crate::names::Instance;
use crate::retries::Retries;
use crate::settings::Settings;
use crate::telemetry;

/// What every reconcile needs.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "a recorder cannot be printed")]
pub struct Context {
    /// The only way to the world.
    pub client: Client,
    /// How the operator works.
    pub settings: Settings,
    /// Writes events.
    pub recorder: Recorder,
    /// How often each instance failed in a row.
    pub retries: Retries,
    /// Counts.
    pub metrics: Metrics,
}

/// A reconcile that failed; one variant for each verb that can.
#[derive(Debug, Error)]
pub enum Error {
    /// Reading.
    #[error(transparent)]
    Observe(#[from] observe::Error),
    /// Writing.
    #[error(transparent)]
    Apply(#[from] apply::Error),
    /// Telling.
    #[error(transparent)]
    Report(#[from] report::Error),
}

/// Brings one instance a step nearer to its spec.
pub async fn reconcile(trigger: Arc<MySQL>, context: Arc<Context>) -> Result<Action, Error> {
    let begun = Instant::now();
    let instance = instance_of(&trigger);
    let (outcome, action) = Box::pin(step(&instance, &context)).await?;
    context.retries.succeeded(&instance);
    context.metrics.reconciled(outcome, begun.elapsed());
    Ok(action)
}

async fn step(instance: &Instance, context: &Context) -> Result<(Outcome, Action), Error> {
    let Context {
        client,
        settings,
        recorder,
        ..
    } = context;
    // What triggered us may be out of date by now.
    let Some(resource) = observe::resource(client, instance).await?.map(Arc::new) else {
        return Ok((Outcome::Done, Action::await_change()));
    };
    let observed = Box::pin(observe::observe(client, instance, &resource)).await?;
    let now = Timestamp::now();
    let fresh = Ledger::generate(&mut rand::rng());
    let validated = match validate::validate(&resource, &observed, settings, fresh) {
        Ok(validated) => validated,
        Err(refusal) => {
            report::report_refusal(client, recorder, &resource, &refusal, now).await?;
            return Ok((Outcome::Refused, Action::requeue(settings.retry)));
        }
    };
    let plan = plan::plan(plan::View {
        validated: &validated,
        observed: &observed,
        settings,
        now,
    });
    tracing::debug!(%instance, state = ?plan.state, steps = ?plan.steps, "planned");
    let resources = build::build(&validated, &plan.ledger, plan.errand.as_ref());
    let world = apply::World {
        resource: &resource,
        validated: &validated,
        observed: &observed,
        resources: &resources,
    };
    if let Err(error) = apply::apply(client, world, &plan).await {
        if error.is_refusal() {
            let trouble = error.trouble();
            report::report_trouble(client, recorder, &resource, &trouble, now).await?;
        }
        return Err(error.into());
    }
    report::report(client, recorder, &resource, &validated, &plan, now).await?;
    if plan.backed_up.is_some() {
        context.metrics.backed_up();
    }
    Ok((Outcome::Done, Action::requeue(plan.again)))
}

/// When to try again: at once if somebody was faster, later and later otherwise.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the signature is the runtime's"
)]
pub fn on_error(trigger: Arc<MySQL>, error: &Error, context: Arc<Context>) -> Action {
    let instance = instance_of(&trigger);
    let conflict = matches!(error, Error::Apply(error) if error.is_conflict());
    let delay = context.retries.failed(&instance, conflict);
    context.metrics.reconciled(Outcome::Failed, Duration::ZERO);
    tracing::warn!(%instance, error = %telemetry::chain(error), ?delay, "reconcile failed");
    Action::requeue(delay)
}

fn instance_of(resource: &MySQL) -> Instance {
    Instance::new(
        resource.namespace().unwrap_or_default(),
        resource.name_any(),
    )
}
