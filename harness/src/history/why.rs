//! Pure: an object's versions with the reasons that the cluster itself gives for them: Events about the
//! object, its owners and their ends, its finalizers, the generation that a controller had seen.
//!
//! A reason is something that the API says, never a guess. Which user sent a request is not among it: the
//! API keeps field managers, not users; of a deletion it keeps neither.

use std::fmt;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::{Version, revision};

/// An Event about the object, or one of its owner's that names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Told {
    /// When it was first told: its creation.
    pub at: Option<Timestamp>,
    /// Its own revision.
    pub revision: u64,
    /// `Warning ScalingReplicaSet by deployment-controller about Deployment web: …`
    pub text: String,
}

/// A version and why it is.
#[derive(Clone, Debug, Serialize)]
pub struct Explained {
    /// The version.
    #[serde(flatten)]
    pub version: Version,
    /// What the cluster says about it.
    pub because: Vec<String>,
}

/// Puts reasons beside versions of one object, oldest first; `owners` are versions of its owners.
pub fn explain(versions: &[Version], owners: &[Version], events: &[Told]) -> Vec<Explained> {
    let mut explained = Vec::new();
    let mut before: Option<&Version> = None;
    for (index, version) in versions.iter().enumerate() {
        let mut because = Vec::new();
        let next = versions.get(index + 1).map(|next| revision(&next.revision));
        lifecycle(version, before, owners, &mut because);
        spec_seen(version, before, &mut because);
        let since = if index == 0 {
            0
        } else {
            revision(&version.revision)
        };
        because.extend(
            events
                .iter()
                .filter(|event| {
                    event.revision > since && next.is_none_or(|next| event.revision < next)
                })
                .map(|event| event.text.clone()),
        );
        explained.push(Explained {
            version: version.clone(),
            because,
        });
        before = Some(version);
    }
    explained
}

/// Its making, the request to delete it, its end.
fn lifecycle(
    version: &Version,
    before: Option<&Version>,
    owners: &[Version],
    because: &mut Vec<String>,
) {
    let marked = |version: &Version| version.object["metadata"]["deletionTimestamp"].is_string();
    if version.change == "ADDED" {
        for owner in owners_of(version) {
            because.push(format!("{owner} owns it"));
        }
    }
    let was_marked = before.is_some_and(marked);
    if marked(version) && !was_marked {
        because.push("its deletion was asked for; the API does not record by whom".to_owned());
        for owner in owners.iter().filter(|owner| {
            revision(&owner.revision) <= revision(&version.revision)
                && (owner.change == "DELETED" || marked(owner))
        }) {
            let what = if owner.change == "DELETED" {
                "was gone"
            } else {
                "was being deleted"
            };
            let line = format!(
                "its owner {} {} {what} since revision {}",
                owner.kind, owner.name, owner.revision
            );
            // The first such version of an owner says it.
            if !because.iter().any(|known| known.contains(&owner.name)) {
                because.push(line);
            }
        }
        let finalizers = names(&version.object["metadata"]["finalizers"]);
        if !finalizers.is_empty() {
            because.push(format!("it waits for {}", finalizers.join(", ")));
        }
    }
    if version.change == "DELETED" {
        let waited = before.map(|before| names(&before.object["metadata"]["finalizers"]));
        because.push(match waited {
            Some(waited) if !waited.is_empty() => {
                format!("its last finalizer was removed: {}", waited.join(", "))
            }
            _ if was_marked => "its grace period was over".to_owned(),
            _ => "it was deleted at once; the API does not record by whom".to_owned(),
        });
    }
}

/// A controller says which generation of the spec it had seen.
fn spec_seen(version: &Version, before: Option<&Version>, because: &mut Vec<String>) {
    let Some(before) = before else { return };
    let generation = |version: &Version| version.object["metadata"]["generation"].as_i64();
    let observed = |version: &Version| version.object["status"]["observedGeneration"].as_i64();
    if let (Some(old), Some(new)) = (generation(before), generation(version))
        && old != new
    {
        because.push(format!("what is wanted changed: generation {old} → {new}"));
    }
    if let Some(seen) = observed(version)
        && observed(before) != Some(seen)
    {
        because.push(format!("its controller has seen generation {seen}"));
    }
}

fn owners_of(version: &Version) -> Vec<String> {
    version.object["metadata"]["ownerReferences"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|owner| {
            let part = |key: &str| owner[key].as_str().unwrap_or_default();
            format!("{} {}", part("kind"), part("name"))
        })
        .collect()
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = &self.version;
        let at = version.at.as_deref().unwrap_or("at an unknown time");
        write!(
            f,
            "revision {}  {at}  {}  by {}",
            version.revision, version.change, version.by
        )?;
        for change in &version.changes {
            write!(f, "\n    {change}")?;
        }
        for reason in &self.because {
            write!(f, "\n    because: {reason}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn version(change: &'static str, at: u64, kind: &str, name: &str, metadata: &Value) -> Version {
        Version {
            change,
            kind: kind.to_owned(),
            namespace: None,
            name: name.to_owned(),
            revision: at.to_string(),
            at: None,
            by: "somebody".to_owned(),
            changes: Vec::new(),
            object: json!({"metadata": metadata}),
            secrets: crate::evidence::Secrets::default(),
        }
    }

    #[test]
    fn a_life_is_explained_from_its_owner_to_its_last_finalizer() {
        let owner = json!([{"kind": "Deployment", "name": "web"}]);
        let marked = json!({"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["a/b"]});
        let versions = [
            version(
                "ADDED",
                5,
                "ReplicaSet",
                "web-1",
                &json!({"ownerReferences": owner}),
            ),
            version("MODIFIED", 9, "ReplicaSet", "web-1", &marked),
            version("DELETED", 11, "ReplicaSet", "web-1", &json!({})),
        ];
        let owners = [version("DELETED", 8, "Deployment", "web", &json!({}))];
        let events = [Told {
            at: None,
            revision: 6,
            text: "Normal SuccessfulCreate: Created pod: web-1-a".to_owned(),
        }];
        let because: Vec<Vec<String>> = explain(&versions, &owners, &events)
            .into_iter()
            .map(|explained| explained.because)
            .collect();
        assert_eq!(
            because,
            [
                vec![
                    "Deployment web owns it",
                    "Normal SuccessfulCreate: Created pod: web-1-a"
                ],
                vec![
                    "its deletion was asked for; the API does not record by whom",
                    "its owner Deployment web was gone since revision 8",
                    "it waits for a/b",
                ],
                vec!["its last finalizer was removed: a/b"],
            ]
        );
    }

    #[test]
    fn a_new_generation_and_who_saw_it_are_told() {
        let mut old = version("ADDED", 5, "MySQL", "a", &json!({"generation": 1}));
        let mut new = version("MODIFIED", 6, "MySQL", "a", &json!({"generation": 2}));
        old.object["status"] = json!({"observedGeneration": 1});
        new.object["status"] = json!({"observedGeneration": 2});
        let explained = explain(&[old, new], &[], &[]);
        assert_eq!(
            explained[1].because,
            [
                "what is wanted changed: generation 1 → 2",
                "its controller has seen generation 2"
            ]
        );
    }
}
