//! EndpointSlices: for each service with a selector, the addresses behind it, a hundred at most in each slice.
//!
//! [`slices`] decides what stands in them and which slice is kept. It does NOT touch slices that others manage.

use std::{future::Future, sync::Arc};

use k8s_openapi::api::{
    core::v1::{Node, Pod, Service},
    discovery::v1::EndpointSlice,
};
use kube::ResourceExt;

use crate::{
    cache::{Cache, ObjectKey},
    context::Context,
    endpoints::watch_services_and_pods,
    events::Recorder,
    objects::{Objects, WriteError},
    services,
    work_queue::{Next, Reconcile, WorkQueue, work},
};

mod slices;

const NAME: &str = "endpoint-slice-controller";

struct Controller {
    slices: Objects<EndpointSlice>,
    services: Arc<Cache<Service>>,
    pods: Arc<Cache<Pod>>,
    nodes: Arc<Cache<Node>>,
    recorder: Recorder,
}

/// Registers for changes; the future works until dropped.
pub(crate) fn start(context: &Context) -> impl Future<Output = ()> + Send + use<> {
    let queue: Arc<WorkQueue<ObjectKey>> = Arc::default();
    let slices = context.objects::<EndpointSlice>();
    let services = context.cache::<Service>();
    let pods = context.cache::<Pod>();
    watch_services_and_pods(&queue, &services, &pods);
    let own = queue.clone();
    slices.cache().on_change(move |change| {
        if let Some(service) = slices::service_of(change.object()) {
            own.add(service);
        }
    });
    let controller = Controller {
        slices,
        services,
        pods,
        nodes: context.cache(),
        recorder: context.recorder(NAME),
    };
    async move {
        controller.slices.cache().synced().await;
        controller.services.synced().await;
        controller.pods.synced().await;
        controller.nodes.synced().await;
        work(NAME, queue, 16, controller).await;
    }
}

impl Reconcile<ObjectKey> for Controller {
    async fn reconcile(&self, key: ObjectKey) -> Result<Next, WriteError> {
        let known: Vec<_> = self
            .slices
            .cache()
            .in_namespace(&key.namespace)
            .into_iter()
            .filter(|slice| slices::service_of(slice).as_ref() == Some(&key))
            .filter(|slice| slice.metadata.deletion_timestamp.is_none())
            .collect();
        let Some(service) = self.services.find(&key) else {
            // Slices belong to their service: the garbage collector removes them with it.
            return Ok(Next::OnChange);
        };
        if service.metadata.deletion_timestamp.is_some() || !services::is_selecting(&service) {
            return Ok(Next::OnChange);
        }
        let members = services::members(&service, &self.pods);
        let zone = |node: &str| {
            let node = self.nodes.get("", node)?;
            node.labels().get("topology.kubernetes.io/zone").cloned()
        };
        let wanted = slices::wanted(&service, &members, &zone);
        let changes = slices::changes(&service, &known, wanted);
        for slice in &changes.update {
            self.slices.replace(slice).await?;
        }
        for slice in &changes.create {
            if let Err(error) = self.slices.create(slice).await {
                if !error.is_namespace_terminating() {
                    let text = format!(
                        "Error updating Endpoint Slices for Service {key}: {}",
                        error.message()
                    );
                    self.recorder
                        .warning(&*service, "FailedToUpdateEndpointSlices", text);
                }
                return Err(error);
            }
        }
        for slice in &changes.delete {
            self.slices.delete(&**slice, None).await?;
        }
        Ok(Next::OnChange)
    }
}
