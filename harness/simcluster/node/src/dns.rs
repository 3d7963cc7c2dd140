//! The cluster's DNS: names of Services and pods, answered inside the node's network.
//!
//! [`zone`] decides what a name means, [`server`] speaks the protocol. Names outside the cluster do not
//! exist here: a node has no way out.

pub(crate) mod server;
pub(crate) mod zone;
