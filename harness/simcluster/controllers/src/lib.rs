//! Kubernetes' built-in controllers and the scheduler, as ordinary clients of the API.
//!
//! They hold a [`kube::Client`] and nothing else, so that they also run against a real API server that has no
//! controllers of its own. [`run`] starts those that [`Settings`] name.
//!
//! How an event becomes a write:
//! 1. a reflector (`cache::reflector`) watches one kind for all controllers and puts each version into its cache;
//! 2. the cache calls the handlers that controllers registered, which add keys to their work queues;
//! 3. a work queue (`work_queue`) hands each key to its controller, at once, never twice at a time;
//! 4. the controller reads caches, decides in pure functions, and writes (`objects`), which the cache learns at once.
//!
//! Each file of this folder is one controller, with its pure half in the folder of the same name: workloads
//! ([`deployment`], [`replica_set`], [`stateful_set`], [`daemon_set`], [`job`], [`cron_job`], [`ttl_after_finished`],
//! [`disruption`], [`horizontal`]), the life of objects ([`garbage_collector`], [`namespace`], [`service_account`], [`service_account_token`],
//! [`cluster_role_aggregation`], [`resource_quota`]), storage ([`volume_binder`], [`provisioner`], [`protection`],
//! [`ephemeral_volume`]), services ([`endpoints`], [`endpoint_slice`]), nodes ([`scheduler`], [`node_lifecycle`]).
//!
//! It does NOT run pods (a node does), admit or default objects, or remove old Events (the API server does).

use futures::future::BoxFuture;
use kube::Client;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

mod admission_policy_status;
mod cache;
mod certificate_signing;
mod clock;
mod cluster_role_aggregation;
mod context;
mod cron_job;
mod daemon_set;
mod deployment;
mod disruption;
mod endpoint_slice;
mod endpoint_slice_mirroring;
mod endpoints;
mod ephemeral_volume;
mod events;
mod garbage_collector;
mod hash;
mod history;
mod horizontal;
mod job;
mod namespace;
mod node_lifecycle;
mod objects;
mod ownership;
mod pods;
mod protection;
mod provisioner;
mod replica_set;
mod resource_quota;
mod scheduler;
mod selector;
mod service_account;
mod service_account_token;
mod services;
mod settings;
mod stateful_set;
mod ttl_after_finished;
mod universe;
mod volume_binder;
mod volumes;
mod work_queue;

use context::Context;
pub use settings::{
    CertificateOrder, Controller, HorizontalSettings, RemoveVolume, Settings, SignCertificate,
};

/// Runs the controllers that `settings` name until `shutdown`.
///
/// # Panics
/// When a controller panics, so that no test passes over a dead controller.
pub async fn run(client: Client, settings: Settings, shutdown: CancellationToken) {
    let events = events::Events::new();
    let context = Context::new(client, settings, events.recorders());
    let mut tasks = JoinSet::new();
    for controller in &context.settings.controllers {
        tasks.spawn(start(*controller, &context));
    }
    if let Some(universe) = context.wanted_universe() {
        tasks.spawn(universe.run());
    }
    for reflector in context.caches.take_reflectors() {
        tasks.spawn(reflector);
    }
    tasks.spawn(events.write(context.client.clone(), context.clock));
    tokio::select! {
        () = shutdown.cancelled() => {}
        Some(Err(ended)) = tasks.join_next() => {
            if let Ok(panic) = ended.try_into_panic() {
                std::panic::resume_unwind(panic);
            }
        }
    }
    tasks.shutdown().await;
}

fn start(controller: Controller, context: &Context) -> BoxFuture<'static, ()> {
    match controller {
        Controller::AdmissionPolicyStatus => Box::pin(admission_policy_status::start(context)),
        Controller::CertificateSigning => Box::pin(certificate_signing::start(context)),
        Controller::ClusterRoleAggregation => Box::pin(cluster_role_aggregation::start(context)),
        Controller::CronJob => Box::pin(cron_job::start(context)),
        Controller::DaemonSet => Box::pin(daemon_set::start(context)),
        Controller::Deployment => Box::pin(deployment::start(context)),
        Controller::Disruption => Box::pin(disruption::start(context)),
        Controller::Endpoints => Box::pin(endpoints::start(context)),
        Controller::EndpointSlice => Box::pin(endpoint_slice::start(context)),
        Controller::EndpointSliceMirroring => Box::pin(endpoint_slice_mirroring::start(context)),
        Controller::EphemeralVolume => Box::pin(ephemeral_volume::start(context)),
        Controller::GarbageCollector => Box::pin(garbage_collector::start(context)),
        Controller::HorizontalPodAutoscaler => Box::pin(horizontal::start(context)),
        Controller::Job => Box::pin(job::start(context)),
        Controller::Namespace => Box::pin(namespace::start(context)),
        Controller::NodeLifecycle => Box::pin(node_lifecycle::start(context)),
        Controller::Protection => Box::pin(protection::start(context)),
        Controller::Provisioner => Box::pin(provisioner::start(context)),
        Controller::ReplicaSet => Box::pin(replica_set::start(context)),
        Controller::Replication => Box::pin(replica_set::start_replication(context)),
        Controller::ResourceQuota => Box::pin(resource_quota::start(context)),
        Controller::Scheduler => Box::pin(scheduler::start(context)),
        Controller::ServiceAccount => Box::pin(service_account::start(context)),
        Controller::ServiceAccountToken => Box::pin(service_account_token::start(context)),
        Controller::StatefulSet => Box::pin(stateful_set::start(context)),
        Controller::TtlAfterFinished => Box::pin(ttl_after_finished::start(context)),
        Controller::VolumeBinder => Box::pin(volume_binder::start(context)),
    }
}
