//! mysql-operator as scenario files see it: a task that starts, stops and crashes, and instances whose
//! database can be spoken to.

use futures::{FutureExt as _, future::BoxFuture};
use harness::{
    Cluster, Failure,
    backend::Capability,
    operator::Task,
    scenario::{Database, Loaded, Observer, Options, Run, Subject, model::Target, run_with},
    sql::Login,
};
use mysql_operator::{Settings, crd::MySQL};

use crate::Lab;

/// The operator of this workspace as a task of this process.
#[derive(Debug, Default)]
pub struct Operator {
    task: Option<Task>,
}

impl Operator {
    /// Not running yet.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Subject for Operator {
    fn start<'a>(&'a mut self, cluster: &'a Cluster) -> BoxFuture<'a, Result<(), Failure>> {
        if self.task.is_none() {
            let client = cluster.client_of("operator");
            let mut settings = Settings::default();
            if !cluster.can(Capability::OwnCluster) {
                // In somebody's cluster only what is ours may be touched.
                settings.watch_namespace = Some(cluster.namespace().to_owned());
            }
            self.task = Some(Task::start(async move |shutdown| {
                Ok(mysql_operator::run(client, settings, shutdown).await?)
            }));
        }
        std::future::ready(Ok(())).boxed()
    }

    fn stop(&mut self) -> BoxFuture<'_, Result<(), Failure>> {
        async {
            match self.task.take() {
                Some(task) => task.stop().await,
                None => Ok(()),
            }
        }
        .boxed()
    }

    fn kill(&mut self) -> BoxFuture<'_, Result<(), Failure>> {
        async {
            match self.task.take() {
                Some(task) => task.end().await,
                None => Err("the operator does not run, so it cannot be killed".into()),
            }
        }
        .boxed()
    }

    fn database<'a>(
        &'a self,
        cluster: &'a Cluster,
        namespace: &'a str,
        target: &'a Target,
    ) -> BoxFuture<'a, Result<Database, Failure>> {
        async move {
            if target.kind.as_deref() != Some("MySQL") {
                return Err("only a MySQL has a database here".into());
            }
            let name = target.name.as_deref().ok_or("`target` has no name")?;
            let instances: kube::Api<MySQL> = kube::Api::namespaced(cluster.client(), namespace);
            let spec = instances.get(name).await?.spec;
            Ok(Database {
                selector: format!("app={name}"),
                login: Login {
                    user: "root".to_owned(),
                    password: spec.password.unwrap_or_default(),
                    database: Some(spec.database),
                },
            })
        }
        .boxed()
    }
}

/// Runs a scenario file on a cluster: CRD, operator, steps, and at last the operator's end. It can be ended in
/// the middle by the token in its options; the clean-up is done nevertheless.
pub async fn run(
    loaded: &Loaded,
    cluster: &Cluster,
    observer: &mut dyn Observer,
    options: &Options,
) -> Result<Run, Failure> {
    Lab::new(cluster).install().await?;
    let mut operator = Operator::new();
    let run = run_with(loaded, cluster, &mut operator, observer, options).await;
    operator.stop().await?;
    Ok(run)
}
