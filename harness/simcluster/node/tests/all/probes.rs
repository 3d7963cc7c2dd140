//! Probes of real processes.

use serde_json::json;

use crate::support::{Cluster, container, is_ready, program, shell};

#[tokio::test]
async fn a_failed_liveness_probe_restarts_the_container() {
    let cluster = Cluster::start().await;
    let mut c = shell("sleep 600");
    c["livenessProbe"] = json!({
        "exec": {"command": ["sh", "-c", "echo sick; exit 1"]},
        "periodSeconds": 1, "failureThreshold": 1,
    });
    cluster
        .pod(
            "l",
            json!({"containers": [c], "terminationGracePeriodSeconds": 0}),
        )
        .await;
    let pod = cluster
        .wait_for("l", "a restart", |pod| {
            pod.is_some_and(|p| container(p)["restartCount"] != 0)
        })
        .await
        .unwrap();
    assert_eq!(container(&pod)["lastState"]["terminated"]["exitCode"], 137);
    assert_eq!(
        cluster.wait_event("l", "Killing").await,
        "Container c failed liveness probe, will be restarted"
    );
    assert_eq!(
        cluster.wait_event("l", "Unhealthy").await,
        "Liveness probe failed: sick\n"
    );
    cluster.end().await;
}

#[tokio::test]
async fn readiness_follows_an_http_server() {
    let cluster = Cluster::start().await;
    let with_probe = |status: &str| {
        let mut c = program(
            "http_server",
            &[("PORT", "8080"), ("STATUS", status), ("ANSWER", "x")],
        );
        c["ports"] = json!([{"name": "web", "containerPort": 8080}]);
        c["readinessProbe"] = json!({"httpGet": {"port": "web", "path": "/"}, "periodSeconds": 1});
        json!({"containers": [c]})
    };
    cluster.pod("good", with_probe("200")).await;
    cluster.wait_ready("good").await;
    cluster.pod("bad", with_probe("500")).await;
    let mut message = String::new();
    while !message.contains("500") {
        // The first one may say that nobody listens yet.
        message = cluster.wait_event("bad", "Unhealthy").await;
        let all = cluster.events("bad").await;
        message = all
            .into_iter()
            .map(|(_, m)| m)
            .find(|m| m.contains("500"))
            .unwrap_or(message);
        tokio::task::yield_now().await;
    }
    assert_eq!(
        message,
        "Readiness probe failed: HTTP probe failed with statuscode: 500"
    );
    let pod = cluster.api().get("bad").await.unwrap();
    assert!(!is_ready(&pod));
    cluster.end().await;
}

#[tokio::test]
async fn a_tcp_probe_needs_someone_who_listens() {
    let cluster = Cluster::start().await;
    let server = [("PORT", "7000"), ("STATUS", "200"), ("ANSWER", "x")];
    let mut c = program("http_server", &server);
    c["startupProbe"] = json!({"tcpSocket": {"port": 7000}, "periodSeconds": 1});
    cluster.pod("t", json!({"containers": [c]})).await;
    cluster.wait_ready("t").await;
    let mut c = shell("sleep 600");
    c["readinessProbe"] = json!({"tcpSocket": {"port": 7000}, "periodSeconds": 1});
    cluster.pod("n", json!({"containers": [c]})).await;
    let message = cluster.wait_event("n", "Unhealthy").await;
    assert!(
        message.ends_with(":7000: connect: connection refused"),
        "{message}"
    );
    cluster.end().await;
}

#[tokio::test]
async fn an_https_probe_takes_any_certificate() {
    let cluster = Cluster::start().await;
    let mut c = program("https_server", &[]);
    c["readinessProbe"] = json!({"httpGet": {"port": 8443, "scheme": "HTTPS"}, "periodSeconds": 1});
    cluster.pod("tls", json!({"containers": [c]})).await;
    cluster.wait_ready("tls").await;
    cluster.end().await;
}

#[tokio::test]
async fn a_grpc_probe_asks_for_the_health_of_its_service() {
    let cluster = Cluster::start().await;
    let asking = |service: &str| {
        let mut c = program("grpc_server", &[]);
        c["readinessProbe"] =
            json!({"grpc": {"port": 9000, "service": service}, "periodSeconds": 1});
        json!({"containers": [c], "terminationGracePeriodSeconds": 0})
    };
    cluster.pod("up", asking("up")).await;
    cluster.pod("down", asking("down")).await;
    cluster.pod("other", asking("other")).await;
    cluster.wait_ready("up").await;
    let said = async |pod: &str, text: &str| {
        let mut all = Vec::new();
        for _ in 0..300 {
            all = cluster.events(pod).await;
            if all.iter().any(|(_, message)| message == text) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("pod {pod} never said {text:?}: {all:?}");
    };
    said(
        "down",
        "Readiness probe failed: service unhealthy (responded with \"NOT_SERVING\")",
    )
    .await;
    let unknown = "Readiness probe failed: error: health rpc failed: rpc error: code = NotFound desc = unknown service";
    said("other", unknown).await;
    cluster.end().await;
}
