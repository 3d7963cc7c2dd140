//! Who owns an object, and whom a controller may take or let go. Deciding is pure; [`Claimer`] does it.
//!
//! A controller owns what names it as controller. It takes what nobody controls and its selector matches, and lets go
//! what it controls and its selector does not match any more.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use serde_json::json;

use crate::{
    cache::ObjectKey,
    objects::{Kind, Objects, WriteError},
    selector,
};

/// The one owner that controls an object.
pub(crate) fn controller_of(metadata: &ObjectMeta) -> Option<&OwnerReference> {
    metadata
        .owner_references
        .as_ref()?
        .iter()
        .find(|owner| owner.controller == Some(true))
}

/// The one owner that controls an object, if it is of kind `K`.
pub(crate) fn controller_of_kind<K: Kind>(metadata: &ObjectMeta) -> Option<ObjectKey> {
    let owner = controller_of(metadata)?;
    let group = |api_version: &str| {
        api_version
            .split_once('/')
            .map_or_else(String::new, |(group, _)| group.to_owned())
    };
    (owner.kind == K::kind(&()) && group(&owner.api_version) == K::group(&())).then(|| {
        ObjectKey::new(
            metadata.namespace.clone().unwrap_or_default(),
            owner.name.clone(),
        )
    })
}

/// Whether `owner` controls the object.
pub(crate) fn is_controlled_by(metadata: &ObjectMeta, owner: &ObjectMeta) -> bool {
    owner.uid.is_some()
        && controller_of(metadata).is_some_and(|found| Some(&found.uid) == owner.uid.as_ref())
}

/// The reference that makes `owner` the controller of another object.
pub(crate) fn controller_reference<K: Kind>(owner: &K) -> OwnerReference {
    let metadata = owner.meta();
    OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: metadata.name.clone().unwrap_or_default(),
        uid: metadata.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// What a controller does about an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// It is ours.
    Keep,
    /// It becomes ours.
    Adopt,
    /// It was ours and must not be any more.
    Release,
    /// It is none of our business.
    Ignore,
}

/// Decides about one object.
pub(crate) fn claim(owner: &ObjectMeta, wanted: &LabelSelector, object: &ObjectMeta) -> Claim {
    let fits = selector::matches(wanted, object.labels.as_ref());
    let owner_stays = owner.deletion_timestamp.is_none();
    match controller_of(object) {
        Some(found) if Some(&found.uid) != owner.uid.as_ref() => Claim::Ignore,
        Some(_) if fits => Claim::Keep,
        Some(_) if owner_stays => Claim::Release,
        None if fits && owner_stays && object.deletion_timestamp.is_none() => Claim::Adopt,
        Some(_) | None => Claim::Ignore,
    }
}

/// Takes and lets go objects of kind `K` in the name of an owner.
pub(crate) struct Claimer<'a, O, K> {
    pub(crate) owners: &'a Objects<O>,
    pub(crate) objects: &'a Objects<K>,
    /// A finalizer that comes with being owned, if any.
    pub(crate) finalizer: Option<&'static str>,
}

impl<O: Kind, K: Kind> Claimer<'_, O, K> {
    /// The objects of the owner's namespace that are the owner's, after taking and letting go.
    pub(crate) async fn claim(
        &self,
        owner: &O,
        wanted: &LabelSelector,
    ) -> Result<Vec<Arc<K>>, WriteError> {
        let namespace = owner.meta().namespace.clone().unwrap_or_default();
        let mut ours = Vec::new();
        let mut may_adopt = None;
        for object in self.objects.cache().in_namespace(&namespace) {
            match claim(owner.meta(), wanted, object.meta()) {
                Claim::Ignore => {}
                Claim::Keep => ours.push(object),
                Claim::Release => self.release(owner, &object).await?,
                Claim::Adopt => {
                    let allowed = match may_adopt {
                        Some(allowed) => allowed,
                        None => self.may_adopt(owner).await?,
                    };
                    may_adopt = Some(allowed);
                    if allowed && let Some(adopted) = self.adopt(owner, &object).await? {
                        ours.push(adopted);
                    }
                }
            }
        }
        Ok(ours)
    }

    /// Only who is still there, and stays, may take others: asked of the server, since the cache may be late.
    async fn may_adopt(&self, owner: &O) -> Result<bool, WriteError> {
        let fresh = self.owners.read(&ObjectKey::of(owner.meta())).await?;
        Ok(fresh.is_some_and(|fresh| {
            fresh.meta().uid == owner.meta().uid && fresh.meta().deletion_timestamp.is_none()
        }))
    }

    async fn adopt(&self, owner: &O, object: &K) -> Result<Option<Arc<K>>, WriteError> {
        let mut metadata = json!({
            "uid": object.meta().uid,
            "ownerReferences": [controller_reference(owner)],
        });
        if let Some(finalizer) = self.finalizer {
            metadata["finalizers"] = json!([finalizer]);
        }
        let patch = json!({"metadata": metadata});
        match self
            .objects
            .strategic(&ObjectKey::of(object.meta()), patch)
            .await
        {
            Ok(adopted) => Ok(Some(Arc::new(adopted))),
            // It went, or another came under its name, in the meantime.
            Err(error) if error.is_not_found() || error.is_conflict() => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn release(&self, owner: &O, object: &K) -> Result<(), WriteError> {
        let mut metadata = json!({
            "uid": object.meta().uid,
            "ownerReferences": [{"$patch": "delete", "uid": owner.meta().uid}],
        });
        if let Some(finalizer) = self.finalizer {
            metadata["$deleteFromPrimitiveList/finalizers"] = json!([finalizer]);
        }
        let patch = json!({"metadata": metadata});
        match self
            .objects
            .strategic(&ObjectKey::of(object.meta()), patch)
            .await
        {
            Ok(_) => Ok(()),
            Err(error) if error.is_not_found() || error.is_conflict() => Ok(()),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::ReplicaSet;

    use super::*;

    fn owner(deleting: bool) -> ReplicaSet {
        let mut owner: ReplicaSet = serde_json::from_value(json!({
            "metadata": {"name": "r", "namespace": "n", "uid": "1"},
        }))
        .unwrap();
        if deleting {
            owner.metadata.deletion_timestamp =
                Some(crate::clock::whole_seconds(jiff::Timestamp::UNIX_EPOCH));
        }
        owner
    }

    fn object(labelled: bool, controller: Option<&str>) -> ObjectMeta {
        serde_json::from_value(json!({
            "name": "p",
            "labels": if labelled { json!({"a": "b"}) } else { json!({}) },
            "ownerReferences": controller.map(|uid| json!([{
                "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "x", "uid": uid,
                "controller": true,
            }])),
        }))
        .unwrap()
    }

    #[test]
    fn claims_follow_controller_labels_and_whether_the_owner_stays() {
        let wanted: LabelSelector =
            serde_json::from_value(json!({"matchLabels": {"a": "b"}})).unwrap();
        for (deleting, labelled, controller, expected) in [
            (false, true, Some("1"), Claim::Keep),
            (false, false, Some("1"), Claim::Release),
            (true, false, Some("1"), Claim::Ignore),
            (false, true, Some("2"), Claim::Ignore),
            (false, true, None, Claim::Adopt),
            (true, true, None, Claim::Ignore),
            (false, false, None, Claim::Ignore),
        ] {
            let owner = owner(deleting);
            let found = claim(&owner.metadata, &wanted, &object(labelled, controller));
            assert_eq!(found, expected, "{deleting} {labelled} {controller:?}");
        }
    }
}
