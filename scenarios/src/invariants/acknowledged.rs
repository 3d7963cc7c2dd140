//! A row that was acknowledged comes back: what clients saw before a deletion is in the last backup, and
//! the next life begins with that backup. Pure.
//!
//! Rows that are written *while* the deletion begins are in `robustness`: only who writes them knows how
//! many were acknowledged.

use std::collections::BTreeMap;

use kube::ResourceExt as _;
use mysql_operator::crd::{DeletionPolicy, MySQL};

/// What of a life must be in the next one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Left {
    uid: Option<String>,
    generation: String,
}

/// The lives of all instances.
#[derive(Clone, Debug, Default)]
pub struct Lives {
    /// Rows that clients saw before they deleted the resource, by its UID.
    acknowledged: BTreeMap<String, u64>,
    /// By namespace and name.
    left: BTreeMap<String, Left>,
}

impl Lives {
    /// Clients saw this many rows in the instance and wrote no more.
    pub fn acknowledged(&mut self, instance: &MySQL, rows: u64) {
        if let Some(uid) = instance.uid() {
            self.acknowledged.insert(uid, rows);
        }
    }

    /// The resource has gone; this is how it last was.
    pub fn gone(&mut self, instance: &MySQL) -> Option<String> {
        let key = super::key(instance);
        self.left.remove(&key);
        let acknowledged = instance
            .uid()
            .and_then(|uid| self.acknowledged.remove(&uid));
        let status = instance.status.as_ref()?;
        let is_backed_up = status
            .condition("FinalBackup")
            .is_some_and(|said| said.status == "True");
        let backup = status.last_backup.as_ref().filter(|_| is_backed_up)?;
        self.left.insert(
            key.clone(),
            Left {
                uid: instance.uid(),
                generation: backup.generation.clone(),
            },
        );
        let backed_up = u64::try_from(backup.rows?).unwrap_or_default();
        let acknowledged = acknowledged.filter(|rows| backed_up < *rows)?;
        Some(format!(
            "I1: clients of {key} saw {acknowledged} rows, and its last backup {} has {backed_up}",
            backup.generation
        ))
    }

    /// The resource is like this now.
    pub fn changed(&mut self, instance: &MySQL) -> Option<String> {
        let key = super::key(instance);
        let left = self.left.get(&key)?;
        let status = instance.status.as_ref()?;
        if left.uid == instance.uid() || status.initialized != Some(true) {
            return None;
        }
        let left = self.left.remove(&key)?;
        let said = status.condition("Restored")?;
        let wished = instance.annotations().keys().any(|key| {
            key.starts_with("otus.homework/restore") && key != "otus.homework/restore-test"
        });
        let kept = instance.spec.deletion_policy == Some(DeletionPolicy::Retain);
        (!wished && !kept && !said.message.contains(&left.generation)).then(|| {
            format!(
                "I1: {key} was left with the backup {} and begins without it: {}: {}",
                left.generation, said.reason, said.message
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn instance(uid: &str, restored: &str, rows: u64) -> MySQL {
        let condition = |type_: &str, message: &str| {
            json!({"type": type_, "status": "True", "reason": "r", "message": message,
                "lastTransitionTime": "2026-01-01T00:00:00Z"})
        };
        serde_json::from_value(json!({
            "metadata": {"name": "db", "namespace": "n", "uid": uid},
            "spec": {"image": "m", "database": "d", "password": "p", "storage_size": "1Gi"},
            "status": {
                "initialized": true,
                "lastBackup": {"generation": "gen-7", "time": "2026-01-01T00:00:00Z", "rows": rows},
                "conditions": [condition("FinalBackup", ""), condition("Restored", restored)],
            },
        }))
        .expect("a resource")
    }

    #[test]
    fn a_backup_with_fewer_rows_than_clients_saw_is_noticed() {
        let mut lives = Lives::default();
        let whole = instance("u", "", 3);
        lives.acknowledged(&whole, 3);
        assert_eq!(lives.gone(&whole), None);
        let short = instance("v", "", 2);
        lives.acknowledged(&short, 3);
        assert!(lives.gone(&short).is_some_and(|text| text.contains("I1")));
    }

    #[test]
    fn a_life_that_begins_without_the_backup_of_the_one_before_is_noticed() {
        let mut lives = Lives::default();
        lives.gone(&instance("u", "", 1));
        assert_eq!(lives.changed(&instance("u", "nothing", 1)), None);
        assert_eq!(
            lives.changed(&instance("v", "the rows of gen-7 are back", 1)),
            None
        );
        lives.gone(&instance("v", "", 1));
        let empty = lives.changed(&instance("w", "there were no rows to bring back", 1));
        assert!(empty.is_some_and(|text| text.contains("gen-7")));
    }
}
