//! Scenario files: what they prove, what they refuse, what they tell when they fail.

use std::path::Path;

use harness::{
    Failure, prove, report,
    scenario::{self, NoOperator, Run, Silent, Verdict},
};

const HEAD: &str = "apiVersion: harness.otus.homework/v1alpha1\nkind: Scenario\nmetadata: {name: s}\nspec:\n  requires: {operator: false}\n";

fn folder(steps: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let text = format!("{HEAD}{steps}");
    std::fs::write(folder.path().join("scenario.yaml"), text).expect("a file");
    folder
}

/// Runs these steps on a cluster of their own and shows what became of them.
#[track_caller]
fn run(steps: &str, look: impl FnOnce(&Run)) {
    let folder = folder(steps);
    run_folder(folder.path(), look);
}

#[track_caller]
fn run_folder(folder: &Path, look: impl FnOnce(&Run)) {
    prove(async |cluster| {
        let loaded = scenario::load(folder)?;
        let loaded = loaded.first().ok_or("no scenario")?;
        let run = scenario::run(loaded, cluster, &mut NoOperator, &mut Silent).await;
        look(&run);
        Ok::<_, Failure>(())
    });
}

fn why(run: &Run) -> &str {
    match &run.verdict {
        Verdict::Failed(why) => why,
        other => panic!("it should have failed, but: {other:?}"),
    }
}

const MAP: &str = "
  steps:
  - name: make
    try:
    - apply:
        resource: {apiVersion: v1, kind: ConfigMap, metadata: {name: a, labels: {app: x}}, data: {k: v, password: secret}}
        outputs:
        - {name: uid, value: (metadata.uid)}
";

#[test]
fn bindings_outputs_files_and_labels_work_together() {
    let steps = format!(
        "{MAP}
    - assert:
        resource:
          apiVersion: v1
          kind: ConfigMap
          metadata: {{labels: {{app: x}}, uid: ($uid), namespace: ($namespace)}}
          data:
            (length(@)): 2
    - script:
        content: printf '%s' \"$GREETING\"
        env: [{{name: GREETING, value: \"(join(' ', ['hello', $namespace]))\"}}]
        check:
          ($stdout): hello default
        outputs: [{{name: said, value: ($stdout)}}]
    - assert:
        resource:
          ($said): hello default
    - error:
        resource: {{apiVersion: v1, kind: ConfigMap, metadata: {{name: a}}, data: {{k: w}}}}
    - delete:
        ref: {{apiVersion: v1, kind: ConfigMap, labels: {{app: x}}}}
    - wait: {{apiVersion: v1, kind: ConfigMap, name: a, for: {{deletion: {{}}}}}}
"
    );
    run(&steps, |run| assert_eq!(run.verdict, Verdict::Passed));
}

#[test]
fn a_failed_assertion_tells_the_difference_the_revision_and_the_age() {
    let steps = format!(
        "{MAP}
    - assert:
        timeout: 200ms
        resource: {{apiVersion: v1, kind: ConfigMap, metadata: {{name: a}}, data: {{k: w}}}}
"
    );
    run(&steps, |run| {
        let why = why(run);
        assert!(why.contains("not so within 200ms"), "{why}");
        assert!(
            why.contains("data.k: expected \"w\", but is \"v\""),
            "{why}"
        );
        assert!(why.contains("last seen: ConfigMap a at revision "), "{why}");
        assert!(why.contains(" s before the end:"), "{why}");
        assert!(!why.contains("secret"), "{why}");
    });
}

#[test]
fn a_refusal_that_is_expected_is_no_failure_and_one_that_does_not_come_is() {
    let steps = |name: &str| {
        format!(
            "
  steps:
  - name: refuse
    try:
    - create:
        resource: {{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}}}}}
        expect:
        - check:
            ($error != null): true
"
        )
    };
    run(&steps("Not_A_Name"), |run| {
        assert_eq!(run.verdict, Verdict::Passed);
    });
    run(&steps("a-name"), |run| {
        let why = why(run);
        assert!(why.contains("the answer: it was accepted"), "{why}");
    });
}

#[test]
fn what_does_not_hold_is_told() {
    let steps = format!(
        "{MAP}
  - name: hold
    try:
    - hold:
        for: 300ms
        assert:
          resource: {{apiVersion: v1, kind: ConfigMap, metadata: {{name: a}}, data: {{k: w}}}}
"
    );
    run(&steps, |run| {
        let why = why(run);
        assert!(why.contains("ConfigMap a did not stay so: data.k"), "{why}");
    });
}

#[test]
fn a_fault_that_finds_nothing_fails() {
    let steps = "
  steps:
  - name: perturb
    try:
    - fault: {killPod: {selector: app=nobody}}
";
    run(steps, |run| {
        let why = why(run);
        assert!(why.contains("the fault did not fire"), "{why}");
    });
}

#[test]
fn catch_runs_after_a_failure_and_finally_in_any_case() {
    let steps = "
  steps:
  - name: fail
    try:
    - script: {content: exit 3}
    - script: {content: echo never}
    catch:
    - script: {content: echo caught}
    finally:
    - script: {content: echo finally}
    cleanup:
    - script: {content: echo cleaned}
  - name: not-reached
    try:
    - script: {content: echo never}
";
    run(steps, |run| {
        assert!(why(run).contains("exit status: 3"), "{}", why(run));
        let phases: Vec<_> = run
            .steps
            .iter()
            .flat_map(|step| &step.operations)
            .map(|operation| operation.phase)
            .collect();
        assert_eq!(phases, ["try", "catch", "finally", "cleanup"]);
    });
}

#[test]
fn a_folder_of_kuttls_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).expect("a file");
    };
    let map = "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {k: v}}";
    write("00-install.yaml", map);
    write("00-assert.yaml", map);
    write(
        "01-remove.yaml",
        "{apiVersion: kuttl.dev/v1beta1, kind: TestStep, delete: [{apiVersion: v1, kind: ConfigMap, name: a}]}",
    );
    write("01-errors.yaml", map);
    run_folder(folder.path(), |run| {
        assert_eq!(run.verdict, Verdict::Passed);
    });
}

#[test]
fn mistakes_are_found_before_anything_runs() {
    let folder = folder(
        "
  backends: [minikube]
  steps:
  - name: one
    try:
    - sleep: {duration: 5s}
    - apply: {file: missing.yaml}
    - assert: {resource: {a: (b ==)}, timeout: soon}
",
    );
    let loaded = scenario::load(folder.path()).expect("a scenario");
    let found = scenario::lint::lint(&loaded[0]).join("\n");
    for mistake in [
        "no cluster \"minikube\"",
        "steps[0].try[0].sleep: do not sleep",
        "there is no file missing.yaml",
        "\"soon\" is no duration",
        "(b ==) cannot be read",
    ] {
        assert!(found.contains(mistake), "{mistake} is not in:\n{found}");
    }
}

#[test]
fn a_run_is_told_in_junit_xml_with_its_failure() {
    let steps = "
  steps:
  - name: fail
    try:
    - script: {content: 'echo \"<&>\" >&2; exit 1'}
";
    run(steps, |run| {
        let xml = report::junit(std::slice::from_ref(run));
        assert!(xml.contains("tests=\"1\" failures=\"1\""), "{xml}");
        assert!(xml.contains("&lt;&amp;&gt;"), "{xml}");
        let page = report::html(&[(run.clone(), report::Timeline::default())]);
        assert!(
            page.contains("<svg") && page.contains("&lt;&amp;&gt;"),
            "{page}"
        );
    });
}

#[test]
fn the_history_of_an_object_says_what_changed_and_by_whom() {
    prove(async |cluster| {
        let map = |value: &str| {
            format!(
                "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: a}}, data: {{k: {value}}}}}"
            )
        };
        cluster.apply(&map("v")).await?;
        cluster.apply(&map("w")).await?;
        cluster.delete(&map("w")).await?;
        let resource = kube::api::ApiResource::erase::<k8s_openapi::api::core::v1::ConfigMap>(&());
        let versions = harness::history::of_kind(&cluster.client(), &resource, Some("a")).await?;
        let changes: Vec<_> = versions.iter().map(|version| version.change).collect();
        assert_eq!(changes, ["ADDED", "MODIFIED", "DELETED"]);
        assert!(
            versions[1]
                .changes
                .contains(&"data.k: \"v\" → \"w\"".to_owned())
        );
        assert_eq!(versions[1].by, "harness");
        Ok(())
    });
}
