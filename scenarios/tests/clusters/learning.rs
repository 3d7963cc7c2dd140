//! `lab up --scenario`, `lab why`, `lab at`: a cluster to learn from, used by other processes.

use std::{
    ffi::OsStr,
    path::Path,
    process::{Command, Output},
};

use crate::lab_up::Up;

const SCENARIO: &str = "
apiVersion: harness.otus.homework/v1alpha1
kind: Scenario
metadata: {name: lesson}
spec:
  requires: {operator: false}
  steps:
  - name: make
    try:
    - apply: {resource: {apiVersion: v1, kind: ConfigMap, metadata: {name: lesson}, data: {k: first}}}
  - name: change
    try:
    - apply: {resource: {apiVersion: v1, kind: ConfigMap, metadata: {name: lesson}, data: {k: second}}}
  - name: remove
    try:
    - delete: {ref: {apiVersion: v1, kind: ConfigMap, name: lesson}}
";

fn lab(up: &Up, arguments: &[&str]) -> Output {
    let (command, rest) = arguments.split_first().expect("a command");
    Command::new(env!("CARGO_BIN_EXE_lab"))
        .arg(command)
        .arg("--kubeconfig")
        .arg(&up.kubeconfig)
        .args(rest)
        .output()
        .expect("lab can be started")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn refusal(arguments: &[&OsStr]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_lab"))
        .args(arguments)
        .output()
        .expect("lab can be started");
    assert!(!output.status.success());
    text(&output.stderr)
}

#[test]
fn a_scenario_stops_before_a_step_and_its_cluster_tells_its_past() {
    let folder = tempfile::tempdir().expect("a directory");
    let file = folder.path().join("scenario.yaml");
    std::fs::write(&file, SCENARIO).expect("a file");
    let up = Up::with(&[
        "--scenario".as_ref(),
        file.as_os_str(),
        "--before".as_ref(),
        "remove".as_ref(),
    ]);
    assert!(up.said.contains("lesson before \"remove\""), "{}", up.said);

    let why = lab(&up, &["why", "cm/lesson"]);
    let told = text(&why.stdout);
    assert!(why.status.success(), "{told}{}", text(&why.stderr));
    assert!(told.contains("ADDED  by harness"), "{told}");
    assert!(told.contains("data.k: \"first\" → \"second\""), "{told}");
    assert!(
        !told.contains("DELETED"),
        "the step before which it stopped was run: {told}"
    );
    let first = told
        .strip_prefix("revision ")
        .and_then(|rest| rest.split_whitespace().next())
        .expect("a revision");

    // What a program is given there is a kubeconfig of its own that names the revision.
    let at = lab(&up, &["at", first, "sh", "-c", "cat $KUBECONFIG"]);
    let kubeconfig = text(&at.stdout);
    assert!(at.status.success(), "{}", text(&at.stderr));
    assert!(
        kubeconfig.contains(&format!("at-revision-{first}")),
        "{kubeconfig}"
    );
    let ours = std::fs::read_to_string(&up.kubeconfig).expect("the kubeconfig of lab up");
    assert_ne!(kubeconfig, ours);

    let future = text(&lab(&up, &["at", "99999999"]).stderr);
    assert!(future.contains("has not happened yet"), "{future}");
}

#[test]
fn what_cannot_be_handed_over_or_reached_says_what_to_do() {
    let folder = tempfile::tempdir().expect("a directory");
    let file = folder.path().join("scenario.yaml");
    std::fs::write(&file, SCENARIO).expect("a file");
    let before = ["up", "--before", "remov", "--scenario"].map(OsStr::new);
    let said = refusal(&[&before[..], &[file.as_os_str()]].concat());
    assert!(
        said.contains("its steps are make, change, remove"),
        "{said}"
    );

    let nowhere = folder.path().join("lab.kubeconfig");
    assert!(!Path::new(&nowhere).exists());
    let why = ["why", "pod/a", "--kubeconfig"].map(OsStr::new);
    let said = refusal(&[&why[..], &[nowhere.as_os_str()]].concat());
    assert!(
        said.contains("start `cargo lab up` in another terminal"),
        "{said}"
    );
}

#[test]
fn what_the_command_line_cannot_mean_is_bad_usage_and_said_at_once() {
    for (arguments, said) in [
        ("verify --cluster nope", "choose simulated, existing or k3s"),
        ("verify --cluster existing", "must be named"),
        ("why nonsense", "an object is KIND/NAME"),
        ("scenario run x --set a", "write path.to.it=value"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_lab"))
            .args(arguments.split(' '))
            .output()
            .expect("lab can be started");
        assert_eq!(output.status.code(), Some(2), "{arguments}");
        assert!(text(&output.stderr).contains(said), "{output:?}");
    }
    let verify = "verify --cluster existing --kubeconfig /nowhere/kubeconfig";
    let arguments: Vec<&OsStr> = verify.split(' ').map(OsStr::new).collect();
    let said = refusal(&arguments);
    assert!(said.contains("/nowhere/kubeconfig"), "{said}");
    assert!(!said.contains("link the operator's programs"), "{said}");
}
