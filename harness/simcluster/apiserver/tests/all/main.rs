//! The API server's promises, each held through a client in the same process.

mod access;
mod certificates;
mod conversion;
mod custom;
mod deletion;
mod forms;
mod fuzz;
mod hook;
mod https;
mod kinds;
mod kube_rs;
mod lists;
mod managers;
mod metrics;
mod mutations;
mod options;
mod parts;
mod patches;
mod pods;
mod policies;
mod proxy;
mod services;
mod support;
mod watches;
mod webhooks;
mod writes;
