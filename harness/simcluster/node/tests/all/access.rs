//! Logs, exec, attach and port-forward.

use serde_json::json;
use simcluster_kubelet_api::{ExitStatus, KubeletError, LogOptions, StreamOptions, TerminalSize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::{Cluster, program, reference, shell};

fn exec(script: &str) -> StreamOptions {
    StreamOptions {
        container: "c".into(),
        command: ["sh", "-c", script].map(str::to_owned).to_vec(),
        stdout: true,
        stderr: true,
        ..StreamOptions::default()
    }
}

#[tokio::test]
async fn a_program_runs_in_the_container_and_its_code_comes_back() {
    let cluster = Cluster::start().await;
    cluster
        .pod("p", json!({"containers": [shell("sleep 600")]}))
        .await;
    let pod = reference(&cluster.wait_ready("p").await);

    let options = StreamOptions {
        stdin: true,
        ..exec("cat; echo oops >&2; exit 3")
    };
    let mut session = cluster.kubelet.exec(pod.clone(), options).await.unwrap();
    let mut stdin = session.stdin.take().unwrap();
    stdin.write_all(b"hello").await.unwrap();
    stdin.shutdown().await.unwrap();
    drop(stdin);
    let (mut out, mut err) = (String::new(), String::new());
    session
        .stdout
        .unwrap()
        .read_to_string(&mut out)
        .await
        .unwrap();
    session
        .stderr
        .unwrap()
        .read_to_string(&mut err)
        .await
        .unwrap();
    assert_eq!((out.as_str(), err.as_str()), ("hello", "oops\n"));
    assert_eq!(session.exit.await.unwrap(), ExitStatus::Exited(3));

    let missing = StreamOptions {
        command: vec!["/no/such".into()],
        ..exec("")
    };
    let session = cluster.kubelet.exec(pod.clone(), missing).await.unwrap();
    let ExitStatus::Failed(why) = session.exit.await.unwrap() else {
        panic!("it ran")
    };
    assert!(why.contains("/no/such"), "{why}");

    let options = StreamOptions {
        container: "zz".into(),
        ..exec("true")
    };
    let error = cluster.kubelet.exec(pod, options).await.unwrap_err();
    assert!(matches!(error, KubeletError::NotFound(_)));
    assert_eq!(error.to_string(), "container not found (\"zz\")");
    cluster.end().await;
}

#[tokio::test]
async fn a_terminal_has_the_clients_size() {
    let cluster = Cluster::start().await;
    cluster
        .pod("p", json!({"containers": [shell("sleep 600")]}))
        .await;
    let pod = reference(&cluster.wait_ready("p").await);
    let options = StreamOptions {
        stdin: true,
        stderr: false,
        tty: true,
        ..exec("test -t 0 && echo terminal; read line; echo got $line")
    };
    let mut session = cluster.kubelet.exec(pod, options).await.unwrap();
    session
        .resize
        .unwrap()
        .send(TerminalSize {
            width: 99,
            height: 33,
        })
        .await
        .unwrap();
    session
        .stdin
        .as_mut()
        .unwrap()
        .write_all(b"x\n")
        .await
        .unwrap();
    let mut out = String::new();
    session
        .stdout
        .unwrap()
        .read_to_string(&mut out)
        .await
        .unwrap();
    assert!(out.contains("terminal") && out.contains("got x"), "{out:?}");
    assert_eq!(session.exit.await.unwrap(), ExitStatus::Exited(0));
    cluster.end().await;
}

#[tokio::test]
async fn attaching_reaches_the_main_process() {
    let cluster = Cluster::start().await;
    let mut c = shell("read line; echo got $line; exit 4");
    c["stdin"] = json!(true);
    cluster
        .pod("p", json!({"containers": [c], "restartPolicy": "Never"}))
        .await;
    let pod = reference(&cluster.wait_ready("p").await);
    let options = StreamOptions {
        stdin: true,
        command: Vec::new(),
        ..exec("")
    };
    let mut session = cluster.kubelet.attach(pod, options).await.unwrap();
    session
        .stdin
        .as_mut()
        .unwrap()
        .write_all(b"this\n")
        .await
        .unwrap();
    let mut out = String::new();
    session
        .stdout
        .unwrap()
        .read_to_string(&mut out)
        .await
        .unwrap();
    assert_eq!(out, "got this\n");
    assert_eq!(session.exit.await.unwrap(), ExitStatus::Exited(4));
    cluster.end().await;
}

#[tokio::test]
async fn a_port_forward_reaches_the_pods_loopback() {
    let cluster = Cluster::start().await;
    let server = [("PORT", "7000"), ("STATUS", "200"), ("ANSWER", "forwarded")];
    let mut c = program("http_server", &server);
    c["readinessProbe"] = json!({"tcpSocket": {"port": 7000}, "periodSeconds": 1});
    cluster.pod("p", json!({"containers": [c]})).await;
    let pod = reference(&cluster.wait_ready("p").await);
    let mut stream = cluster
        .kubelet
        .port_forward(pod.clone(), 7000)
        .await
        .unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("forwarded"), "{answer}");
    assert!(cluster.kubelet.port_forward(pod, 7001).await.is_err());
    cluster.end().await;
}

#[tokio::test]
async fn logs_have_their_options() {
    let cluster = Cluster::start().await;
    let script = "for i in 1 2 3 4 5; do echo line $i; done";
    let (pod, log) = cluster
        .run("l", json!({"containers": [shell(script)]}))
        .await;
    assert_eq!(log, "line 1\nline 2\nline 3\nline 4\nline 5\n");
    let tail = LogOptions {
        tail_lines: Some(2),
        ..LogOptions::default()
    };
    assert_eq!(cluster.logs(&pod, tail).await, "line 4\nline 5\n");
    let previous = LogOptions {
        container: "c".into(),
        previous: true,
        ..LogOptions::default()
    };
    let error = cluster
        .kubelet
        .logs(reference(&pod), previous)
        .await
        .err()
        .unwrap();
    assert_eq!(
        error.to_string(),
        "previous terminated container \"c\" in pod \"l\" not found"
    );
    cluster.end().await;
}

#[tokio::test]
async fn containers_of_a_pod_share_their_processes_if_it_says_so() {
    let cluster = Cluster::start().await;
    let looks = shell(
        "while :; do for it in /proc/[0-9]*; do \
             read -r name 2> /dev/null < $it/comm && [ \"$name\" = sleep ] && break 2; \
         done; done; cat /proc/1/comm; kill ${it##*/}; echo told",
    );
    let mut told = shell("sleep 1000; echo \"ended with $?\"");
    told["name"] = json!("told");
    let spec = json!({"shareProcessNamespace": true, "containers": [looks, told]});
    let (pod, log) = cluster.run("shared", spec).await;
    assert_eq!(log, "pause\ntold\n");
    let options = LogOptions {
        container: "told".into(),
        ..LogOptions::default()
    };
    // The shell may add a word of its own.
    let log = cluster.logs(&pod, options).await;
    assert!(log.contains("ended with 143\n"), "{log}");
    cluster.end().await;
}

#[tokio::test]
async fn an_ephemeral_container_sees_the_processes_of_its_target() {
    let cluster = Cluster::start().await;
    cluster
        .pod("p", json!({"containers": [shell("exec sleep 4711")]}))
        .await;
    cluster.wait_ready("p").await;
    let mut look = shell("echo pid 1 is $(cat /proc/1/cmdline)");
    look["name"] = json!("look");
    look["targetContainerName"] = json!("c");
    let patch = json!({"spec": {"ephemeralContainers": [look]}});
    let pods = cluster.api::<k8s_openapi::api::core::v1::Pod>();
    pods.patch_ephemeral_containers(
        "p",
        &kube::api::PatchParams::default(),
        &kube::api::Patch::Strategic(patch),
    )
    .await
    .unwrap();
    let pod = cluster
        .wait_for("p", "the end of the ephemeral container", |pod| {
            let all = pod.and_then(|p| p.status.as_ref()?.ephemeral_container_statuses.as_ref());
            let state = all.and_then(|all| all.first()?.state.as_ref());
            state.is_some_and(|state| state.terminated.is_some())
        })
        .await
        .unwrap();
    let options = LogOptions {
        container: "look".into(),
        ..LogOptions::default()
    };
    let log = cluster.logs(&pod, options).await;
    // The shell leaves out the zeros between the words.
    assert_eq!(log.trim(), "pid 1 is sleep4711");
    cluster.end().await;
}
