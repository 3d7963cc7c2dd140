//! ResourceQuotas: what of each limited resource a namespace uses.
//!
//! [`usage`] adds up. It does NOT refuse anything: the API server does, by what stands in the status.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    future::Future,
    sync::{Arc, Mutex, PoisonError},
};

use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, Pod, ResourceQuota, ResourceQuotaStatus, Service,
};

use crate::{
    cache::{Cache, ObjectKey, set::MetadataChange},
    context::Context,
    objects::{Objects, WriteError},
    work_queue::{Next, Reconcile, WorkQueue, work},
};

mod usage;

const NAME: &str = "resourcequota-controller";

/// By namespace, then by `plural.group`: the uids of what is there.
type Present = HashMap<String, HashMap<String, HashSet<String>>>;

struct Controller {
    quotas: Objects<ResourceQuota>,
    pods: Arc<Cache<Pod>>,
    claims: Arc<Cache<PersistentVolumeClaim>>,
    services: Arc<Cache<Service>>,
    objects: Arc<Mutex<Present>>,
}

/// Registers for changes; the future works until dropped.
pub(crate) fn start(context: &Context) -> impl Future<Output = ()> + Send + use<> {
    let queue: Arc<WorkQueue<ObjectKey>> = Arc::default();
    let quotas = context.objects::<ResourceQuota>();
    let universe = context.universe();
    let own = queue.clone();
    quotas
        .cache()
        .on_change(move |change| own.add(ObjectKey::of(&change.object().metadata)));
    let objects: Arc<Mutex<Present>> = Arc::default();
    let (touched, known, counted) = (queue.clone(), quotas.cache().clone(), objects.clone());
    universe.on_change(move |kind, change| {
        let (metadata, present) = match change {
            MetadataChange::Present(metadata) => (metadata, true),
            MetadataChange::Gone(metadata) => (metadata, false),
        };
        let (Some(namespace), Some(uid)) = (&metadata.namespace, &metadata.uid) else {
            return;
        };
        let name = usage::count_name(&kind.resource.plural, &kind.resource.group);
        {
            let mut objects = counted.lock().unwrap_or_else(PoisonError::into_inner);
            let uids = objects
                .entry(namespace.clone())
                .or_default()
                .entry(name)
                .or_default();
            if present {
                uids.insert(uid.clone());
            } else {
                uids.remove(uid);
            }
        }
        for quota in known.in_namespace(namespace) {
            touched.add(ObjectKey::of(&quota.metadata));
        }
    });
    let controller = Controller {
        quotas,
        pods: context.cache(),
        claims: context.cache(),
        services: context.cache(),
        objects,
    };
    async move {
        controller.quotas.cache().synced().await;
        controller.pods.synced().await;
        controller.claims.synced().await;
        controller.services.synced().await;
        universe.synced().await;
        work(NAME, queue, 4, controller).await;
    }
}

impl Reconcile<ObjectKey> for Controller {
    async fn reconcile(&self, key: ObjectKey) -> Result<Next, WriteError> {
        let Some(quota) = self.quotas.cache().find(&key) else {
            return Ok(Next::OnChange);
        };
        let hard = quota
            .spec
            .as_ref()
            .and_then(|spec| spec.hard.clone())
            .unwrap_or_default();
        let counts: BTreeMap<String, usize> = {
            let objects = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
            let here = objects.get(&key.namespace);
            here.into_iter()
                .flatten()
                .map(|(name, uids)| (name.clone(), uids.len()))
                .collect()
        };
        let used = usage::used(&usage::Namespace {
            quota: &quota,
            pods: &self.pods.in_namespace(&key.namespace),
            claims: &self.claims.in_namespace(&key.namespace),
            services: &self.services.in_namespace(&key.namespace),
            counts: &counts,
        });
        let status = ResourceQuotaStatus {
            hard: Some(hard),
            used: Some(used),
        };
        if quota.status.as_ref() != Some(&status) {
            let mut new = ResourceQuota::clone(&quota);
            new.status = Some(status);
            self.quotas.replace_status(&new).await?;
        }
        Ok(Next::OnChange)
    }
}
