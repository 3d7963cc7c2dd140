//! What the watches have seen: everything of the instances but their Secrets, which are not watched.
//!
//! It may be late, so nothing is ever done because of it. It is good for seeing that nothing is to be done:
//! what it does not know of yet comes as an event, and wakes the operator up again. Whoever finds that
//! something is to be done reads the cluster itself first ([`crate::controller::observe`]).

use std::fmt::Debug;

use futures::future::FutureExt as _;
use futures::stream::{self, BoxStream};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{
    Container, PersistentVolume, PersistentVolumeClaim, Pod, PodSpec, Service,
};
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;

use crate::controller::observe::{Observed, is_reserved_elsewhere};
use crate::crd::MySQL;
use crate::names::{self, Instance};
use crate::settings::Settings;

/// Which instance something has happened to.
pub type Events = BoxStream<'static, Result<ObjectRef<MySQL>, watcher::Error>>;

/// One store for each kind that carries our label.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "stores cannot be printed")]
pub struct Cache {
    deployments: Store<Deployment>,
    services: Store<Service>,
    claims: Store<PersistentVolumeClaim>,
    jobs: Store<Job>,
    pods: Store<Pod>,
    volumes: Store<PersistentVolume>,
}

impl Cache {
    /// Begins to watch; the stores are filled as the events are taken, each before its event is given.
    pub fn follow(client: &Client, settings: &Settings) -> (Self, Events) {
        let (deployments, first) = follow(api::<Deployment>(client, settings), |_| {});
        let (services, second) = follow(api::<Service>(client, settings), |_| {});
        let (claims, third) = follow(api::<PersistentVolumeClaim>(client, settings), |_| {});
        let (jobs, fourth) = follow(api::<Job>(client, settings), |job| job.spec = None);
        let (pods, fifth) = follow(api::<Pod>(client, settings), shorten);
        let (volumes, sixth) = follow(Api::<PersistentVolume>::all(client.clone()), |_| {});
        let cache = Self {
            deployments,
            services,
            claims,
            jobs,
            pods,
            volumes,
        };
        let events = stream::select_all([first, second, third, fourth, fifth, sixth]);
        (cache, events.boxed())
    }

    /// What was seen of an instance; `None` as long as not everything has been seen once.
    ///
    /// The namespace and the Secrets are left out.
    pub fn observed(&self, instance: &Instance) -> Option<Observed> {
        let is_complete = is_ready(&self.deployments)
            && is_ready(&self.services)
            && is_ready(&self.claims)
            && is_ready(&self.jobs)
            && is_ready(&self.pods)
            && is_ready(&self.volumes);
        if !is_complete {
            return None;
        }
        let volume = |name: String| {
            let volume = self.volumes.get(&ObjectRef::new(&name))?;
            Some(PersistentVolume::clone(&volume))
        };
        let apart = |usual: Option<&PersistentVolume>, name: String| match usual {
            Some(usual) if is_reserved_elsewhere(usual, instance) => volume(name),
            _ => None,
        };
        let data_volume = volume(instance.data_volume());
        let backup_volume = volume(instance.backup_volume());
        let pods = self.pods.state_filter(|pod| {
            pod.namespace().as_deref() == Some(&instance.namespace)
                && pod.labels().get(names::INSTANCE) == Some(&instance.name)
        });
        Some(Observed {
            data_volume_apart: apart(data_volume.as_ref(), instance.data_volume_apart()),
            backup_volume_apart: apart(backup_volume.as_ref(), instance.backup_volume_apart()),
            data_volume,
            backup_volume,
            data_claim: of(&self.claims, instance, &instance.data_claim()),
            backup_claim: of(&self.claims, instance, &instance.backup_claim()),
            service: of(&self.services, instance, &instance.service()),
            admin_service: of(&self.services, instance, &instance.admin_service()),
            deployment: of(&self.deployments, instance, &instance.deployment()),
            pods: pods.iter().map(|pod| Pod::clone(pod)).collect(),
            restore_job: of(&self.jobs, instance, &instance.restore_job()),
            backup_job: of(&self.jobs, instance, &instance.backup_job()),
            password_job: of(&self.jobs, instance, &instance.password_job()),
            upkeep_job: of(&self.jobs, instance, &instance.upkeep_job()),
            ..Observed::default()
        })
    }
}

/// The objects of a kind where this operator may look.
pub fn api<K>(client: &Client, settings: &Settings) -> Api<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    match &settings.watch_namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

fn follow<K>(api: Api<K>, shorten: fn(&mut K)) -> (Store<K>, Events)
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let own =
        watcher::Config::default().labels(&format!("{}={}", names::MANAGED_BY, names::MANAGER));
    let (store, writer) = reflector::store();
    let changes = watcher(api, own).default_backoff().modify(move |object| {
        object.meta_mut().managed_fields = None;
        shorten(object);
    });
    let events = reflector::reflector(writer, changes)
        .touched_objects()
        .try_filter_map(|object| std::future::ready(Ok(owner(&object))));
    (store, events.boxed())
}

/// Of the many pods only what is asked of them is kept.
fn shorten(pod: &mut Pod) {
    let containers = pod.spec.take().map(|spec| spec.containers);
    let containers = containers.into_iter().flatten().map(|container| Container {
        name: container.name,
        image: container.image,
        ..Container::default()
    });
    pod.spec = Some(PodSpec {
        containers: containers.collect(),
        ..PodSpec::default()
    });
}

fn is_ready<K>(store: &Store<K>) -> bool
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    matches!(store.wait_until_ready().now_or_never(), Some(Ok(())))
}

fn of<K>(store: &Store<K>, instance: &Instance, name: &str) -> Option<K>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    let object = store.get(&ObjectRef::new(name).within(&instance.namespace))?;
    Some(K::clone(&object))
}

/// The instance that an object belongs to.
fn owner<K: Resource>(object: &K) -> Option<ObjectRef<MySQL>> {
    let instance = object.labels().get(names::INSTANCE)?;
    let namespace = object
        .namespace()
        .or_else(|| object.labels().get(names::INSTANCE_NAMESPACE).cloned())?;
    Some(ObjectRef::new(instance).within(&namespace))
}
