//! How many replicas a metric asks for: what pods use, beside what they should. Pure.
//!
//! Pods that cannot be counted are thought of so that nothing is scaled because of them: those without metrics as
//! busy when there are too many, as idle when there are too few; those that are not ready as idle.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::core::v1::{Container, Pod},
    apimachinery::pkg::api::resource::Quantity,
};
use simcluster_placement::amount::Amount;

use crate::pods::{condition, phase};

/// What one pod uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PodMetric {
    pub(super) at: Timestamp,
    pub(super) window: SignedDuration,
    /// In thousandths.
    pub(super) value: i64,
}

/// By the names of pods.
pub(super) type PodMetrics = BTreeMap<String, PodMetric>;

/// What is asked for and how exactly.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question<'q> {
    /// `cpu` or `memory`.
    pub(super) resource: &'q str,
    /// Only this one of the pods' containers.
    pub(super) container: Option<&'q str>,
    pub(super) current: i32,
    pub(super) tolerance: Tolerance,
    pub(super) now: Timestamp,
    /// How long after its start a pod's readiness may still change because it starts.
    pub(super) cpu_initialization: SignedDuration,
    pub(super) initial_readiness_delay: SignedDuration,
}

/// How far a ratio may be from one without anything being done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Tolerance {
    pub(super) down: f64,
    pub(super) up: f64,
}

impl Tolerance {
    fn covers(self, ratio: f64) -> bool {
        1.0 - self.down <= ratio && ratio <= 1.0 + self.up
    }
}

/// An answer to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Proposal {
    pub(super) replicas: i32,
    /// Of what was asked for, in percent; none where the target is an amount.
    pub(super) utilization: Option<i32>,
    /// What a pod uses, in thousandths.
    pub(super) average: i64,
}

/// The pods of a question, by how they count.
#[derive(Debug, Default, PartialEq, Eq)]
struct Groups {
    ready: usize,
    unready: BTreeSet<String>,
    missing: BTreeSet<String>,
}

fn group(question: &Question<'_>, pods: &[&Pod], metrics: &mut PodMetrics) -> Groups {
    let mut groups = Groups::default();
    for pod in pods {
        let name = pod.metadata.name.clone().unwrap_or_default();
        if pod.metadata.deletion_timestamp.is_some() || phase(pod) == "Failed" {
            metrics.remove(&name);
        } else if phase(pod) == "Pending" {
            metrics.remove(&name);
            groups.unready.insert(name);
        } else if let Some(metric) = metrics.get(&name) {
            if question.resource == "cpu" && !counts(question, pod, metric) {
                metrics.remove(&name);
                groups.unready.insert(name);
            } else {
                groups.ready += 1;
            }
        } else {
            groups.missing.insert(name);
        }
    }
    groups
}

/// Whether a pod's processor time is that of its work, and not of its start.
fn counts(question: &Question<'_>, pod: &Pod, metric: &PodMetric) -> bool {
    let started = pod
        .status
        .as_ref()
        .and_then(|status| status.start_time.as_ref());
    let (Some(ready), Some(started)) = (condition(pod, "Ready"), started) else {
        return false;
    };
    let since = ready
        .last_transition_time
        .as_ref()
        .map_or(started.0, |time| time.0);
    let unready = ready.status == "False";
    if started.0 + question.cpu_initialization > question.now {
        // A whole window must have been measured since it became ready.
        return !unready && metric.at >= since + metric.window;
    }
    // It may have been ready before, and only those that never were are passed over.
    !(unready && started.0 + question.initial_readiness_delay > since)
}

/// What pods ask for, in thousandths; or which of them does not ask.
fn requests(question: &Question<'_>, pods: &[&Pod]) -> Result<BTreeMap<String, i64>, String> {
    let mut all = BTreeMap::new();
    for pod in pods {
        let name = pod.metadata.name.clone().unwrap_or_default();
        let spec = pod.spec.as_ref();
        let mains = spec.iter().flat_map(|spec| &spec.containers);
        let inits = spec
            .iter()
            .flat_map(|spec| spec.init_containers.iter().flatten());
        let sidecars = inits.filter(|one| one.restart_policy.as_deref() == Some("Always"));
        let mut sum = 0;
        for container in mains.chain(sidecars) {
            if question
                .container
                .is_some_and(|wanted| wanted != container.name)
            {
                continue;
            }
            sum += request(container, question.resource).ok_or_else(|| {
                format!(
                    "missing request for {} in container {} of Pod {name}",
                    question.resource, container.name
                )
            })?;
        }
        all.insert(name, sum);
    }
    Ok(all)
}

fn request(container: &Container, resource: &str) -> Option<i64> {
    let requests = container.resources.as_ref()?.requests.as_ref()?;
    requests.get(resource).map(millis)
}

/// A quantity in thousandths, rounded up.
pub(super) fn millis(quantity: &Quantity) -> i64 {
    i64::try_from(Amount::of(quantity).thousandths()).unwrap_or(i64::MAX)
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "numbers of replicas are small, and rounding up is what is wanted"
)]
fn ceil(ratio: f64, of: usize) -> i32 {
    (ratio * of as f64).ceil() as i32
}

/// Of what the measured pods use: the ratio to the target, percent of what they ask for, the average.
fn utilization(
    metrics: &PodMetrics,
    requests: &BTreeMap<String, i64>,
    target: i32,
) -> Result<(f64, i32, i64), String> {
    let known: Vec<(i64, i64)> = metrics
        .iter()
        .filter_map(|(name, metric)| Some((metric.value, *requests.get(name)?)))
        .collect();
    let asked: i64 = known.iter().map(|(_, request)| request).sum();
    let used: i64 = known.iter().map(|(value, _)| value).sum();
    if asked == 0 {
        return Err("no metrics returned matched known pods".to_owned());
    }
    let percent = i32::try_from(used.saturating_mul(100) / asked).unwrap_or(i32::MAX);
    let entries = i64::try_from(known.len()).unwrap_or(1);
    let ratio = f64::from(percent) / f64::from(target);
    Ok((ratio, percent, used / entries))
}

/// The ratio of the average to the target, and the average.
fn average(metrics: &PodMetrics, target: i64) -> (f64, i64) {
    let sum: i64 = metrics.values().map(|metric| metric.value).sum();
    let average = sum / i64::try_from(metrics.len()).unwrap_or(1).max(1);
    #[expect(clippy::cast_precision_loss, reason = "a ratio needs no more digits")]
    let ratio = average as f64 / target as f64;
    (ratio, average)
}

/// Replicas so that pods use `target` percent of what they ask for.
pub(super) fn by_utilization(
    question: &Question<'_>,
    pods: &[&Pod],
    mut metrics: PodMetrics,
    target: i32,
) -> Result<Proposal, String> {
    let groups = begin(question, pods, &mut metrics)?;
    let requests = requests(question, pods)?;
    measured(&metrics)?;
    let (ratio, percent, average) = utilization(&metrics, &requests, target)?;
    let proposed = |replicas| Proposal {
        replicas,
        utilization: Some(percent),
        average,
    };
    let busy = |name: &str| {
        let request = requests.get(name).copied().unwrap_or_default();
        request * i64::from(target.max(100)) / 100
    };
    let Some(filled) = fill(question, &groups, ratio, metrics, busy) else {
        return Ok(proposed(plain(question, ratio, groups.ready)));
    };
    let (again, ..) = utilization(&filled, &requests, target)?;
    Ok(proposed(careful(question, ratio, again, filled.len())))
}

/// Replicas so that a pod uses `target`, in thousandths.
pub(super) fn by_average(
    question: &Question<'_>,
    pods: &[&Pod],
    mut metrics: PodMetrics,
    target: i64,
) -> Result<Proposal, String> {
    let groups = begin(question, pods, &mut metrics)?;
    measured(&metrics)?;
    let (ratio, used) = average(&metrics, target);
    let proposed = |replicas| Proposal {
        replicas,
        utilization: None,
        average: used,
    };
    let Some(filled) = fill(question, &groups, ratio, metrics, |_| target) else {
        return Ok(proposed(plain(question, ratio, groups.ready)));
    };
    let (again, _) = average(&filled, target);
    Ok(proposed(careful(question, ratio, again, filled.len())))
}

fn begin(
    question: &Question<'_>,
    pods: &[&Pod],
    metrics: &mut PodMetrics,
) -> Result<Groups, String> {
    if pods.is_empty() {
        return Err("no pods returned by selector while calculating replica count".to_owned());
    }
    Ok(group(question, pods, metrics))
}

fn measured(metrics: &PodMetrics) -> Result<(), String> {
    if metrics.is_empty() {
        let why = "did not receive metrics for targeted pods (pods might be unready)";
        return Err(why.to_owned());
    }
    Ok(())
}

/// When every pod counts.
fn plain(question: &Question<'_>, ratio: f64, ready: usize) -> i32 {
    if question.tolerance.covers(ratio) {
        question.current
    } else {
        ceil(ratio, ready)
    }
}

/// Puts the pods that do not count into the metrics, as idle or as busy; none if there are none of interest.
fn fill(
    question: &Question<'_>,
    groups: &Groups,
    ratio: f64,
    mut metrics: PodMetrics,
    busy: impl Fn(&str) -> i64,
) -> Option<PodMetrics> {
    let up_with_unready = !groups.unready.is_empty() && ratio > 1.0;
    if !up_with_unready && groups.missing.is_empty() {
        return None;
    }
    let metric = |value| PodMetric {
        at: question.now,
        window: SignedDuration::ZERO,
        value,
    };
    for name in &groups.missing {
        if ratio < 1.0 {
            metrics.insert(name.clone(), metric(busy(name)));
        } else if ratio > 1.0 {
            metrics.insert(name.clone(), metric(0));
        }
    }
    if up_with_unready {
        let idle = groups.unready.iter().map(|name| (name.clone(), metric(0)));
        metrics.extend(idle);
    }
    Some(metrics)
}

/// Never in the other direction than what was measured says.
fn careful(question: &Question<'_>, ratio: f64, again: f64, pods: usize) -> i32 {
    let turned = (ratio < 1.0 && again > 1.0) || (ratio > 1.0 && again < 1.0);
    if question.tolerance.covers(again) || turned {
        return question.current;
    }
    let replicas = ceil(again, pods);
    let wrong_way = (again < 1.0 && replicas > question.current)
        || (again > 1.0 && replicas < question.current);
    if wrong_way {
        question.current
    } else {
        replicas
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn now() -> Timestamp {
        "2026-01-01T01:00:00Z".parse().unwrap()
    }

    fn question(resource: &str, current: i32) -> Question<'_> {
        Question {
            resource,
            container: None,
            current,
            tolerance: Tolerance { down: 0.1, up: 0.1 },
            now: now(),
            cpu_initialization: SignedDuration::from_mins(5),
            initial_readiness_delay: SignedDuration::from_secs(30),
        }
    }

    /// A pod that asks for a processor, in that state: `old`, `young`, `unready`, `pending`, `failed` or `going`.
    fn pod(name: &str, state: &str) -> Pod {
        let (phase, ready) = match state {
            "pending" => ("Pending", "False"),
            "failed" => ("Failed", "False"),
            "unready" => ("Running", "False"),
            _ => ("Running", "True"),
        };
        let began = if state == "young" {
            "2026-01-01T00:59:30Z"
        } else {
            "2026-01-01T00:00:00Z"
        };
        let going = (state == "going").then_some(began);
        serde_json::from_value(json!({
            "metadata": {"name": name, "deletionTimestamp": going},
            "spec": {"containers": [
                {"name": "c", "resources": {"requests": {"cpu": "1", "memory": "1k"}}},
            ]},
            "status": {"phase": phase, "startTime": began, "conditions": [
                {"type": "Ready", "status": ready, "lastTransitionTime": began},
            ]},
        }))
        .unwrap()
    }

    fn metrics(of: &[(&str, i64)]) -> PodMetrics {
        let one = |(name, value): &(&str, i64)| {
            let metric = PodMetric {
                at: now(),
                window: SignedDuration::from_mins(1),
                value: *value,
            };
            ((*name).to_owned(), metric)
        };
        of.iter().map(one).collect()
    }

    /// Replicas for pods in these states that use so many thousandths of a processor, if half of it is wanted.
    fn proposed(current: i32, pods: &[(&str, Option<i64>)]) -> Result<i32, String> {
        let names: Vec<String> = (0..pods.len()).map(|n| format!("p{n}")).collect();
        let all: Vec<Pod> = names
            .iter()
            .zip(pods)
            .map(|(name, (state, _))| pod(name, state))
            .collect();
        let measured: Vec<(&str, i64)> = names
            .iter()
            .zip(pods)
            .filter_map(|(name, (_, value))| Some((name.as_str(), (*value)?)))
            .collect();
        let all: Vec<&Pod> = all.iter().collect();
        let answer = by_utilization(&question("cpu", current), &all, metrics(&measured), 50);
        answer.map(|proposal| proposal.replicas)
    }

    #[test]
    fn pods_that_all_count_are_scaled_by_their_ratio_beyond_the_tolerance() {
        for (used, expected) in [
            (500, 2),
            (549, 2),
            (560, 3),
            (1000, 4),
            (450, 2),
            (440, 2),
            (240, 1),
        ] {
            let both = [("old", Some(used)), ("old", Some(used))];
            assert_eq!(proposed(2, &both), Ok(expected), "{used}");
        }
        assert_eq!(proposed(1, &[("old", Some(0))]), Ok(0), "limits come later");
    }

    #[test]
    fn pods_that_start_count_as_idle_and_only_against_more() {
        let busy = ("old", Some(1000));
        assert_eq!(proposed(2, &[busy, ("young", Some(1000))]), Ok(2));
        assert_eq!(proposed(2, &[busy, ("pending", None)]), Ok(2));
        assert_eq!(proposed(2, &[busy, busy, ("unready", Some(1000))]), Ok(4));
        let idle = ("old", Some(100));
        assert_eq!(proposed(2, &[idle, ("young", Some(1000))]), Ok(1));
    }

    #[test]
    fn pods_without_metrics_count_as_busy_against_fewer_and_as_idle_against_more() {
        let (busy, idle) = (("old", Some(1000)), ("old", Some(100)));
        assert_eq!(proposed(2, &[idle, ("old", None)]), Ok(2));
        assert_eq!(proposed(2, &[busy, ("old", None)]), Ok(2));
        assert_eq!(proposed(3, &[busy, busy, ("old", None)]), Ok(4));
        assert_eq!(proposed(4, &[idle, idle, idle, ("old", None)]), Ok(3));
    }

    #[test]
    fn pods_that_go_or_have_failed_do_not_count_at_all() {
        let busy = ("old", Some(1000));
        assert_eq!(
            proposed(1, &[busy, ("failed", Some(0)), ("going", Some(0))]),
            Ok(2)
        );
    }

    #[test]
    fn what_cannot_be_reckoned_says_why() {
        assert_eq!(
            proposed(1, &[]),
            Err("no pods returned by selector while calculating replica count".into())
        );
        assert_eq!(
            proposed(1, &[("pending", None)]),
            Err("did not receive metrics for targeted pods (pods might be unready)".into())
        );
        let mut one = pod("p", "old");
        one.spec.as_mut().unwrap().containers[0].resources = None;
        let answer = by_utilization(&question("cpu", 1), &[&one], metrics(&[("p", 5)]), 50);
        assert_eq!(
            answer,
            Err("missing request for cpu in container c of Pod p".into())
        );
    }

    #[test]
    fn an_average_value_needs_no_requests() {
        let (one, other) = (pod("a", "old"), pod("b", "young"));
        let pods = [&one, &other];
        let used = metrics(&[("a", 300_000), ("b", 100_000)]);
        let answer = by_average(&question("memory", 2), &pods, used, 100_000).unwrap();
        assert_eq!(
            answer,
            Proposal {
                replicas: 4,
                utilization: None,
                average: 200_000
            }
        );
    }
}
