//! SPDY/3.1 as kubectl up to 1.30 and every kubectl's port-forward speak it.
//!
//! Only what Kubernetes' clients use: streams that the client opens, data in both directions, half-close,
//! pings. No priorities, no flow control (Kubernetes' own library has none), no streams opened by us.

pub(crate) mod connection;
mod dictionary;
mod frame;
mod headers;
pub(crate) mod port_forward;
pub(crate) mod session;
