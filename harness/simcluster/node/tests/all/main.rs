//! A node's promises to users of pods, kept by real processes against a real API server in this process.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "the helpers of tests fail by panicking and say how long things take"
)]

mod access;
mod admission;
mod death;
mod lifecycle;
mod metrics;
mod network;
mod probes;
mod programs;
mod resize;
mod storage;
mod support;
