//! Jobs.

use serde_json::{Value, json};

use crate::world::{World, batch, condition, core, merge};

fn job(name: &str, annotations: &Value, spec: &Value) -> Value {
    let mut job = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
        "spec": {"template": {
            "metadata": {"annotations": annotations},
            "spec": {"restartPolicy": "Never", "terminationGracePeriodSeconds": 0,
                     "containers": [{"name": "c", "image": "x"}]},
        }},
    });
    merge(&mut job["spec"], spec);
    job
}

fn holds(type_: &'static str) -> impl Fn(&Value) -> bool {
    move |job| condition(job, type_)["status"] == "True"
}

#[tokio::test]
async fn a_job_completes_when_enough_pods_have_succeeded() {
    let world = World::start().await;
    let succeeds = json!({"test/exit": "0"});
    let body = job(
        "ok",
        &succeeds,
        &json!({"completions": 2, "parallelism": 2}),
    );
    world.post(&batch("jobs"), &body).await;
    let done = world
        .until_one(&batch("jobs"), "ok", holds("Complete"))
        .await;
    let status = &done["status"];
    assert_eq!(status["succeeded"], 2);
    assert_eq!(status["uncountedTerminatedPods"], json!({}));
    assert_eq!(
        (&status["ready"], &status["terminating"]),
        (&json!(0), &json!(0))
    );
    assert!(status["active"].is_null() && status["completionTime"].is_string());
    let event = world.event("ok", "Completed").await;
    assert_eq!(event["message"], "Job completed");
    assert_eq!(event["source"], json!({"component": "job-controller"}));
    let pods = world.get(&core("pods")).await;
    for pod in pods["items"].as_array().unwrap() {
        assert!(pod["metadata"]["finalizers"].is_null());
        assert_eq!(pod["metadata"]["labels"]["job-name"], "ok");
    }
}

#[tokio::test]
async fn a_job_over_its_backoff_limit_fails() {
    let world = World::start().await;
    let fails = json!({"test/exit": "1"});
    world
        .post(
            &batch("jobs"),
            &job("bad", &fails, &json!({"backoffLimit": 0})),
        )
        .await;
    let failed = world
        .until_one(&batch("jobs"), "bad", holds("Failed"))
        .await;
    assert_eq!(failed["status"]["failed"], 1);
    assert_eq!(
        condition(&failed, "FailureTarget")["reason"],
        "BackoffLimitExceeded"
    );
    let event = world.event("bad", "BackoffLimitExceeded").await;
    assert_eq!(
        event["message"],
        "Job has reached the specified backoff limit"
    );
}

#[tokio::test]
async fn a_pod_failure_policy_fails_the_job_at_once() {
    let world = World::start().await;
    let policy = json!({"backoffLimit": 5, "podFailurePolicy": {"rules": [
        {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}}]}});
    world
        .post(
            &batch("jobs"),
            &job("pfp", &json!({"test/exit": "42"}), &policy),
        )
        .await;
    let failed = world
        .until_one(&batch("jobs"), "pfp", holds("Failed"))
        .await;
    let message = condition(&failed, "Failed")["message"].as_str().unwrap();
    assert!(message.starts_with("Container c for pod default/pfp-"));
    assert!(message.ends_with(" failed with exit code 42 matching FailJob rule at index 0"));
}

#[tokio::test]
async fn a_job_past_its_deadline_fails_and_its_pods_go() {
    let world = World::start().await;
    let deadline = json!({"activeDeadlineSeconds": 1});
    world
        .post(&batch("jobs"), &job("slow", &json!({}), &deadline))
        .await;
    let failed = world
        .until_one(&batch("jobs"), "slow", holds("Failed"))
        .await;
    assert_eq!(condition(&failed, "Failed")["reason"], "DeadlineExceeded");
    assert_eq!(failed["status"]["failed"], 1);
    world.until(&core("pods"), <[Value]>::is_empty).await;
}

#[tokio::test]
async fn a_job_is_suspended_and_resumed() {
    let world = World::start().await;
    let jobs = batch("jobs");
    world
        .post(&jobs, &job("s", &json!({}), &json!({"suspend": true})))
        .await;
    world.until_one(&jobs, "s", holds("Suspended")).await;
    let path = batch("jobs/s");
    world
        .patch(&path, &json!({"spec": {"suspend": false}}))
        .await;
    let active = |job: &Value| {
        job["status"]["active"] == 1 && condition(job, "Suspended")["reason"] == "JobResumed"
    };
    world.until_one(&jobs, "s", active).await;
    world
        .patch(&path, &json!({"spec": {"suspend": true}}))
        .await;
    let stopped = |job: &Value| {
        job["status"]["active"].is_null()
            && job["status"]["startTime"].is_null()
            && condition(job, "Suspended")["reason"] == "JobSuspended"
    };
    let job = world.until_one(&jobs, "s", stopped).await;
    assert!(
        job["status"]["failed"].is_null(),
        "stopped pods have not failed"
    );
    world.event("s", "Suspended").await;
    world.event("s", "Resumed").await;
}

#[tokio::test]
async fn deleting_a_job_frees_and_collects_its_pods() {
    let world = World::start().await;
    world
        .post(&batch("jobs"), &job("d", &json!({}), &json!({})))
        .await;
    world.until(&core("pods"), |pods| pods.len() == 1).await;
    world
        .delete(
            &batch("jobs/d"),
            &json!({"propagationPolicy": "Background"}),
        )
        .await;
    world.until(&core("pods"), <[Value]>::is_empty).await;
}

#[tokio::test]
async fn a_finished_job_goes_after_its_time() {
    let world = World::start().await;
    let ttl = json!({"ttlSecondsAfterFinished": 0});
    world
        .post(
            &batch("jobs"),
            &job("ttl", &json!({"test/exit": "0"}), &ttl),
        )
        .await;
    world.until_gone(&batch("jobs"), "ttl").await;
    world.until(&core("pods"), <[Value]>::is_empty).await;
}

#[tokio::test]
async fn an_indexed_job_does_each_index_once() {
    let world = World::start().await;
    let indexed = json!({"completionMode": "Indexed", "completions": 3, "parallelism": 3});
    world
        .post(
            &batch("jobs"),
            &job("i", &json!({"test/exit": "0"}), &indexed),
        )
        .await;
    let done = world
        .until_one(&batch("jobs"), "i", holds("Complete"))
        .await;
    assert_eq!(done["status"]["completedIndexes"], "0-2");
    assert_eq!(
        world.get(&core("pods")).await["items"]
            .as_array()
            .unwrap()
            .len(),
        3
    );
}
