//! A pod of a scenario's own, to look into a volume or to damage it, as an administrator or bad luck would.

use harness::{Failure, conditions::Condition, conditions::Verdict};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, LogParams, PostParams};
use serde_json::json;

use crate::lab::Lab;

/// Runs a shell script with a claim mounted at `/volume`; gives what it printed.
pub async fn run(lab: &Lab<'_>, claim: &str, script: &str) -> Result<String, Failure> {
    let pods: Api<Pod> = lab.cluster().namespaced();
    let name = "helper";
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
            "containers": [{
                "name": "shell",
                "image": "busybox",
                "command": ["sh", "-ec", script],
                "volumeMounts": [{"name": "volume", "mountPath": "/volume"}],
            }],
            "volumes": [{"name": "volume", "persistentVolumeClaim": {"claimName": claim}}],
        },
    }))?;
    pods.create(&PostParams::default(), &pod).await?;
    let ended = lab.cluster().wait(&pods, name, ended()).await?;
    let text = pods.logs(name, &LogParams::default()).await?;
    pods.delete(name, &DeleteParams::default()).await?;
    lab.cluster()
        .wait(&pods, name, harness::conditions::absent())
        .await?;
    let phase = ended
        .and_then(|pod| pod.status)
        .and_then(|status| status.phase);
    if phase.as_deref() == Some("Succeeded") {
        Ok(text)
    } else {
        Err(format!("the script failed: {script}\n{text}").into())
    }
}

fn ended() -> Condition<Pod> {
    Condition::of("to have ended", |pod: &Pod| {
        let phase = pod.status.as_ref().and_then(|status| status.phase.clone());
        match phase.as_deref() {
            Some("Succeeded" | "Failed") => Verdict::Met,
            other => Verdict::NotYet(format!("its phase is {other:?}")),
        }
    })
}
