//! Once disturbances end, an instance becomes Ready, or says what it waits for and what to do. Pure.
//!
//! At every moment: who is Blocked says why. At the end of a scenario, with the operator at work: everybody
//! has come to rest.

use mysql_operator::crd::{MySQL, Phase};

/// Reasons of a thing that is under way, and not of one that waits for somebody.
const UNDER_WAY: [&str; 12] = [
    "",
    "BackingUp",
    "Initializing",
    "InitializationInterrupted",
    "NamespaceTerminating",
    "Released",
    "Removing",
    "RemovingJobs",
    "Starting",
    "Stopping",
    "SyncingPassword",
    "WaitingForLeftovers",
];

/// It is Blocked and nobody can know why.
pub fn unexplained(instance: &MySQL) -> Option<String> {
    let status = instance.status.as_ref()?;
    if status.phase != Some(Phase::Blocked) {
        return None;
    }
    let ready = status.condition("Ready");
    let explained = ready.is_some_and(|said| !said.reason.is_empty() && said.message.len() > 10);
    (!explained).then(|| {
        format!(
            "I7: {} is Blocked without a reason: {ready:?}",
            super::key(instance)
        )
    })
}

/// What it is still busy with; `None` if it has come to rest.
pub fn restless(instance: &MySQL) -> Option<String> {
    let name = super::key(instance);
    let Some(status) = instance.status.as_ref() else {
        return Some(format!("{name} has no status"));
    };
    if status.observed_generation != instance.metadata.generation {
        return Some(format!("{name}: its latest generation is not observed"));
    }
    let Some(ready) = status.condition("Ready") else {
        return Some(format!("{name} has no condition Ready"));
    };
    let is_busy = UNDER_WAY.contains(&ready.reason.as_str());
    let is_going = instance.metadata.deletion_timestamp.is_some();
    let rests = status.phase == Some(Phase::Blocked)
        || (!is_going && ready.status == "True")
        || (!is_busy && ready.status != "True");
    (!rests).then(|| {
        format!(
            "{name}: {:?}, {}: {}",
            status.phase, ready.reason, ready.message
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn instance(phase: &str, status: &str, reason: &str, message: &str, going: bool) -> MySQL {
        let mut instance: MySQL = serde_json::from_value(json!({
            "metadata": {"name": "db", "generation": 1},
            "spec": {"image": "m", "database": "d", "password": "p", "storage_size": "1Gi"},
            "status": {"phase": phase, "observedGeneration": 1, "conditions": [{
                "type": "Ready", "status": status, "reason": reason, "message": message,
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }]},
        }))
        .expect("a resource");
        if going {
            instance.metadata.deletion_timestamp =
                Some(serde_json::from_value(json!("2026-01-01T00:00:00Z")).expect("a time"));
        }
        instance
    }

    #[test]
    fn who_is_blocked_without_a_word_is_noticed() {
        assert!(unexplained(&instance("Blocked", "False", "", "", false)).is_some());
        let said = instance(
            "Blocked",
            "False",
            "BackupVolumeFull",
            "12 bytes are free",
            false,
        );
        assert_eq!(unexplained(&said), None);
        assert_eq!(
            unexplained(&instance("Starting", "False", "", "", false)),
            None
        );
    }

    #[test]
    fn who_never_comes_to_rest_is_noticed() {
        let rests = |phase, status, reason, going| {
            restless(&instance(phase, status, reason, "a sentence", going)).is_none()
        };
        assert!(rests("Ready", "True", "Ready", false));
        assert!(rests("Blocked", "False", "DeletionBlocked", true));
        assert!(rests("Initializing", "False", "ImagePullBackOff", false));
        assert!(!rests("Initializing", "False", "Initializing", false));
        assert!(!rests("Deleting", "False", "BackingUp", true));
        assert!(!rests("Ready", "True", "Ready", true));
        let mut unseen = instance("Ready", "True", "Ready", "m", false);
        unseen.metadata.generation = Some(2);
        assert!(restless(&unseen).is_some());
    }
}
