//! What the operator costs: requests and time of a reconcile that finds nothing to do, and how long a thousand
//! instances take to become ready on a model cluster. It prints a table and fails nothing for being slow.

#![expect(clippy::print_stdout, reason = "the table is what was asked for")]

mod model;
#[path = "../../tests/all/played.rs"]
mod played;

use std::{
    collections::BTreeMap,
    fs,
    process::ExitCode,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client, ResourceExt as _,
    api::PostParams,
    client::Body,
    runtime::{events::Reporter, wait, watcher},
};
use mysql_operator::{
    Settings,
    cache::Cache,
    controller::{self, Context},
    crd::{self, MySQL},
    metrics::Metrics,
};
use serde_json::json;
use tokio_util::sync::CancellationToken;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// How many instances are made at once, unless `INSTANCES` says another number.
const MANY: usize = 1000;
/// How long they may take, each; then it is told how many there are.
const LONGEST: Duration = Duration::from_secs(1);
/// The same for the first one, on a machine that does something else, too.
const START: Duration = Duration::from_secs(60);
/// How often the idle reconcile is measured.
const ROUNDS: u32 = 500;

fn main() -> ExitCode {
    let Ok(runtime) = tokio::runtime::Runtime::new() else {
        return ExitCode::FAILURE;
    };
    let (count, requests) = requests();
    let outcome = runtime.block_on(async {
        idle(&count, &requests).await?;
        many().await
    });
    // A cluster that an error has left behind is not waited for.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// A line of the table.
fn row(what: &str, figure: &str) {
    println!("| {what} | {figure} |");
}

/// Requests by verb and kind.
type Verbs = Arc<Mutex<BTreeMap<String, u64>>>;

fn requests() -> (Arc<AtomicU64>, Verbs) {
    (Arc::default(), Arc::default())
}

/// A client that counts what goes through it.
fn counting(inner: Client, count: &Arc<AtomicU64>, verbs: &Verbs) -> Client {
    let (count, verbs) = (Arc::clone(count), Arc::clone(verbs));
    let service = tower::service_fn(move |request: http::Request<Body>| {
        count.fetch_add(1, Ordering::Relaxed);
        if let Ok(mut verbs) = verbs.lock() {
            *verbs.entry(what(&request)).or_default() += 1;
        }
        let inner = inner.clone();
        async move { inner.send(request).await }
    });
    Client::new(service, "default")
}

/// Verb and kind: `PATCH mysqls/status`.
fn what(request: &http::Request<Body>) -> String {
    let path = request.uri().path();
    let parts: Vec<&str> = path
        .split('/')
        .skip_while(|part| !part.starts_with('v'))
        .skip(1)
        .collect();
    let kind = match parts.as_slice() {
        ["namespaces", _, kind, _, part] => format!("{kind}/{part}"),
        ["namespaces", _, kind, ..] | [kind, ..] => (*kind).to_owned(),
        [] => path.to_owned(),
    };
    format!("{} {kind}", request.method())
}

async fn cluster() -> Result<simcluster::Cluster, Failure> {
    define(simcluster::Cluster::builder().nodes(0).start().await?).await
}

async fn define(cluster: simcluster::Cluster) -> Result<simcluster::Cluster, Failure> {
    let definitions: Api<CustomResourceDefinition> = Api::all(cluster.client());
    definitions
        .create(&PostParams::default(), &crd::crd())
        .await?;
    let established = wait::conditions::is_crd_established();
    wait::await_condition(definitions, "mysqls.otus.homework", established).await?;
    Ok(cluster)
}

fn instance(name: &str) -> Result<MySQL, serde_json::Error> {
    serde_json::from_value(json!({
        "apiVersion": "otus.homework/v1",
        "kind": "MySQL",
        "metadata": {"name": name},
        "spec": {"image": "mysql:8.4", "database": "db", "password": "otuspassword", "storage_size": "1Gi"},
    }))
}

/// An instance that has its rows: the bench says of its Job what a node would have said.
async fn idle(count: &Arc<AtomicU64>, verbs: &Verbs) -> Result<(), Failure> {
    let cluster = cluster().await?;
    let client = cluster.client();
    let instances: Api<MySQL> = Api::default_namespaced(client.clone());
    instances
        .create(&PostParams::default(), &instance("one")?)
        .await?;
    let counted = counting(client.clone(), count, verbs);
    let settings = Settings::default();
    let (cache, events) = Cache::follow(&client, &settings);
    let watching = tokio::spawn(events.for_each(|_| std::future::ready(())));
    let context = Arc::new(Context::new(
        &counted,
        Reporter::from("bench"),
        cache,
        settings,
        Metrics::default(),
    ));
    let reconcile = async || {
        let trigger = Arc::new(instances.get("one").await?);
        controller::reconcile(trigger, Arc::clone(&context)).await?;
        Ok::<_, Failure>(())
    };
    reconcile().await?;
    row(
        "requests that make an instance",
        &count.load(Ordering::Relaxed).to_string(),
    );
    played::finish_restore(&client, "one").await?;
    // Until the watches have told of everything that was written.
    loop {
        count.store(0, Ordering::Relaxed);
        reconcile().await?;
        if count.load(Ordering::Relaxed) <= 1 {
            break;
        }
        tokio::task::yield_now().await;
    }
    count.store(0, Ordering::Relaxed);
    if let Ok(mut verbs) = verbs.lock() {
        verbs.clear();
    }
    let begin = Instant::now();
    for _ in 0..ROUNDS {
        reconcile().await?;
    }
    let each = begin.elapsed() / ROUNDS;
    let verbs = verbs.lock().map(|verbs| verbs.clone()).unwrap_or_default();
    row(
        &format!("requests of {ROUNDS} reconciles with nothing to do"),
        &format!("{} ({verbs:?})", count.load(Ordering::Relaxed)),
    );
    row(
        "time of it, with the cluster in the same process",
        &format!("{each:?}"),
    );
    watching.abort();
    cluster.shutdown().await;
    Ok(())
}

async fn many() -> Result<(), Failure> {
    let many = std::env::var("INSTANCES").ok();
    let many = many.and_then(|text| text.parse().ok()).unwrap_or(MANY);
    let longest = START + LONGEST.saturating_mul(u32::try_from(many)?);
    let cluster = define(model::start(many).await?).await?;
    let client = cluster.client();
    let instances: Api<MySQL> = Api::default_namespaced(client.clone());
    for number in 0..many {
        let instance = instance(&format!("many-{number}"))?;
        instances.create(&PostParams::default(), &instance).await?;
    }
    let before = resident();
    let (count, verbs) = requests();
    let shutdown = CancellationToken::new();
    let begin = Instant::now();
    let operator = tokio::spawn(mysql_operator::run(
        counting(client.clone(), &count, &verbs),
        Settings::default(),
        shutdown.clone(),
    ));
    let mut changes = watcher::watcher(instances, watcher::Config::default()).boxed();
    let mut made = std::collections::BTreeSet::new();
    while made.len() < many {
        let next = tokio::time::timeout_at((begin + longest).into(), changes.try_next()).await;
        let Ok(Some(change)) = next.unwrap_or(Ok(None)) else {
            break;
        };
        if let watcher::Event::InitApply(instance) | watcher::Event::Apply(instance) = change
            && instance
                .status
                .as_ref()
                .and_then(|status| status.condition("Ready"))
                .is_some_and(|ready| ready.status == "True")
        {
            made.insert(instance.name_any());
        }
    }
    let took = begin.elapsed();
    row(
        &format!("instances ready, of {many}"),
        &format!("{} in {took:?}", made.len()),
    );
    row(
        "requests for each of them",
        &for_each(count.load(Ordering::Relaxed), many),
    );
    for (what, count) in verbs.lock().map(|verbs| verbs.clone()).unwrap_or_default() {
        row(&format!("  {what}"), &for_each(count, many));
    }
    row(
        "memory that operator and cluster took for them",
        &format!("{} MiB", resident().saturating_sub(before) / 1024),
    );
    shutdown.cancel();
    drop(tokio::time::timeout(Duration::from_secs(10), operator).await);
    cluster.shutdown().await;
    Ok(())
}

/// The part of one of so many, to a tenth.
fn for_each(count: u64, many: usize) -> String {
    let tenths = count * 10 / many as u64;
    format!("{}.{}", tenths / 10, tenths % 10)
}

/// KiB of this process that are in memory.
fn resident() -> u64 {
    fs::read_to_string("/proc/self/status")
        .unwrap_or_default()
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse().ok())
        .unwrap_or(0)
}
