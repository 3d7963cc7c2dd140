//! Requests that go on to a pod.

use std::sync::Arc;

use futures::FutureExt as _;
use serde_json::json;
use simcluster_kubelet_api::{
    Answer, Duplex, Kubelet, KubeletError, LogOptions, LogStream, PodRef, Session, StreamOptions,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::World;

const PODS: &str = "/api/v1/namespaces/default/pods";
const SERVICES: &str = "/api/v1/namespaces/default/services";

/// A node whose pods answer HTTP with what they were asked; nobody listens at port 81.
struct Pages;

fn nothing<T: Send + 'static>() -> Answer<T> {
    async { Err(KubeletError::BadRequest("only ports are here".to_owned())) }.boxed()
}

impl Kubelet for Pages {
    fn logs(&self, _: PodRef, _: LogOptions) -> Answer<LogStream> {
        nothing()
    }

    fn exec(&self, _: PodRef, _: StreamOptions) -> Answer<Session> {
        nothing()
    }

    fn attach(&self, _: PodRef, _: StreamOptions) -> Answer<Session> {
        nothing()
    }

    fn port_forward(&self, pod: PodRef, port: u16) -> Answer<Box<dyn Duplex>> {
        async move {
            if port == 81 {
                return Err(KubeletError::Internal("Connection refused".to_owned()));
            }
            let (mut ours, theirs) = tokio::io::duplex(64 * 1024);
            tokio::spawn(async move {
                let mut heard = Vec::new();
                while !heard.windows(4).any(|four| four == b"\r\n\r\n") {
                    let mut some = [0; 1024];
                    let count = ours.read(&mut some).await.expect("a request comes");
                    heard.extend_from_slice(&some[..count]);
                }
                let heard = String::from_utf8_lossy(&heard).to_lowercase();
                let line = heard.lines().next().unwrap_or_default();
                let secret = heard.contains("authorization:");
                let said = json!({"pod": pod.name, "port": port, "line": line, "secret": secret});
                let said = said.to_string();
                let answer = format!(
                    "HTTP/1.1 418 I'm a teapot\r\nContent-Type: application/json\r\n\
                     Location: /elsewhere\r\nContent-Length: {}\r\n\r\n{said}",
                    said.len()
                );
                ours.write_all(answer.as_bytes())
                    .await
                    .expect("somebody listens");
            });
            Ok(Box::new(theirs) as Box<dyn Duplex>)
        }
        .boxed()
    }
}

async fn world() -> World {
    let world = World::start();
    world.server.register_kubelet("n1", Arc::new(Pages));
    let pod = json!({
        "metadata": {"name": "p", "labels": {"app": "x"}},
        "spec": {"nodeName": "n1", "containers": [
            {"name": "c", "image": "i", "ports": [{"containerPort": 8080}]},
        ]},
    });
    world.post(PODS, &pod).await.ok();
    let status = json!({"status": {"podIP": "10.0.0.7", "podIPs": [{"ip": "10.0.0.7"}]}});
    world
        .patch("merge", &format!("{PODS}/p/status"), &status)
        .await
        .ok();
    world
}

#[tokio::test]
async fn a_request_goes_on_to_the_first_port_of_a_pod_or_to_the_one_that_is_named() {
    let world = world().await;
    let seen = world.get(&format!("{PODS}/p/proxy/a%2Fb?x=1")).await;
    assert_eq!(seen.code, 418, "the answer is the pod's");
    assert_eq!(
        seen.body,
        json!({"pod": "p", "port": 8080, "line": "get /a%2fb?x=1 http/1.1", "secret": false})
    );
    assert_eq!(
        seen.headers["location"],
        "/api/v1/namespaces/default/pods/p/proxy/elsewhere"
    );
    let seen = world.get(&format!("{PODS}/http:p:9/proxy/")).await;
    assert_eq!(seen.body["port"], 9);
    let seen = world.post(&format!("{PODS}/p/proxy/in"), &json!({})).await;
    assert_eq!(seen.body["line"], "post /in http/1.1");
}

#[tokio::test]
async fn a_proxy_without_a_slash_leads_to_the_one_with_it() {
    let world = world().await;
    let seen = world.get(&format!("{PODS}/p/proxy?x=1")).await;
    assert_eq!(seen.code, 301);
    assert_eq!(seen.headers["location"], format!("{PODS}/p/proxy/?x=1"));
}

#[tokio::test]
async fn what_cannot_be_reached_says_so() {
    let world = world().await;
    let seen = world.get(&format!("{PODS}/p:81/proxy/")).await;
    assert_eq!(seen.code, 503);
    assert_eq!(
        seen.body["message"],
        "error trying to reach service: dial tcp 10.0.0.7:81: connect: connection refused"
    );
    let seen = world.get(&format!("{PODS}/ftp:p:1/proxy/")).await;
    assert_eq!(seen.code, 400);
    assert_eq!(seen.body["message"], "invalid pod request \"ftp:p:1\"");
    let seen = world.get(&format!("{PODS}/absent/proxy/")).await;
    assert_eq!(seen.body["message"], "pods \"absent\" not found");
    let seen = world.get(&format!("{PODS}/https:p:1/proxy/")).await;
    assert_eq!(seen.code, 501);
}

#[tokio::test]
async fn a_service_is_asked_by_the_number_or_the_name_of_its_port() {
    let world = world().await;
    let service = json!({"metadata": {"name": "s"}, "spec": {
        "selector": {"app": "x"}, "ports": [{"name": "web", "port": 80, "targetPort": 8080}],
    }});
    world.post(SERVICES, &service).await.ok();
    let seen = world.get(&format!("{SERVICES}/s:81/proxy/")).await;
    assert_eq!(seen.code, 503);
    assert_eq!(
        seen.body["message"],
        "no service port 81 found for service \"s\""
    );
    let endpoints = json!({"metadata": {"name": "s"}, "subsets": [{
        "addresses": [{"ip": "10.0.0.7", "targetRef": {"kind": "Pod", "name": "p", "namespace": "default"}}],
        "ports": [{"name": "web", "port": 8080}],
    }]});
    world
        .post("/api/v1/namespaces/default/endpoints", &endpoints)
        .await
        .ok();
    for own in ["s:web", "s:80", "http:s:web"] {
        let seen = world.get(&format!("{SERVICES}/{own}/proxy/x")).await;
        assert_eq!(seen.body["port"], 8080, "{own}: {}", seen.body);
    }
    let seen = world.get(&format!("{SERVICES}/s:other/proxy/")).await;
    assert_eq!(
        seen.body["message"],
        "no endpoints available for service \"s:other\""
    );
}

#[tokio::test]
async fn what_the_containers_of_a_pod_get_is_changed_through_resize() {
    let world = world().await;
    let more = json!({"spec": {"containers": [
        {"name": "c", "image": "dropped", "resources": {"requests": {"cpu": "1"}}},
    ]}});
    let refused = world
        .patch("strategic", &format!("{PODS}/p/resize"), &more)
        .await;
    assert_eq!(refused.code, 422, "{}", refused.body);
    let pod = json!({"metadata": {"name": "q"}, "spec": {"containers": [
        {"name": "c", "image": "i", "resources": {"requests": {"cpu": "500m"}}},
    ]}});
    world.post(PODS, &pod).await.ok();
    let resized = world
        .patch("strategic", &format!("{PODS}/q/resize"), &more)
        .await
        .ok();
    assert_eq!(
        resized["spec"]["containers"][0]["resources"]["requests"]["cpu"],
        "1"
    );
    assert_eq!(resized["spec"]["containers"][0]["image"], "i");
    assert_eq!(resized["metadata"]["generation"], 2);
}
