//! One instance, one step nearer to what its resource says: observe → validate → plan → build and
//! apply → report. Each verb is a module; the pure ones are marked.
//!
//! * [`observe`] reads everything that belongs to the instance;
//! * [`validate`] (pure) refuses what cannot be worked on, the only place that does;
//! * [`plan`] (pure) tells the state and the steps;
//! * [`build`] (pure) makes the objects;
//! * [`apply`] carries the steps out;
//! * [`report`] tells people.
//!
//! Most events change nothing. So what the watches have seen is looked at first, with [`crate::hands`] that
//! are tied; only if something is to be written, the cluster itself is read, and decides.

pub mod apply;
pub mod build;
#[cfg(test)]
mod fixtures;
pub mod observe;
pub mod ownership;
pub mod plan;
pub mod report;
pub mod trouble;
pub mod validate;

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kube::ResourceExt as _;
use kube::runtime::controller::Action;
use thiserror::Error;

use self::observe::Observed;
use crate::cache::Cache;
use crate::crd::MySQL;
use crate::hands::{self, Hands};
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
    pub hands: Hands,
    /// Shows whether something is to be written.
    pub tied: Hands,
    /// What the watches have seen.
    pub cache: Cache,
    /// How the operator works.
    pub settings: Settings,
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

impl Error {
    /// Something is to be written, by hands that are tied.
    fn is_tied(&self) -> bool {
        let source = match self {
            Self::Observe(_) => return false,
            Self::Apply(error) => &error.source,
            Self::Report(error) => error.source(),
        };
        hands::is_tied(source)
    }
}

/// Brings one instance a step nearer to its spec.
pub async fn reconcile(trigger: Arc<MySQL>, context: Arc<Context>) -> Result<Action, Error> {
    let begun = Instant::now();
    let instance = instance_of(&trigger);
    let (outcome, action) = Box::pin(step(&trigger, &instance, &context)).await?;
    context.retries.succeeded(&instance);
    context.metrics.reconciled(outcome, begun.elapsed());
    Ok(action)
}

async fn step(
    trigger: &Arc<MySQL>,
    instance: &Instance,
    context: &Context,
) -> Result<(Outcome, Action), Error> {
    let client = &context.hands.client;
    let seen = Box::pin(observe::cached(client, instance, trigger, &context.cache)).await?;
    if let Some(observed) = seen {
        match Box::pin(work(&context.tied, trigger, &observed, context)).await {
            Err(error) if error.is_tied() => {}
            nothing_to_write => return nothing_to_write,
        }
    }
    // What triggered us may be out of date by now.
    let Some(resource) = observe::resource(client, instance).await?.map(Arc::new) else {
        return Ok((Outcome::Done, Action::await_change()));
    };
    let observed = Box::pin(observe::observe(client, instance, &resource)).await?;
    let observed = ownership::relevant(&resource, instance, observed);
    Box::pin(work(&context.hands, &resource, &observed, context)).await
}

async fn work(
    hands: &Hands,
    resource: &Arc<MySQL>,
    observed: &Observed,
    context: &Context,
) -> Result<(Outcome, Action), Error> {
    let (now, settings) = (Timestamp::now(), &context.settings);
    let fresh = Ledger::generate(&mut rand::rng());
    let validated = match validate::validate(resource, observed, settings, fresh) {
        Ok(validated) => validated,
        Err(refusal) => {
            report::report_refusal(hands, resource, &refusal, now).await?;
            return Ok((Outcome::Refused, Action::requeue(settings.retry)));
        }
    };
    let plan = plan::plan(plan::View {
        validated: &validated,
        observed,
        settings,
        now,
    });
    tracing::debug!(instance = %validated.instance, state = ?plan.state, steps = ?plan.steps, "planned");
    let resources = build::build(&validated, &plan.ledger, plan.errand.as_ref());
    let world = apply::World {
        resource,
        validated: &validated,
        observed,
        resources: &resources,
    };
    if let Err(error) = apply::apply(&hands.client, world, &plan).await {
        if error.is_refusal() {
            report::report_trouble(hands, resource, &error.trouble(), now).await?;
        }
        return Err(error.into());
    }
    report::report(hands, resource, &validated, &plan, now).await?;
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
    let conflict = match error {
        Error::Observe(_) => false,
        Error::Apply(error) => error.is_conflict(),
        Error::Report(error) => error.is_conflict(),
    };
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
