//! What is done with pods besides changing them.

use std::sync::Arc;

use futures::{FutureExt as _, StreamExt as _, stream};
use kube::{Api, api::AttachParams};
use serde_json::{Value, json};
use simcluster_apiserver::Config;
use simcluster_kubelet_api::{
    Answer, Duplex, ExitStatus, Kubelet, KubeletError, LogOptions, LogStream, PodRef, Session,
    StreamOptions,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::World;

const PODS: &str = "/api/v1/namespaces/default/pods";

/// A node whose containers do nothing but say what they were asked.
struct Echo;

impl Kubelet for Echo {
    fn logs(&self, pod: PodRef, options: LogOptions) -> Answer<LogStream> {
        let text = format!(
            "{} {} {:?}\n",
            pod.name, options.container, options.tail_lines
        );
        async move { Ok(stream::iter([Ok(text.into())]).boxed()) }.boxed()
    }

    fn exec(&self, _: PodRef, options: StreamOptions) -> Answer<Session> {
        let (send, exit) = tokio::sync::oneshot::channel();
        if options.command == ["absent"] {
            return async { Err(KubeletError::BadRequest("no such program".to_owned())) }.boxed();
        }
        let _ = send.send(ExitStatus::Exited(3));
        let said = options.command.join(" ").into_bytes();
        async move {
            Ok(Session {
                stdin: None,
                stdout: Some(Box::new(std::io::Cursor::new(said))),
                stderr: None,
                resize: None,
                exit,
            })
        }
        .boxed()
    }

    fn attach(&self, pod: PodRef, options: StreamOptions) -> Answer<Session> {
        self.exec(pod, options)
    }

    fn port_forward(&self, _: PodRef, port: u16) -> Answer<Box<dyn Duplex>> {
        async move {
            let (mut ours, theirs) = tokio::io::duplex(1024);
            tokio::spawn(async move {
                let mut heard = [0; 4];
                ours.read_exact(&mut heard).await.expect("four bytes come");
                let port = format!("{port} ");
                ours.write_all(port.as_bytes())
                    .await
                    .expect("somebody listens");
                ours.write_all(&heard).await.expect("somebody listens");
            });
            Ok(Box::new(theirs) as Box<dyn Duplex>)
        }
        .boxed()
    }
}

fn pod(name: &str, containers: &[&str]) -> Value {
    let containers: Vec<Value> = containers
        .iter()
        .map(|name| json!({"name": name, "image": "i"}))
        .collect();
    json!({"metadata": {"name": name, "labels": {"app": "x"}}, "spec": {"containers": containers}})
}

async fn bound(world: &World, name: &str) {
    world.server.register_kubelet("n1", Arc::new(Echo));
    world.post(PODS, &pod(name, &["c"])).await.ok();
    let binding = json!({"metadata": {"name": name}, "target": {"kind": "Node", "name": "n1"}});
    world
        .post(&format!("{PODS}/{name}/binding"), &binding)
        .await
        .ok();
}

#[tokio::test]
async fn a_pod_is_bound_once() {
    let world = World::start();
    bound(&world, "p").await;
    let seen = world.get(&format!("{PODS}/p")).await.ok();
    assert_eq!(seen["spec"]["nodeName"], "n1");
    assert_eq!(seen["status"]["conditions"][0]["type"], "PodScheduled");
    let again = json!({"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n2"}});
    let refused = world.post(&format!("{PODS}/p/binding"), &again).await;
    refused.fails(409, "Operation cannot be fulfilled on pods/binding \"p\": pod p is already assigned to node \"n1\"");
}

#[tokio::test]
async fn logs_come_from_the_node() {
    let world = World::start();
    bound(&world, "p").await;
    let log = world.get(&format!("{PODS}/p/log?tailLines=5")).await;
    assert_eq!((log.code, &*log.text), (200, "p c Some(5)\n"));
    assert_eq!(log.headers["content-type"], "text/plain");
    world
        .get(&format!("{PODS}/p/log?container=z"))
        .await
        .fails(400, "container z is not valid for pod p");
    world.post(PODS, &pod("two", &["a", "b"])).await.ok();
    world.get(&format!("{PODS}/two/log")).await.fails(
        400,
        "a container name must be specified for pod two, choose one of: [a b]",
    );
}

#[tokio::test]
async fn programs_run_through_an_in_process_client() {
    let world = World::start();
    bound(&world, "p").await;
    let pods: Api<k8s_openapi::api::core::v1::Pod> = Api::default_namespaced(world.client.clone());
    let mut process = pods
        .exec("p", ["echo", "hello"], &AttachParams::default())
        .await
        .unwrap();
    let mut said = String::new();
    process
        .stdout()
        .unwrap()
        .read_to_string(&mut said)
        .await
        .unwrap();
    assert_eq!(said, "echo hello");
    let status = process.take_status().unwrap().await.unwrap();
    assert_eq!(status.reason.as_deref(), Some("NonZeroExitCode"));
    let refused = pods.exec("p", ["absent"], &AttachParams::default()).await;
    assert!(refused.is_err());
}

#[tokio::test]
async fn ports_are_forwarded_through_an_in_process_client() {
    let world = World::start();
    bound(&world, "p").await;
    let pods: Api<k8s_openapi::api::core::v1::Pod> = Api::default_namespaced(world.client.clone());
    let mut forwarder = pods.portforward("p", &[3306]).await.unwrap();
    let mut port = forwarder.take_stream(3306).unwrap();
    port.write_all(b"ping").await.unwrap();
    let mut heard = [0; 9];
    port.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"3306 ping");
}

#[tokio::test]
async fn a_running_pod_goes_after_its_grace_period() {
    let world = World::start();
    bound(&world, "p").await;
    let path = format!("{PODS}/p");
    let marked = world.delete(&path).await.ok();
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 30);
    let shorter = world
        .delete_with(&path, &json!({"gracePeriodSeconds": 5}))
        .await
        .ok();
    assert_eq!(shorter["metadata"]["deletionGracePeriodSeconds"], 5);
    world
        .delete_with(&path, &json!({"gracePeriodSeconds": 0}))
        .await
        .ok();
    assert_eq!(world.get(&path).await.code, 404);
}

#[tokio::test]
async fn an_eviction_spends_the_budget() {
    let world = World::start();
    let budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
    let budget = json!({"metadata": {"name": "b"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "x"}}}});
    world.post(budgets, &budget).await.ok();
    let status = json!({"status": {
        "observedGeneration": 1, "disruptionsAllowed": 1, "currentHealthy": 2, "desiredHealthy": 1, "expectedPods": 2,
    }});
    world
        .patch("merge", &format!("{budgets}/b/status"), &status)
        .await
        .ok();
    for name in ["p", "q"] {
        bound(&world, name).await;
        let running = json!({"status": {"phase": "Running"}});
        world
            .patch("merge", &format!("{PODS}/{name}/status"), &running)
            .await
            .ok();
    }
    let evict = |name: &str| json!({"metadata": {"name": name}});
    world
        .post(&format!("{PODS}/p/eviction"), &evict("p"))
        .await
        .ok();
    let refused = world.post(&format!("{PODS}/q/eviction"), &evict("q")).await;
    refused.fails(
        429,
        "Cannot evict pod as it would violate the pod's disruption budget.",
    );
    assert_eq!(
        refused.body["details"]["causes"][0]["reason"],
        "DisruptionBudget"
    );
}

#[tokio::test]
async fn pods_get_their_service_account_and_its_token() {
    let world = World::with(Config::default());
    let creating = {
        let world = World {
            server: world.server.clone(),
            client: world.client.clone(),
        };
        tokio::spawn(async move { world.post(PODS, &pod("p", &["c"])).await.ok() })
    };
    // The account of a new namespace comes a moment later.
    let account = json!({"metadata": {"name": "default"}});
    world
        .post("/api/v1/namespaces/default/serviceaccounts", &account)
        .await
        .ok();
    let made = creating.await.unwrap();
    assert_eq!(made["spec"]["serviceAccountName"], "default");
    let mount = &made["spec"]["containers"][0]["volumeMounts"][0];
    assert_eq!(
        mount["mountPath"],
        "/var/run/secrets/kubernetes.io/serviceaccount"
    );
    let mut missing = pod("q", &["c"]);
    missing["spec"]["serviceAccountName"] = "none".into();
    let refused = world.post(PODS, &missing).await;
    refused.fails(
        403,
        "pods \"q\" is forbidden: error looking up service account default/none: serviceaccount \"none\" not found",
    );
}

#[tokio::test]
async fn quotas_and_limits_of_a_namespace_hold() {
    let world = World::start();
    let quota = json!({"metadata": {"name": "q"}, "spec": {"hard": {"count/configmaps": "1"}}});
    world
        .post("/api/v1/namespaces/default/resourcequotas", &quota)
        .await
        .ok();
    world.config_map("a", &json!({})).await;
    let refused = world
        .post(
            crate::support::CONFIG_MAPS,
            &json!({"metadata": {"name": "b"}}),
        )
        .await;
    refused.fails(
        403,
        "configmaps \"b\" is forbidden: exceeded quota: q, requested: count/configmaps=1, used: count/configmaps=1, limited: count/configmaps=1",
    );
    let limits = json!({"metadata": {"name": "l"}, "spec": {"limits": [
        {"type": "Container", "default": {"memory": "64Mi"}, "max": {"memory": "1Gi"}},
    ]}});
    world
        .post("/api/v1/namespaces/default/limitranges", &limits)
        .await
        .ok();
    let made = world.post(PODS, &pod("p", &["c"])).await.ok();
    assert_eq!(
        made["spec"]["containers"][0]["resources"]["limits"]["memory"],
        "64Mi"
    );
}
