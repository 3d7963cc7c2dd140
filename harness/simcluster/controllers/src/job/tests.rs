//! The pure halves together: a job, its pods, and what is reported and done.

use serde_json::{Value, json};

use super::*;

const NOW: &str = "2026-01-01T01:00:00Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

fn job(spec: &Value, status: &Value) -> Job {
    let mut whole = json!({
        "selector": {}, "parallelism": 1, "completions": 1, "backoffLimit": 6,
        "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c"}]}},
    });
    for (key, value) in spec.as_object().unwrap() {
        whole[key] = value.clone();
    }
    serde_json::from_value(json!({
        "metadata": {"name": "j", "namespace": "n", "uid": "1"}, "spec": whole, "status": status,
    }))
    .unwrap()
}

fn pod(uid: &str, phase: &str, extra: &Value) -> Arc<Pod> {
    let mut metadata = json!({
        "name": uid, "uid": uid, "finalizers": [FINALIZER],
        "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "1",
                             "controller": true}],
    });
    for (key, value) in extra.as_object().unwrap() {
        metadata[key] = value.clone();
    }
    Arc::new(
        serde_json::from_value(json!({"metadata": metadata, "status": {"phase": phase}})).unwrap(),
    )
}

fn freed(pod: &Arc<Pod>) -> Arc<Pod> {
    let mut pod = Pod::clone(pod);
    pod.metadata.finalizers = None;
    Arc::new(pod)
}

/// Both reports, with the finalizers taken off between them.
fn report(job: &mut Job, pods: &[Arc<Pod>]) -> (Value, Value) {
    let verdict = verdict::verdict(job, pods, now());
    let (noted, ended) = tally::note(job, pods, verdict.as_ref(), now());
    let first = serde_json::to_value(&noted).unwrap();
    job.status = Some(noted);
    let pods: Vec<_> = pods
        .iter()
        .map(|pod| {
            if ended.contains(pod) {
                freed(pod)
            } else {
                pod.clone()
            }
        })
        .collect();
    let counted = tally::settle(job, &pods, verdict.as_ref(), now());
    job.status = Some(counted.clone());
    (first, serde_json::to_value(counted).unwrap())
}

#[test]
fn a_new_job_starts_its_clock_and_its_pods() {
    let mut job = job(&json!({"parallelism": 3, "completions": 2}), &json!({}));
    let plan = manage::plan(&job, &[], &Backoff::default(), now());
    assert_eq!(plan.start.len(), 2);
    let (_, status) = report(&mut job, &[]);
    assert_eq!(
        status,
        json!({"startTime": NOW, "ready": 0, "terminating": 0, "uncountedTerminatedPods": {}})
    );
}

#[test]
fn a_succeeded_pod_is_noted_then_counted_and_completes_the_job() {
    let mut job = job(&json!({}), &json!({"startTime": NOW}));
    let (noted, counted) = report(&mut job, &[pod("a", "Succeeded", &json!({}))]);
    assert_eq!(
        noted["uncountedTerminatedPods"],
        json!({"succeeded": ["a"]})
    );
    assert_eq!(noted["conditions"][0]["type"], "SuccessCriteriaMet");
    assert_eq!(noted["succeeded"], Value::Null);
    assert_eq!(
        counted,
        json!({
            "startTime": NOW, "completionTime": NOW, "succeeded": 1, "ready": 0, "terminating": 0,
            "uncountedTerminatedPods": {},
            "conditions": [
                {"type": "SuccessCriteriaMet", "status": "True", "reason": "CompletionsReached",
                 "message": "Reached expected number of succeeded pods",
                 "lastProbeTime": NOW, "lastTransitionTime": NOW},
                {"type": "Complete", "status": "True", "reason": "CompletionsReached",
                 "message": "Reached expected number of succeeded pods",
                 "lastProbeTime": NOW, "lastTransitionTime": NOW},
            ],
        })
    );
}

#[test]
fn a_noted_pod_is_not_counted_twice() {
    let mut job = job(
        &json!({"completions": 2, "parallelism": 2}),
        &json!({"startTime": NOW, "uncountedTerminatedPods": {"succeeded": ["a"]}}),
    );
    let (_, counted) = report(&mut job, &[pod("a", "Succeeded", &json!({}))]);
    assert_eq!(counted["succeeded"], 1);
    let (_, again) = report(&mut job, &[freed(&pod("a", "Succeeded", &json!({})))]);
    assert_eq!(again["succeeded"], 1);
}

#[test]
fn one_failure_more_than_the_limit_fails_the_job() {
    for (limit, failures, fails) in [(0, 1, true), (1, 1, false), (1, 2, true)] {
        let job = job(&json!({"backoffLimit": limit}), &json!({"startTime": NOW}));
        let pods: Vec<_> = (0..failures)
            .map(|number| pod(&number.to_string(), "Failed", &json!({})))
            .collect();
        let verdict = verdict::verdict(&job, &pods, now());
        let expected = fails.then(|| Verdict::Failed {
            reason: "BackoffLimitExceeded".to_owned(),
            message: "Job has reached the specified backoff limit".to_owned(),
        });
        assert_eq!(verdict, expected, "limit {limit}, failures {failures}");
    }
}

#[test]
fn a_job_past_its_deadline_fails_after_its_pods_are_gone() {
    let mut job = job(
        &json!({"activeDeadlineSeconds": 2}),
        &json!({"startTime": "2026-01-01T00:00:00Z"}),
    );
    let going = pod("a", "Running", &json!({"deletionTimestamp": NOW}));
    let (_, waiting) = report(&mut job, &[going]);
    assert_eq!(waiting["failed"], 1);
    assert_eq!(waiting["terminating"], 1);
    assert_eq!(
        waiting["conditions"].as_array().unwrap().len(),
        1,
        "only FailureTarget"
    );
    let (_, over) = report(&mut job, &[]);
    assert_eq!(over["conditions"][1]["type"], "Failed");
    assert_eq!(over["conditions"][1]["reason"], "DeadlineExceeded");
    assert_eq!(over["terminating"], 0);
}

#[test]
fn a_failed_pod_is_replaced_after_a_pause() {
    let job = job(&json!({}), &json!({"startTime": NOW, "failed": 1}));
    let mut backoff = Backoff::default();
    backoff.learn(&[], &[pod("a", "Failed", &json!({}))], now());
    let plan = manage::plan(&job, &[], &backoff, now());
    assert!(plan.start.is_empty());
    let until = plan.recheck.unwrap();
    assert_eq!(until.duration_since(now()).as_secs(), 10);
    assert_eq!(manage::plan(&job, &[], &backoff, until).start.len(), 1);
}

#[test]
fn suspending_stops_pods_uncounted_and_resuming_starts_the_clock_anew() {
    let mut job = job(&json!({"suspend": true}), &json!({"startTime": NOW}));
    let plan = manage::plan(
        &job,
        &[pod("a", "Running", &json!({}))],
        &Backoff::default(),
        now(),
    );
    assert_eq!(plan.stop.len(), 1);
    let (_, status) = report(&mut job, &[]);
    assert_eq!(status["startTime"], Value::Null);
    assert_eq!(status["conditions"][0]["reason"], "JobSuspended");
    job.spec.as_mut().unwrap().suspend = Some(false);
    let (_, status) = report(&mut job, &[]);
    assert_eq!(status["startTime"], NOW);
    assert_eq!(status["conditions"][0]["status"], "False");
    assert_eq!(status["conditions"][0]["reason"], "JobResumed");
}

#[test]
fn an_indexed_job_starts_each_index_and_a_success_policy_ends_it_without_failures() {
    let spec = json!({
        "completionMode": "Indexed", "completions": 2, "parallelism": 2,
        "successPolicy": {"rules": [{"succeededIndexes": "0"}]},
    });
    let mut job = job(&spec, &json!({"startTime": NOW}));
    let plan = manage::plan(&job, &[], &Backoff::default(), now());
    assert_eq!(plan.start, [Some(0), Some(1)]);
    let new = manage::new_pods(&job, &[], &plan.start);
    assert_eq!(
        new[1].spec.as_ref().unwrap().hostname.as_deref(),
        Some("j-1")
    );
    let index = |number: &str| json!({"annotations": {indexes::INDEX: number}});
    let mut other = index("1");
    other["deletionTimestamp"] = json!(NOW);
    let pods = [
        pod("a", "Succeeded", &index("0")),
        pod("b", "Running", &other),
    ];
    let (_, status) = report(&mut job, &pods);
    assert_eq!(status["completedIndexes"], "0");
    assert_eq!(status["failed"], Value::Null);
    let (_, status) = report(&mut job, &[freed(&pods[0])]);
    assert_eq!(status["conditions"][1]["type"], "Complete");
    assert_eq!(status["conditions"][1]["reason"], "SuccessPolicy");
    assert_eq!(status["succeeded"], 1);
}

#[test]
fn an_index_over_its_own_limit_is_given_up_and_the_others_go_on() {
    let spec = json!({
        "completionMode": "Indexed", "completions": 2, "parallelism": 2,
        "backoffLimit": i32::MAX, "backoffLimitPerIndex": 0,
    });
    let mut job = job(&spec, &json!({"startTime": NOW}));
    let failed = pod(
        "a",
        "Failed",
        &json!({"annotations": {indexes::INDEX: "0"}}),
    );
    let plan = manage::plan(
        &job,
        std::slice::from_ref(&failed),
        &Backoff::default(),
        now(),
    );
    assert_eq!(plan.start, [Some(1)]);
    let done = pod(
        "b",
        "Succeeded",
        &json!({"annotations": {indexes::INDEX: "1"}}),
    );
    let (_, status) = report(&mut job, &[failed, done]);
    assert_eq!(status["failedIndexes"], "0");
    assert_eq!(status["completedIndexes"], "1");
    assert_eq!(status["conditions"][1]["reason"], "FailedIndexes");
}
