//! Two operators, one of them at work.

use std::time::Duration;

use k8s_openapi::api::{batch::v1::Job, coordination::v1::Lease};
use kube::{Api, ResourceExt as _};
use mysql_operator::{Settings, lease::Election};
use serde_json::json;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::cluster::{self, Account};

fn operator(
    cluster: &simcluster::Cluster,
    identity: &str,
    account: &Account,
    shutdown: &CancellationToken,
) -> AbortOnDropHandle<Result<(), mysql_operator::Error>> {
    let settings = Settings {
        election: Some(Election {
            namespace: "default".to_owned(),
            identity: identity.to_owned(),
            patience: Duration::from_secs(4),
        }),
        ..Settings::default()
    };
    let client = account.client(cluster.client());
    AbortOnDropHandle::new(tokio::spawn(mysql_operator::run(
        client,
        settings,
        shutdown.clone(),
    )))
}

fn jobs_made(account: &Account) -> usize {
    let made = |(method, path): &(String, String)| method == "POST" && path.ends_with("/jobs");
    account.take().iter().filter(|entry| made(entry)).count()
}

#[tokio::test]
async fn when_the_operator_at_work_dies_the_other_one_goes_on_and_makes_nothing_twice() {
    let cluster = cluster::start().await;
    let client = cluster.client();
    let leases: Api<Lease> = Api::default_namespaced(client.clone());
    let jobs: Api<Job> = Api::default_namespaced(client.clone());
    let held_by = async |identity: &str| {
        cluster::until(&leases, &format!("the Lease of {identity}"), |lease| {
            let holder = lease.spec.as_ref()?.holder_identity.as_ref()?;
            (holder == identity).then_some(())
        })
        .await;
    };
    let job_of = async |instance: &str| {
        let name = format!("restore-{instance}-job");
        cluster::until(&jobs, &name, |job| {
            (job.name_any() == name).then(|| job.uid())
        })
        .await
    };
    let (first, second) = (Account::default(), Account::default());
    let never = CancellationToken::new();
    let at_work = operator(&cluster, "first", &first, &never);
    held_by("first").await;
    let waiting = operator(&cluster, "second", &second, &never);
    cluster::create(&client, "one", &json!({})).await;
    let before = job_of("one").await;

    // As a killed process: it frees nothing, and says nothing.
    at_work.abort();
    drop(at_work);
    cluster::create(&client, "two", &json!({})).await;
    held_by("second").await;
    job_of("two").await;
    assert_eq!(job_of("one").await, before);
    assert_eq!((jobs_made(&first), jobs_made(&second)), (1, 1));
    drop(waiting);
    cluster.shutdown().await;
}

#[tokio::test]
async fn an_operator_that_is_told_to_stop_frees_its_lease() {
    let cluster = cluster::start().await;
    let leases: Api<Lease> = Api::default_namespaced(cluster.client());
    let (account, shutdown) = (Account::default(), CancellationToken::new());
    let at_work = operator(&cluster, "first", &account, &shutdown);
    let holder = |lease: &Lease| lease.spec.as_ref()?.holder_identity.clone();
    cluster::until(&leases, "the Lease to be held", holder).await;
    shutdown.cancel();
    let ended = tokio::time::timeout(cluster::LIMIT, at_work).await;
    assert!(matches!(ended, Ok(Ok(Ok(())))), "{ended:?}");
    let lease = leases.get("mysql-operator").await.expect("it stays");
    assert_eq!(holder(&lease), None);
    cluster.shutdown().await;
}
