//! The verbs of a scenario: create an instance, speak SQL to it, delete it.
//!
//! A verb waits until a user would see its effect. None of them knows how the operator does it.

use std::sync::Arc;

use harness::{
    Cluster, Failure,
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
};

/// A cluster with the CRD applied, and the operator while it runs.
#[derive(Debug)]
pub struct Lab<'a> {
    cluster: &'a Cluster,
    operator: Option<Task>,
}

/// Runs a scenario on a cluster of its own with the CRD applied and the operator running.
///
/// # Panics
/// When the scenario fails; the text says why and where the evidence is.
#[track_caller]
pub fn prove<F>(scenario: F)
where
    F: AsyncFnOnce(&mut Lab<'_>) -> Result<(), Failure>,
{
    harness::proof::prove_with(
        async || image_store(Programs::Job).await,
        async |cluster| {
            let mut lab = Lab::new(cluster);
            lab.install().await?;
            lab.start_operator();
            scenario(&mut lab).await?;
            lab.stop_operator().await
        },
    );
}

/// Images for a cluster that runs our operator; the programs are linked once in a process.
pub async fn image_store(programs: Programs) -> Result<Arc<ImageStore>, Failure> {
    static LINKED: [OnceCell<LocalImage>; 2] = [OnceCell::const_new(), OnceCell::const_new()];
    let linked = &LINKED[usize::from(programs == Programs::All)];
    let prepare = async || {
        let image = images::operator_image(programs).await?;
        // Into the cache now, once: pods that start together then find it there.
        let store = ImageStore::open(StoreConfig::default())?;
        store.register(image.clone())?;
        store.ensure(images::OPERATOR_IMAGE, &()).await?;
        Ok::<_, Failure>(image)
    };
    let image = linked.get_or_try_init(prepare).await?;
    let store = ImageStore::open(StoreConfig::default())?;
    store.register(image.clone())?;
    Ok(Arc::new(store))
}

impl<'a> Lab<'a> {
    /// Nothing is applied and nothing runs yet.
    pub fn new(cluster: &'a Cluster) -> Self {
        Self {
            cluster,
            operator: None,
        }
    }

    /// The cluster.
    pub fn cluster(&self) -> &'a Cluster {
        self.cluster
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
        let client = self.cluster.client();
        self.operator = Some(Task::start(async move |shutdown| {
            Ok(mysql_operator::run(client, Settings::default(), shutdown).await?)
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
        self.instances()
            .delete(name, &kube::api::DeleteParams::default())
            .await?;
        self.cluster
            .wait(&self.instances(), name, conditions::absent())
            .await?;
        Ok(())
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
