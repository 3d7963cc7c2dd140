//! k3s in a container: the stand-in that is built here, and the genuine one where it can be pulled.

use std::{
    io::Write as _,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use harness::{
    Failure,
    backend::{
        Backend as _, Selection,
        k3s::{K3s, Settings},
    },
};
use scenarios::{Lab, images::Programs, k3s_image, lab, progress::Progress, verification};

use crate::containers::{docker, engine_answers, exists};

/// Tells the child of `a_killed_process_leaves_no_container` that it is one.
const CHILD: &str = "CLUSTERS_TEST_CHILD";

async fn stand_in() -> Result<Settings, Failure> {
    Ok(Settings {
        image: k3s_image::build_once().await?.to_owned(),
        ..Settings::default()
    })
}

async fn verify_on(settings: Settings) -> Result<(), Failure> {
    let images = lab::image_store(Programs::Job).await?;
    let cluster = Selection::K3s(settings)
        .start(images, &lab::CARRIED)
        .await?;
    let mut lab = Lab::new(&cluster);
    lab.install().await?;
    lab.start_operator();
    let outcome = verification::verify(&lab, &Progress::silent()).await;
    lab.stop_operator().await?;
    assert_eq!(cluster.stop().await.0, Vec::<String>::new());
    assert_eq!(outcome?.after, [["1", "some data"], ["2", "some data-2"]]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_verification_passes_in_a_container_that_shows_k3ss_face() -> Result<(), Failure> {
    if !engine_answers().await {
        return Ok(());
    }
    verify_on(stand_in().await?).await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container engine that can pull rancher/k3s; run with --ignored, version in HARNESS_K3S_IMAGE"]
async fn the_verification_passes_on_the_genuine_k3s() -> Result<(), Failure> {
    let mut settings = Settings::default();
    if let Ok(image) = std::env::var("HARNESS_K3S_IMAGE") {
        settings.image = image;
    }
    verify_on(settings).await
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_side_by_side_are_clusters_apart_and_go_when_stopped() -> Result<(), Failure> {
    if !engine_answers().await {
        return Ok(());
    }
    let settings = stand_in().await?;
    let images = lab::image_store(Programs::Job).await?;
    let (one, two) = tokio::try_join!(
        K3s::start(&settings, &images, &[]),
        K3s::start(&settings, &images, &[]),
    )?;
    let containers = [one.container().to_owned(), two.container().to_owned()];
    let clusters = [one, two].map(|backend| harness::Cluster::new(Box::new(backend), "default"));
    let map = "{apiVersion: v1, kind: ConfigMap, metadata: {name: mine}}";
    clusters[0].apply(map).await?;
    let maps = clusters[1].namespaced::<k8s_openapi::api::core::v1::ConfigMap>();
    assert!(maps.get_opt("mine").await?.is_none());
    let logs = clusters[0].backend().logs().await;
    assert!(
        logs.iter()
            .any(|(_, text)| text.contains("Node controller sync successful")),
        "{logs:?}"
    );
    for cluster in clusters {
        assert_eq!(cluster.stop().await.0, Vec::<String>::new());
    }
    for container in &containers {
        assert!(!exists(container), "{container} is still there");
    }
    Ok(())
}

#[test]
fn a_killed_process_leaves_no_container() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    if std::env::var_os(CHILD).is_some() {
        return runtime.block_on(be_killed());
    }
    if !runtime.block_on(engine_answers()) {
        return;
    }
    let name = "k3s::a_killed_process_leaves_no_container";
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args([name, "--exact", "--nocapture"])
        .env(CHILD, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this program again");
    let output = std::io::BufReader::new(child.stdout.take().expect("its output"));
    let container = std::io::BufRead::lines(output)
        .map_while(Result::ok)
        .find_map(|line| line.split_once("CONTAINER ").map(|(_, id)| id.to_owned()));
    child.kill().expect("SIGKILL");
    child.wait().expect("its end");
    let container = container.expect("the child said which container it started");
    // The engine tells of the removal; no need to ask again and again.
    let deadline = Instant::now() + Duration::from_secs(60);
    while exists(&container) {
        assert!(Instant::now() < deadline, "{container} is still there");
        let since = "1m";
        let filter = format!("container={container}");
        let arguments = [
            "events", "--since", since, "--until", "1s", "--filter", &filter,
        ];
        docker(&arguments);
    }
}

/// The child's part: start a container, say which, and wait for the end.
async fn be_killed() {
    let settings = stand_in().await.expect("an image");
    let images = lab::image_store(Programs::Job).await.expect("images");
    let k3s = K3s::start(&settings, &images, &[])
        .await
        .expect("a container");
    let mut out = std::io::stdout();
    writeln!(out, "CONTAINER {}", k3s.container()).expect("an open pipe");
    out.flush().expect("an open pipe");
    drop(k3s.kubeconfig().await);
    std::future::pending::<()>().await;
}

/// The example that users of Python read, run as it stands.
const PYTHON: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../harness/examples/python/test_with_testcontainers.py"
);

/// The interpreter, if it has what the example needs; else it is said what is skipped, and why.
#[expect(clippy::print_stderr, reason = "what is skipped must be seen")]
fn python() -> Option<String> {
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let asked = Command::new(&python)
        .args(["-c", "import kubernetes, testcontainers.community.k3s"])
        .stdin(Stdio::null())
        .output();
    let why = match asked {
        Ok(output) if output.status.success() => return Some(python),
        Ok(output) => String::from_utf8_lossy(&output.stderr)
            .lines()
            .last()
            .unwrap_or_default()
            .to_owned(),
        Err(error) => error.to_string(),
    };
    eprintln!(
        "SKIPPED: {python} has no testcontainers ({why}); pip install 'testcontainers[k3s]' \
         and name the interpreter in PYTHON"
    );
    None
}

/// What this machine's engine lacks; empty where it can start privileged containers.
fn lacking() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let set = status
        .lines()
        .find_map(|line| line.strip_prefix("CapBnd:"))
        .and_then(|set| u64::from_str_radix(set.trim(), 16).ok())
        .unwrap_or(u64::MAX);
    // The newest three older engines do not know by name.
    let known = &simcluster::capabilities::ALL[..38];
    let absent = known
        .iter()
        .enumerate()
        .filter(|(number, _)| set & (1 << number) == 0);
    absent.map(|(_, name)| *name).collect::<Vec<_>>().join(",")
}

#[tokio::test(flavor = "multi_thread")]
async fn testcontainers_for_python_takes_it_for_k3s() -> Result<(), Failure> {
    if !engine_answers().await {
        return Ok(());
    }
    let Some(python) = python() else {
        return Ok(());
    };
    let image = k3s_image::build_once().await?;
    let output = tokio::process::Command::new(python)
        .arg(PYTHON)
        .env("K3S_IMAGE", image)
        .env("K3S_CAP_DROP", lacking())
        // Its reaper is one more image to pull, and its guess of the engine's address needs a container.
        .env("TESTCONTAINERS_RYUK_DISABLED", "true")
        .env("TESTCONTAINERS_CONNECTION_MODE", "docker_host")
        .kill_on_drop(true)
        .output()
        .await?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    assert!(text.contains("a pod can be made"), "{text}\n{errors}");
    Ok(())
}
