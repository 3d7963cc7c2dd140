//! Ctrl-C in the middle: what was begun is ended, nothing stays in somebody's cluster, and it is said so.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
    process::{Child, Command, Stdio},
};

use k8s_openapi::{
    api::core::v1::{Namespace, PersistentVolume},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use serde_json::Value;

use crate::{existing::all, lab_up::Up};

/// `lab` on a cluster of another process, telling what it does in JSON.
fn lab_on(up: &Up, arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_lab"))
        .args(arguments)
        .args(["--json", "--cluster", "existing", "--kubeconfig"])
        .arg(&up.kubeconfig)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("lab can be started")
}

fn interrupt(child: &Child) {
    let sent = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(sent.expect("there is a kill").success());
}

/// Reads until an object is as `wanted`, interrupts the program, and gives its exit code and what it said after.
fn interrupted_at(mut child: Child, wanted: impl Fn(&Value) -> bool) -> (Option<i32>, String) {
    let mut output = BufReader::new(child.stdout.take().expect("its output"));
    let mut said = String::new();
    loop {
        let mut line = String::new();
        let read = output.read_line(&mut line).expect("text");
        assert_ne!(read, 0, "it ended early; it said:\n{said}");
        said.push_str(&line);
        let object = serde_json::from_str(&line);
        if wanted(&object.unwrap_or_else(|error| panic!("{line:?} is no JSON: {error}"))) {
            break;
        }
    }
    interrupt(&child);
    output.read_to_string(&mut said).expect("text");
    let ended = child.wait_with_output().expect("its end");
    said.push_str(&String::from_utf8_lossy(&ended.stderr));
    (ended.status.code(), said)
}

async fn is_clean(kubeconfig: &Path, before: &[String], said: &str) {
    assert_eq!(all::<Namespace>(kubeconfig).await, before, "{said}");
    let volumes = all::<PersistentVolume>(kubeconfig).await;
    assert!(volumes.is_empty(), "{volumes:?}\n{said}");
    let definitions = all::<CustomResourceDefinition>(kubeconfig).await;
    assert!(definitions.is_empty(), "{definitions:?}\n{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_verification_leaves_nothing_in_somebodys_cluster() {
    let up = Up::start();
    let before = all::<Namespace>(&up.kubeconfig).await;
    // Once while MySQL comes up, once while a backup is taken: then a finalizer waits for the operator.
    for step in [
        "apply cr.yml; MySQL comes up",
        "delete the resource; a backup is taken first",
    ] {
        let (code, said) = interrupted_at(lab_on(&up, &["verify"]), |told| {
            told["event"] == "step-started" && told["step"] == step
        });
        assert_eq!(code, Some(130), "{said}");
        assert!(said.contains("interrupted by Ctrl-C: ending"), "{said}");
        assert!(said.contains("\"verdict\":\"interrupted\""), "{said}");
        is_clean(&up.kubeconfig, &before, &said).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_scenario_is_cleaned_up_and_the_runs_before_it_are_reported() {
    const SCENARIO: &str = "
apiVersion: harness.otus.homework/v1alpha1
kind: Scenario
metadata: {name: patience}
spec:
  steps:
  - name: make
    try:
    - apply: {resource: {apiVersion: v1, kind: ConfigMap, metadata: {name: patience}}}
  - name: wait in vain
    try:
    - assert:
        timeout: 1h
        resource: {apiVersion: v1, kind: ConfigMap, metadata: {name: never}}
";
    let up = Up::start();
    let before = all::<Namespace>(&up.kubeconfig).await;
    let folder = tempfile::tempdir().expect("a folder");
    let (file, junit) = (
        folder.path().join("scenario.yaml"),
        folder.path().join("runs.xml"),
    );
    std::fs::write(&file, SCENARIO).expect("a file");
    let (file, xml) = (file.to_string_lossy(), junit.to_string_lossy());
    let child = lab_on(&up, &["scenario", "run", &file, "--junit", &xml]);
    let (code, said) = interrupted_at(child, |told| {
        told["event"] == "operation-started" && told["step"] == "wait in vain"
    });
    assert_eq!(code, Some(130), "{said}");
    assert!(said.contains("\"event\":\"run-ended\""), "{said}");
    let report = std::fs::read_to_string(&junit).expect("the report");
    assert!(report.contains("patience on existing"), "{report}");
    is_clean(&up.kubeconfig, &before, &said).await;
}
