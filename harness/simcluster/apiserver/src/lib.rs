//! A simulated Kubernetes API server, inside the process that uses it.
//!
//! What is simulated is the server as its clients see it: paths, verbs, objects, watches, errors
//! word for word. Every participant of the cluster is such a client, in-process ones too.
//!
//! # The map
//! * [`store`]: the one owner of state, synchronous and pure.
//! * [`watch`]: the store shared between tasks, and who is woken by a change.
//! * [`server`]: from a request to an answer.
//!
//! # One write's way
//! 1. A request comes in-process or over HTTPS ([`simcluster_http`]) to [`ApiServer`].
//! 2. Who asks is found out, and whether they may (`server::authenticate`, `server::authorize`).
//! 3. The path names a resource (`server::route`, `server::registry`).
//! 4. The verb reads the body, admits, prepares and validates the object (`server::verbs`).
//! 5. The store orders it; watchers of the collection wake ([`watch`]).
//!
//! Controllers, scheduler and nodes are not here: they are clients.

mod server;
mod store;
mod watch;

pub use server::{
    ApiServer, Clock, Config, Identity, Listening, ServiceRange, StartError, UsedPermissions,
};
