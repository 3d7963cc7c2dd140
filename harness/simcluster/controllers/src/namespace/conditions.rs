//! What is left in a namespace that goes, and how that is said. Pure.

use std::collections::BTreeMap;

use k8s_openapi::{api::core::v1::NamespaceCondition, apimachinery::pkg::apis::meta::v1::Time};
use kube::api::{ApiResource, DynamicObject, PartialObjectMeta};

use super::Finalizers;

/// What is left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Remains {
    /// By `plural.group`.
    kinds: BTreeMap<String, usize>,
    finalizers: Finalizers,
}

impl Remains {
    pub(super) fn of(resource: &ApiResource, left: &[PartialObjectMeta<DynamicObject>]) -> Self {
        let mut remains = Self::default();
        if !left.is_empty() {
            remains.kinds.insert(
                format!("{}.{}", resource.plural, resource.group),
                left.len(),
            );
        }
        for finalizer in left
            .iter()
            .flat_map(|object| object.metadata.finalizers.iter().flatten())
        {
            *remains.finalizers.entry(finalizer.clone()).or_default() += 1;
        }
        remains
    }

    pub(super) fn is_nothing(&self) -> bool {
        self.kinds.is_empty()
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.kinds.extend(other.kinds);
        for (finalizer, number) in other.finalizers {
            *self.finalizers.entry(finalizer).or_default() += number;
        }
    }
}

fn listed(counts: &BTreeMap<String, usize>, joint: &str) -> String {
    let parts: Vec<_> = counts
        .iter()
        .map(|(name, number)| format!("{name} {joint} {number} resource instances"))
        .collect();
    parts.join(", ")
}

/// The five conditions; what does not change keeps its time.
pub(super) fn conditions(
    mut known: Vec<NamespaceCondition>,
    remains: &Remains,
    now: &Time,
) -> Vec<NamespaceCondition> {
    let content = listed(&remains.kinds, "has");
    let finalizers = listed(&remains.finalizers, "in");
    let all = [
        (
            "NamespaceDeletionDiscoveryFailure",
            false,
            "ResourcesDiscovered",
            "All resources successfully discovered".to_owned(),
        ),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            false,
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed".to_owned(),
        ),
        (
            "NamespaceDeletionContentFailure",
            false,
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization".to_owned(),
        ),
        if content.is_empty() {
            let text = "All content successfully removed".to_owned();
            ("NamespaceContentRemaining", false, "ContentRemoved", text)
        } else {
            let text = format!("Some resources are remaining: {content}");
            (
                "NamespaceContentRemaining",
                true,
                "SomeResourcesRemain",
                text,
            )
        },
        if finalizers.is_empty() {
            let text = "All content-preserving finalizers finished".to_owned();
            (
                "NamespaceFinalizersRemaining",
                false,
                "ContentHasNoFinalizers",
                text,
            )
        } else {
            let text =
                format!("Some content in the namespace has finalizers remaining: {finalizers}");
            (
                "NamespaceFinalizersRemaining",
                true,
                "SomeFinalizersRemain",
                text,
            )
        },
    ];
    for (type_, holds, reason, message) in all {
        let status = if holds { "True" } else { "False" };
        let same = known.iter_mut().find(|condition| condition.type_ == type_);
        let changed = same.as_ref().is_none_or(|condition| {
            condition.status != status
                || condition.reason.as_deref() != Some(reason)
                || condition.message.as_deref() != Some(message.as_str())
        });
        if !changed {
            continue;
        }
        let new = NamespaceCondition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message),
            last_transition_time: Some(now.clone()),
        };
        match same {
            Some(condition) => *condition = new,
            None => known.push(new),
        }
    }
    known
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_left_is_told_by_kind_and_by_finalizer() {
        let resource = ApiResource {
            group: String::new(),
            version: "v1".into(),
            api_version: "v1".into(),
            kind: "ConfigMap".into(),
            plural: "configmaps".into(),
        };
        let left: Vec<PartialObjectMeta<DynamicObject>> =
            vec![serde_json::from_value(json!({"metadata": {"finalizers": ["x/stuck"]}})).unwrap()];
        let now = Time("2026-01-01T00:00:00Z".parse().unwrap());
        let told = conditions(Vec::new(), &Remains::of(&resource, &left), &now);
        let message = |type_: &str| {
            let condition = told
                .iter()
                .find(|condition| condition.type_ == type_)
                .unwrap();
            (condition.status.clone(), condition.message.clone().unwrap())
        };
        assert_eq!(
            message("NamespaceContentRemaining"),
            (
                "True".to_owned(),
                "Some resources are remaining: configmaps. has 1 resource instances".to_owned()
            )
        );
        assert_eq!(
            message("NamespaceFinalizersRemaining"),
            (
                "True".to_owned(),
                "Some content in the namespace has finalizers remaining: x/stuck in 1 resource \
                 instances"
                    .to_owned()
            )
        );
        assert_eq!(
            conditions(told.clone(), &Remains::of(&resource, &left), &now),
            told
        );
    }
}
