//! What a node and the Job's controller would have said of a Job, said for them where there is no node.
//!
//! The bench of the operator includes this file too.

use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use kube::{
    Api, Client, ResourceExt as _,
    api::{Patch, PatchParams, PostParams},
    runtime::wait,
};
use serde_json::json;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What the pod of a restore says that found no backup.
const REPORT: &str = r#"{"op":"restore","opId":"x","result":"no-backup","reason":"NoBackup","server":"mysql 8.4.2"}"#;

/// Waits for an instance's restore Job, and ends it as its pod would have: there was no backup.
pub(crate) async fn finish_restore(client: &Client, instance: &str) -> Result<(), Failure> {
    let jobs: Api<Job> = Api::default_namespaced(client.clone());
    let name = format!("restore-{instance}-job");
    let there = wait::await_condition(jobs.clone(), &name, |job: Option<&Job>| job.is_some());
    let job = there
        .await?
        .ok_or_else(|| format!("the Job {name} is gone"))?;
    end_pod(client, instance, &job).await?;
    // The Job's controller counts pods of its own meanwhile.
    loop {
        let mut job = jobs.get(&name).await?;
        let begun = job
            .status
            .as_ref()
            .and_then(|status| status.start_time.clone());
        let begun = begun.or_else(|| job.creation_timestamp());
        job.status = Some(serde_json::from_value(json!({
            "startTime": begun, "completionTime": begun, "succeeded": 1,
            "conditions": [
                {"type": "SuccessCriteriaMet", "status": "True", "lastTransitionTime": begun},
                {"type": "Complete", "status": "True", "lastTransitionTime": begun},
            ],
        }))?);
        match jobs
            .replace_status(&name, &PostParams::default(), &job)
            .await
        {
            Err(kube::Error::Api(status)) if status.is_conflict() => {}
            ended => return ended.map(drop).map_err(Into::into),
        }
    }
}

async fn end_pod(client: &Client, instance: &str, job: &Job) -> Result<(), Failure> {
    let name = format!("restored-{instance}");
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {
            "name": name,
            "labels": {
                "otus.homework/instance": instance,
                "app.kubernetes.io/managed-by": "mysql-operator",
            },
            "ownerReferences": [{
                "apiVersion": "batch/v1", "kind": "Job", "name": job.name_any(),
                "uid": job.uid().unwrap_or_default(),
            }],
        },
        "spec": {"containers": [{"name": "mysql-job", "image": "i"}]},
    }))?;
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    pods.create(&PostParams::default(), &pod).await?;
    let ended = json!({"status": {"phase": "Succeeded", "containerStatuses": [{
        "name": "mysql-job", "image": "i", "imageID": "i", "ready": false, "restartCount": 0,
        "state": {"terminated": {"exitCode": 0, "message": REPORT}},
    }]}});
    let parameters = PatchParams::default();
    pods.patch_status(&name, &parameters, &Patch::Merge(ended))
        .await?;
    Ok(())
}
