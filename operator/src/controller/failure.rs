//! What becomes of a reconcile that failed: what went wrong, and when to try again.

use std::sync::Arc;
use std::time::Duration;

use kube::runtime::controller::Action;
use thiserror::Error;

use super::context::Context;
use super::{apply, instance_of, observe, report};
use crate::crd::MySQL;
use crate::hands;
use crate::metrics::Outcome;
use crate::telemetry;

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
    /// What the watches have seen does not do: it is out of date, or is not enough to write something by, or the
    /// cluster says no. The cluster itself is to be asked.
    pub(super) fn asks_for_the_cluster(&self) -> bool {
        let source = match self {
            Self::Observe(_) => return false,
            Self::Apply(error) if error.is_refusal() => return true,
            Self::Apply(error) => &error.source,
            Self::Report(error) => error.source(),
        };
        hands::is_tied(source) || self.is_conflict()
    }

    /// Somebody was faster: looking again is all it takes.
    fn is_conflict(&self) -> bool {
        match self {
            Self::Observe(_) => false,
            Self::Apply(error) => error.is_conflict(),
            Self::Report(error) => error.is_conflict(),
        }
    }
}

/// When to try again: at once if somebody was faster, later and later otherwise.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the signature is the runtime's"
)]
pub fn on_error(trigger: Arc<MySQL>, error: &Error, context: Arc<Context>) -> Action {
    let instance = instance_of(&trigger);
    let delay = context.retries.failed(&instance, error.is_conflict());
    context.metrics.reconciled(Outcome::Failed, Duration::ZERO);
    tracing::warn!(%instance, error = %telemetry::chain(error), ?delay, "reconcile failed");
    Action::requeue(delay)
}
