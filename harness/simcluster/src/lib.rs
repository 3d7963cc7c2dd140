//! A Kubernetes cluster inside the process that tests against it: API server, controllers and nodes
//! whose pods truly run.
//!
//! What is simulated, and from whose view: for a *client of the Kubernetes API* and for a *process in a
//! pod* this is a cluster. Requests are answered, refused and watched as Kubernetes 1.36 does; pods are
//! real processes in namespaces of their own, with their image's root file system, volumes, an address,
//! cluster DNS, probes, logs, exec and port-forward. For an *administrator of machines* it is not one:
//! there is no etcd, no container engine, no CNI or CSI plugin, and the nodes are parts of this process.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use k8s_openapi::api::core::v1::Namespace;
//! let cluster = simcluster::Cluster::builder().start().await?;
//! let namespaces: kube::Api<Namespace> = kube::Api::all(cluster.client());
//! println!("{}", namespaces.list(&Default::default()).await?.items.len());
//! cluster.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! # The map
//!
//! | crate | its one job |
//! |---|---|
//! | `simcluster-machinery` | pure: schemas, patches, apply, selectors, quantities, field errors |
//! | `simcluster-kinds` | pure: what each built-in kind has beyond its schema |
//! | [`simcluster_apiserver`] | the store and the server around it; the only one that touches the store |
//! | [`simcluster_controllers`] | built-in controllers and the scheduler, clients like any other |
//! | [`simcluster_node`] | kubelet, cluster DNS, service proxy; a client like any other |
//! | [`simcluster_runtime`] | processes in namespaces, without a daemon and without root |
//! | [`simcluster_images`] | root file systems: where they come from and their cache |
//!
//! # One write's way
//!
//! 1. A client's request reaches the server, through HTTPS or in-process: the same service answers.
//! 2. It is authenticated, authorized, decoded; defaults, admission and validation apply by the kind.
//! 3. The store takes the new version under the next revision, unless the object moved on meanwhile.
//! 4. Watches see the event; controllers, scheduler and kubelet act on it by requests of their own.
//!
//! # What is not simulated
//!
//! `docs/fidelity.md` lists each promise by the test that holds it, and each gap by its answer; what the
//! server does not support it refuses with 501.

mod builder;
mod cluster;
mod images;

/// HTTPS with an authority of its own, for servers beside the cluster that kubectl shall speak to.
pub use simcluster_http as serve;

pub use builder::{Builder, StartError};
pub use cluster::Cluster;
pub use simcluster_apiserver::UsedPermissions;
pub use simcluster_controllers::HorizontalSettings;
pub use simcluster_images::{
    Content, Event as ImageEvent, Image, ImageConfig, ImageError, ImageStore, LocalFile,
    LocalImage, Progress, StoreConfig,
};
pub use simcluster_machinery::quantity::Quantity;
pub use simcluster_node::model;
pub use simcluster_runtime::{Isolation, ProbeError, capabilities};

/// How pods' memory limits are kept on this machine for this user; or why they are not.
pub fn memory_limits() -> Result<String, String> {
    simcluster_runtime::Runtime::memory_limits()
}

/// How pods' processor limits are kept on this machine for this user; or why they are not.
pub fn cpu_limits() -> Result<String, String> {
    simcluster_runtime::Runtime::cpu_limits()
}

/// Whether pods can run on this machine, and how they are kept apart.
pub async fn probe() -> Result<Isolation, ProbeError> {
    simcluster_runtime::Runtime::probe().await
}
