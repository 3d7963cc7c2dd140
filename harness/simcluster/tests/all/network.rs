//! The network of a cluster with several nodes.

use futures::future::join_all;
use k8s_openapi::api::core::v1::{Namespace, Pod, Service, ServiceAccount};
use kube::Api;
use serde_json::json;
use simcluster::Cluster;

use crate::support::{cluster, create, phase, pod, until, within};

const TARGETS: &str = "db.one:3306 db.two.svc.cluster.local:3306 own.one:3306 own.two:3306";

/// A namespace with a server at port 3306 on `node`, behind the Service `db` and the headless `own`.
async fn serve(cluster: &Cluster, namespace: &str, node: &str) {
    let namespaces: Api<Namespace> = Api::all(cluster.client());
    create(&namespaces, json!({"metadata": {"name": namespace}})).await;
    let accounts = within::<ServiceAccount>(cluster, namespace);
    until(accounts, "default", |account: Option<&ServiceAccount>| {
        account.is_some()
    })
    .await;
    for (name, address) in [("db", serde_json::Value::Null), ("own", json!("None"))] {
        let service = json!({
            "metadata": {"name": name},
            "spec": {"selector": {"app": "server"}, "clusterIP": address, "ports": [{"port": 3306}]},
        });
        create(&within::<Service>(cluster, namespace), service).await;
    }
    let pods = within::<Pod>(cluster, namespace);
    let server = pod("server", node, "say_name", &[("NAME", namespace)]);
    create(&pods, server).await;
    until(pods, "server", phase("Running")).await;
}

/// What a pod on `node` in `namespace` hears from everyone.
async fn ask(cluster: &Cluster, namespace: &str, node: &str) -> String {
    let pods = within::<Pod>(cluster, namespace);
    let name = format!("client-{node}");
    create(
        &pods,
        pod(&name, node, "ask_names", &[("TARGETS", TARGETS)]),
    )
    .await;
    until(pods.clone(), &name, phase("Succeeded")).await;
    pods.logs(&name, &kube::api::LogParams::default())
        .await
        .unwrap()
}

#[tokio::test]
async fn two_servers_with_one_port_are_reached_by_name_from_every_namespace_and_node() {
    let cluster = cluster(2).await;
    serve(&cluster, "one", "node-1").await;
    serve(&cluster, "two", "node-2").await;
    let clients = [
        ("one", "node-1"),
        ("one", "node-2"),
        ("two", "node-1"),
        ("two", "node-2"),
    ];
    let asked = clients.map(|(namespace, node)| ask(&cluster, namespace, node));
    for (client, heard) in clients.iter().zip(join_all(asked).await) {
        for target in TARGETS.split_whitespace() {
            let name = if target.contains(".one") {
                "one"
            } else {
                "two"
            };
            let line = format!("{target} is {name}");
            assert!(heard.contains(&line), "{client:?} heard: {heard}");
        }
    }
    cluster.shutdown().await;
}
