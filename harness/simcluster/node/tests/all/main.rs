//! A node's promises to users of pods, kept by real processes against a real API server in this process.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of tests fail as tests do, by panicking"
)]

mod access;
mod lifecycle;
mod network;
mod probes;
mod programs;
mod storage;
mod support;
