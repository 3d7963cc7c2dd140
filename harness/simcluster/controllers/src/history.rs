//! ControllerRevisions: the templates that a StatefulSet or DaemonSet had, and has. Pure.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::{
    api::{apps::v1::ControllerRevision, core::v1::PodTemplateSpec},
    apimachinery::pkg::{apis::meta::v1::ObjectMeta, runtime::RawExtension},
};
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::{hash, objects::Kind, ownership::controller_reference};

/// The data of a revision: a patch that brings the template back.
fn data(template: &PodTemplateSpec) -> Value {
    let mut template = serde_json::to_value(template).unwrap_or_default();
    if let Some(metadata) = template.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("creationTimestamp");
    }
    template["$patch"] = json!("replace");
    json!({"spec": {"template": template}})
}

/// The template that a revision keeps.
pub(crate) fn template(revision: &ControllerRevision) -> Option<PodTemplateSpec> {
    let mut template = revision
        .data
        .as_ref()?
        .0
        .get("spec")?
        .get("template")?
        .clone();
    template.as_object_mut()?.remove("$patch");
    serde_json::from_value(template).ok()
}

/// What a set's history says about its present template.
#[derive(Clone, Debug)]
pub(crate) enum Present {
    /// It is the newest revision.
    Newest(Arc<ControllerRevision>),
    /// It is an older one, which becomes the newest with this number.
    Older(Arc<ControllerRevision>, i64),
    /// It is new, and becomes this revision.
    New(Box<ControllerRevision>),
}

/// Looks the present template up. `hash_label` names the label that carries the hash.
pub(crate) fn present<K: Kind>(
    set: &K,
    template: &PodTemplateSpec,
    collisions: Option<i32>,
    hash_label: &str,
    known: &[Arc<ControllerRevision>],
) -> Present {
    let data = data(template);
    let newest = known
        .iter()
        .map(|revision| revision.revision)
        .max()
        .unwrap_or_default();
    let mut equal: Vec<_> = known
        .iter()
        .filter(|revision| revision.data.as_ref().is_some_and(|known| known.0 == data))
        .collect();
    equal.sort_by_key(|revision| revision.revision);
    if let Some(equal) = equal.last() {
        return if equal.revision == newest {
            Present::Newest((*equal).clone())
        } else {
            Present::Older((*equal).clone(), newest + 1)
        };
    }
    let hash = hash::short(&data, collisions);
    let mut labels: BTreeMap<String, String> = template
        .metadata
        .as_ref()
        .and_then(|metadata| metadata.labels.clone())
        .unwrap_or_default();
    labels.insert(hash_label.to_owned(), hash.clone());
    let name = set.meta().name.as_deref().unwrap_or_default();
    Present::New(Box::new(ControllerRevision {
        metadata: ObjectMeta {
            name: Some(format!("{name}-{hash}")),
            namespace: set.meta().namespace.clone(),
            labels: Some(labels),
            annotations: set
                .meta()
                .annotations
                .clone()
                .filter(|known| !known.is_empty()),
            owner_references: Some(vec![controller_reference(set)]),
            ..ObjectMeta::default()
        },
        data: Some(RawExtension(data)),
        revision: newest + 1,
    }))
}

/// Revisions beyond the history that is kept, oldest first; those in use stay.
pub(crate) fn too_old(
    known: &[Arc<ControllerRevision>],
    in_use: &dyn Fn(&str) -> bool,
    limit: Option<i32>,
) -> Vec<Arc<ControllerRevision>> {
    let limit = usize::try_from(limit.unwrap_or(10)).unwrap_or_default();
    let mut unused: Vec<_> = known
        .iter()
        .filter(|revision| !in_use(&revision.name_any()))
        .cloned()
        .collect();
    unused.sort_by_key(|revision| revision.revision);
    let surplus = unused.len().saturating_sub(limit);
    unused.truncate(surplus);
    unused
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::StatefulSet;

    use super::*;

    fn of(image: &str) -> PodTemplateSpec {
        serde_json::from_value(json!({
            "metadata": {"labels": {"a": "b"}},
            "spec": {"containers": [{"name": "c", "image": image}]},
        }))
        .unwrap()
    }

    #[test]
    fn a_template_that_comes_back_is_found_and_renumbered() {
        let set: StatefulSet =
            serde_json::from_value(json!({"metadata": {"name": "s", "namespace": "n"}})).unwrap();
        let look_up = |image: &str, known: &[Arc<ControllerRevision>]| {
            present(
                &set,
                &of(image),
                None,
                "controller.kubernetes.io/hash",
                known,
            )
        };
        let Present::New(first) = look_up("one", &[]) else {
            panic!()
        };
        let first = Arc::new(*first);
        assert_eq!(template(&first), Some(of("one")));
        let Present::New(second) = look_up("two", std::slice::from_ref(&first)) else {
            panic!()
        };
        let known = [first, Arc::new(*second)];
        assert!(matches!(look_up("two", &known), Present::Newest(found) if found.revision == 2));
        assert!(matches!(look_up("one", &known), Present::Older(found, 3) if found.revision == 1));
    }
}
