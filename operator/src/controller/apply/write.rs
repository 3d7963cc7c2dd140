//! Creating, correcting and removing one object.
//!
//! An object that already has every value of ours is left alone: an unchanged instance costs no write.

use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Secret};
use kube::api::{Api, Patch, PatchParams, PropagationPolicy};
use kube::{Client, Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Error, exactly};
use crate::hands::Hands;
use crate::names::{self, Instance};
use crate::recent::Recent;
use crate::written;

/// Writes for one instance.
pub(super) struct Writer<'a> {
    client: &'a Client,
    recent: &'a Recent,
    instance: &'a Instance,
}

/// An object that we write.
pub(super) trait Written:
    Clone + Debug + Serialize + DeserializeOwned + Resource<DynamicType = ()>
{
    /// Where it is written.
    fn api(writer: &Writer<'_>) -> Api<Self>;
}

macro_rules! written {
    (namespaced: $($namespaced:ty),*; cluster_wide: $($cluster_wide:ty),*) => {
        $(impl Written for $namespaced {
            fn api(writer: &Writer<'_>) -> Api<Self> {
                writer.namespaced()
            }
        })*
        $(impl Written for $cluster_wide {
            fn api(writer: &Writer<'_>) -> Api<Self> {
                writer.cluster_wide()
            }
        })*
    };
}

written! {
    namespaced:
        k8s_openapi::api::apps::v1::Deployment,
        k8s_openapi::api::batch::v1::Job,
        k8s_openapi::api::core::v1::Secret,
        k8s_openapi::api::core::v1::Service,
        k8s_openapi::api::core::v1::Pod,
        PersistentVolumeClaim;
    cluster_wide: PersistentVolume
}

impl<'a> Writer<'a> {
    pub(super) fn new(hands: &'a Hands, instance: &'a Instance) -> Self {
        Self {
            client: &hands.client,
            recent: &hands.recent,
            instance,
        }
    }

    /// The watches are waited for until they show it.
    pub(super) fn note<K: Resource<DynamicType = ()>>(&self, written: &K) {
        self.recent.note(self.instance, written);
    }

    /// So are the credentials what they are now.
    pub(super) fn note_secret(&self, written: Option<&Secret>) {
        self.recent.note_secret(self.instance, written);
    }

    /// Nothing of the instance is waited for any more.
    pub(super) fn note_end(&self) {
        self.recent.forget_instance(self.instance);
    }

    pub(super) fn namespaced<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.instance.namespace)
    }

    pub(super) fn cluster_wide<K: Resource<DynamicType = ()>>(&self) -> Api<K> {
        Api::all(self.client.clone())
    }

    /// Creates it. That it is there already is an error of the kind "look again".
    pub(super) async fn create<K: Written>(&self, object: &K) -> Result<(), Error> {
        K::api(self)
            .create(&written::by_post(), object)
            .await
            .map(|written| self.note(&written))
            .map_err(|source| self.failed("create", &text(object), source))
    }

    /// Makes it be as `wanted`; leaves alone what `wanted` says nothing about.
    pub(super) async fn ensure<K: Written>(
        &self,
        wanted: &K,
        seen: Option<&K>,
    ) -> Result<(), Error> {
        if let Some(seen) = seen {
            self.disown(seen).await?;
            if is_contained(wanted, seen) {
                return Ok(());
            }
        }
        let parameters = PatchParams::apply(names::MANAGER).force();
        K::api(self)
            .patch(&wanted.name_any(), &parameters, &Patch::Apply(wanted))
            .await
            .map(|written| self.note(&written))
            .map_err(|source| self.failed("apply", &text(wanted), source))
    }

    /// A volume's specification cannot be changed; it is made if missing. A claim that was bound to a volume of
    /// this name before somebody removed that takes the new one only if it is meant by its UID.
    pub(super) async fn ensure_volume(
        &self,
        wanted: Option<&PersistentVolume>,
        seen: Option<&PersistentVolume>,
        claim: Option<&PersistentVolumeClaim>,
    ) -> Result<(), Error> {
        let (Some(wanted), None) = (wanted, seen) else {
            return Ok(());
        };
        let mut wanted = wanted.clone();
        let bound = claim.filter(|claim| is_bound_to(claim, &wanted.name_any()));
        let reference = wanted
            .spec
            .as_mut()
            .and_then(|spec| spec.claim_ref.as_mut());
        if let (Some(claim), Some(reference)) = (bound, reference) {
            reference.uid = claim.uid();
        }
        self.create(&wanted).await
    }

    /// A claim is made if missing; one that is there is marked as ours, and not a child of the resource.
    pub(super) async fn ensure_claim(
        &self,
        wanted: &PersistentVolumeClaim,
        seen: Option<&PersistentVolumeClaim>,
    ) -> Result<(), Error> {
        let Some(seen) = seen else {
            return self.create(wanted).await;
        };
        self.disown(seen).await?;
        let metadata = json!({
            "labels": wanted.labels(),
            "annotations": wanted.annotations(),
        });
        let there = json!({ "labels": seen.labels(), "annotations": seen.annotations() });
        if contains(&there, &metadata) {
            return Ok(());
        }
        let name = seen.name_any();
        PersistentVolumeClaim::api(self)
            .patch(
                &name,
                &written::by_patch(),
                &Patch::Merge(json!({ "metadata": metadata })),
            )
            .await
            .map(|written| self.note(&written))
            .map_err(|source| self.failed("change", &text(wanted), source))
    }

    /// The old operator made its objects children of the resource: a foreground deletion would take them
    /// away before the last backup.
    async fn disown<K: Written>(&self, seen: &K) -> Result<(), Error> {
        let (of_resource, others): (Vec<_>, Vec<_>) = seen
            .owner_references()
            .iter()
            .cloned()
            .partition(|owner| owner.api_version.starts_with(names::GROUP));
        if of_resource.is_empty() {
            return Ok(());
        }
        let patch = json!({ "metadata": {
            "resourceVersion": seen.resource_version(),
            "ownerReferences": others,
        } });
        K::api(self)
            .patch(&seen.name_any(), &written::by_patch(), &Patch::Merge(patch))
            .await
            .map(|written| self.note(&written))
            .map_err(|source| self.failed("change", &text(seen), source))
    }

    /// Annotates the object that was seen, if any. One that has gone meanwhile needs no annotation.
    pub(super) async fn annotate<K: Written>(
        &self,
        seen: Option<&K>,
        annotations: &Value,
    ) -> Result<(), Error> {
        let Some(seen) = seen.filter(|seen| !contains(&json!(seen.annotations()), annotations))
        else {
            return Ok(());
        };
        let patch = json!({ "metadata": { "uid": seen.uid(), "annotations": annotations } });
        match K::api(self)
            .patch(&seen.name_any(), &written::by_patch(), &Patch::Merge(patch))
            .await
        {
            Ok(written) => {
                self.note(&written);
                Ok(())
            }
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(source) => Err(self.failed("change", &text(seen), source)),
        }
    }

    /// Removes the object that was seen, if any. Gone already is as good.
    pub(super) async fn remove<K: Written>(
        &self,
        seen: Option<&K>,
        policy: PropagationPolicy,
    ) -> Result<(), Error> {
        let Some(seen) = seen.filter(|seen| seen.meta().deletion_timestamp.is_none()) else {
            return Ok(());
        };
        self.recent.forget(self.instance, seen);
        match K::api(self)
            .delete(&seen.name_any(), &exactly(seen.uid(), policy))
            .await
        {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(source) => Err(self.failed("remove", &text(seen), source)),
        }
    }

    pub(super) fn failed(&self, action: &'static str, object: &str, source: kube::Error) -> Error {
        Error {
            instance: self.instance.to_string(),
            action,
            object: object.to_owned(),
            outdated: false,
            source: Box::new(source),
        }
    }
}

/// It has been bound to it, not only asked for it.
fn is_bound_to(claim: &PersistentVolumeClaim, volume: &str) -> bool {
    let named = claim
        .spec
        .as_ref()
        .and_then(|spec| spec.volume_name.as_deref());
    named == Some(volume)
        && claim
            .annotations()
            .contains_key("pv.kubernetes.io/bind-completed")
}

fn text<K: Resource<DynamicType = ()>>(object: &K) -> String {
    format!("{} {}", K::kind(&()), object.name_any())
}

/// Every value of `wanted` is in `seen`.
fn is_contained<K: Serialize>(wanted: &K, seen: &K) -> bool {
    let values = |object: &K| serde_json::to_value(object).unwrap_or_default();
    contains(&values(seen), &values(wanted))
}

/// Every value of `part` is in `whole`; lists must agree item by item.
fn contains(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => part.iter().all(|(key, value)| {
            whole
                .get(key)
                .map_or_else(|| is_nothing(value), |there| contains(there, value))
        }),
        (Value::Array(whole), Value::Array(part)) => {
            whole.len() == part.len()
                && whole
                    .iter()
                    .zip(part)
                    .all(|(whole, part)| contains(whole, part))
        }
        (whole, part) => whole == part,
    }
}

/// Values that a server does not keep.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(set) => !set,
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::String(text) => text.is_empty(),
        Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_of_the_server_are_no_difference() {
        let seen =
            json!({"spec": {"replicas": 1, "selector": {"a": "b"}, "revisionHistoryLimit": 10}});
        assert!(contains(&seen, &json!({"spec": {"replicas": 1}})));
        assert!(contains(
            &seen,
            &json!({"spec": {"paused": false, "template": {}}})
        ));
    }

    #[test]
    fn a_changed_or_missing_value_is_a_difference() {
        let seen = json!({"spec": {"replicas": 0, "containers": [{"name": "a"}, {"name": "b"}]}});
        assert!(!contains(&seen, &json!({"spec": {"replicas": 1}})));
        assert!(!contains(&seen, &json!({"spec": {"paused": true}})));
        assert!(!contains(
            &seen,
            &json!({"spec": {"containers": [{"name": "a"}]}})
        ));
    }
}
