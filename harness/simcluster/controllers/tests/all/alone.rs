//! Each controller runs without the others, and all stop when they are told to.

use std::time::Instant;

use serde_json::{Value, json};
use simcluster_apiserver::{ApiServer, Config, Identity};
use simcluster_controllers::{Controller, Settings, run};
use tokio_util::sync::CancellationToken;

use crate::world::{World, apps, core, template};

fn set(replicas: i32) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "r"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"a": "b"}},
                 "template": template(&json!({"a": "b"}))},
    })
}

#[tokio::test]
async fn a_replica_set_has_its_pods_without_any_other_controller() {
    let world = World::only([Controller::ReplicaSet]);
    let accounts = core("serviceaccounts");
    let account =
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
    world.post(&accounts, &account).await;
    world.post(&apps("replicasets"), &set(3)).await;
    world.until(&core("pods"), |pods| pods.len() == 3).await;
    let reported = |set: &Value| set["status"]["replicas"] == 3;
    world.until_one(&apps("replicasets"), "r", reported).await;
}

#[tokio::test]
async fn a_scheduler_alone_places_pods() {
    let world = World::only([Controller::Scheduler, Controller::ServiceAccount]);
    world.add_node("node-1", &json!({})).await;
    world
        .until_one(&core("serviceaccounts"), "default", |_| true)
        .await;
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "c", "image": "x"}]}});
    world.post(&core("pods"), &pod).await;
    let placed = |pod: &Value| pod["spec"]["nodeName"] == "node-1";
    world.until_one(&core("pods"), "p", placed).await;
}

#[tokio::test]
async fn all_controllers_stop_when_told_to() {
    for controllers in Controller::ALL.map(|controller| vec![controller]) {
        let server = ApiServer::start(Config::default());
        let shutdown = CancellationToken::new();
        let settings = Settings::only(controllers);
        let running = run(
            server.client(&Identity::admin()),
            settings,
            shutdown.clone(),
        );
        let running = tokio::spawn(running);
        shutdown.cancel();
        running.await.expect("it ends without a panic");
    }
}

/// Prints how long workloads need; never fails on time.
#[tokio::test]
async fn many_pods_are_made_and_placed() {
    let world = World::start().await;
    for number in 2..=10 {
        world.add_node(&format!("node-{number}"), &json!({})).await;
    }
    let running = |number: usize| {
        move |pods: &[Value]| {
            pods.iter()
                .filter(|pod| pod["status"]["phase"] == "Running")
                .count()
                == number
        }
    };
    world
        .until_one(&core("serviceaccounts"), "default", |_| true)
        .await;
    for number in [1, 20, 100] {
        let start = Instant::now();
        world.post(&apps("replicasets"), &set(number)).await;
        let number = usize::try_from(number).expect("it is small");
        world.until(&core("pods"), running(number)).await;
        println!(
            "{number} pods made, placed and reported running after {:?}",
            start.elapsed()
        );
        world.delete(&apps("replicasets/r"), &Value::Null).await;
        world.until(&core("pods"), <[Value]>::is_empty).await;
    }
}
