//! What an instance costs that nothing happens to.

use std::sync::Arc;

use futures::StreamExt as _;
use k8s_openapi::api::storage::v1::StorageClass;
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
    runtime::events::Reporter,
};
use mysql_operator::{
    Settings,
    cache::Cache,
    controller::{self, Context},
    crd::MySQL,
    metrics::Metrics,
};
use serde_json::{Value, json};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    cluster::{self, Account},
    played,
};

/// That nothing else is asked of the cluster, in the long run, for an instance with this in its spec, in which
/// this is changed once it has been filled.
async fn assert_costs_one_request(client: &Client, more: &Value, change: &Value) {
    let account = Account::default();
    let settings = Settings::default();
    let (cache, events) = Cache::follow(client, &settings);
    let context = Arc::new(Context::new(
        &account.client(client.clone()),
        Reporter::from("test"),
        cache,
        settings,
        Metrics::default(),
    ));
    cluster::create(client, "one", more).await;
    let instances: Api<MySQL> = Api::default_namespaced(client.clone());
    let reconcile = async || {
        let trigger = Arc::new(instances.get("one").await.expect("the resource is there"));
        account.take();
        controller::reconcile(trigger, Arc::clone(&context))
            .await
            .expect("nothing is in the way");
        account.take()
    };
    let first = reconcile().await;
    assert!(
        first.iter().any(|(method, _)| method == "POST"),
        "{first:?}"
    );
    played::finish_restore(client, "one")
        .await
        .expect("the Job can be ended");
    let change = Patch::Merge(json!({ "spec": change }));
    instances
        .patch("one", &PatchParams::default(), &change)
        .await
        .expect("the change is accepted");
    let watching =
        AbortOnDropHandle::new(tokio::spawn(events.for_each(|_| std::future::ready(()))));
    // Until the watches have told of everything that was written, and what is remembered of it has faded.
    let mut last = Vec::new();
    let quiet = async {
        loop {
            last = reconcile().await;
            let reads = last.iter().all(|(method, _)| method == "GET");
            if last.len() == 1 && reads {
                break;
            }
        }
    };
    let limit = std::time::Duration::from_secs(120);
    let in_time = tokio::time::timeout(limit, quiet).await.is_ok();
    assert!(
        in_time,
        "an instance that nothing happens to costs {last:?}"
    );
    let [(method, path)] = last.as_slice() else {
        panic!("{last:?}")
    };
    assert_eq!(method, "GET");
    assert!(path.ends_with("/secrets/one-auth"), "{path}");
    drop(watching);
}

#[tokio::test]
async fn an_unchanged_instance_costs_one_request_and_no_write() {
    let cluster = cluster::start().await;
    assert_costs_one_request(&cluster.client(), &json!({}), &json!({})).await;
    cluster.shutdown().await;
}

#[tokio::test]
async fn an_instance_that_its_class_does_not_let_grow_costs_no_more_than_any() {
    let cluster = cluster::start().await;
    let client = cluster.client();
    let classes: Api<StorageClass> = Api::all(client.clone());
    let class = serde_json::from_value(json!({
        "metadata": {"name": "fixed"},
        "provisioner": "example.com/none",
    }));
    classes
        .create(&PostParams::default(), &class.expect("a class"))
        .await
        .expect("the class is accepted");
    let class = json!({"storageClassName": "fixed"});
    assert_costs_one_request(&client, &class, &json!({"storage_size": "2Gi"})).await;
    let instances: Api<MySQL> = Api::default_namespaced(client);
    let instance = instances.get("one").await.expect("the resource is there");
    let status = instance.status.expect("it has a status");
    let told = status
        .condition("Resized")
        .expect("it says why it does not grow");
    assert_eq!(told.reason, "ResizeNotSupported", "{told:?}");
    cluster.shutdown().await;
}
