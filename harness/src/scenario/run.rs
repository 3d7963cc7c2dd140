//! Doing what a scenario says: its operations in order, `catch` when one fails, `finally` in any case, the
//! clean-up while the operator still runs.
//!
//! | module | its operations |
//! |---|---|
//! | `write` | apply, create, update, patch, delete |
//! | `see`, `watch` | assert, error, wait, and the watching they need |
//! | `program` | command, script |
//! | `sql` | sql |
//! | `lab` | hold, operator, fault, faultsFired |
//! | `look` | events, podLogs, get, describe, proxy |
//!
//! `steps` goes through a scenario, `values` is what its expressions see, `ask` what they ask the cluster.

mod ask;
mod lab;
mod look;
mod program;
mod see;
mod sql;
mod steps;
mod values;
mod watch;
mod write;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

pub(super) use values::files;

use super::{
    configuration::Configuration,
    expression::Bindings,
    model::{Step, Timeouts},
    parse::Loaded,
    record::{Observer, Run, Verdict},
    subject::Subject,
};
use crate::Cluster;

/// How a run differs from an ordinary one.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Stop before this step and leave everything as it is.
    pub stop_before: Option<String>,
    /// Which variant of several, counted from 0.
    pub variant: usize,
    /// Leave everything as it is at the end, however it ends: somebody wants to look around.
    pub keep: bool,
    /// What `$values` is.
    pub values: Value,
    /// What holds for all scenarios of a run.
    pub configuration: Configuration,
    /// When cancelled, no further step is done, and what was made is cleaned up.
    pub interrupt: CancellationToken,
}

/// Runs a scenario on a cluster; the operator under test is started first.
pub async fn run(
    loaded: &Loaded,
    cluster: &Cluster,
    subject: &mut dyn Subject,
    observer: &mut dyn Observer,
) -> Run {
    run_with(loaded, cluster, subject, observer, &Options::default()).await
}

/// As [`run`], with options.
pub async fn run_with(
    loaded: &Loaded,
    cluster: &Cluster,
    subject: &mut dyn Subject,
    observer: &mut dyn Observer,
    options: &Options,
) -> Run {
    let spec = &loaded.document.spec;
    let mut run = Run {
        name: loaded.name(options.variant),
        cluster: cluster.backend().name(),
        started: Timestamp::now(),
        took: Duration::ZERO,
        steps: Vec::new(),
        verdict: Verdict::Passed,
        left_behind: Vec::new(),
        reproduce: None,
    };
    if let Some(why) = loaded.why_not_on(cluster.backend().name()) {
        run.verdict = Verdict::Skipped(why);
        return run;
    }
    let start = Instant::now();
    let subject = Mutex::new(subject);
    let happenings = cluster.faults().listen();
    let mut engine = Engine {
        cluster,
        subject: &subject,
        observer,
        start,
        folder: loaded.folder.clone(),
        namespace: steps::namespace_of(spec, options, cluster),
        bindings: Bindings::new(),
        limits: Limits::default(),
        creates: loaded.document.kind == "Test",
        ledgers: BTreeMap::new(),
        kubeconfig: None,
        output: None,
    };
    let namespace = engine.namespace.clone();
    tokio::select! {
        biased;
        never = lab::disturb(cluster, &subject, &namespace, happenings) => match never {},
        () = engine.whole(loaded, options, &mut run) => {}
    }
    run.took = start.elapsed();
    run
}

impl Loaded {
    /// How many times the steps are to be run, each with bindings of its own.
    pub fn variants(&self) -> usize {
        self.document.spec.scenarios.len().max(1)
    }

    /// The names of the steps, as reports and [`Options::stop_before`] know them.
    pub fn step_names(&self) -> Vec<String> {
        let steps = self.document.spec.steps.iter().enumerate();
        steps.map(|(index, step)| step_name(step, index)).collect()
    }

    /// The name of one of them.
    pub fn name(&self, variant: usize) -> String {
        let name = &self.document.metadata.name;
        let of_variant = self.document.spec.scenarios.get(variant);
        match of_variant.and_then(|of| of.name.as_deref()) {
            Some(of_variant) => format!("{name}#{of_variant}"),
            None if self.variants() > 1 => format!("{name}#{}", variant + 1),
            None => name.clone(),
        }
    }

    /// Why it is not run on this cluster, if it is not.
    pub fn why_not_on(&self, cluster: &str) -> Option<String> {
        let spec = &self.document.spec;
        if spec.skip {
            return Some("the scenario says `skip`".to_owned());
        }
        let canonical = |name: &str| match name {
            "embedded" => "simulated".to_owned(),
            "kubeconfig" => "existing".to_owned(),
            other => other.to_owned(),
        };
        let listed = spec.backends.iter().any(|name| canonical(name) == cluster);
        (!spec.backends.is_empty() && !listed)
            .then(|| format!("it runs only on {}", spec.backends.join(", ")))
    }
}

/// A scenario that is being run.
struct Engine<'a, 's> {
    cluster: &'a Cluster,
    subject: &'a Mutex<&'s mut (dyn Subject + 's)>,
    observer: &'a mut dyn Observer,
    start: Instant,
    folder: PathBuf,
    namespace: String,
    bindings: Bindings,
    limits: Limits,
    /// Whether `apply` creates or merges, as chainsaw does, and is no server-side apply.
    creates: bool,
    /// Acknowledged rows, by the ledger's name.
    ledgers: BTreeMap<String, Vec<sql::LedgerRow>>,
    kubeconfig: Option<program::KubeconfigFile>,
    /// What the present operation has to show.
    output: Option<String>,
}

/// What holds for a step, else for its scenario, else for the run.
#[derive(Clone, Debug, Default)]
struct Limits {
    timeouts: Timeouts,
    template: bool,
    /// How deletions go on to what an object owns.
    propagation: Option<String>,
    /// The grace period of all pods that are written.
    grace: Option<Duration>,
}

/// The name of a step in reports and for `stop_before`.
fn step_name(step: &Step, index: usize) -> String {
    if step.name.is_empty() {
        format!("step-{}", index + 1)
    } else {
        step.name.clone()
    }
}
