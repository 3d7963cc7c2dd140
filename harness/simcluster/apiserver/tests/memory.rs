//! What the server keeps is bounded, whatever is sent: measured in a process of its own, because the
//! memory of a process is all that can be measured.

use http::Request;
use http_body_util::BodyExt as _;
use kube::client::Body;
use serde_json::json;
use simcluster_apiserver::{ApiServer, Config, Identity};

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
/// What one round of writes brings; without a bound all of it would stay.
const WRITTEN_BYTES: usize = 16 * 1024;
const WARM_UP: usize = 400;
const ROUNDS: usize = 2_000;
/// More than allocators and caches account for, much less than what is written.
const LIMIT_BYTES: usize = 16 * 1024 * 1024;

async fn send(client: &kube::Client, method: &str, path: &str, media_type: &str, body: Vec<u8>) {
    let request = Request::builder().method(method).uri(path);
    let request = request.header("content-type", media_type);
    let request = request.body(Body::from(body)).expect("the path is one");
    let answer = client
        .send(request)
        .await
        .expect("each request is answered");
    let body = answer.into_body().collect();
    body.await.expect("each answer ends");
}

/// A write, requests that mean nothing, and a watcher that goes without reading.
async fn round(client: &kube::Client, number: usize) {
    let object = format!("{CONFIG_MAPS}/a");
    let data = format!("{number:0>WRITTEN_BYTES$}");
    let patch = json!({"data": {"k": data}}).to_string();
    let merge = "application/merge-patch+json";
    send(client, "PATCH", &object, merge, patch.into_bytes()).await;
    let odd = format!("{CONFIG_MAPS}?fieldManager=f{number}&labelSelector=a{number}!");
    let json = "application/json";
    send(client, "POST", &odd, json, b"{\"metadata\": [".to_vec()).await;
    send(client, "GET", &odd, json, Vec::new()).await;
    let nowhere = format!("/apis/group{number}/v1/things{number}");
    send(client, "GET", &nowhere, json, Vec::new()).await;
    let watch = Request::get(format!("{CONFIG_MAPS}?watch=true")).body(Vec::new());
    let watch = watch.expect("the path is one");
    drop(client.request_stream(watch).await.expect("watches open"));
}

/// What the process keeps in memory.
fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("this is Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next());
    kilobytes
        .and_then(|number| number.parse::<usize>().ok())
        .expect("the kernel tells the resident memory")
        * 1024
}

#[tokio::test]
async fn requests_and_watchers_leave_nothing_behind() {
    let server = ApiServer::start(Config {
        log_limit: 64,
        service_account_admission: false,
        ..Config::default()
    });
    let client = server.client(&Identity::admin());
    let object = json!({"metadata": {"name": "a"}}).to_string();
    send(
        &client,
        "POST",
        CONFIG_MAPS,
        "application/json",
        object.into_bytes(),
    )
    .await;
    for number in 0..WARM_UP {
        round(&client, number).await;
    }
    let before = resident_bytes();
    for number in WARM_UP..WARM_UP + ROUNDS {
        round(&client, number).await;
    }
    let grown = resident_bytes().saturating_sub(before);
    assert!(
        grown < LIMIT_BYTES,
        "{grown} bytes more are kept after {} bytes were written",
        ROUNDS * WRITTEN_BYTES
    );
}
