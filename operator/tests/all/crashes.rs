//! An operator that dies after each of its writes, and one that hears the answer of none.
//!
//! A whole story is lived through: made, filled, another password, deleted, made again. Between any two writes
//! there is a window in which the operator may die; here it dies in every one of them.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use http::{Request, Response};
use k8s_openapi::api::batch::v1::Job;
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams},
    client::Body,
    runtime::wait,
};
use mysql_operator::{Settings, crd::MySQL};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tower::BoxError;

use crate::{cluster, model};

/// What happens to the answer of a write that was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// The operator is dead before it hears it.
    Crash,
    /// The connection breaks; the operator lives on.
    Lost,
}

/// Strikes at each write; where the operator lives on at every other one, so that what is repeated gets through.
#[derive(Clone)]
struct Seam {
    fate: Fate,
    struck: Arc<AtomicUsize>,
    spared: Arc<AtomicBool>,
    crash: mpsc::UnboundedSender<()>,
}

impl Seam {
    fn client(&self, inner: Client) -> Client {
        let seam = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let (seam, inner) = (seam.clone(), inner.clone());
            async move { seam.pass(&inner, request).await }
        });
        Client::new(service, "default")
    }

    async fn pass(
        &self,
        inner: &Client,
        request: Request<Body>,
    ) -> Result<Response<Body>, BoxError> {
        let is_write = request.method() != http::Method::GET;
        let answer = inner.send(request).await?;
        if !is_write || !answer.status().is_success() {
            return Ok(answer);
        }
        match self.fate {
            Fate::Crash => {
                self.struck.fetch_add(1, Ordering::Relaxed);
                let _ = self.crash.send(());
                std::future::pending().await
            }
            Fate::Lost if self.spared.fetch_xor(true, Ordering::Relaxed) => Ok(answer),
            Fate::Lost => {
                self.struck.fetch_add(1, Ordering::Relaxed);
                Err("the connection broke before the answer came".into())
            }
        }
    }
}

/// Runs the operator, again and again, until this is dropped.
fn disturbed(client: Client, fate: Fate) -> (AbortOnDropHandle<()>, Arc<AtomicUsize>) {
    let struck: Arc<AtomicUsize> = Arc::default();
    let counted = Arc::clone(&struck);
    let living = tokio::spawn(async move {
        loop {
            let (crash, mut crashed) = mpsc::unbounded_channel();
            let seam = Seam {
                fate,
                struck: Arc::clone(&counted),
                spared: Arc::default(),
                crash,
            };
            let operator = AbortOnDropHandle::new(tokio::spawn(mysql_operator::run(
                seam.client(client.clone()),
                Settings::default(),
                CancellationToken::new(),
            )));
            crashed.recv().await;
            drop(operator);
        }
    });
    (AbortOnDropHandle::new(living), struck)
}

async fn ready(instances: &Api<MySQL>) {
    cluster::until(instances, "a ready instance", |instance| {
        let status = instance.status.as_ref()?;
        let holds = |type_| {
            status
                .condition(type_)
                .is_some_and(|said| said.status == "True")
        };
        let current = status.observed_generation == instance.metadata.generation;
        (current && holds("Ready") && holds("PasswordSynced")).then_some(())
    })
    .await;
}

/// Deletes it and waits until it has gone.
async fn delete(instances: &Api<MySQL>) {
    let uid = instances.get("db").await.expect("it is there").uid();
    let uid = uid.unwrap_or_default();
    instances
        .delete("db", &DeleteParams::default())
        .await
        .expect("the deletion begins");
    let is_gone = wait::conditions::is_deleted(&uid);
    let waiting = wait::await_condition(instances.clone(), "db", is_gone);
    let in_time = tokio::time::timeout(cluster::LIMIT, waiting).await;
    let left = instances.get_opt("db").await;
    assert!(in_time.is_ok_and(|seen| seen.is_ok()), "{left:#?}");
}

/// Makes, fills, changes, deletes and makes again; gives how often the operator was struck.
async fn live_through(fate: Fate) -> usize {
    let world = model::World::default();
    let cluster = model::start(&world).await;
    let client = cluster.client();
    cluster::define(&client).await;
    let instances: Api<MySQL> = Api::default_namespaced(client.clone());
    let (operator, struck) = disturbed(client.clone(), fate);
    cluster::create(&client, "db", &json!({})).await;
    ready(&instances).await;
    world.insert("a row");
    let other = Patch::Merge(json!({"spec": {"password": "another"}}));
    instances
        .patch("db", &PatchParams::default(), &other)
        .await
        .expect("the resource is changed");
    ready(&instances).await;
    assert_eq!(world.password().as_deref(), Some("another"));

    let jobs: Api<Job> = Api::default_namespaced(client.clone());
    for life in 2..4 {
        delete(&instances).await;
        let backup = jobs.get("backup-db-job").await.expect("the Job stays");
        let succeeded = backup.status.as_ref().and_then(|status| status.succeeded);
        assert_eq!(succeeded, Some(1), "{}", backup.name_any());
        cluster::create(&client, "db", &json!({})).await;
        ready(&instances).await;
        assert_eq!(world.rows(), ["a row"], "life {life}");
    }
    drop(operator);
    cluster.shutdown().await;
    struck.load(Ordering::Relaxed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_that_dies_after_each_of_its_writes_loses_nothing() {
    let crashes = live_through(Fate::Crash).await;
    assert!(crashes > 50, "it died only {crashes} times");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_that_does_not_hear_of_its_writes_loses_nothing() {
    let lost = live_through(Fate::Lost).await;
    assert!(lost > 25, "only {lost} answers were lost");
}
