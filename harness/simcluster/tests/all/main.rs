//! A whole cluster's promises to those who start one: images, nodes that are
//! connected, and an end that leaves nothing.

#![expect(clippy::unwrap_used, reason = "the helpers of tests fail by panicking")]

mod autoscaling;
mod certificates;
mod death;
mod images;
mod model;
mod network;
mod programs;
mod support;
