//! How pods start, restart and end.

use std::time::Instant;

use k8s_openapi::api::core::v1::{Pod, Secret};
use serde_json::json;
use simcluster_kubelet_api::LogOptions;

use crate::support::{Cluster, container, is_ready, shell};

#[tokio::test]
async fn a_pod_runs_and_its_status_and_events_say_so() {
    let cluster = Cluster::start().await;
    let begun = Instant::now();
    cluster
        .pod("p", json!({"containers": [shell("sleep 600")]}))
        .await;
    let pod = cluster.wait_ready("p").await;
    println!("create to Ready: {:?}", begun.elapsed());
    let status = pod.status.clone().unwrap();
    assert_eq!(status.phase.as_deref(), Some("Running"));
    assert!(status.pod_ip.unwrap().starts_with("10.42.0."));
    assert_eq!(status.host_ip.as_deref(), Some("10.42.0.1"));
    assert_eq!(status.observed_generation, pod.metadata.generation);
    let c = container(&pod);
    assert_eq!(c["ready"], true);
    assert_eq!(c["started"], true);
    assert_eq!(c["imageID"], "host:1@sha256:0");
    assert_eq!(
        c["containerID"].as_str().unwrap().len(),
        "containerd://".len() + 64
    );
    cluster.wait_event("p", "Started").await;
    let reasons: Vec<String> = cluster
        .events("p")
        .await
        .into_iter()
        .map(|(r, _)| r)
        .collect();
    assert_eq!(reasons, ["Pulled", "Created", "Started"]);
    cluster.end().await;
}

#[tokio::test]
async fn a_crashing_container_comes_back_with_its_last_state() {
    let cluster = Cluster::start().await;
    cluster
        .pod("crash", json!({"containers": [shell("echo run; exit 5")]}))
        .await;
    let pod = cluster
        .wait_for("crash", "CrashLoopBackOff", |pod| {
            let reason = pod.and_then(|p| {
                p.status.as_ref()?.container_statuses.as_ref()?[0]
                    .state
                    .as_ref()?
                    .waiting
                    .clone()
            });
            reason.is_some_and(|w| w.reason.as_deref() == Some("CrashLoopBackOff"))
        })
        .await
        .unwrap();
    let c = container(&pod);
    assert_eq!(c["restartCount"], 1);
    assert_eq!(c["lastState"]["terminated"]["exitCode"], 5);
    let previous = LogOptions {
        previous: true,
        ..LogOptions::default()
    };
    assert_eq!(cluster.logs(&pod, previous).await, "run\n");
    let uid = pod.metadata.uid.unwrap();
    assert_eq!(
        cluster.wait_event("crash", "BackOff").await,
        format!("Back-off restarting failed container c in pod crash_default({uid})")
    );
    cluster.end().await;
}

#[tokio::test]
async fn a_pod_ends_with_its_exit_code_and_termination_message() {
    let cluster = Cluster::start().await;
    let script = "echo because > /dev/termination-log; exit 7";
    let (pod, _) = cluster
        .run("bad", json!({"containers": [shell(script)]}))
        .await;
    assert_eq!(
        pod.status.as_ref().unwrap().phase.as_deref(),
        Some("Failed")
    );
    let ended = &container(&pod)["state"]["terminated"];
    assert_eq!(ended["exitCode"], 7);
    assert_eq!(ended["reason"], "Error");
    assert_eq!(ended["message"], "because\n");

    let mut last = shell("echo last words; exit 9");
    last["terminationMessagePolicy"] = json!("FallbackToLogsOnError");
    let (pod, log) = cluster.run("last", json!({"containers": [last]})).await;
    assert_eq!(
        container(&pod)["state"]["terminated"]["message"],
        "last words\n"
    );
    assert_eq!(log, "last words\n");
    cluster.end().await;
}

#[tokio::test]
async fn deletion_lets_a_process_end_in_its_own_time() {
    let cluster = Cluster::start().await;
    let script = "trap 'exit 0' TERM; echo up; while :; do sleep 0.05; done";
    cluster
        .pod("g", json!({"containers": [shell(script)]}))
        .await;
    let pod = cluster.wait_ready("g").await;
    let follow = LogOptions {
        follow: true,
        limit_bytes: Some(3),
        ..LogOptions::default()
    };
    assert_eq!(cluster.logs(&pod, follow).await, "up\n");
    let begun = Instant::now();
    cluster.delete("g", 20).await;
    cluster.wait_gone("g").await;
    assert!(
        begun.elapsed().as_secs() < 10,
        "it did not wait for SIGKILL"
    );
    assert_eq!(
        cluster.wait_event("g", "Killing").await,
        "Stopping container c"
    );
    cluster.end().await;
}

#[tokio::test]
async fn a_process_that_ignores_the_signal_is_killed() {
    let cluster = Cluster::start().await;
    cluster
        .pod(
            "g",
            json!({"containers": [shell("trap '' TERM; sleep 600")]}),
        )
        .await;
    cluster.wait_ready("g").await;
    let begun = Instant::now();
    cluster.delete("g", 1).await;
    cluster.wait_gone("g").await;
    println!("delete with 1 s grace to gone: {:?}", begun.elapsed());
    assert!(begun.elapsed().as_millis() >= 1000);
    cluster.end().await;
}

#[tokio::test]
async fn init_containers_sidecars_and_containers_take_their_turns() {
    let cluster = Cluster::start().await;
    let mount = json!([{"name": "v", "mountPath": "/v"}]);
    let with = |name: &str, script: &str| {
        let mut c = shell(script);
        c["name"] = json!(name);
        c["volumeMounts"] = mount.clone();
        c
    };
    let mut side = with("side", "echo side >> /v/f; sleep 600");
    side["restartPolicy"] = json!("Always");
    side["startupProbe"] =
        json!({"exec": {"command": ["sh", "-c", "test -s /v/f"]}, "periodSeconds": 1});
    let (pod, log) = cluster
        .run(
            "i",
            json!({
                "volumes": [{"name": "v", "emptyDir": {}}],
                "terminationGracePeriodSeconds": 0,
                "initContainers": [with("one", "echo 1 > /v/g"), side, with("two", "echo 2 >> /v/g")],
                "containers": [with("c", "cat /v/g /v/f")],
            }),
        )
        .await;
    assert_eq!(log, "1\n2\nside\n");
    assert_eq!(pod.status.unwrap().phase.as_deref(), Some("Succeeded"));
    cluster.end().await;
}

#[tokio::test]
async fn hooks_run_at_the_start_and_at_the_end() {
    let cluster = Cluster::start().await;
    let mut c = shell("trap 'exit 0' TERM; while :; do sleep 0.05; done");
    c["lifecycle"] = json!({
        "postStart": {"exec": {"command": ["sh", "-c", "echo start > /v/start"]}},
        "preStop": {"exec": {"command": ["sh", "-c", "echo stop > /v/stop"]}},
    });
    c["volumeMounts"] = json!([{"name": "v", "mountPath": "/v"}]);
    let volumes = json!([{"name": "v", "hostPath": {"path": "/hooks"}}]);
    cluster
        .pod("h", json!({"containers": [c], "volumes": volumes}))
        .await;
    cluster.wait_ready("h").await;
    let directory = cluster.node.host_path("/hooks");
    assert_eq!(
        std::fs::read_to_string(directory.join("start")).unwrap(),
        "start\n"
    );
    cluster.delete("h", 10).await;
    cluster.wait_gone("h").await;
    assert_eq!(
        std::fs::read_to_string(directory.join("stop")).unwrap(),
        "stop\n"
    );
    cluster.end().await;
}

#[tokio::test]
async fn images_that_cannot_be_had_are_named() {
    let cluster = Cluster::start().await;
    let image = |image: &str| json!({"containers": [{"name": "c", "image": image}]});
    cluster.pod("none", image("nowhere:1")).await;
    let waits = |reason: &'static str| {
        move |pod: Option<&Pod>| {
            let waiting = pod.and_then(|p| {
                p.status.as_ref()?.container_statuses.as_ref()?[0]
                    .state
                    .as_ref()?
                    .waiting
                    .clone()
            });
            waiting.is_some_and(|w| w.reason.as_deref() == Some(reason))
        }
    };
    cluster
        .wait_for("none", "ErrImagePull", waits("ErrImagePull"))
        .await;
    assert_eq!(
        cluster.wait_event("none", "Failed").await,
        "Failed to pull image \"nowhere:1\": image \"nowhere:1\" not found"
    );
    cluster
        .wait_for("none", "ImagePullBackOff", waits("ImagePullBackOff"))
        .await;

    cluster.pod("bad", image("Bad Name")).await;
    cluster
        .wait_for("bad", "InvalidImageName", waits("InvalidImageName"))
        .await;
    assert_eq!(
        cluster.wait_event("bad", "InspectFailed").await,
        "Failed to apply default image tag \"Bad Name\": couldn't parse image name \"Bad Name\": \
         invalid reference format"
    );
    let pulls = cluster.events("bad").await;
    assert!(
        pulls.iter().all(|(reason, _)| reason != "Pulling"),
        "{pulls:?}"
    );

    cluster.pod("stuck", image("stuck:1")).await;
    cluster.wait_event("stuck", "Pulling").await;
    cluster.delete("stuck", 30).await;
    cluster.wait_gone("stuck").await;

    let spec = json!({"containers": [{"name": "c", "image": "host:other", "args": ["-c", "exit 0"],
                                      "command": ["sh"]}]});
    let (pod, _) = cluster.run("other", spec).await;
    assert_eq!(container(&pod)["imageID"], "host:1@sha256:0");
    assert_eq!(
        cluster.wait_event("other", "ImageSubstituted").await,
        "host:1 stands in for host:other"
    );
    cluster.end().await;
}

#[tokio::test]
async fn a_program_that_does_not_exist_is_a_failed_run() {
    let cluster = Cluster::start().await;
    let spec = json!({"restartPolicy": "Never", "containers": [
        {"name": "c", "image": "host:1", "command": ["/no/such/program"]},
    ]});
    cluster.pod("p", spec).await;
    let pod = cluster.wait_phase("p", "Failed").await;
    let ended = &container(&pod)["state"]["terminated"];
    assert_eq!(ended["reason"], "StartError");
    assert_eq!(ended["exitCode"], 128);
    assert!(
        ended["message"]
            .as_str()
            .unwrap()
            .contains("/no/such/program")
    );
    cluster.end().await;
}

#[tokio::test]
async fn many_pods_at_once_become_ready_and_go() {
    let cluster = Cluster::start().await;
    let begun = Instant::now();
    for n in 0..10 {
        cluster
            .pod(
                &format!("p{n}"),
                json!({"containers": [shell("sleep 600")]}),
            )
            .await;
    }
    for n in 0..10 {
        cluster
            .wait_for(&format!("p{n}"), "Ready", |pod| pod.is_some_and(is_ready))
            .await;
    }
    println!("10 pods created to Ready: {:?}", begun.elapsed());
    for n in 0..10 {
        cluster.delete(&format!("p{n}"), 0).await;
    }
    for n in 0..10 {
        cluster.wait_gone(&format!("p{n}")).await;
    }
    cluster.end().await;
}

#[tokio::test]
async fn a_hook_that_fails_says_so_as_a_kubelet_does() {
    let cluster = Cluster::start().await;
    let mut container = shell("sleep 1000");
    container["lifecycle"] =
        json!({"postStart": {"exec": {"command": ["sh", "-c", "echo no; exit 3"]}}});
    let spec = json!({"terminationGracePeriodSeconds": 0, "containers": [container]});
    let created = cluster.pod("p", spec).await;
    let message = |pod: &Pod| {
        let state = &crate::support::container(pod)["state"]["waiting"];
        (state["reason"] == "PostStartHookError").then(|| state["message"].clone())
    };
    let pod = cluster
        .wait_for("p", "the hook's failure", |pod| {
            pod.is_some_and(|pod| {
                let seen = pod
                    .status
                    .as_ref()
                    .is_some_and(|s| s.container_statuses.is_some());
                seen && message(pod).is_some()
            })
        })
        .await
        .unwrap();
    let uid = created.metadata.uid.unwrap();
    assert_eq!(
        message(&pod).unwrap(),
        format!(
            "Exec lifecycle hook ([sh -c echo no; exit 3]) for Container \"c\" in Pod \
             \"p_default({uid})\" failed - error: command 'sh -c echo no; exit 3' exited with 3: , \
             message: \"no\\n\""
        )
    );
    assert_eq!(
        cluster.wait_event("p", "FailedPostStartHook").await,
        "PostStartHook failed"
    );
    cluster.delete("p", 0).await;
    cluster.wait_gone("p").await;
    cluster.end().await;
}

#[tokio::test]
async fn a_secret_for_registries_that_is_not_there_is_named() {
    let cluster = Cluster::start().await;
    cluster
        .create::<Secret>(json!({
            "metadata": {"name": "there"}, "type": "kubernetes.io/dockerconfigjson",
            "stringData": {".dockerconfigjson": "{\"auths\": {}}"},
        }))
        .await;
    let spec = json!({
        "imagePullSecrets": [{"name": "there"}, {"name": "absent"}, {"name": "too"}],
        "containers": [shell("exit 0")],
    });
    cluster.run("p", spec).await;
    assert_eq!(
        cluster
            .wait_event("p", "FailedToRetrieveImagePullSecret")
            .await,
        "Unable to retrieve some image pull secrets (absent, too); attempting to pull the image may \
         not succeed."
    );
    cluster.end().await;
}

#[tokio::test]
async fn a_nodes_status_lists_the_images_that_it_has() {
    let cluster = Cluster::start().await;
    cluster
        .pod("p", json!({"containers": [shell("sleep 600")]}))
        .await;
    cluster.wait_ready("p").await;
    let nodes: kube::Api<k8s_openapi::api::core::v1::Node> = kube::Api::all(cluster.client.clone());
    let listed = kube::runtime::wait::await_condition(
        nodes,
        crate::support::NODE,
        |node: Option<&k8s_openapi::api::core::v1::Node>| {
            let status = node.and_then(|node| node.status.as_ref());
            status.is_some_and(|status| status.images.is_some())
        },
    );
    let node = tokio::time::timeout(std::time::Duration::from_secs(30), listed).await;
    let node = node.expect("the images are told").unwrap().unwrap();
    let images = node.status.unwrap().images.unwrap();
    let names = [
        "docker.io/library/host@sha256:0",
        "docker.io/library/host:1",
    ];
    assert_eq!(images[0].names.as_deref().unwrap(), names);
    assert!(images[0].size_bytes.unwrap() > 100_000, "{images:?}");
    cluster.end().await;
}
