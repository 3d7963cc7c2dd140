//! A cluster without nodes, with the definition installed; a client that keeps account; waiting.

use std::{
    fmt::Debug,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{StreamExt as _, TryStreamExt as _};
use http::Request;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client, Resource,
    api::{Patch, PatchParams, PostParams},
    client::Body,
    runtime::watcher,
};
use mysql_operator::crd::{self, MySQL};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// How long anything may take on a machine that is busy with something else.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);

/// Starts one.
pub(crate) async fn start() -> simcluster::Cluster {
    let cluster = simcluster::Cluster::builder()
        .nodes(0)
        .start()
        .await
        .expect("a cluster without nodes needs nothing");
    define(&cluster.client()).await;
    cluster
}

/// Installs the definition.
pub(crate) async fn define(client: &Client) {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    definitions
        .create(&PostParams::default(), &crd::crd())
        .await
        .expect("the definition is accepted");
    until(&definitions, "the definition to be served", |definition| {
        let status = definition.status.as_ref()?;
        let conditions = status.conditions.as_ref()?;
        conditions
            .iter()
            .any(|condition| condition.type_ == "Established" && condition.status == "True")
            .then_some(())
    })
    .await;
}

/// An instance; `more` is merged into it.
pub(crate) async fn create(client: &Client, name: &str, more: &Value) -> MySQL {
    let mut resource = json!({
        "apiVersion": "otus.homework/v1",
        "kind": "MySQL",
        "metadata": {"name": name},
        "spec": {"image": "mysql:8.4", "database": "db", "password": "otuspassword", "storage_size": "1Gi"},
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        resource["spec"][key] = value.clone();
    }
    let resource: MySQL = serde_json::from_value(resource).expect("a resource");
    let instances: Api<MySQL> = Api::default_namespaced(client.clone());
    instances
        .create(&PostParams::default(), &resource)
        .await
        .expect("the resource is accepted")
}

/// Lets the namespace of the instances enforce a level of pod security.
pub(crate) async fn enforce(client: &Client, level: &str) {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let label = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": level}}});
    namespaces
        .patch("default", &PatchParams::default(), &Patch::Merge(label))
        .await
        .expect("the namespace is changed");
}

/// Watches until an object of a kind gives a value.
pub(crate) async fn until<K, T>(api: &Api<K>, what: &str, test: impl Fn(&K) -> Option<T>) -> T
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let mut last = None;
    let watched = async {
        let mut changes = watcher(api.clone(), watcher::Config::default()).boxed();
        while let Some(change) = changes.try_next().await.expect("the watch goes on") {
            let (watcher::Event::InitApply(object) | watcher::Event::Apply(object)) = change else {
                continue;
            };
            if let Some(value) = test(&object) {
                return value;
            }
            last = Some(object);
        }
        panic!("the watch ended");
    };
    let outcome = tokio::time::timeout(LIMIT, watched).await;
    outcome.unwrap_or_else(|_| panic!("waited {LIMIT:?} for {what}, in vain; last seen: {last:#?}"))
}

/// What went through a client: method and path.
#[derive(Clone, Debug, Default)]
pub(crate) struct Account(Arc<Mutex<Vec<(String, String)>>>);

impl Account {
    /// A client that is kept account of.
    pub(crate) fn client(&self, inner: Client) -> Client {
        let account = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let entry = (
                request.method().to_string(),
                request.uri().path().to_owned(),
            );
            account
                .0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(entry);
            let inner = inner.clone();
            async move { inner.send(request).await }
        });
        Client::new(service, "default")
    }

    /// All of it so far; it begins anew.
    pub(crate) fn take(&self) -> Vec<(String, String)> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
