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
//! It goes this way with what the watches have seen, which is all that most events need. What must not be done
//! by a view that may be late is done by [`crate::hands`] that are tied, and shows so that it is to be done:
//! then the cluster itself is read, and decides. `context` and `failure` are what is around it.

pub mod apply;
pub mod build;
mod context;
mod failure;
#[cfg(test)]
pub(crate) mod fixtures;
pub mod observe;
pub mod ownership;
pub mod plan;
pub mod report;
pub mod trouble;
pub mod validate;

use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use kube::ResourceExt as _;
use kube::runtime::controller::Action;

pub use self::context::Context;
pub use self::failure::{Error, on_error};

use self::observe::{Basis, Observed, Watched};
use crate::crd::MySQL;
use crate::hands::Hands;
use crate::ledger::Ledger;
use crate::metrics::Outcome;
use crate::names::Instance;

/// Brings one instance a step nearer to its spec.
pub async fn reconcile(trigger: Arc<MySQL>, context: Arc<Context>) -> Result<Action, Error> {
    let begun = Instant::now();
    let instance = instance_of(&trigger);
    let (outcome, action) = Box::pin(step(&trigger, &instance, &context)).await?;
    if outcome != Outcome::Waiting {
        context.retries.succeeded(&instance);
    }
    context.metrics.reconciled(outcome, begun.elapsed());
    Ok(action)
}

async fn step(
    trigger: &Arc<MySQL>,
    instance: &Instance,
    context: &Context,
) -> Result<(Outcome, Action), Error> {
    let hands = &context.hands;
    match Box::pin(observe::watched(hands, instance, trigger, &context.cache)).await? {
        Watched::Nothing => {}
        Watched::Behind(left) => return Ok((Outcome::Waiting, Action::requeue(left))),
        Watched::Seen(observed, basis) => {
            match Box::pin(work(trigger, &observed, basis, context)).await {
                Err(error) if error.asks_for_the_cluster() => {}
                outcome => return outcome,
            }
        }
    }
    // What triggered us may be out of date by now.
    let Some(resource) = observe::resource(&hands.client, instance).await? else {
        hands.recent.forget_instance(instance);
        return Ok((Outcome::Done, Action::await_change()));
    };
    let observed = Box::pin(observe::observe(hands, instance, &resource)).await?;
    let observed = ownership::relevant(&resource, instance, observed);
    Box::pin(work(&resource, &observed, Basis::Cluster, context)).await
}

async fn work(
    resource: &MySQL,
    observed: &Observed,
    basis: Basis,
    context: &Context,
) -> Result<(Outcome, Action), Error> {
    let (now, settings) = (Timestamp::now(), &context.settings);
    let fresh = Ledger::generate(&mut rand::rng());
    let validated = match validate::validate(resource, observed, settings, fresh) {
        Ok(validated) => validated,
        Err(refusal) => {
            let hands = context.hands_for(basis == Basis::Cluster);
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
    tracing::debug!(instance = %validated.instance, ?basis, state = ?plan.state, steps = ?plan.steps, "planned");
    let resources = build::build(&validated, &plan.ledger, plan.errand.as_ref());
    let world = apply::World {
        resource,
        validated: &validated,
        observed,
        resources: &resources,
    };
    let hands = context.hands_for(apply::may(&context.tied, &world, &plan, basis).await);
    if let Err(error) = apply::apply(hands, &world, &plan.steps).await {
        if error.is_refusal() && basis == Basis::Cluster {
            report::report_trouble(hands, resource, &error.trouble(), now).await?;
        }
        return Err(error.into());
    }
    report::report(hands, resource, basis, &validated, &plan, now).await?;
    if plan.backed_up.is_some() {
        context.metrics.backed_up();
    }
    Ok((Outcome::Done, Action::requeue(plan.again)))
}

impl Context {
    fn hands_for(&self, free: bool) -> &Hands {
        if free { &self.hands } else { &self.tied }
    }
}

fn instance_of(resource: &MySQL) -> Instance {
    Instance::new(
        resource.namespace().unwrap_or_default(),
        resource.name_any(),
    )
}
