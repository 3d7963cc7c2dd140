//! What is left when the owner of a node dies without a word.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::support::Cluster;

fn entries(directory: &Path) -> usize {
    fs::read_dir(directory).unwrap().count()
}

/// Processes whose mounts mention the directory: a node's containers do.
fn users(directory: &Path) -> usize {
    let text = directory.to_str().unwrap();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|process| fs::read_to_string(process.path().join("mountinfo")).ok())
        .filter(|mounts| mounts.contains(text))
        .count()
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(
            begun.elapsed() < Duration::from_secs(120),
            "not seen: {what}"
        );
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_killed_node_leaves_no_process_and_the_next_one_removes_its_files() {
    let directory = tempfile::tempdir().unwrap();
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args([
            "--ignored",
            "--exact",
            "--nocapture",
            "programs::node_until_killed",
        ])
        .env("NODE_DIRECTORY", directory.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(owner.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().ends_with("running")));
    assert!(users(directory.path()) > 0);
    owner.kill().unwrap();
    owner.wait().unwrap();
    until("the end of its processes", || users(directory.path()) == 0).await;
    assert_eq!(entries(directory.path()), 1, "its files are still there");

    let cluster = Cluster::start_in(directory.path()).await;
    until("the removal of its files", || {
        entries(directory.path()) == 1
    })
    .await;
    cluster.end().await;
}
