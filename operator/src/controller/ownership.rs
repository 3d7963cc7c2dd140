//! Whose an object is: ours, another instance's, or somebody else's. Pure.
//!
//! Labels tell, and for what the old operator made its owner reference. The resource itself is no object here:
//! its finalizers and annotations are minded where they are written.

use kube::{Resource, ResourceExt as _};

use super::observe::{Observed, is_reserved_elsewhere};
use super::validate::Refusal;
use crate::crd::MySQL;
use crate::names::{self, Instance};

/// The instance that asks.
#[derive(Clone, Copy, Debug)]
pub struct Owner<'a> {
    /// Its names.
    pub instance: &'a Instance,
    /// UID of its resource.
    pub uid: &'a str,
    /// People want it to take over what is nobody else's of ours.
    pub adopt: bool,
}

/// What a plan for this resource may be made from: a deletion must not meet objects of others.
pub fn relevant(resource: &MySQL, instance: &Instance, observed: Observed) -> Observed {
    if resource.metadata.deletion_timestamp.is_none() {
        return observed;
    }
    Owner::of(resource, instance).without_foreign(observed)
}

impl<'a> Owner<'a> {
    /// As the resource says.
    pub fn of(resource: &'a MySQL, instance: &'a Instance) -> Self {
        Self {
            instance,
            uid: resource.metadata.uid.as_deref().unwrap_or_default(),
            adopt: resource
                .annotations()
                .get(names::ADOPT)
                .is_some_and(|wish| wish == "true"),
        }
    }
}

impl Owner<'_> {
    /// Objects whose names we need and that we may not touch. A backup claim without our labels is not among
    /// them: a claim of that name is how backups are handed from one life, or one operator, to the next.
    pub fn refuse_conflicts(&self, observed: &Observed) -> Result<(), Refusal> {
        self.taken("PersistentVolumeClaim", observed.backup_claim.as_ref())?;
        for volume in [
            &observed.data_volume,
            &observed.data_volume_apart,
            &observed.backup_volume,
            &observed.backup_volume_apart,
        ]
        .into_iter()
        .flatten()
        .filter(|volume| !is_reserved_elsewhere(volume, self.instance))
        {
            self.taken("PersistentVolume", Some(volume))?;
        }
        self.refuse("Secret", observed.secret.as_ref())?;
        self.refuse("PersistentVolumeClaim", observed.data_claim.as_ref())?;
        self.refuse("Service", observed.service.as_ref())?;
        self.refuse("Service", observed.admin_service.as_ref())?;
        self.refuse("Deployment", observed.deployment.as_ref())
    }

    /// What was seen without what is not ours, not even under a name of ours.
    fn without_foreign(&self, mut observed: Observed) -> Observed {
        self.leave(&mut observed.data_claim);
        self.leave(&mut observed.service);
        self.leave(&mut observed.admin_service);
        self.leave(&mut observed.deployment);
        for volume in [&mut observed.data_volume, &mut observed.data_volume_apart] {
            if self.taken("PersistentVolume", volume.as_ref()).is_err() {
                *volume = None;
            }
        }
        observed
    }

    fn leave<K: Resource>(&self, place: &mut Option<K>) {
        if place.as_ref().is_some_and(|object| !self.is_ours(object)) {
            *place = None;
        }
    }

    fn refuse<K: Resource>(&self, kind: &'static str, object: Option<&K>) -> Result<(), Refusal> {
        self.taken(kind, object)?;
        match object {
            Some(object) if !self.is_ours(object) => Err(Refusal::NameConflict {
                kind,
                name: object.name_any(),
            }),
            Some(_) | None => Ok(()),
        }
    }

    /// The names of two instances may meet: `shop-admin` is an instance, and the second service of `shop`.
    /// Whoever has the object keeps it, whatever is wished for.
    fn taken<K: Resource>(&self, kind: &'static str, object: Option<&K>) -> Result<(), Refusal> {
        match object.and_then(|object| Some((object, self.other(object)?))) {
            Some((object, other)) => Err(Refusal::TakenByAnother {
                kind,
                name: object.name_any(),
                other,
            }),
            None => Ok(()),
        }
    }

    fn is_ours<K: Resource>(&self, object: &K) -> bool {
        // The old operator made its objects children of the resource.
        let of_this_resource = object
            .owner_references()
            .iter()
            .any(|owner| owner.uid == self.uid);
        self.other(object).is_none() && (self.adopt || is_managed(object) || of_this_resource)
    }

    /// The other instance that it belongs to.
    fn other<K: Resource>(&self, object: &K) -> Option<String> {
        let instance = object.labels().get(names::INSTANCE)?;
        (is_managed(object) && *instance != self.instance.name).then(|| instance.clone())
    }
}

fn is_managed<K: Resource>(object: &K) -> bool {
    object
        .labels()
        .get(names::MANAGED_BY)
        .is_some_and(|manager| manager == names::MANAGER)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::fixtures::observed;

    const FOREIGN: &str = "
{kind: Service, metadata: {name: shop-db}}
---
{kind: Deployment, metadata: {name: shop-db}, spec: {selector: {}, template: {}}}
---
{kind: PersistentVolumeClaim, metadata: {name: shop-db-pvc}}
";

    fn owner(instance: &Instance, adopt: bool) -> Owner<'_> {
        Owner {
            instance,
            uid: "11111111-2222",
            adopt,
        }
    }

    fn left(observed: &Observed) -> usize {
        usize::from(observed.service.is_some())
            + usize::from(observed.deployment.is_some())
            + usize::from(observed.data_claim.is_some())
    }

    #[test]
    fn a_deletion_does_not_meet_objects_of_others_under_our_names() {
        let instance = Instance::new("shop", "shop-db");
        let seen = owner(&instance, false).without_foreign(observed(FOREIGN));
        assert_eq!(left(&seen), 0);
        let taken_over = owner(&instance, true).without_foreign(observed(FOREIGN));
        assert_eq!(left(&taken_over), 3);
    }

    #[test]
    fn what_another_instance_has_is_not_taken_over_even_if_that_is_wished_for() {
        let instance = Instance::new("shop", "shop-db");
        for object in [
            "kind: Service\nmetadata:\n  name: shop-db-admin",
            "kind: Service\nmetadata:\n  name: shop-db",
            "kind: PersistentVolumeClaim\nmetadata:\n  name: backup-shop-db-pvc",
            "kind: PersistentVolumeClaim\nmetadata:\n  name: shop-db-pvc",
            "kind: PersistentVolume\nmetadata:\n  name: backup-shop-db-pv",
        ] {
            let of = |name: &str| {
                observed(&format!(
                    "{object}\n  labels: {{app.kubernetes.io/managed-by: mysql-operator, \
                     otus.homework/instance: {name}}}"
                ))
            };
            let own = owner(&instance, false);
            assert!(own.refuse_conflicts(&of("shop-db")).is_ok(), "{object}");
            for adopt in [false, true] {
                let refused = owner(&instance, adopt).refuse_conflicts(&of("another"));
                let Err(Refusal::TakenByAnother { other, .. }) = refused else {
                    panic!("{object}: {refused:?}");
                };
                assert_eq!(other, "another");
            }
        }
    }
}
