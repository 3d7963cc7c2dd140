//! Endpoints: for each service with a selector, the addresses behind it, in the old form.
//!
//! [`subsets`] decides what stands in them. It does NOT touch Endpoints of services without a selector: those are the
//! user's.

use std::{future::Future, sync::Arc};

use k8s_openapi::{
    api::core::v1::{Endpoints, Pod, Service},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::ResourceExt;

use crate::{
    cache::{Cache, ObjectKey},
    context::Context,
    events::Recorder,
    objects::{Objects, WriteError},
    services,
    work_queue::{Next, Reconcile, WorkQueue, work},
};

mod subsets;

const NAME: &str = "endpoint-controller";
const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";

struct Controller {
    endpoints: Objects<Endpoints>,
    services: Arc<Cache<Service>>,
    pods: Arc<Cache<Pod>>,
    recorder: Recorder,
}

/// Registers for changes; the future works until dropped.
pub(crate) fn start(context: &Context) -> impl Future<Output = ()> + Send + use<> {
    let queue: Arc<WorkQueue<ObjectKey>> = Arc::default();
    let endpoints = context.objects::<Endpoints>();
    let services = context.cache::<Service>();
    let pods = context.cache::<Pod>();
    watch_services_and_pods(&queue, &services, &pods);
    let (own, known) = (queue.clone(), services.clone());
    endpoints.cache().on_change(move |change| {
        let key = ObjectKey::of(&change.object().metadata);
        if known
            .find(&key)
            .is_some_and(|service| services::is_selecting(&service))
        {
            own.add(key);
        }
    });
    let controller = Controller {
        endpoints,
        services,
        pods,
        recorder: context.recorder(NAME),
    };
    async move {
        controller.endpoints.cache().synced().await;
        controller.services.synced().await;
        controller.pods.synced().await;
        work(NAME, queue, 16, controller).await;
    }
}

/// A service is looked at again when it or a pod behind it changes.
pub(crate) fn watch_services_and_pods(
    queue: &Arc<WorkQueue<ObjectKey>>,
    services: &Arc<Cache<Service>>,
    pods: &Arc<Cache<Pod>>,
) {
    let own = queue.clone();
    services.on_change(move |change| own.add(ObjectKey::of(&change.object().metadata)));
    let (touched, known) = (queue.clone(), services.clone());
    pods.on_change(move |change| {
        let pod = change.object();
        if change.old().is_some_and(|old| !services::matters(old, pod)) {
            return;
        }
        for pod in change.old().into_iter().chain([pod]) {
            for key in services::services_of(pod, &known) {
                touched.add(key);
            }
        }
    });
}

impl Reconcile<ObjectKey> for Controller {
    async fn reconcile(&self, key: ObjectKey) -> Result<Next, WriteError> {
        let known = self.endpoints.cache().find(&key);
        let Some(service) = self.services.find(&key) else {
            if let Some(known) = known.filter(|known| is_managed(known)) {
                self.endpoints.delete(&*known, None).await?;
            }
            return Ok(Next::OnChange);
        };
        if !services::is_selecting(&service) || service.metadata.deletion_timestamp.is_some() {
            return Ok(Next::OnChange);
        }
        let wanted = endpoints(&service, &self.pods);
        match known {
            None => self.create(&service, &wanted).await?,
            Some(known) => {
                let same = known.subsets.clone().unwrap_or_default()
                    == wanted.subsets.clone().unwrap_or_default()
                    && known.metadata.labels == wanted.metadata.labels;
                if !same {
                    let mut new = Endpoints::clone(&known);
                    new.subsets = wanted.subsets;
                    new.metadata.labels = wanted.metadata.labels;
                    self.endpoints.replace(&new).await?;
                }
            }
        }
        Ok(Next::OnChange)
    }
}

impl Controller {
    async fn create(&self, service: &Service, wanted: &Endpoints) -> Result<(), WriteError> {
        match self.endpoints.create(wanted).await {
            Ok(_) => Ok(()),
            Err(error) => {
                if !error.is_namespace_terminating() && !error.is_already_exists() {
                    let text = format!(
                        "Failed to create endpoint for service {}/{}: {}",
                        service.namespace().unwrap_or_default(),
                        service.name_any(),
                        error.message()
                    );
                    self.recorder
                        .warning(service, "FailedToCreateEndpoint", text);
                }
                Err(error)
            }
        }
    }
}

fn is_managed(endpoints: &Endpoints) -> bool {
    endpoints
        .labels()
        .get(MANAGED_BY)
        .is_some_and(|by| by == NAME)
}

fn endpoints(service: &Service, pods: &Cache<Pod>) -> Endpoints {
    let mut labels = service.labels().clone();
    labels.remove(services::HEADLESS_LABEL);
    labels.insert(MANAGED_BY.to_owned(), NAME.to_owned());
    if services::is_headless(service) {
        labels.insert(services::HEADLESS_LABEL.to_owned(), String::new());
    }
    let subsets = subsets::subsets(service, &services::members(service, pods));
    Endpoints {
        metadata: ObjectMeta {
            name: service.metadata.name.clone(),
            namespace: service.metadata.namespace.clone(),
            labels: Some(labels),
            ..ObjectMeta::default()
        },
        subsets: (!subsets.is_empty()).then_some(subsets),
    }
}
