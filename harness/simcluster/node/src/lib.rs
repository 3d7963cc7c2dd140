//! A node agent (kubelet, cluster DNS and service proxy) that runs pods as real processes.

mod container;
pub mod pod;
mod quantity;
