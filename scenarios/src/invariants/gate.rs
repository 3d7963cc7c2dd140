//! No service leads to a server whose rows are not back: its gate opens only after a restore that is done.

use std::collections::BTreeSet;

use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use kube::{Api, Client, ResourceExt as _};
use mysql_operator::crd::MySQL;

const GATE: &str = "otus.homework/restored";
const INSTANCE: &str = "otus.homework/instance";
const INSTANCE_UID: &str = "otus.homework/instance-uid";

/// Pods whose gate has been seen open.
#[derive(Clone, Debug, Default)]
pub struct Opened(BTreeSet<String>);

impl Opened {
    /// The pod's gate is open, and was not when it was last seen.
    pub fn is_new(&mut self, pod: &Pod) -> bool {
        let conditions = pod
            .status
            .as_ref()
            .and_then(|status| status.conditions.as_ref());
        let open = conditions
            .into_iter()
            .flatten()
            .any(|condition| condition.type_ == GATE && condition.status == "True");
        let uid = pod.uid().unwrap_or_default();
        if open {
            self.0.insert(uid)
        } else {
            self.0.remove(&uid);
            false
        }
    }
}

/// Asks the cluster whether the restore of this pod's instance is done.
pub async fn opened_too_early(client: &Client, pod: &Pod) -> Option<String> {
    let namespace = pod.namespace()?;
    let name = pod.labels().get(INSTANCE)?.clone();
    let instances: Api<MySQL> = Api::namespaced(client.clone(), &namespace);
    // A resource that has gone has left its server to itself.
    let instance = instances.get_opt(&name).await.ok().flatten()?;
    let jobs: Api<Job> = Api::namespaced(client.clone(), &namespace);
    let job = jobs
        .get_opt(&format!("restore-{name}-job"))
        .await
        .ok()
        .flatten();
    too_early(&instance, job.as_ref())
        .then(|| format!("I4: {namespace}/{name} lets clients in before its restore is done"))
}

/// Neither has the instance ever been filled, nor is the Job done that fills this very life of it.
fn too_early(instance: &MySQL, job: Option<&Job>) -> bool {
    let known = instance
        .status
        .as_ref()
        .is_some_and(|status| status.initialized == Some(true));
    let done = job.is_some_and(|job| {
        let complete = job
            .status
            .as_ref()
            .and_then(|status| status.conditions.as_ref())
            .into_iter()
            .flatten()
            .any(|condition| condition.type_ == "Complete" && condition.status == "True");
        complete && job.annotations().get(INSTANCE_UID) == instance.metadata.uid.as_ref()
    });
    !known && !done
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn instance(status: &serde_json::Value) -> MySQL {
        serde_json::from_value(json!({
            "metadata": {"name": "db", "uid": "this-life"},
            "spec": {"image": "m", "database": "d", "password": "p", "storage_size": "1Gi"},
            "status": status,
        }))
        .expect("a resource")
    }

    fn job(uid: &str, condition: &str) -> Job {
        serde_json::from_value(json!({
            "metadata": {"name": "restore-db-job", "annotations": {INSTANCE_UID: uid}},
            "status": {"conditions": [{"type": condition, "status": "True"}]},
        }))
        .expect("a Job")
    }

    fn pod(gate: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "db-1", "uid": "pod"},
            "status": {"conditions": [{"type": GATE, "status": gate}]},
        }))
        .expect("a pod")
    }

    #[test]
    fn a_gate_that_opens_before_the_rows_are_back_is_a_violation() {
        let new = instance(&json!({}));
        assert!(too_early(&new, None));
        assert!(too_early(&new, Some(&job("this-life", "Failed"))));
        assert!(too_early(&new, Some(&job("an-earlier-life", "Complete"))));
        assert!(!too_early(&new, Some(&job("this-life", "Complete"))));
        assert!(!too_early(&instance(&json!({"initialized": true})), None));
    }

    #[test]
    fn each_opening_of_a_gate_is_looked_at_once() {
        let mut opened = Opened::default();
        let seen = ["False", "True", "True", "False", "True"];
        let looked: Vec<bool> = seen.map(|gate| opened.is_new(&pod(gate))).into();
        assert_eq!(looked, [false, true, false, false, true]);
    }
}
