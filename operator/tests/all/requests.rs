//! What an instance costs from its creation until clients can connect.

use kube::Api;
use mysql_operator::{Settings, crd::MySQL};
use serde_json::json;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{
    cluster::{self, Account},
    model,
};

/// More than this, and something is asked or written that need not be.
const BOUND: usize = 25;
/// How often it is tried to keep to it.
const TRIES: usize = 5;

/// Requests about objects of an instance: neither watches, which are the same for any number of them, nor what
/// the operator does once for itself.
fn of_instances(account: &Account) -> Vec<(String, String)> {
    let is_watch = |method: &str, path: &str| {
        let one_namespace_or_volume =
            path.contains("/namespaces/") || path.contains("/persistentvolumes/");
        method == "GET" && !one_namespace_or_volume
    };
    account
        .take()
        .into_iter()
        .filter(|(method, path)| !is_watch(method, path))
        .collect()
}

/// The requests from the moment that the resource is there until it says Ready.
async fn until_ready(level: &str) -> Vec<(String, String)> {
    let world = model::World::default();
    let cluster = model::start(&world).await;
    let client = cluster.client();
    cluster::define(&client).await;
    cluster::enforce(&client, level).await;
    let account = Account::default();
    let operator = AbortOnDropHandle::new(tokio::spawn(mysql_operator::run(
        account.client(client.clone()),
        Settings::default(),
        CancellationToken::new(),
    )));
    cluster::create(&client, "db", &json!({})).await;
    let instances: Api<MySQL> = Api::default_namespaced(client.clone());
    cluster::until(&instances, "a ready instance", |instance| {
        let ready = instance.status.as_ref()?.condition("Ready")?;
        (ready.status == "True").then_some(())
    })
    .await;
    let requests = of_instances(&account);
    drop(operator);
    cluster.shutdown().await;
    requests
}

/// Without the credentials being read again, which happens every few seconds for as long as it takes.
fn needed(requests: &[(String, String)]) -> usize {
    let reads = |entry: &&(String, String)| entry.0 == "GET" && entry.1.contains("/secrets/");
    let read = requests.iter().filter(reads).count();
    requests.len() - read.saturating_sub(1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_costs_no_more_requests_than_it_needs() {
    for level in ["privileged", "restricted"] {
        let mut last = Vec::new();
        // A machine that stands still for a second makes the operator look at everything again.
        for _ in 0..TRIES {
            last = until_ready(level).await;
            if needed(&last) <= BOUND {
                break;
            }
        }
        let listed: Vec<String> = last
            .iter()
            .map(|(method, path)| format!("{method} {path}"))
            .collect();
        assert!(
            needed(&last) <= BOUND,
            "in a namespace that enforces {level}: {} requests, in {TRIES} tries:\n{}",
            needed(&last),
            listed.join("\n")
        );
    }
}
