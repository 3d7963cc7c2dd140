//! What the controllers do together with an API server, in one process, pods being run by a small stand-in for a node.

mod admission;
mod alone;
mod garbage;
mod jobs;
mod kubelet;
mod namespaces;
mod scheduling;
mod services;
mod storage;
mod workloads;
mod world;
