//! What an instance costs that nothing happens to.

use std::sync::Arc;

use futures::StreamExt as _;
use kube::{Api, runtime::events::Reporter};
use mysql_operator::{
    Settings,
    cache::Cache,
    controller::{self, Context},
    crd::MySQL,
    metrics::Metrics,
};
use serde_json::json;
use tokio_util::task::AbortOnDropHandle;

use crate::{
    cluster::{self, Account},
    played,
};

#[tokio::test]
async fn an_unchanged_instance_costs_one_request_and_no_write() {
    let cluster = cluster::start().await;
    let client = cluster.client();
    let account = Account::default();
    let settings = Settings::default();
    let (cache, events) = Cache::follow(&client, &settings);
    let context = Arc::new(Context::new(
        &account.client(client.clone()),
        Reporter::from("test"),
        cache,
        settings,
        Metrics::default(),
    ));
    cluster::create(&client, "one", &json!({})).await;
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
    played::finish_restore(&client, "one")
        .await
        .expect("the Job can be ended");
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
    cluster.shutdown().await;
}
