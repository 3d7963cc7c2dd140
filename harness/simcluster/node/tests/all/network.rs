//! Names and addresses of Services as pods see them.

use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};
use serde_json::{Value, json};

use crate::support::{Cluster, program, reference, shell};

/// A server in a pod, and a Service with what the endpoint controller would write for it.
async fn serve(cluster: &Cluster, headless: bool) -> String {
    let server = [("PORT", "8080"), ("STATUS", "200"), ("ANSWER", "hello")];
    let mut c = program("http_server", &server);
    c["readinessProbe"] = json!({"tcpSocket": {"port": 8080}, "periodSeconds": 1});
    cluster.pod("server", json!({"containers": [c]})).await;
    let pod = cluster.wait_ready("server").await;
    let ip = pod.status.unwrap().pod_ip.unwrap();
    let mut spec = json!({
        "selector": {"app": "server"},
        "ports": [{"name": "web", "port": 80, "targetPort": 8080}],
    });
    if headless {
        spec["clusterIP"] = json!("None");
    }
    let service: Service = cluster
        .create(json!({"metadata": {"name": "web"}, "spec": spec}))
        .await;
    cluster
        .create::<EndpointSlice>(json!({
            "metadata": {"name": "web-x", "labels": {"kubernetes.io/service-name": "web"}},
            "addressType": "IPv4",
            "ports": [{"name": "web", "port": 8080, "protocol": "TCP"}],
            "endpoints": [{"addresses": [ip.clone()], "conditions": {"ready": true}}],
        }))
        .await;
    if headless {
        ip
    } else {
        service.spec.unwrap().cluster_ip.unwrap()
    }
}

async fn say(cluster: &Cluster, name: &str, container: Value) -> String {
    let (_, log) = cluster.run(name, json!({"containers": [container]})).await;
    let line = log.lines().find_map(|line| {
        let at = ["resolved: ", "answer: ", "error: "]
            .iter()
            .find_map(|word| line.find(word))?;
        Some(line[at..].to_owned())
    });
    line.unwrap_or(log)
}

#[tokio::test]
async fn a_service_is_reached_by_its_short_name() {
    let cluster = Cluster::start().await;
    let ip = serve(&cluster, false).await;
    let resolved = say(&cluster, "resolve", program("resolve", &[("NAME", "web")])).await;
    assert_eq!(resolved, format!("resolved: {ip}"));
    let answer = say(
        &cluster,
        "fetch",
        program("fetch", &[("TARGET", "web.default:80")]),
    )
    .await;
    assert_eq!(answer, "answer: hello");
    cluster.end().await;
}

#[tokio::test]
async fn a_headless_service_resolves_to_its_pods() {
    let cluster = Cluster::start().await;
    let ip = serve(&cluster, true).await;
    let name = "web.default.svc.cluster.local";
    let resolved = say(&cluster, "resolve", program("resolve", &[("NAME", name)])).await;
    assert_eq!(resolved, format!("resolved: {ip}"));
    let nothing = program("resolve", &[("NAME", "nothing.default")]);
    assert_eq!(say(&cluster, "nothing", nothing).await, "resolved: nothing");
    cluster.end().await;
}

#[tokio::test]
async fn a_service_without_endpoints_refuses() {
    let cluster = Cluster::start().await;
    let spec = json!({
        "ports": [{"port": 80}], "selector": {"app": "none"},
    });
    cluster
        .create::<Service>(json!({"metadata": {"name": "empty"}, "spec": spec}))
        .await;
    let answer = say(
        &cluster,
        "fetch",
        program("fetch", &[("TARGET", "empty:80")]),
    )
    .await;
    assert_eq!(answer, "error: ConnectionRefused");
    cluster.end().await;
}

#[tokio::test]
async fn pods_reach_the_api_server_through_its_service() {
    let cluster = Cluster::start().await;
    let c = program("fetch", &[("TARGET", "kubernetes.default:443")]);
    cluster
        .pod("asks", json!({"containers": [c], "restartPolicy": "Never"}))
        .await;
    cluster
        .wait_for("asks", "Running", |pod| {
            pod.is_some_and(crate::support::is_ready)
        })
        .await;
    tokio::time::timeout(std::time::Duration::from_secs(120), async {
        while cluster.api_connections.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the connection arrives");
    cluster.end().await;
}

#[tokio::test]
async fn a_pod_has_its_host_name_and_knows_itself() {
    let cluster = Cluster::start().await;
    let spec =
        json!({"hostname": "db", "containers": [shell("cat /etc/hostname; cat /etc/hosts")]});
    let (pod, log) = cluster.run("named", spec).await;
    let ip = pod.status.as_ref().unwrap().pod_ip.clone().unwrap();
    assert!(log.starts_with("db\n"), "{log}");
    assert!(log.ends_with(&format!("{ip}\tdb\n")), "{log}");
    assert_eq!(reference(&pod).name, "named");
    cluster.end().await;
}

#[tokio::test]
async fn datagrams_reach_a_service_and_come_back() {
    let cluster = Cluster::start().await;
    cluster
        .pod("echo", json!({"containers": [program("udp_echo", &[])]}))
        .await;
    let ip = cluster
        .wait_ready("echo")
        .await
        .status
        .unwrap()
        .pod_ip
        .unwrap();
    let port = json!([{"name": "u", "port": 53, "targetPort": 5000, "protocol": "UDP"}]);
    let spec = json!({"ports": port});
    let service: Service = cluster
        .create(json!({"metadata": {"name": "echo"}, "spec": spec}))
        .await;
    let target = format!("{}:53", service.spec.unwrap().cluster_ip.unwrap());
    cluster
        .create::<EndpointSlice>(json!({
            "metadata": {"name": "echo-x", "labels": {"kubernetes.io/service-name": "echo"}},
            "addressType": "IPv4",
            "ports": [{"name": "u", "port": 5000, "protocol": "UDP"}],
            "endpoints": [{"addresses": [ip], "conditions": {"ready": true}}],
        }))
        .await;
    let answer = say(&cluster, "ask", program("udp_ask", &[("TARGET", &target)])).await;
    assert_eq!(answer, "answer: ping");
    cluster.end().await;
}

#[tokio::test]
async fn a_port_of_the_node_leads_to_the_pod_that_asks_for_it_while_that_lives() {
    let cluster = Cluster::start().await;
    let server = [("PORT", "8080"), ("STATUS", "200"), ("ANSWER", "hello")];
    let mut c = program("http_server", &server);
    c["readinessProbe"] = json!({"tcpSocket": {"port": 8080}, "periodSeconds": 1});
    c["ports"] = json!([{"containerPort": 8080, "hostPort": 9090}]);
    let spec = json!({"terminationGracePeriodSeconds": 0, "containers": [c]});
    cluster.pod("server", spec).await;
    let pod = cluster.wait_ready("server").await;
    let node = pod.status.unwrap().host_ip.unwrap();
    let target = format!("{node}:9090");
    let asks = || program("fetch", &[("TARGET", &target)]);
    assert_eq!(say(&cluster, "asks", asks()).await, "answer: hello");
    cluster.delete("server", 0).await;
    cluster.wait_gone("server").await;
    // The node stops listening a moment after the pod has gone.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    for number in 0.. {
        let said = say(&cluster, &format!("again-{number}"), asks()).await;
        if said == "error: ConnectionRefused" {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "last: {said}");
    }
    cluster.end().await;
}
