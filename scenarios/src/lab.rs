//! The verbs of a scenario: create an instance, speak SQL to it, delete it.
//!
//! A verb waits until a user would see its effect. None of them knows how the operator does it.

use std::sync::Arc;

use harness::{
    Cluster, Failure,
    backend::Capability,
    conditions::{self, Condition, Verdict},
    operator::Task,
    sql::{Login, Session},
};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt, api::ListParams};
use mysql_operator::{Settings, crd::MySQL};
use simcluster::{ImageStore, LocalImage, StoreConfig};
use tokio::sync::OnceCell;

use crate::{
    deploy,
    images::{self, Programs},
    invariants::Watch,
    requests::Requests,
    watching,
};

/// A cluster with the CRD applied, and the operator while it runs.
#[derive(Debug)]
pub struct Lab<'a> {
    cluster: &'a Cluster,
    operator: Option<Task>,
    /// How the operator works from its next start on.
    pub settings: Settings,
    /// Words of violations of invariants that this scenario commits on purpose.
    pub exceptions: Vec<&'static str>,
    watch: Option<Watch>,
    /// The operator runs in the cluster.
    deployed: bool,
    /// What the operator has asked of the API.
    pub requests: Requests,
}

/// The images that a container with a cluster must be given: it has no other source of them.
pub const CARRIED: [&str; 2] = [images::OPERATOR_IMAGE, "mysql:5.7"];

/// Runs a scenario on a cluster of its own with the CRD applied and the operator running.
///
/// # Panics
/// When the scenario fails; the text says why and where the evidence is.
#[track_caller]
pub fn prove<F>(scenario: F)
where
    F: AsyncFnOnce(&mut Lab<'_>) -> Result<(), Failure>,
{
    prove_with(Settings::default(), scenario);
}

/// As [`prove`], with settings of the operator's.
///
/// # Panics
/// When the scenario fails.
#[track_caller]
pub fn prove_with<F>(settings: Settings, scenario: F)
where
    F: AsyncFnOnce(&mut Lab<'_>) -> Result<(), Failure>,
{
    harness::proof::prove_with(
        async || image_store(Programs::Job).await,
        &CARRIED,
        async |cluster| {
            let mut lab = Lab::new(cluster);
            lab.settings = settings;
            lab.install().await?;
            lab.watch_invariants();
            lab.start_operator();
            let mut outcome = scenario(&mut lab).await;
            if outcome.is_ok() {
                outcome = lab.check_invariants().await;
            }
            if outcome.is_ok() {
                // Finalizers need the operator, so it is stopped last.
                let left = cluster.clean_up().await;
                if !left.0.is_empty() {
                    return Err(format!("the clean-up got stuck: {left}").into());
                }
            }
            lab.stop_operator().await?;
            outcome
        },
    );
}

/// Runs a scenario on a cluster of its own that knows the operator's image; nothing is applied yet.
///
/// # Panics
/// When the scenario fails.
#[track_caller]
pub fn prove_deployed<F>(scenario: F)
where
    F: AsyncFnOnce(&mut Lab<'_>) -> Result<(), Failure>,
{
    harness::proof::prove_with(
        async || image_store(Programs::All).await,
        &CARRIED,
        async |cluster| {
            let mut lab = Lab::new(cluster);
            lab.deployed = true;
            scenario(&mut lab).await?;
            lab.check_invariants().await
        },
    );
}

/// Images for a cluster that runs our operator, the same today and tomorrow, with a network and without: besides
/// the operator's own only those of the distribution.
pub async fn image_store(programs: Programs) -> Result<Arc<ImageStore>, Failure> {
    let config = StoreConfig {
        registries: false,
        engine: false,
        ..StoreConfig::default()
    };
    image_store_from(programs, config).await
}

/// Images for a cluster that runs our operator, from these sources; the programs are linked once in a process.
pub async fn image_store_from(
    programs: Programs,
    config: StoreConfig,
) -> Result<Arc<ImageStore>, Failure> {
    static LINKED: [OnceCell<LocalImage>; 2] = [OnceCell::const_new(), OnceCell::const_new()];
    let linked = &LINKED[usize::from(programs == Programs::All)];
    let prepare = async || Ok::<_, Failure>(images::operator_image(programs).await?);
    let image = linked.get_or_try_init(prepare).await?;
    let store = ImageStore::open(config)?;
    store.register(image.clone())?;
    Ok(Arc::new(store))
}

impl<'a> Lab<'a> {
    /// Nothing is applied and nothing runs yet.
    pub fn new(cluster: &'a Cluster) -> Self {
        Self {
            cluster,
            operator: None,
            settings: Settings::default(),
            exceptions: Vec::new(),
            watch: None,
            deployed: false,
            requests: Requests::default(),
        }
    }

    /// The cluster.
    pub fn cluster(&self) -> &'a Cluster {
        self.cluster
    }

    /// Begins to watch what must be true at every moment; the CRD must be installed.
    pub fn watch_invariants(&mut self) {
        self.watch = Some(Watch::start(&self.cluster.client(), &self.requests));
    }

    /// Ends that, and fails if something was seen that must never be.
    pub async fn check_invariants(&mut self) -> Result<(), Failure> {
        let Some(watch) = self.watch.take() else {
            return Ok(());
        };
        // Without an operator nothing comes to an end.
        if self.deployed || self.operator.is_some() {
            watch.rest().await?;
        }
        watch.finish(self.cluster, &self.exceptions).await
    }

    /// Applies the CRD and waits until it is served.
    pub async fn install(&self) -> Result<(), Failure> {
        use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
        self.cluster.apply(deploy::CRD).await?;
        let established =
            Condition::holds("to be Established", |crd: &CustomResourceDefinition| {
                let conditions = crd
                    .status
                    .as_ref()
                    .and_then(|status| status.conditions.as_ref());
                conditions.is_some_and(|conditions| {
                    conditions
                        .iter()
                        .any(|c| c.type_ == "Established" && c.status == "True")
                })
            });
        let crds = self.cluster.all::<CustomResourceDefinition>();
        self.cluster
            .wait(&crds, "mysqls.otus.homework", established)
            .await?;
        Ok(())
    }

    /// Starts the operator as a task of this process.
    pub fn start_operator(&mut self) {
        let client = self.requests.client(self.cluster.client_of("operator"));
        let mut settings = self.settings.clone();
        if !self.cluster.can(Capability::OwnCluster) {
            // In somebody's cluster only what is ours may be touched.
            settings.watch_namespace = Some(self.cluster.namespace().to_owned());
        }
        self.operator = Some(Task::start(async move |shutdown| {
            Ok(mysql_operator::run(client, settings, shutdown).await?)
        }));
    }

    /// Stops the operator, if it runs, and fails if it had ended in an error.
    pub async fn stop_operator(&mut self) -> Result<(), Failure> {
        match self.operator.take() {
            Some(operator) => operator.stop().await,
            None => Ok(()),
        }
    }

    /// Ends the operator where it stands; fails if it had ended in an error.
    pub async fn end_operator(&mut self) -> Result<(), Failure> {
        match self.operator.take() {
            Some(operator) => operator.end().await,
            None => Ok(()),
        }
    }

    /// Waits until the operator that `deploy/` puts into the cluster is available.
    pub async fn operator_available(&self) -> Result<(), Failure> {
        let deployments = self.cluster.namespaced();
        let available = conditions::deployment_available();
        self.cluster
            .wait(&deployments, "mysql-operator", available)
            .await?;
        Ok(())
    }

    /// Waits until exactly one pod of an instance is there.
    pub async fn appearing_pod(&self, name: &str) -> Result<Pod, Failure> {
        let config = kube::runtime::watcher::Config::default().labels(&format!("app={name}"));
        let pods = self.cluster.namespaced();
        watching::until(pods, config, "one pod of the instance", |pods| {
            let mut living = pods
                .values()
                .filter(|pod: &&Pod| pod.metadata.deletion_timestamp.is_none());
            let first = living.next()?.clone();
            living.next().is_none().then_some(first)
        })
        .await
    }

    /// The instances in this scenario's namespace.
    pub fn instances(&self) -> Api<MySQL> {
        self.cluster.namespaced()
    }

    /// Applies an instance and waits until it is ready for clients.
    pub async fn create(&self, manifest: &str) -> Result<MySQL, Failure> {
        let applied = self.cluster.apply(manifest).await?;
        let name = applied
            .first()
            .ok_or("the manifest holds no object")?
            .name_any();
        self.ready(&name).await
    }

    /// Waits until an instance is ready, for its latest generation.
    pub async fn ready(&self, name: &str) -> Result<MySQL, Failure> {
        let instance = self
            .cluster
            .wait(&self.instances(), name, instance_ready())
            .await?;
        Ok(instance.ok_or("the instance is gone")?)
    }

    /// Deletes an instance as `kubectl delete` does: it returns when the resource is gone.
    pub async fn delete(&self, name: &str) -> Result<(), Failure> {
        if let Some(watch) = &self.watch
            && let Some((instance, rows)) = self.rows_of(name).await?
        {
            watch.acknowledged(&instance, rows);
        }
        self.instances()
            .delete(name, &kube::api::DeleteParams::default())
            .await?;
        self.cluster
            .wait(&self.instances(), name, conditions::absent())
            .await?;
        Ok(())
    }

    /// How many rows clients see in an instance; `None` if they cannot look, or not with a password that
    /// is known here.
    async fn rows_of(&self, name: &str) -> Result<Option<(MySQL, u64)>, Failure> {
        let Some(instance) = self.instances().get_opt(name).await? else {
            return Ok(None);
        };
        let (Some(password), Some(status)) = (&instance.spec.password, &instance.status) else {
            return Ok(None);
        };
        let holds = |type_| {
            status
                .condition(type_)
                .is_some_and(|said| said.status == "True")
        };
        if !holds("Ready") || !holds("PasswordSynced") {
            return Ok(None);
        }
        let Ok(mut session) = self.login(name, password, &instance.spec.database).await else {
            return Ok(None);
        };
        let tables = "SELECT table_name FROM information_schema.tables \
             WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE'";
        let mut rows = 0;
        for table in session.rows(tables).await?.into_iter().flatten() {
            let count = format!("SELECT count(*) FROM `{}`", table.replace('`', "``"));
            let counted = session.rows(&count).await?;
            rows += counted[0][0].parse::<u64>()?;
        }
        session.close().await?;
        Ok(Some((instance, rows)))
    }

    /// The one pod of an instance, as the homework finds it: by the label `app`.
    pub async fn pod(&self, name: &str) -> Result<Pod, Failure> {
        let pods: Api<Pod> = self.cluster.namespaced();
        let list = pods
            .list(&ListParams::default().labels(&format!("app={name}")))
            .await?;
        let mut living: Vec<Pod> = list
            .into_iter()
            .filter(|pod| pod.metadata.deletion_timestamp.is_none())
            .collect();
        match (living.pop(), living.len()) {
            (Some(pod), 0) => Ok(pod),
            (None, _) => Err(format!("no pod has the label app={name}").into()),
            (Some(_), more) => Err(format!("{} pods have the label app={name}", more + 1).into()),
        }
    }

    /// A connection to an instance as root, to `database`.
    pub async fn login(
        &self,
        name: &str,
        password: &str,
        database: &str,
    ) -> Result<Session, Failure> {
        let pod = self.pod(name).await?;
        let login = Login {
            user: "root".to_owned(),
            password: password.to_owned(),
            database: Some(database.to_owned()),
        };
        Ok(Session::open(self.cluster.namespaced(), &pod.name_any(), &login).await?)
    }
}

/// An instance says of itself that it is ready, password included, for its latest generation.
pub fn instance_ready() -> Condition<MySQL> {
    Condition::of("to be Ready", |instance: &MySQL| {
        let value = serde_json::to_value(instance).unwrap_or_default();
        let conditions = value["status"]["conditions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        if value["status"]["observedGeneration"] != value["metadata"]["generation"] {
            return Verdict::NotYet("its latest generation is not observed".to_owned());
        }
        for kind in ["Ready", "PasswordSynced"] {
            match conditions
                .iter()
                .find(|condition| condition["type"] == kind)
            {
                Some(condition) if condition["status"] == "True" => {}
                Some(condition) => {
                    let (reason, message) = (&condition["reason"], &condition["message"]);
                    return Verdict::NotYet(format!("{kind}: {reason}: {message}"));
                }
                None => return Verdict::NotYet(format!("it has no condition {kind}")),
            }
        }
        Verdict::Met
    })
}
