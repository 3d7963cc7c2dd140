//! A restore changes only an empty database: no life is filled twice. Pure.
//!
//! What can be seen from outside is that no restore begins after the instance has had its rows. That the
//! database was empty, or had the mark of the same restore's unfinished attempt, can only be seen by the
//! program that looks at it; the tests of `mysql-job` against real servers hold that.

use std::collections::BTreeMap;

use k8s_openapi::{api::batch::v1::Job, jiff::Timestamp};
use kube::ResourceExt as _;
use mysql_operator::crd::MySQL;

const INSTANCE_UID: &str = "otus.homework/instance-uid";
const COMPONENT: &str = "app.kubernetes.io/component";

/// When lives were filled and when restores began, by the resource's UID.
#[derive(Clone, Debug, Default)]
pub struct Restores {
    filled: BTreeMap<String, Timestamp>,
    begun: BTreeMap<String, BTreeMap<String, Timestamp>>,
}

impl Restores {
    /// The resource is like this now.
    pub fn instance(&mut self, instance: &MySQL) -> Vec<String> {
        let status = instance.status.as_ref();
        let since = status
            .and_then(|status| status.condition("Restored"))
            .filter(|said| said.status == "True")
            .map(|said| said.last_transition_time.0);
        let (Some(uid), Some(since)) = (instance.uid(), since) else {
            return Vec::new();
        };
        self.filled.entry(uid.clone()).or_insert(since);
        self.judge(&uid)
    }

    /// The Job is like this now.
    pub fn job(&mut self, job: &Job) -> Vec<String> {
        let is_restore = job
            .labels()
            .get(COMPONENT)
            .is_some_and(|component| component == "restore");
        let owner = job.annotations().get(INSTANCE_UID).cloned();
        let (true, Some(uid), Some(begun)) = (is_restore, owner, job.creation_timestamp()) else {
            return Vec::new();
        };
        let jobs = self.begun.entry(uid.clone()).or_default();
        jobs.insert(job.name_any(), begun.0);
        self.judge(&uid)
    }

    fn judge(&self, uid: &str) -> Vec<String> {
        let (Some(filled), Some(begun)) = (self.filled.get(uid), self.begun.get(uid)) else {
            return Vec::new();
        };
        begun
            .iter()
            // Both are whole seconds: what happened within one is not in order.
            .filter(|(_, begun)| *begun > filled)
            .map(|(job, begun)| {
                format!("I3: the restore {job} began at {begun}, and its instance had its rows since {filled}")
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn job(created: &str) -> Job {
        serde_json::from_value(json!({"metadata": {
            "name": "restore-db-job", "creationTimestamp": created,
            "labels": {COMPONENT: "restore"}, "annotations": {INSTANCE_UID: "u"},
        }}))
        .expect("a Job")
    }

    #[test]
    fn a_restore_into_an_instance_that_has_its_rows_is_noticed() {
        let instance: MySQL = serde_json::from_value(json!({
            "metadata": {"name": "db", "uid": "u"},
            "spec": {"image": "m", "database": "d", "password": "p", "storage_size": "1Gi"},
            "status": {"conditions": [{"type": "Restored", "status": "True", "reason": "r", "message": "m",
                "lastTransitionTime": "2026-01-01T00:00:05Z"}]},
        }))
        .expect("a resource");
        let mut restores = Restores::default();
        assert!(restores.job(&job("2026-01-01T00:00:03Z")).is_empty());
        assert!(restores.instance(&instance).is_empty());
        assert!(restores.job(&job("2026-01-01T00:00:04Z")).is_empty());
        assert_eq!(restores.job(&job("2026-01-01T00:00:09Z")).len(), 1);
    }
}
