//! The operator on a cluster that has an API and controllers, and no node: what it asks of the API, and what
//! it makes of what the API answers. What nodes would report, the tests write themselves; [`crashes`] has a node
//! whose programs are functions.

mod cluster;
mod crashes;
mod drift;
mod failover;
mod growth;
mod model;
mod played;
mod refused;
mod requests;
mod schema;
mod unchanged;
