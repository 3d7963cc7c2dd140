//! Pods whose programs are functions, in virtual time.

use std::time::Duration;

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Pod, Service, ServiceAccount},
};
use kube::{Api, api::LogParams};
use serde_json::json;
use simcluster::{
    Cluster,
    model::{ModelContainer, Programs},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::Instant,
};

use crate::support::{create, images, phase, until, within};

pub(crate) async fn start(nodes: u8, programs: Programs) -> Cluster {
    let builder = Cluster::builder().images(images()).nodes(nodes);
    let cluster = builder.model(programs).start().await.unwrap();
    let accounts = within::<ServiceAccount>(&cluster, "default");
    until(accounts, "default", |account: Option<&ServiceAccount>| {
        account.is_some()
    })
    .await;
    cluster
}

/// Serves until it is told to stop.
async fn serve(mut container: ModelContainer) -> i32 {
    let mut listener = container.listen(3306).unwrap();
    container.print("listening").await;
    loop {
        tokio::select! {
            // A probe closes its connection at once.
            mut stream = listener.accept() => drop(stream.write_all(b"hello").await),
            _ = container.signal() => return 0,
        }
    }
}

/// Writes what the server behind the Service `db` says to its log.
async fn ask(mut container: ModelContainer) -> i32 {
    let mut answer = String::new();
    let mut stream = loop {
        match container.connect("db.default", 3306) {
            Ok(stream) => break stream,
            Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
        }
    };
    let mut buffer = [0; 5];
    stream.read_exact(&mut buffer).await.unwrap();
    answer.push_str(&String::from_utf8_lossy(&buffer));
    container.print(&answer).await;
    0
}

fn one(name: &str, image: &str) -> serde_json::Value {
    json!({
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": image}]},
    })
}

#[tokio::test(start_paused = true)]
async fn functions_serve_and_ask_each_other_through_a_service() {
    let programs = Programs::default()
        .image("server:1", serve)
        .image("client:1", ask);
    let cluster = start(2, programs).await;
    let pods = within::<Pod>(&cluster, "default");
    let service = json!({
        "metadata": {"name": "db"},
        "spec": {"selector": {"app": "server"}, "ports": [{"port": 3306}]},
    });
    create(&within::<Service>(&cluster, "default"), service).await;
    create(&pods, one("client", "client:1")).await;
    let mut server = one("server", "server:1");
    server["spec"]["containers"][0]["readinessProbe"] = json!({"tcpSocket": {"port": 3306}});
    create(&pods, server).await;
    until(pods.clone(), "client", phase("Succeeded")).await;
    let log = pods.logs("client", &LogParams::default()).await.unwrap();
    assert_eq!(log, "hello\n");

    create(&pods, one("absent", "absent:1")).await;
    until(pods.clone(), "absent", |pod: Option<&Pod>| {
        let states = pod.and_then(|pod| pod.status.as_ref()?.container_statuses.as_ref());
        let waiting = states.and_then(|all| all[0].state.as_ref()?.waiting.as_ref());
        waiting.and_then(|w| w.reason.as_deref()) == Some("ImagePullBackOff")
    })
    .await;
    cluster.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn an_hour_of_back_off_passes_at_once() {
    let real = std::time::Instant::now();
    let begun = Instant::now();
    let crash = async |_: ModelContainer| 1;
    let programs = Programs::default().image("crash:1", crash);
    let cluster = start(1, programs).await;
    let pods = within::<Pod>(&cluster, "default");
    let mut pod = one("crash", "crash:1");
    pod["spec"]["restartPolicy"] = json!("Always");
    create(&pods, pod).await;
    let restarts = |pod: Option<&Pod>| {
        let all = pod.and_then(|pod| pod.status.as_ref()?.container_statuses.as_ref());
        all.map_or(0, |all| all[0].restart_count)
    };
    while restarts(pods.get_opt("crash").await.unwrap().as_ref()) < 15 {
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    // 10 s, doubled to 5 min and then every 5 min.
    let virtually = begun.elapsed();
    assert!(virtually > Duration::from_secs(45 * 60), "{virtually:?}");
    assert!(virtually < Duration::from_secs(70 * 60), "{virtually:?}");
    let took = real.elapsed();
    assert!(took < Duration::from_secs(20), "{took:?} of real time");
    let seen = pods.get("crash").await.unwrap();
    let created = seen.metadata.creation_timestamp.unwrap().0;
    let status = &seen.status.unwrap().container_statuses.unwrap()[0];
    let last = status
        .last_state
        .as_ref()
        .unwrap()
        .terminated
        .as_ref()
        .unwrap();
    let life = last.finished_at.as_ref().unwrap().0.duration_since(created);
    assert!(
        life.as_secs() > 40 * 60,
        "the API's times are virtual as well: {life}"
    );
    cluster.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_deployment_of_functions_runs_on_every_node() {
    let cluster = start(5, Programs::default().image("server:1", serve)).await;
    let deployments: Api<Deployment> = within(&cluster, "default");
    let deployment = json!({
        "metadata": {"name": "many"},
        "spec": {
            "replicas": 50,
            "selector": {"matchLabels": {"app": "many"}},
            "template": {
                "metadata": {"labels": {"app": "many"}},
                "spec": {"containers": [{"name": "c", "image": "server:1"}]},
            },
        },
    });
    create(&deployments, deployment).await;
    until(deployments, "many", |d: Option<&Deployment>| {
        d.and_then(|d| d.status.as_ref()?.ready_replicas) == Some(50)
    })
    .await;
    let pods = within::<Pod>(&cluster, "default");
    let all = pods.list(&kube::api::ListParams::default()).await.unwrap();
    let mut nodes: Vec<_> = all
        .items
        .iter()
        .filter_map(|pod| pod.spec.as_ref()?.node_name.clone())
        .collect();
    nodes.sort();
    nodes.dedup();
    assert_eq!(nodes.len(), 5);
    cluster.shutdown().await;
}
