//! What every reconcile needs beside its instance. It does nothing.

use kube::Client;
use kube::runtime::events::Reporter;

use crate::cache::Cache;
use crate::hands::Hands;
use crate::metrics::Metrics;
use crate::retries::Retries;
use crate::settings::Settings;

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

impl Context {
    /// For an operator that writes through this client, under this name.
    pub fn new(
        client: &Client,
        reporter: Reporter,
        cache: Cache,
        settings: Settings,
        metrics: Metrics,
    ) -> Self {
        Self {
            hands: Hands::free(client, reporter.clone()),
            tied: Hands::tied(reporter),
            cache,
            settings,
            retries: Retries::default(),
            metrics,
        }
    }
}
