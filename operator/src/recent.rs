//! What this operator has itself just seen and written, for as long as the watches may not have shown it yet.
//!
//! Without it, an operator that trusts its watches would answer its own writes: a Job that it has just made is
//! not there yet, a pod that was ready when the cluster was asked is not ready again. It decides nothing, and
//! forgets everything within a minute; what must not be forgotten is in the [`crate::ledger`].

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::{Resource, ResourceExt as _};

use crate::controller::observe::Observed;
use crate::crd::MySQL;
use crate::names::{self, Instance};

/// How long the watches may be behind before the cluster itself is asked.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a Secret is taken to be as it was: the events of one change come within this time.
pub const SECRET_HOLDS: Duration = Duration::from_secs(5);
/// How long a namespace and a class are taken to be as they were, and how long anything is remembered.
const LONGEST: Duration = Duration::from_secs(60);

/// A short memory; copies remember together.
#[derive(Clone, Debug, Default)]
pub struct Recent(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    instances: HashMap<Instance, Entry>,
    namespaces: HashMap<String, (Instant, Namespace)>,
    classes: HashMap<String, (Instant, Option<StorageClass>)>,
    swept: Option<Instant>,
}

#[derive(Default)]
struct Entry {
    versions: HashMap<Key, (u64, Instant)>,
    secret: Option<(Instant, Secret)>,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Entry")
            .field("versions", &self.versions)
            .finish_non_exhaustive()
    }
}

/// Kind and name.
type Key = (Cow<'static, str>, String);

/// Whether the watches are where this operator is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lag {
    /// They have shown all that it has seen and written.
    None,
    /// They will show the rest within this time; its coming is an event.
    Wait(Duration),
    /// They should have shown it by now. What they do not show may also be gone again.
    TooLong,
}

impl Recent {
    /// The cluster gave this object, as the answer to a request.
    pub fn note<K: Resource<DynamicType = ()>>(&self, instance: &Instance, object: &K) {
        if let Some((key, version)) = told_of(object) {
            let mut state = self.state();
            state.sweep();
            let entry = state.instances.entry(instance.clone()).or_default();
            entry.versions.insert(key, (version, Instant::now()));
        }
    }

    /// The cluster was asked for everything. What it did not show is not there.
    pub fn note_all(&self, instance: &Instance, resource: &MySQL, observed: &Observed) {
        let now = Instant::now();
        let versions = told_of(resource).into_iter().chain(versions(observed));
        let mut state = self.state();
        state.sweep();
        if let Some(namespace) = &observed.namespace {
            let name = instance.namespace.clone();
            state.namespaces.insert(name, (now, namespace.clone()));
        }
        let entry = Entry {
            versions: versions
                .map(|(key, version)| (key, (version, now)))
                .collect(),
            secret: observed.secret.clone().map(|secret| (now, secret)),
        };
        state.instances.insert(instance.clone(), entry);
    }

    /// The credentials as the cluster gave them.
    pub fn note_secret(&self, instance: &Instance, secret: Option<&Secret>) {
        let mut state = self.state();
        state.sweep();
        let entry = state.instances.entry(instance.clone()).or_default();
        entry.secret = secret.map(|secret| (Instant::now(), secret.clone()));
    }

    /// The namespace as the cluster gave it.
    pub fn note_namespace(&self, namespace: &Namespace) {
        let known = (Instant::now(), namespace.clone());
        self.state().namespaces.insert(namespace.name_any(), known);
    }

    /// The class of volumes as the cluster gave it, or that there is none of this name.
    pub fn note_class(&self, name: &str, class: Option<&StorageClass>) {
        let known = (Instant::now(), class.cloned());
        self.state().classes.insert(name.to_owned(), known);
    }

    /// The object is being removed: the watches need not show it.
    pub fn forget<K: Resource<DynamicType = ()>>(&self, instance: &Instance, object: &K) {
        if let Some(entry) = self.state().instances.get_mut(instance) {
            entry.versions.remove(&key(object));
        }
    }

    /// The instance is gone.
    pub fn forget_instance(&self, instance: &Instance) {
        self.state().instances.remove(instance);
    }

    /// The credentials, if they were read or written just now.
    pub fn secret(&self, instance: &Instance) -> Option<Secret> {
        let state = self.state();
        let (at, secret) = state.instances.get(instance)?.secret.as_ref()?;
        (at.elapsed() < SECRET_HOLDS).then(|| secret.clone())
    }

    /// The namespace, if it was read not long ago.
    pub fn namespace(&self, name: &str) -> Option<Namespace> {
        let state = self.state();
        let (at, namespace) = state.namespaces.get(name)?;
        (at.elapsed() < LONGEST).then(|| namespace.clone())
    }

    /// The class of volumes, if it was read not long ago.
    pub fn class(&self, name: &str) -> Option<Option<StorageClass>> {
        let state = self.state();
        let (at, class) = state.classes.get(name)?;
        (at.elapsed() < LONGEST).then(|| class.clone())
    }

    /// Whether this view of the watches is as new as what is remembered. What it shows need not be remembered
    /// any more.
    pub fn lag(&self, instance: &Instance, resource: &MySQL, watched: &Observed) -> Lag {
        let mut state = self.state();
        let Some(entry) = state.instances.get_mut(instance) else {
            return Lag::None;
        };
        let shown: HashMap<Key, u64> = told_of(resource)
            .into_iter()
            .chain(versions(watched))
            .collect();
        entry
            .versions
            .retain(|key, (version, _)| shown.get(key).is_none_or(|shown| *shown < *version));
        let oldest = entry.versions.values().map(|(_, at)| at.elapsed()).max();
        match oldest {
            None => Lag::None,
            Some(waited) => PATIENCE
                .checked_sub(waited)
                .filter(|left| !left.is_zero())
                .map_or(Lag::TooLong, Lag::Wait),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Nothing is kept of an instance that nothing has happened to for long: it may have gone.
    fn sweep(&mut self) {
        if self.swept.is_some_and(|swept| swept.elapsed() < LONGEST) {
            return;
        }
        self.swept = Some(Instant::now());
        let is_young = |at: &Instant| at.elapsed() < LONGEST;
        self.namespaces.retain(|_, (at, _)| is_young(at));
        self.classes.retain(|_, (at, _)| is_young(at));
        self.instances.retain(|_, entry| {
            entry.versions.retain(|_, (_, at)| is_young(at));
            entry.secret.take_if(|(at, _)| !is_young(at));
            !entry.versions.is_empty() || entry.secret.is_some()
        });
    }
}

fn key<K: Resource<DynamicType = ()>>(object: &K) -> Key {
    (K::kind(&()), object.name_any())
}

/// The object's version, if the watches will tell of it: they see the resources and what carries our label.
/// Versions of one kind of object can be compared as numbers (KEP-5504).
fn told_of<K: Resource<DynamicType = ()>>(object: &K) -> Option<(Key, u64)> {
    let key = key(object);
    let label = object.labels().get(names::MANAGED_BY);
    let is_watched = key.0 == MySQL::kind(&()) || label.is_some_and(|by| by == names::MANAGER);
    let version = object.meta().resource_version.as_ref()?.parse().ok()?;
    is_watched.then_some((key, version))
}

fn versions(observed: &Observed) -> Vec<(Key, u64)> {
    fn each<'a, K: Resource<DynamicType = ()> + 'a>(
        objects: impl IntoIterator<Item = &'a Option<K>>,
    ) -> impl Iterator<Item = (Key, u64)> {
        objects.into_iter().flatten().filter_map(told_of)
    }
    each([
        &observed.data_volume,
        &observed.data_volume_apart,
        &observed.backup_volume,
        &observed.backup_volume_apart,
    ])
    .chain(each([&observed.data_claim, &observed.backup_claim]))
    .chain(each([&observed.service, &observed.admin_service]))
    .chain(each([&observed.deployment]))
    .chain(each([
        &observed.restore_job,
        &observed.backup_job,
        &observed.password_job,
        &observed.upkeep_job,
    ]))
    .chain(observed.pods.iter().filter_map(told_of))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::fixtures::{observed, resource};

    fn seen(version: u32) -> Observed {
        observed(&format!(
            "{{kind: Service, metadata: {{name: shop-db, resourceVersion: '{version}', \
             labels: {{app.kubernetes.io/managed-by: mysql-operator}}}}}}"
        ))
    }

    fn instance() -> Instance {
        Instance::new("shop", "shop-db")
    }

    #[test]
    fn watches_that_have_not_shown_an_own_write_are_waited_for_and_then_not_trusted() {
        let (recent, resource) = (Recent::default(), resource(|_| {}));
        let lag = |observed: &Observed| recent.lag(&instance(), &resource, observed);
        assert_eq!(lag(&Observed::default()), Lag::None);
        recent.note(&instance(), &seen(7).service.unwrap());
        assert!(matches!(lag(&Observed::default()), Lag::Wait(_)));
        assert!(matches!(lag(&seen(6)), Lag::Wait(_)));
        for entry in recent.state().instances.values_mut() {
            for (_, at) in entry.versions.values_mut() {
                *at -= PATIENCE;
            }
        }
        assert_eq!(lag(&seen(6)), Lag::TooLong);
        assert_eq!(lag(&seen(8)), Lag::None);
        // What was shown once may go.
        assert_eq!(lag(&Observed::default()), Lag::None);
    }

    #[test]
    fn watches_behind_what_the_cluster_showed_are_not_believed() {
        let (recent, resource) = (Recent::default(), resource(|_| {}));
        recent.note_all(&instance(), &resource, &seen(7));
        let lag = recent.lag(&instance(), &resource, &seen(6));
        assert!(matches!(lag, Lag::Wait(_)), "{lag:?}");
        // What the cluster does not show any more is not waited for.
        recent.note_all(&instance(), &resource, &Observed::default());
        let lag = recent.lag(&instance(), &resource, &Observed::default());
        assert_eq!(lag, Lag::None);
    }

    #[test]
    fn what_is_removed_and_what_no_watch_tells_of_is_not_waited_for() {
        let (recent, resource) = (Recent::default(), resource(|_| {}));
        let lag = || recent.lag(&instance(), &resource, &Observed::default());
        recent.note(&instance(), &seen(7).service.unwrap());
        recent.forget(&instance(), &seen(9).service.unwrap());
        assert_eq!(lag(), Lag::None);
        let mut foreign = seen(7).service.unwrap();
        foreign.metadata.labels = None;
        recent.note(&instance(), &foreign);
        assert_eq!(lag(), Lag::None);
    }

    #[test]
    fn nothing_is_kept_for_long() {
        let recent = Recent::default();
        recent.note_secret(&instance(), Some(&Secret::default()));
        recent.note(&instance(), &seen(7).service.unwrap());
        assert!(recent.secret(&instance()).is_some());
        {
            let mut state = recent.state();
            state.swept = None;
            for entry in state.instances.values_mut() {
                for (_, at) in entry.versions.values_mut() {
                    *at -= LONGEST;
                }
                if let Some((at, _)) = &mut entry.secret {
                    *at -= LONGEST;
                }
            }
        }
        assert!(recent.secret(&instance()).is_none());
        recent.note(&Instance::new("shop", "other"), &seen(8).service.unwrap());
        assert_eq!(recent.state().instances.len(), 1);
    }
}
