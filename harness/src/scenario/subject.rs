//! The operator under test, as a scenario sees it: something that can be started and ended, and that may
//! know whose database is where.

use futures::{FutureExt as _, future::BoxFuture};

use super::model::Target;
use crate::{Cluster, Failure, sql::Login};

/// Where a database is, and who gets in.
#[derive(Clone, Debug)]
pub struct Database {
    /// Labels of its pod, as kubectl's `-l`.
    pub selector: String,
    /// User, password and schema.
    pub login: Login,
}

/// The operator under test.
pub trait Subject: Send {
    /// Starts it; nothing to do if it runs.
    fn start<'a>(&'a mut self, cluster: &'a Cluster) -> BoxFuture<'a, Result<(), Failure>>;

    /// Tells it to end and waits until it has; fails if it had ended in an error.
    fn stop(&mut self) -> BoxFuture<'_, Result<(), Failure>>;

    /// Ends it where it stands.
    fn kill(&mut self) -> BoxFuture<'_, Result<(), Failure>>;

    /// The database of an object that the operator knows, as its user would find it.
    fn database<'a>(
        &'a self,
        cluster: &'a Cluster,
        namespace: &'a str,
        target: &'a Target,
    ) -> BoxFuture<'a, Result<Database, Failure>> {
        let _ = (cluster, namespace);
        let kind = target.kind.clone().unwrap_or_default();
        std::future::ready(Err(format!(
            "nobody here knows the database of a {kind}; name the pod by `selector` and give user and password"
        )
        .into()))
        .boxed()
    }
}

/// For scenarios about the cluster alone, or about an operator that somebody else runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoOperator;

impl Subject for NoOperator {
    fn start<'a>(&'a mut self, _: &'a Cluster) -> BoxFuture<'a, Result<(), Failure>> {
        std::future::ready(Ok(())).boxed()
    }

    fn stop(&mut self) -> BoxFuture<'_, Result<(), Failure>> {
        std::future::ready(Ok(())).boxed()
    }

    fn kill(&mut self) -> BoxFuture<'_, Result<(), Failure>> {
        std::future::ready(Err("no operator runs here that could be killed".into())).boxed()
    }
}
