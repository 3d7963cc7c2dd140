//! Requests that nobody would send: each is answered, with a Status or a plain 404, and the server
//! goes on.

use http::Request;
use kube::client::Body;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use serde_json::{Value, json};

use crate::support::{CONFIG_MAPS, LIMIT, World};

const REQUESTS: usize = 2_000;
const METHODS: [&str; 7] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];
const SEGMENTS: [&str; 34] = [
    "api",
    "apis",
    "v1",
    "v2",
    "apps",
    "batch",
    "namespaces",
    "default",
    "pods",
    "configmaps",
    "deployments",
    "jobs",
    "status",
    "scale",
    "log",
    "exec",
    "eviction",
    "binding",
    "token",
    "serviceaccounts",
    "nodes",
    "events",
    "finalize",
    "proxy",
    "watch",
    "a",
    "%2e%2e",
    "%00",
    "%zz",
    "..",
    "é",
    "rbac.authorization.k8s.io",
    "services",
    "openapi",
];
const QUERIES: [&str; 18] = [
    "limit=1",
    "limit=-5",
    "limit=x",
    "continue=abc",
    "labelSelector=a",
    "labelSelector=a%20in%20(",
    "fieldSelector=metadata.name=a",
    "fieldSelector==",
    "dryRun=All",
    "dryRun=x",
    "fieldManager=f",
    "force=true",
    "fieldValidation=Strict",
    "resourceVersion=9999999",
    "pretty=true",
    "propagationPolicy=Orphan",
    "%ff=%",
    "gracePeriodSeconds=1e9",
];
const MEDIA: [&str; 8] = [
    "application/json",
    "application/yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
    "application/vnd.kubernetes.protobuf",
    "text/x",
];

/// A value with something odd in it.
fn odd(random: &mut StdRng, depth: u8) -> Value {
    match random.random_range(0..if depth == 0 { 6 } else { 8 }) {
        0 => Value::Null,
        1 => json!(random.random::<bool>()),
        2 => json!(random.random::<i64>()),
        3 => json!(random.random::<f64>() * 1e300),
        4 => json!(""),
        5 => json!(
            [
                "v1",
                "ConfigMap",
                "x/y",
                "1Gi",
                "$patch",
                "2026-01-01T00:00:00Z"
            ]
            .choose(random)
        ),
        6 => (0..random.random_range(0..3))
            .map(|_| odd(random, depth - 1))
            .collect(),
        _ => {
            let names = [
                "metadata", "name", "spec", "data", "op", "path", "$patch", "labels", "kind",
            ];
            let fields = (0..random.random_range(0..4)).map(|_| {
                let name = (*names.choose(random).unwrap_or(&"x")).to_owned();
                (name, odd(random, depth - 1))
            });
            Value::Object(fields.collect())
        }
    }
}

fn body(random: &mut StdRng) -> Vec<u8> {
    let value = match random.random_range(0..4) {
        0 => {
            let mut object = json!({"apiVersion": "v1", "kind": "ConfigMap",
                                    "metadata": {"name": "a", "labels": {"a": "b"}}, "data": {}});
            let place = ["metadata", "data", "kind", "apiVersion", "spec"];
            object[*place.choose(random).unwrap_or(&"spec")] = odd(random, 3);
            object
        }
        1 => json!([{"op": odd(random, 0), "path": odd(random, 0), "value": odd(random, 2)}]),
        _ => odd(random, 4),
    };
    let mut text = value.to_string().into_bytes();
    if random.random_range(0..4) == 0 && !text.is_empty() {
        // Cut off, or with a byte that does not belong.
        let at = random.random_range(0..text.len());
        if random.random::<bool>() {
            text.truncate(at);
        } else {
            text[at] = random.random();
        }
    }
    text
}

fn request(random: &mut StdRng) -> Request<Body> {
    let mut path = String::new();
    for _ in 0..random.random_range(1..8) {
        path.push('/');
        path.push_str(SEGMENTS.choose(random).unwrap_or(&"api"));
    }
    if random.random_range(0..3) == 0 {
        path = format!("{CONFIG_MAPS}/a");
    }
    for number in 0..random.random_range(0..3) {
        path.push(if number == 0 { '?' } else { '&' });
        path.push_str(QUERIES.choose(random).unwrap_or(&"limit=1"));
    }
    let method = *METHODS.choose(random).unwrap_or(&"GET");
    let body = if matches!(method, "GET" | "HEAD" | "OPTIONS") {
        Vec::new()
    } else {
        body(random)
    };
    let request = Request::builder()
        .method(method)
        .uri(path.replace('é', "%C3%A9"));
    let request = request
        .header("content-type", *MEDIA.choose(random).unwrap_or(&"text/x"))
        .header(
            "accept",
            *["*/*", "application/json", "application/yaml", "x"]
                .choose(random)
                .unwrap_or(&"x"),
        );
    request.body(Body::from(body)).expect("the path is one")
}

#[tokio::test]
async fn whatever_is_sent_is_answered_and_the_server_goes_on() {
    let world = World::start();
    let mut random = StdRng::seed_from_u64(1);
    for number in 0..REQUESTS {
        let request = request(&mut random);
        let shown = format!("{number}: {} {}", request.method(), request.uri());
        // Deprecated watches stream until somebody hangs up; they are watched elsewhere.
        if request.uri().path().contains("/watch/") {
            continue;
        }
        let answer = tokio::time::timeout(LIMIT, world.send(request)).await;
        let answer = answer.unwrap_or_else(|_| panic!("{shown} is not answered"));
        if answer.code >= 400 && answer.code != 404 && answer.body.is_object() {
            assert_eq!(answer.body["kind"], "Status", "{shown}: {}", answer.text);
            assert_eq!(answer.body["code"], answer.code, "{shown}: {}", answer.text);
            assert!(!answer.message().is_empty(), "{shown}: {}", answer.text);
        }
    }
    world.get(CONFIG_MAPS).await.ok();
}

#[tokio::test]
async fn a_body_that_is_too_long_is_refused_before_it_is_read() {
    let world = World::start();
    let long = json!({"metadata": {"name": "a"}, "data": {"a": "x".repeat(4 << 20)}});
    let answer = world.post(CONFIG_MAPS, &long).await;
    assert_eq!(
        (answer.code, answer.message()),
        (413, "Request entity too large: limit is 3145728")
    );
}

#[tokio::test]
async fn deep_nesting_is_refused_and_not_followed() {
    let world = World::start();
    for (media_type, before, open) in [
        (
            "application/json",
            "{\"metadata\":{\"name\":\"a\"},\"data\":",
            "[",
        ),
        ("application/json", "", "{\"a\":"),
        ("application/yaml", "data: ", "["),
        ("application/yaml", "", "- "),
    ] {
        let text = format!("{before}{}", open.repeat(50_000));
        let request = Request::post(CONFIG_MAPS)
            .header("content-type", media_type)
            .body(Body::from(text.into_bytes()))
            .expect("the path is one");
        let answer = tokio::time::timeout(LIMIT, world.send(request)).await;
        let answer = answer.unwrap_or_else(|_| panic!("{media_type} {open} is not answered"));
        assert_eq!(answer.code, 400, "{media_type} {open}");
    }
    world.get(CONFIG_MAPS).await.ok();
}
