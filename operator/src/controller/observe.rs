//! Reads the world: everything that belongs to one instance. [`observe`] reads the cluster itself, in two
//! rounds of requests; [`watched`] takes what the watches have seen and reads what they do not tell of.
//!
//! It does not judge what it sees.

pub mod job;

use std::fmt::Debug;
use std::time::Duration;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{
    Namespace, PersistentVolume, PersistentVolumeClaim, Pod, Secret, Service,
};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::ListParams;
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use thiserror::Error;

use super::plan::growth::is_small;
use crate::cache::Cache;
use crate::crd::MySQL;
use crate::hands::Hands;
use crate::names::{self, Instance};
use crate::recent::{Lag, Recent};

/// A request that failed.
#[derive(Debug, Error)]
#[error("cannot read the {kind} {name} of the instance {instance}; it is tried again")]
pub struct Error {
    instance: Instance,
    kind: &'static str,
    name: String,
    #[source]
    source: Box<kube::Error>,
}

/// What was seen. Objects that are not there are `None`.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// The namespace.
    pub namespace: Option<Namespace>,
    /// Credentials and record.
    pub secret: Option<Secret>,
    /// They are what they were a moment ago, and have not been read again.
    pub secret_is_remembered: bool,
    /// The Secret that `passwordSecretRef` names.
    pub password_secret: Option<Secret>,
    /// The data volume, under its usual name.
    pub data_volume: Option<PersistentVolume>,
    /// The same, under the name for namesakes.
    pub data_volume_apart: Option<PersistentVolume>,
    /// The backup volume, under its usual name.
    pub backup_volume: Option<PersistentVolume>,
    /// The same, under the name for namesakes.
    pub backup_volume_apart: Option<PersistentVolume>,
    /// The claim of the data volume.
    pub data_claim: Option<PersistentVolumeClaim>,
    /// The claim of the backup volume.
    pub backup_claim: Option<PersistentVolumeClaim>,
    /// What clients connect to.
    pub service: Option<Service>,
    /// What Jobs connect to.
    pub admin_service: Option<Service>,
    /// The server.
    pub deployment: Option<Deployment>,
    /// Pods of the instance and of its Jobs.
    pub pods: Vec<Pod>,
    /// The Job that brings the rows back.
    pub restore_job: Option<Job>,
    /// The Job that backs up.
    pub backup_job: Option<Job>,
    /// The Job that sets the password.
    pub password_job: Option<Job>,
    /// The Job that looks after a serving instance.
    pub upkeep_job: Option<Job>,
    /// The class of the volumes, if they are to grow.
    pub storage_class: Option<StorageClass>,
}

impl Observed {
    /// Nothing of the instance was seen.
    fn is_empty(&self, instance: &Instance) -> bool {
        let volumes = [
            &self.data_volume,
            &self.data_volume_apart,
            &self.backup_volume,
            &self.backup_volume_apart,
        ];
        let jobs = [
            &self.restore_job,
            &self.backup_job,
            &self.password_job,
            &self.upkeep_job,
        ];
        let claims = [&self.data_claim, &self.backup_claim];
        let services = [&self.service, &self.admin_service];
        self.secret.is_none()
            && self.deployment.is_none()
            && self.pods.is_empty()
            && jobs.into_iter().flatten().next().is_none()
            && claims.into_iter().flatten().next().is_none()
            && services.into_iter().flatten().next().is_none()
            && volumes
                .into_iter()
                .flatten()
                .all(|volume| is_reserved_elsewhere(volume, instance))
    }

    /// The pods that users see: those of the server.
    pub fn server_pods(&self, instance: &Instance) -> impl Iterator<Item = &Pod> {
        self.pods.iter().filter(move |pod| {
            pod.labels()
                .get(names::APP)
                .is_some_and(|app| *app == instance.name)
        })
    }
}

/// The resource as it is now; `None` if it is gone.
pub async fn resource(client: &Client, instance: &Instance) -> Result<Option<MySQL>, Error> {
    Reader { client, instance }
        .namespaced("MySQL", instance.name.clone())
        .await
}

/// What the watches have to say of an instance.
#[derive(Debug)]
pub enum Watched {
    /// Nothing that can be used; the cluster itself is to be asked.
    Nothing,
    /// Less than this operator has itself seen and written by now; the rest will come within this time.
    Behind(Duration),
    /// This.
    Seen(Box<Observed>, Basis),
}

/// What an observation rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// The cluster was asked for every object.
    Cluster,
    /// The watches have seen it; it may have changed since.
    Watches,
    /// The same, and of an instance that is new, so that nothing of it exists; what its credentials depend on,
    /// and what would be overwritten, the cluster was asked for.
    New,
}

/// What the watches have seen of the instance, if they are complete, with its Secrets as they are. No resource
/// that is going is looked at like this.
pub async fn watched(
    hands: &Hands,
    instance: &Instance,
    resource: &MySQL,
    cache: &Cache,
) -> Result<Watched, Error> {
    if resource.metadata.deletion_timestamp.is_some() {
        return Ok(Watched::Nothing);
    }
    let Some(mut observed) = cache.observed(instance) else {
        return Ok(Watched::Nothing);
    };
    match hands.recent.lag(instance, resource, &observed) {
        Lag::None => {}
        Lag::Wait(left) => return Ok(Watched::Behind(left)),
        Lag::TooLong => return Ok(Watched::Nothing),
    }
    let reader = Reader {
        client: &hands.client,
        instance,
    };
    let claims = [&observed.data_claim, &observed.backup_claim];
    let (namespace, secret, password_secret, class) = futures::try_join!(
        reader.recent_namespace(&hands.recent),
        reader.recent_secret(&hands.recent),
        reader.password_secret(resource),
        reader.recent_class_of_growing(&hands.recent, resource, claims),
    )?;
    observed.namespace = namespace;
    observed.storage_class = class;
    (observed.secret, observed.secret_is_remembered) = secret;
    observed.password_secret = password_secret;
    if !resource.finalizers().is_empty() {
        return Ok(Watched::Seen(Box::new(observed), Basis::Watches));
    }
    if !observed.is_empty(instance) || !reader.is_new().await? {
        return Ok(Watched::Nothing);
    }
    Ok(Watched::Seen(Box::new(observed), Basis::New))
}

/// Everything else, as the cluster has it.
pub async fn observe(
    hands: &Hands,
    instance: &Instance,
    resource: &MySQL,
) -> Result<Observed, Error> {
    let reader = Reader {
        client: &hands.client,
        instance,
    };
    let (volumes, claims, server, jobs, rest) = futures::try_join!(
        async {
            futures::try_join!(
                reader.cluster_wide("PersistentVolume", instance.data_volume()),
                reader.cluster_wide("PersistentVolume", instance.backup_volume()),
            )
        },
        async {
            futures::try_join!(
                reader.namespaced("PersistentVolumeClaim", instance.data_claim()),
                reader.namespaced("PersistentVolumeClaim", instance.backup_claim()),
            )
        },
        async {
            futures::try_join!(
                reader.namespaced("Service", instance.service()),
                reader.namespaced("Service", instance.admin_service()),
                reader.namespaced("Deployment", instance.deployment()),
                reader.pods(),
            )
        },
        async {
            futures::try_join!(
                reader.namespaced("Job", instance.restore_job()),
                reader.namespaced("Job", instance.backup_job()),
                reader.namespaced("Job", instance.password_job()),
                reader.namespaced("Job", instance.upkeep_job()),
            )
        },
        async {
            futures::try_join!(
                reader.cluster_wide("Namespace", instance.namespace.clone()),
                reader.namespaced("Secret", instance.secret()),
                reader.password_secret(resource),
            )
        },
    )?;
    let (data_volume, backup_volume): (Option<PersistentVolume>, Option<PersistentVolume>) =
        volumes;
    // Only a namesake in another namespace makes the first two necessary, only a volume that grows the third.
    let claims: (Option<PersistentVolumeClaim>, Option<PersistentVolumeClaim>) = claims;
    let (data_volume_apart, backup_volume_apart, storage_class) = futures::try_join!(
        reader.apart(data_volume.as_ref(), instance.data_volume_apart()),
        reader.apart(backup_volume.as_ref(), instance.backup_volume_apart()),
        reader.class_of_growing(resource, [&claims.0, &claims.1]),
    )?;
    let observed = Observed {
        namespace: rest.0,
        secret: rest.1,
        secret_is_remembered: false,
        password_secret: rest.2,
        data_volume,
        data_volume_apart,
        backup_volume,
        backup_volume_apart,
        data_claim: claims.0,
        backup_claim: claims.1,
        service: server.0,
        admin_service: server.1,
        deployment: server.2,
        pods: server.3,
        restore_job: jobs.0,
        backup_job: jobs.1,
        password_job: jobs.2,
        upkeep_job: jobs.3,
        storage_class,
    };
    hands.recent.note_all(instance, resource, &observed);
    Ok(observed)
}

struct Reader<'a> {
    client: &'a Client,
    instance: &'a Instance,
}

impl Reader<'_> {
    async fn namespaced<K>(&self, kind: &'static str, name: String) -> Result<Option<K>, Error>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + DeserializeOwned
            + Debug,
    {
        Api::<K>::namespaced(self.client.clone(), &self.instance.namespace)
            .get_opt(&name)
            .await
            .map_err(|source| self.failed(kind, &name, source))
    }

    async fn cluster_wide<K>(&self, kind: &'static str, name: String) -> Result<Option<K>, Error>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
    {
        Api::<K>::all(self.client.clone())
            .get_opt(&name)
            .await
            .map_err(|source| self.failed(kind, &name, source))
    }

    async fn password_secret(&self, resource: &MySQL) -> Result<Option<Secret>, Error> {
        match &resource.spec.password_secret_ref {
            Some(reference) => self.namespaced("Secret", reference.name.clone()).await,
            None => Ok(None),
        }
    }

    /// The credentials, and whether they are remembered.
    async fn recent_secret(&self, recent: &Recent) -> Result<(Option<Secret>, bool), Error> {
        if let Some(secret) = recent.secret(self.instance) {
            return Ok((Some(secret), true));
        }
        let secret = self.namespaced("Secret", self.instance.secret()).await?;
        recent.note_secret(self.instance, secret.as_ref());
        Ok((secret, false))
    }

    async fn recent_namespace(&self, recent: &Recent) -> Result<Option<Namespace>, Error> {
        let name = &self.instance.namespace;
        if let Some(namespace) = recent.namespace(name) {
            return Ok(Some(namespace));
        }
        let namespace = self.cluster_wide("Namespace", name.clone()).await?;
        if let Some(namespace) = &namespace {
            recent.note_namespace(namespace);
        }
        Ok(namespace)
    }

    /// Nothing without our label is there that would be overwritten, or that its credentials depend on. What is
    /// only made if it is missing is not looked for: the cluster refuses to make it a second time.
    async fn is_new(&self) -> Result<bool, Error> {
        let (claim, service, admin_service, deployment) = futures::try_join!(
            self.namespaced::<PersistentVolumeClaim>(
                "PersistentVolumeClaim",
                self.instance.data_claim()
            ),
            self.namespaced::<Service>("Service", self.instance.service()),
            self.namespaced::<Service>("Service", self.instance.admin_service()),
            self.namespaced::<Deployment>("Deployment", self.instance.deployment()),
        )?;
        let nothing = claim.is_none() && deployment.is_none();
        Ok(nothing && service.is_none() && admin_service.is_none())
    }

    async fn apart(
        &self,
        usual: Option<&PersistentVolume>,
        name: String,
    ) -> Result<Option<PersistentVolume>, Error> {
        match usual {
            Some(volume) if is_reserved_elsewhere(volume, self.instance) => {
                self.cluster_wide("PersistentVolume", name).await
            }
            _ => Ok(None),
        }
    }

    async fn class_of_growing(
        &self,
        resource: &MySQL,
        claims: [&Option<PersistentVolumeClaim>; 2],
    ) -> Result<Option<StorageClass>, Error> {
        match class_of_growing(resource, claims) {
            Some(class) => self.cluster_wide("StorageClass", class.to_owned()).await,
            None => Ok(None),
        }
    }

    /// No watch tells whether the class lets them grow. That it does is then read from the cluster, by the hands
    /// that let them; that it does not is no reason to read everything.
    async fn recent_class_of_growing(
        &self,
        recent: &Recent,
        resource: &MySQL,
        claims: [&Option<PersistentVolumeClaim>; 2],
    ) -> Result<Option<StorageClass>, Error> {
        let Some(name) = class_of_growing(resource, claims) else {
            return Ok(None);
        };
        if let Some(class) = recent.class(name) {
            return Ok(class);
        }
        let class = self.cluster_wide("StorageClass", name.to_owned()).await?;
        recent.note_class(name, class.as_ref());
        Ok(class)
    }

    async fn pods(&self) -> Result<Vec<Pod>, Error> {
        let selector = format!("{}={}", names::INSTANCE, self.instance.name);
        Api::<Pod>::namespaced(self.client.clone(), &self.instance.namespace)
            .list(&ListParams::default().labels(&selector))
            .await
            .map(|list| list.items)
            .map_err(|source| self.failed("Pod list", &selector, source))
    }

    fn failed(&self, kind: &'static str, name: &str, source: kube::Error) -> Error {
        Error {
            instance: self.instance.clone(),
            kind,
            name: name.to_owned(),
            source: Box::new(source),
        }
    }
}

/// The class of volumes of which one asks for less than the spec.
fn class_of_growing<'a>(
    resource: &'a MySQL,
    claims: [&Option<PersistentVolumeClaim>; 2],
) -> Option<&'a str> {
    let wanted = &resource.spec.storage_size;
    let class = resource.spec.storage_class_name.as_deref()?;
    let mut claims = claims.into_iter().flatten();
    claims.any(|claim| is_small(claim, wanted)).then_some(class)
}

/// The volume is for a claim of another namespace.
pub fn is_reserved_elsewhere(volume: &PersistentVolume, instance: &Instance) -> bool {
    volume
        .spec
        .as_ref()
        .and_then(|spec| spec.claim_ref.as_ref())
        .and_then(|claim| claim.namespace.as_ref())
        .is_some_and(|namespace| *namespace != instance.namespace)
}
