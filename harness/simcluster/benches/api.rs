//! How fast the API server answers, beside a real Kubernetes 1.36 on a machine of two cores.
//!
//! `cargo bench -p simcluster` prints a table; nothing here fails for being slow. Pods are not
//! measured here, because they depend on images.

#![expect(clippy::print_stdout, reason = "a bench prints what it measures")]

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use futures::{StreamExt, TryStreamExt as _, stream};
use k8s_openapi::{
    api::core::v1::{ConfigMap, Namespace},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client,
    api::{
        ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams,
        WatchEvent, WatchParams,
    },
};
use serde_json::json;
use simcluster::Cluster;
use simcluster_apiserver::{ApiServer, Config, Identity};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const ROUNDS: usize = 500;
/// With [`ROUNDS`], as many of each kind as were listed on the real one.
const MANY: usize = 1_500;

fn main() -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    // A client is a task among others, as in an operator: the thread that waits for all of them would have to be
    // woken up for each answer.
    runtime.block_on(async { tokio::spawn(all()).await? })
}

fn row(what: &str, real: &str, in_process: &str, https: &str) {
    println!("| {what} | {real} | {in_process} | {https} |");
}

fn shown(time: Duration) -> String {
    if time < Duration::from_millis(1) {
        format!("{} µs", time.as_micros())
    } else {
        format!("{:.1} ms", time.as_secs_f64() * 1e3)
    }
}

fn percentile(times: &mut [Duration], of_hundred: usize) -> Duration {
    times.sort_unstable();
    let at = times.len() * of_hundred / 100;
    times
        .get(at.min(times.len().saturating_sub(1)))
        .copied()
        .unwrap_or_default()
}

fn rate(count: usize, time: Duration) -> String {
    let count = f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    format!("{:.0}/s", count / time.as_secs_f64())
}

fn config_map(name: String) -> ConfigMap {
    let mut object = ConfigMap::default();
    object.metadata.name = Some(name);
    object.data = Some([("key".to_owned(), "value".to_owned())].into());
    object
}

fn resource() -> ApiResource {
    ApiResource {
        group: "bench.example.com".to_owned(),
        version: "v1".to_owned(),
        api_version: "bench.example.com/v1".to_owned(),
        kind: "Thing".to_owned(),
        plural: "things".to_owned(),
    }
}

fn thing(name: &str) -> DynamicObject {
    let mut object = DynamicObject::new(name, &resource());
    object.data = json!({"spec": {"size": 3, "image": "mysql:8"}});
    object
}

async fn define(client: &Client) -> Result<(), Failure> {
    let definition: CustomResourceDefinition = serde_json::from_value(json!({
        "metadata": {"name": "things.bench.example.com"},
        "spec": {
            "group": "bench.example.com", "scope": "Namespaced",
            "names": {"plural": "things", "kind": "Thing"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": {"type": "object", "required": ["size"], "properties": {
                        "size": {"type": "integer", "minimum": 1},
                        "image": {"type": "string", "default": "mysql:8"}}},
                    "status": {"type": "object", "properties": {"message": {"type": "string"}}},
                }}}}],
        },
    }))?;
    Api::all(client.clone())
        .create(&PostParams::default(), &definition)
        .await?;
    Ok(())
}

/// What is measured through one client.
#[derive(Debug, Default)]
struct Figures(Vec<(&'static str, String)>);

async fn measure(client: Client) -> Result<Figures, Failure> {
    let mut figures = Figures::default();
    let mut put = |what, shown| figures.0.push((what, shown));
    let params = PostParams::default();
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    define(&client).await?;
    let things: Api<DynamicObject> = Api::default_namespaced_with(client.clone(), &resource());

    let mut times = Vec::new();
    for number in 0..ROUNDS {
        let object = config_map(format!("one-{number}"));
        let start = Instant::now();
        maps.create(&params, &object).await?;
        times.push(start.elapsed());
    }
    put(
        "create ConfigMap, one after another, p50",
        shown(percentile(&mut times, 50)),
    );
    times.clear();
    for number in 0..ROUNDS {
        let object = thing(&format!("one-{number}"));
        let start = Instant::now();
        things.create(&params, &object).await?;
        times.push(start.elapsed());
    }
    put(
        "create custom resource, one after another, p50",
        shown(percentile(&mut times, 50)),
    );

    let start = Instant::now();
    stream::iter(0..MANY)
        .map(|number| {
            let (maps, params) = (maps.clone(), params.clone());
            async move {
                maps.create(&params, &config_map(format!("many-{number}")))
                    .await
            }
        })
        .buffer_unordered(16)
        .try_for_each(|_| async { Ok(()) })
        .await?;
    put(
        "create ConfigMap, 16 at a time",
        rate(MANY, start.elapsed()),
    );
    let start = Instant::now();
    stream::iter(0..MANY)
        .map(|number| {
            let (things, params) = (things.clone(), params.clone());
            async move {
                things
                    .create(&params, &thing(&format!("many-{number}")))
                    .await
            }
        })
        .buffer_unordered(16)
        .try_for_each(|_| async { Ok(()) })
        .await?;
    put(
        "create custom resource, 16 at a time",
        rate(MANY, start.elapsed()),
    );

    read(&client, &maps, &things, &mut put).await?;
    Ok(figures)
}

async fn read(
    client: &Client,
    maps: &Api<ConfigMap>,
    things: &Api<DynamicObject>,
    put: &mut impl FnMut(&'static str, String),
) -> Result<(), Failure> {
    let params = PostParams::default();
    let mut times = Vec::new();
    for (what, path) in [
        (
            "list 2,000 ConfigMaps, raw",
            "/api/v1/namespaces/default/configmaps",
        ),
        (
            "list 2,000 custom resources, raw",
            "/apis/bench.example.com/v1/namespaces/default/things",
        ),
    ] {
        let mut times = Vec::new();
        for _ in 0..20 {
            let start = Instant::now();
            client
                .request_text(http::Request::get(path).body(Vec::new())?)
                .await?;
            times.push(start.elapsed());
        }
        put(what, shown(percentile(&mut times, 50)));
    }

    times.clear();
    for _ in 0..ROUNDS {
        let start = Instant::now();
        things.get("one-1").await?;
        times.push(start.elapsed());
    }
    put(
        "get custom resource, p50",
        shown(percentile(&mut times, 50)),
    );
    times.clear();
    for number in 0..ROUNDS {
        let patch = Patch::Merge(json!({"status": {"message": format!("{number}")}}));
        let start = Instant::now();
        things
            .patch_status("one-1", &PatchParams::default(), &patch)
            .await?;
        times.push(start.elapsed());
    }
    put("status merge patch, p50", shown(percentile(&mut times, 50)));

    let list = maps.list_metadata(&ListParams::default().limit(1)).await?;
    let version = list.metadata.resource_version.unwrap_or_default();
    let mut events = maps.watch(&WatchParams::default(), &version).await?.boxed();
    times.clear();
    for number in 0..ROUNDS {
        let object = config_map(format!("seen-{number}"));
        let start = Instant::now();
        // The event often comes before the create's answer: its own time counts.
        let event = async { (events.try_next().await, start.elapsed()) };
        let (made, (seen, after)) = tokio::join!(maps.create(&params, &object), event);
        made?;
        if let Some(WatchEvent::Added(_)) = seen? {
            times.push(after);
        }
    }
    let (half, most) = (percentile(&mut times, 50), percentile(&mut times, 99));
    put(
        "watch, create call to event, p50 / p99",
        format!("{} / {}", shown(half), shown(most)),
    );
    Ok(())
}

const REAL: [&str; 9] = [
    "0.82 ms",
    "1.04 ms",
    "2,780/s",
    "1,510/s",
    "13 ms",
    "46 ms",
    "0.6 ms",
    "1.4 ms",
    "1.0 / 2.3 ms",
];

async fn start_times() -> Result<(), Failure> {
    let (mut plain, mut https) = (Vec::new(), Vec::new());
    for _ in 0..20 {
        let start = Instant::now();
        let server = ApiServer::start(Config::default());
        server
            .client(&Identity::admin())
            .apiserver_version()
            .await?;
        plain.push(start.elapsed());
        server.shutdown();
        let start = Instant::now();
        let server = ApiServer::start(Config::default());
        let listening = server
            .listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
            .await?;
        client_of(listening.kubeconfig().clone())
            .await?
            .apiserver_version()
            .await?;
        https.push(start.elapsed());
        server.shutdown();
    }
    let (plain, https) = (percentile(&mut plain, 50), percentile(&mut https, 50));
    row(
        "cold start to the first answered request",
        "2.2 s",
        &shown(plain),
        &shown(https),
    );
    Ok(())
}

async fn client_of(kubeconfig: kube::config::Kubeconfig) -> Result<Client, Failure> {
    let options = kube::config::KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await?;
    Ok(Client::try_from(config)?)
}

async fn namespaces() -> Result<(), Failure> {
    let cluster = Cluster::builder().nodes(0).start().await?;
    let namespaces: Api<Namespace> = Api::all(cluster.client());
    let mut times = Vec::new();
    for number in 0..20 {
        let name = format!("n-{number}");
        let mut namespace = Namespace::default();
        namespace.metadata.name = Some(name.clone());
        namespaces
            .create(&PostParams::default(), &namespace)
            .await?;
        let accounts: Api<k8s_openapi::api::core::v1::ServiceAccount> =
            Api::namespaced(cluster.client(), &name);
        while accounts.get_opt("default").await?.is_none() {
            tokio::task::yield_now().await;
        }
        let start = Instant::now();
        namespaces.delete(&name, &DeleteParams::default()).await?;
        while namespaces.get_metadata_opt(&name).await?.is_some() {
            tokio::task::yield_now().await;
        }
        times.push(start.elapsed());
    }
    row(
        "namespace delete to gone",
        "5.1 s",
        &shown(percentile(&mut times, 50)),
        "",
    );
    cluster.shutdown().await;
    Ok(())
}

/// Whether a hundred thousand objects make the next one dearer.
async fn growth() -> Result<(), Failure> {
    let server = ApiServer::start(Config::default());
    let client = server.client(&Identity::admin());
    let maps: Api<ConfigMap> = Api::default_namespaced(client);
    let params = PostParams::default();
    let mut made = 0;
    let (mut costs, mut delays) = (Vec::new(), Vec::new());
    for size in [1_000, 100_000] {
        while made < size {
            maps.create(&params, &config_map(format!("m-{made}")))
                .await?;
            made += 1;
        }
        let mut times = Vec::new();
        for _ in 0..ROUNDS {
            let object = config_map(format!("m-{made}"));
            let start = Instant::now();
            maps.create(&params, &object).await?;
            times.push(start.elapsed());
            made += 1;
        }
        costs.push(percentile(&mut times, 50));
        let version = maps.list_metadata(&ListParams::default().limit(1)).await?;
        let version = version.metadata.resource_version.unwrap_or_default();
        let mut watch = Box::pin(maps.watch(&WatchParams::default(), &version).await?);
        let mut times = Vec::new();
        for _ in 0..ROUNDS {
            let object = config_map(format!("m-{made}"));
            let start = Instant::now();
            maps.create(&params, &object).await?;
            watch.next().await.ok_or("the watch ended")??;
            times.push(start.elapsed());
            made += 1;
        }
        delays.push(percentile(&mut times, 50));
    }
    let both = |times: Vec<Duration>| times.into_iter().map(shown).collect::<Vec<_>>().join(" / ");
    row(
        "create among 1,000 / 100,000 objects, p50",
        "–",
        &both(costs),
        "",
    );
    row(
        "create to watch event among 1,000 / 100,000 objects, p50",
        "–",
        &both(delays),
        "",
    );
    server.shutdown();
    Ok(())
}

/// What the process has in memory, as the kernel counts it.
fn resident() -> Result<u64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next());
    let kibibytes: u64 = kibibytes.ok_or("the kernel does not say")?.parse()?;
    Ok(kibibytes / 1024)
}

/// Comes first: what others leave behind is not this one's.
async fn memory() -> Result<(), Failure> {
    let cluster = Cluster::builder().nodes(0).start().await?;
    cluster.client().apiserver_version().await?;
    row(
        "resident memory, idle control plane",
        "500 MiB",
        &format!("{} MiB", resident()?),
        "",
    );
    // It makes 2,000 objects of each of two kinds, and reads, writes and watches them.
    measure(cluster.client()).await?;
    row(
        "… after 4,000 objects and the bench",
        "850 MiB",
        &format!("{} MiB", resident()?),
        "",
    );
    cluster.shutdown().await;
    Ok(())
}

/// How long it takes until a thousand watchers have all seen a change.
async fn many_watchers() -> Result<(), Failure> {
    let server = ApiServer::start(Config::default());
    let client = server.client(&Identity::admin());
    let maps: Api<ConfigMap> = Api::default_namespaced(client);
    let params = WatchParams::default();
    let mut watchers = Vec::new();
    for _ in 0..1_000 {
        watchers.push(Box::pin(maps.watch(&params, "0").await?));
    }
    let mut times = Vec::new();
    for round in 0..10 {
        let object = config_map(format!("m-{round}"));
        let start = Instant::now();
        maps.create(&PostParams::default(), &object).await?;
        let seen = watchers.iter_mut().map(StreamExt::next);
        for event in futures::future::join_all(seen).await {
            event.ok_or("a watch ended")??;
        }
        times.push(start.elapsed());
    }
    row(
        "create to event at the last of 1,000 watchers, p50",
        "–",
        &shown(percentile(&mut times, 50)),
        "",
    );
    server.shutdown();
    Ok(())
}

/// With their controllers, without nodes: those are measured with pods.
async fn many_clusters() -> Result<(), Failure> {
    let start = Instant::now();
    let mut clusters = Vec::new();
    for _ in 0..200 {
        clusters.push(Cluster::builder().nodes(0).start().await?);
    }
    for cluster in &clusters {
        cluster.client().apiserver_version().await?;
    }
    row(
        "200 clusters in one process, all answering",
        "–",
        &shown(start.elapsed()),
        "",
    );
    for cluster in clusters {
        cluster.shutdown().await;
    }
    Ok(())
}

async fn all() -> Result<(), Failure> {
    row("what", "real", "in process", "HTTPS");
    row("---", "---", "---", "---");
    memory().await?;
    start_times().await?;
    let server = ApiServer::start(Config::default());
    let in_process = measure(server.client(&Identity::admin())).await?;
    server.shutdown();
    let server = ApiServer::start(Config::default());
    let listening = server
        .listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
        .await?;
    let https = measure(client_of(listening.kubeconfig().clone()).await?).await?;
    server.shutdown();
    for ((real, (what, plain)), (_, https)) in REAL.iter().zip(in_process.0).zip(https.0) {
        row(what, real, &plain, &https);
    }
    namespaces().await?;
    growth().await?;
    many_watchers().await?;
    many_clusters().await
}
