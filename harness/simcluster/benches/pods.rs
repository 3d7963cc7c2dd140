//! How long pods take: real ones as processes, and a thousand model ones. Prints a table; never fails on time.
//!
//! `cargo bench -p simcluster --bench pods`. The real pods run busybox, which is assembled or pulled once.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench fails by panicking and prints what it measures"
)]

use std::{
    collections::HashSet,
    fmt::Debug,
    pin::pin,
    time::{Duration, Instant},
};

use futures::{
    TryStreamExt as _,
    future::{join, join_all},
};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::Deployment,
        core::v1::{Namespace, Node, Pod, ServiceAccount},
    },
};
use kube::{
    Api, Resource, ResourceExt as _,
    api::{DeleteParams, PostParams},
    runtime::{
        WatchStreamExt as _,
        wait::{Condition, await_condition},
        watcher,
    },
};
use serde_json::{Value, json};
use simcluster::{
    Cluster,
    model::{ModelContainer, Programs},
};

/// As in `cargo lab`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: usize = 20;
const IMAGE: &str = "busybox:1.36";

fn api<K>(cluster: &Cluster) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    Api::namespaced(cluster.client(), "default")
}

async fn create<K>(api: &Api<K>, object: Value)
where
    K: Resource<DynamicType = ()> + Clone + Debug + serde::Serialize + serde::de::DeserializeOwned,
{
    let object = serde_json::from_value(object).unwrap();
    api.create(&PostParams::default(), &object).await.unwrap();
}

async fn until<K>(api: &Api<K>, name: &str, condition: impl Condition<K>)
where
    K: Resource<DynamicType = ()> + Clone + Debug + Send + serde::de::DeserializeOwned + 'static,
{
    await_condition(api.clone(), name, condition).await.unwrap();
}

fn pod(name: &str, image: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [{
                "name": "c", "image": image,
                "command": ["sh", "-c", "trap 'exit 0' TERM; sleep 1000 & wait"],
            }],
        },
    })
}

fn ready(pod: Option<&Pod>) -> bool {
    let conditions = pod.and_then(|pod| pod.status.as_ref()?.conditions.as_ref());
    conditions
        .into_iter()
        .flatten()
        .any(|c| c.type_ == "Ready" && c.status == "True")
}

fn gone<K>(object: Option<&K>) -> bool {
    object.is_none()
}

fn there<K>(object: Option<&K>) -> bool {
    object.is_some()
}

fn median(mut all: Vec<Duration>) -> Duration {
    all.sort();
    all[all.len() / 2]
}

fn row(what: &str, real: &str, took: Duration) {
    println!("| {what} | {real} | {took:.1?} |");
}

async fn cold_start() -> Duration {
    let begun = Instant::now();
    let cluster = Cluster::builder().start().await.unwrap();
    let nodes: Api<Node> = Api::all(cluster.client());
    until(&nodes, "node-1", there).await;
    until(&api::<ServiceAccount>(&cluster), "default", there).await;
    let took = begun.elapsed();
    cluster.shutdown().await;
    took
}

async fn one_pod(cluster: &Cluster, round: usize) -> (Duration, Duration) {
    let pods = api::<Pod>(cluster);
    let name = format!("p{round}");
    let begun = Instant::now();
    create(&pods, pod(&name, IMAGE)).await;
    until(&pods, &name, ready).await;
    let started = begun.elapsed();
    let begun = Instant::now();
    pods.delete(&name, &DeleteParams::default()).await.unwrap();
    until(&pods, &name, gone).await;
    (started, begun.elapsed())
}

async fn deployment(cluster: &Cluster) -> Duration {
    let deployments = api::<Deployment>(cluster);
    let begun = Instant::now();
    let mut template = pod("", IMAGE);
    template["metadata"] = json!({"labels": {"app": "d"}});
    let object = json!({
        "metadata": {"name": "d"},
        "spec": {"replicas": 20, "selector": {"matchLabels": {"app": "d"}}, "template": template},
    });
    create(&deployments, object).await;
    until(&deployments, "d", |d: Option<&Deployment>| {
        d.and_then(|d| d.status.as_ref()?.ready_replicas) == Some(20)
    })
    .await;
    begun.elapsed()
}

async fn namespace(cluster: &Cluster, round: usize) -> Duration {
    let namespaces: Api<Namespace> = Api::all(cluster.client());
    let name = format!("n{round}");
    create(&namespaces, json!({"metadata": {"name": name}})).await;
    let accounts = Api::<ServiceAccount>::namespaced(cluster.client(), &name);
    until(&accounts, "default", there).await;
    let begun = Instant::now();
    namespaces
        .delete(&name, &DeleteParams::default())
        .await
        .unwrap();
    until(&namespaces, &name, gone).await;
    begun.elapsed()
}

/// A thousand pods on ten nodes, all Ready; the start of the cluster counts.
async fn thousand() -> Duration {
    let begun = Instant::now();
    let idle = async |mut container: ModelContainer| container.signal().await;
    let programs = Programs::default().image("idle:1", idle);
    let builder = Cluster::builder().nodes(10).model(programs);
    let cluster = builder.start().await.unwrap();
    until(&api::<ServiceAccount>(&cluster), "default", there).await;
    let pods = api::<Pod>(&cluster);
    let names: Vec<String> = (0..1000).map(|number| format!("m{number}")).collect();
    let made = join_all(names.iter().map(|name| create(&pods, pod(name, "idle:1"))));
    let seen = async {
        let mut running = HashSet::new();
        let mut changes = pin!(watcher(pods.clone(), watcher::Config::default()).applied_objects());
        while running.len() < names.len() {
            let pod = changes.try_next().await.unwrap().unwrap();
            if ready(Some(&pod)) {
                running.insert(pod.name_any());
            }
        }
    };
    join(made, seen).await;
    let took = begun.elapsed();
    cluster.shutdown().await;
    took
}

fn main() {
    println!("| what | real Kubernetes | here |\n|---|---|---|");
    // With `-- model`, only that.
    if !std::env::args().any(|argument| argument == "model") {
        real();
    }
    let model = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    row(
        "1,000 model pods on 10 nodes, from nothing to all Ready",
        "",
        model.block_on(thousand()),
    );
}

fn real() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let starts = [cold_start().await, cold_start().await, cold_start().await];
        row(
            "cold start to a Ready node and the default ServiceAccount",
            "8.7 s",
            median(starts.to_vec()),
        );
        let cluster = Cluster::builder().start().await.unwrap();
        until(&api::<ServiceAccount>(&cluster), "default", there).await;
        // The image is had before anything is measured.
        one_pod(&cluster, 0).await;
        let (mut starts, mut ends, mut namespaces) = (Vec::new(), Vec::new(), Vec::new());
        for round in 1..=ROUNDS {
            let (started, ended) = one_pod(&cluster, round).await;
            starts.push(started);
            ends.push(ended);
            namespaces.push(namespace(&cluster, round).await);
        }
        row("pod create to Ready, p50", "430 ms", median(starts));
        row("pod delete to gone, p50", "1,580 ms", median(ends));
        row(
            "Deployment 0 to 20 Ready",
            "1.8 s",
            deployment(&cluster).await,
        );
        row("namespace delete to gone, p50", "5.1 s", median(namespaces));
        cluster.shutdown().await;
    });
}
