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
    let known = instance
        .status
        .as_ref()
        .is_some_and(|status| status.initialized == Some(true));
    let jobs: Api<Job> = Api::namespaced(client.clone(), &namespace);
    let job = jobs
        .get_opt(&format!("restore-{name}-job"))
        .await
        .ok()
        .flatten();
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
    (!known && !done)
        .then(|| format!("I4: {namespace}/{name} lets clients in before its restore is done"))
}
