//! Numbers for Prometheus: what the operator did, and how each instance is.
//!
//! What it did is counted here; how the instances are is read from the watched resources at the moment
//! of asking, so that it can never be out of step. It serves nothing; [`crate::http`] does.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use kube::ResourceExt as _;
use kube::runtime::reflector::Store;

use crate::crd::{MySQL, Phase};

/// Upper bounds of the duration buckets, in seconds.
const BUCKETS: [f64; 8] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0];

/// How a reconcile ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The plan was carried out.
    Done,
    /// Somebody has to act first.
    Refused,
    /// A request failed.
    Failed,
    /// The watches are behind: nothing was looked at yet.
    Waiting,
}

/// The counters; copies count together.
#[derive(Clone, Debug, Default)]
pub struct Metrics(Arc<Counters>);

#[derive(Default)]
struct Counters {
    done: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
    backups: AtomicU64,
    buckets: [AtomicU64; BUCKETS.len()],
    microseconds: AtomicU64,
    store: OnceLock<Store<MySQL>>,
}

impl std::fmt::Debug for Counters {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Counters").finish_non_exhaustive()
    }
}

impl Metrics {
    /// The resources to report on.
    pub fn watch(&self, store: Store<MySQL>) {
        // A second operator in this process reports its counters with the first one's instances.
        let _ = self.0.store.set(store);
    }

    /// A reconcile ended.
    pub fn reconciled(&self, outcome: Outcome, took: Duration) {
        let counter = match outcome {
            Outcome::Done => &self.0.done,
            Outcome::Refused => &self.0.refused,
            Outcome::Failed => &self.0.failed,
            Outcome::Waiting => return,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.0.microseconds.fetch_add(micros, Ordering::Relaxed);
        for (bound, bucket) in BUCKETS.iter().zip(&self.0.buckets) {
            if took.as_secs_f64() <= *bound {
                bucket.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// A verified backup was recorded.
    pub fn backed_up(&self) {
        self.0.backups.fetch_add(1, Ordering::Relaxed);
    }

    /// Everything, in Prometheus' text format.
    pub fn render(&self) -> String {
        let instances = self.0.store.get().map(Store::state).unwrap_or_default();
        self.render_with(&instances)
    }

    fn render_with(&self, instances: &[Arc<MySQL>]) -> String {
        let mut text = String::new();
        self.counters(&mut text);
        gauges(&mut text, instances);
        text
    }

    fn counters(&self, text: &mut String) {
        let counters = &*self.0;
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let name = "mysql_operator_reconciles_total";
        head(text, name, "counter", "Reconciles by how they ended.");
        let ends = [
            ("done", &counters.done),
            ("refused", &counters.refused),
            ("failed", &counters.failed),
        ];
        for (end, counter) in ends {
            line(text, name, &[("result", end)], value(counter));
        }
        let name = "mysql_operator_reconcile_duration_seconds";
        head(text, name, "histogram", "How long reconciles took.");
        let count = ends.iter().map(|(_, counter)| value(counter)).sum::<u64>();
        for (bound, bucket) in BUCKETS.iter().zip(&counters.buckets) {
            line(
                text,
                &format!("{name}_bucket"),
                &[("le", &bound.to_string())],
                value(bucket),
            );
        }
        line(text, &format!("{name}_bucket"), &[("le", "+Inf")], count);
        let seconds = Duration::from_micros(value(&counters.microseconds)).as_secs_f64();
        line(text, &format!("{name}_sum"), &[], seconds);
        line(text, &format!("{name}_count"), &[], count);
        let name = "mysql_operator_backups_total";
        head(
            text,
            name,
            "counter",
            "Verified backups that were recorded.",
        );
        line(text, name, &[], value(&counters.backups));
    }
}

fn gauges(text: &mut String, instances: &[Arc<MySQL>]) {
    let each =
        |text: &mut String, name: &str, help: &str, value: &dyn Fn(&MySQL) -> Option<i64>| {
            head(text, name, "gauge", help);
            for instance in instances {
                let Some(value) = value(instance) else {
                    continue;
                };
                let namespace = instance.namespace().unwrap_or_default();
                let labels = [
                    ("namespace", namespace.as_str()),
                    ("name", &instance.name_any()),
                ];
                line(text, name, &labels, value);
            }
        };
    let status = |instance: &MySQL| instance.status.clone().unwrap_or_default();
    each(
        text,
        "mysql_operator_instance_ready",
        "1 where clients can connect.",
        &|instance| {
            let status = status(instance);
            Some(i64::from(
                status
                    .condition("Ready")
                    .is_some_and(|ready| ready.status == "True"),
            ))
        },
    );
    each(
        text,
        "mysql_operator_instance_blocked",
        "1 where somebody has to act.",
        &|instance| Some(i64::from(status(instance).phase == Some(Phase::Blocked))),
    );
    let help = "1 where a deletion waits for somebody to act.";
    each(text, "mysql_operator_deletion_blocked", help, &|instance| {
        let deleting = instance.metadata.deletion_timestamp.is_some();
        Some(i64::from(
            deleting && status(instance).phase == Some(Phase::Blocked),
        ))
    });
    let help = "When the newest verified backup was complete, in seconds since 1970.";
    each(
        text,
        "mysql_operator_last_backup_timestamp_seconds",
        help,
        &|instance| {
            status(instance)
                .last_backup
                .map(|backup| backup.time.0.as_second())
        },
    );
    let help = "Size of the newest verified backup.";
    each(
        text,
        "mysql_operator_last_backup_bytes",
        help,
        &|instance| status(instance).last_backup.and_then(|backup| backup.bytes),
    );
}

fn head(text: &mut String, name: &str, type_: &str, help: &str) {
    writeln!(text, "# HELP {name} {help}\n# TYPE {name} {type_}")
        .expect("writing to a string cannot fail");
}

fn line(text: &mut String, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
    // Kubernetes' names have nothing that Prometheus would have escaped.
    let labels: Vec<String> = labels
        .iter()
        .map(|(name, value)| format!("{name}=\"{value}\""))
        .collect();
    let labels = if labels.is_empty() {
        String::new()
    } else {
        format!("{{{}}}", labels.join(","))
    };
    writeln!(text, "{name}{labels} {value}").expect("writing to a string cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blocked_deletion_can_be_alerted_on() {
        let blocked: MySQL = serde_yaml::from_str(
            "{metadata: {name: db, namespace: shop, deletionTimestamp: '2026-01-01T00:00:00Z'}, \
             spec: {image: m, database: d, password: p, storage_size: 1Gi}, status: {phase: Blocked}}",
        )
        .unwrap();
        let text = Metrics::default().render_with(&[Arc::new(blocked)]);
        assert!(
            text.contains("mysql_operator_deletion_blocked{namespace=\"shop\",name=\"db\"} 1\n")
        );
        assert!(!text.contains("last_backup_bytes{"));
    }

    #[test]
    fn a_duration_is_counted_in_every_bucket_that_holds_it() {
        let metrics = Metrics::default();
        metrics.reconciled(Outcome::Done, Duration::from_millis(20));
        let text = metrics.render_with(&[]);
        assert!(text.contains("_bucket{le=\"0.01\"} 0\n"));
        assert!(text.contains("_bucket{le=\"0.025\"} 1\n"));
        assert!(text.contains("_bucket{le=\"+Inf\"} 1\n"));
        assert!(text.contains("_sum 0.02\n"));
    }
}
