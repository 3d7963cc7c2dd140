//! A node agent: kubelet, cluster DNS and service proxy, that runs pods as real processes.
//!
//! It is an ordinary client of the API: it holds a [`kube::Client`] and would work against any API server.
//! Pods run in namespaces of their own (`simcluster-runtime`) from the root file systems of their images
//! (`simcluster-images`); the API server reaches them through
//! [`Kubelet`](simcluster_kubelet_api::Kubelet).
//!
//! # The map
//! * [`pod`]: the pod machine, pure: what happens becomes what is to be done and what the API is told.
//! * `container`, `volumes`, `pod_files`: pure builders of what a container is started with.
//! * `admission`: which pods the node refuses, pure.
//! * `worker`: one per pod; performs what the machine asks for. `agent`: which pods there are.
//! * `events`, `registration`, `objects`: what else is said to and asked of the API.
//! * `logs`, `handle`, `kubelet`, `stats`, `pages`: what the API server asks of the node.
//! * `services`, `dns`, `proxy`: names and addresses of Services inside the node's network.
//! * `runtime`, `images`, `clock`: the seams to processes, root file systems and time.
//! * [`model`]: programs that are functions, behind the same seams.
//!
//! # One pod's way
//! 1. `agent` sees a pod with this node's name and starts a `worker`.
//! 2. The machine asks for volumes, then a sandbox, then one container after another.
//! 3. Each task answers with an event; each event is a step of the machine; each step that changes the
//!    status is written to the API at once.
//! 4. At the end the machine asks for signals, the sandbox's removal, and the object's deletion.
//!
//! # What is not here
//! The nodes of a cluster share one network, which has no way out.
//! Volumes are missing other than emptyDir, hostPath, configMap, secret, projected, downwardAPI and claims
//! on hostPath or local volumes; a pod that asks for such a volume or probe is told so by an Event.

mod addresses;
mod admission;
mod agent;
mod clock;
mod container;
mod context;
mod directory;
mod dns;
mod events;
mod handle;
mod host_ports;
mod images;
mod kubelet;
mod logs;
pub mod model;
mod node;
mod objects;
mod pages;
pub mod pod;
mod pod_files;
mod proxy;
mod quantity;
mod registration;
mod runtime;
mod services;
mod stats;
mod stock;
mod sysctls;
mod tasks;
mod volumes;
mod worker;
mod written;

pub use addresses::{Cidr, ParseCidrError};
pub use images::{ImageFailure, Images};
pub use node::{ApiServerConnect, Node, NodeConfig, StartNodeError};
pub use simcluster_runtime::Fabric;
