//! Completion indexes: which pod does which share of an Indexed job. Pure.

use std::{collections::BTreeSet, sync::Arc};

use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use kube::ResourceExt;

use super::spec;
use crate::pods;

/// On pods, as annotation and as label.
pub(super) const INDEX: &str = "batch.kubernetes.io/job-completion-index";
/// On pods: how often their index has failed before.
pub(super) const FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";

/// The share a pod does, if it is one that the job has.
pub(super) fn of(job: &Job, pod: &Pod) -> Option<i32> {
    let index: i32 = pod.annotations().get(INDEX)?.parse().ok()?;
    (0..spec::completions(job)?)
        .contains(&index)
        .then_some(index)
}

/// Reads `0,2-4`.
pub(super) fn read(text: Option<&str>) -> BTreeSet<i32> {
    let mut indexes = BTreeSet::new();
    for part in text
        .unwrap_or_default()
        .split(',')
        .filter(|part| !part.is_empty())
    {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.parse::<i32>(), last.parse::<i32>()) {
            indexes.extend(first..=last);
        }
    }
    indexes
}

/// Writes `0,2-4`; two neighbours are written apart by a comma, as Kubernetes does.
pub(super) fn write(indexes: &BTreeSet<i32>) -> String {
    let mut runs: Vec<(i32, i32)> = Vec::new();
    for index in indexes {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == *index => *last = *index,
            _ => runs.push((*index, *index)),
        }
    }
    let written: Vec<_> = runs
        .into_iter()
        .map(|(first, last)| match last - first {
            0 => first.to_string(),
            1 => format!("{first},{last}"),
            _ => format!("{first}-{last}"),
        })
        .collect();
    written.join(",")
}

/// The shares that are done: those counted, and those of pods that have succeeded.
pub(super) fn succeeded(job: &Job, pods: &[Arc<Pod>]) -> BTreeSet<i32> {
    let counted = job
        .status
        .as_ref()
        .and_then(|status| status.completed_indexes.as_deref());
    let mut indexes = read(counted);
    indexes.extend(
        pods.iter()
            .filter(|pod| pods::phase(pod) == "Succeeded")
            .filter_map(|pod| of(job, pod)),
    );
    indexes
}

/// How often an index has failed, as its failed pods tell.
pub(super) fn failures(job: &Job, pods: &[Arc<Pod>], index: i32) -> i32 {
    pods.iter()
        .filter(|pod| pods::phase(pod) == "Failed" && of(job, pod) == Some(index))
        .map(|pod| earlier_failures(pod) + 1)
        .max()
        .unwrap_or_default()
}

pub(super) fn earlier_failures(pod: &Pod) -> i32 {
    pod.annotations()
        .get(FAILURES)
        .and_then(|count| count.parse().ok())
        .unwrap_or_default()
}

/// The first `number` shares that are neither done, nor given up, nor in work.
pub(super) fn pending(
    job: &Job,
    done: &BTreeSet<i32>,
    given_up: &BTreeSet<i32>,
    in_work: &BTreeSet<i32>,
    number: usize,
) -> Vec<i32> {
    (0..spec::completions(job).unwrap_or_default())
        .filter(|index| {
            !done.contains(index) && !given_up.contains(index) && !in_work.contains(index)
        })
        .take(number)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_are_written_as_kubernetes_writes_them_and_read_back() {
        for (indexes, text) in [
            (&[][..], ""),
            (&[0], "0"),
            (&[0, 1], "0,1"),
            (&[0, 1, 2, 5, 7, 8, 9], "0-2,5,7-9"),
        ] {
            let indexes: BTreeSet<i32> = indexes.iter().copied().collect();
            assert_eq!(write(&indexes), text);
            assert_eq!(read(Some(text)), indexes);
        }
    }
}
