//! A node's promises to users of pods, kept by real processes against a real API server in this process.

mod access;
mod lifecycle;
mod network;
mod probes;
mod programs;
mod storage;
mod support;
