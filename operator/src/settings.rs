//! What can be set from outside. Defaults suit a cluster with one node.

use std::net::SocketAddr;
use std::time::Duration;

use crate::lease::Election;

/// How the operator works; the same for all instances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The image that carries `/mysql-job`: the operator's own.
    pub operator_image: String,
    /// Where the directories of operator-made volumes begin on the node.
    pub host_path_root: String,
    /// The only namespace to watch; all of them if `None`.
    pub watch_namespace: Option<String>,
    /// How often an instance is looked at without anything having changed.
    pub resync: Duration,
    /// How long after a Job's failure the next one is started.
    pub retry: Duration,
    /// How often to look at a Secret that has the password: Secrets are not watched.
    pub secret_poll: Duration,
    /// How often to look whether root still has the password of the spec; never if `None`.
    pub password_check: Option<Duration>,
    /// How long a stopping operator goes on with deletions under way.
    pub shutdown_grace: Duration,
    /// Where to serve `/healthz` and `/metrics`; nowhere if `None`.
    pub http: Option<SocketAddr>,
    /// The election to win before working; without one this operator is the only one.
    pub election: Option<Election>,
    /// User and group of the server's and the Jobs' processes; 999 in all official images.
    pub run_as: i64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            operator_image: "mysql-operator:latest".to_owned(),
            host_path_root: "/var/lib/mysql-operator".to_owned(),
            watch_namespace: None,
            resync: Duration::from_secs(300),
            retry: Duration::from_secs(60),
            secret_poll: Duration::from_secs(15),
            password_check: Some(Duration::from_secs(6 * 3600)),
            shutdown_grace: Duration::from_secs(20),
            http: None,
            election: None,
            run_as: 999,
        }
    }
}
