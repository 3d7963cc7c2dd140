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
fn what_chainsaw_binds_and_what_it_may_be_given_is_there() {
    let steps = r#"
  bindings:
  - {name: prefix, value: part}
  steps:
  - name: one
    bindings: [{name: base, value: 1}]
    try:
    - apply:
        file: '*.list.yaml'
        outputs:
        - {name: "(join('', [$prefix, to_string($operation.resourceId)]))", value: (metadata.name)}
    - assert: {resource: {"(join(' ', [$part1, $part2]))": a b}}
    - assert:
        bindings: [{name: sum, value: '($base + `1`)'}]
        resource: {'($sum * `2`)': 4, ($test.metadata.name): s, ($step.id): 1}
    - command:
        entrypoint: echo
        args: [-n, $NAMESPACE, '${GREETING}']
        env: [{name: GREETING, value: hello}]
        check: {($stdout): default hello}
    - compiler: cel
      assert: {resource: {"(bindings.resolve('base') + 1)": 2, (jp; $base): 1}}
    - assert:
        resource:
          "(x_k8s_list($client, 'v1', 'ConfigMap', $namespace).items[?data.of == 'list'] | length(@))": 2
          (x_k8s_exists($client, 'v1', 'ConfigMap', $namespace, 'none')): false
    - script: {content: sleep 60, timeout: 50ms, check: {($error != null): true}}
    - wait: {apiVersion: v1, kind: ConfigMap, name: a, for: {creation: {}}, format: json}
    - patch:
        subresource: status
        resource: {apiVersion: v1, kind: Namespace, metadata: {name: default}, status: {conditions: []}}
"#;
    let folder = folder(steps);
    let list = "kind: List\napiVersion: v1\nitems:\n\
        - &a {apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {of: list}}\n\
        - <<: *a\n  metadata: {name: b}\n";
    std::fs::write(folder.path().join("maps.list.yaml"), list).expect("a file");
    let loaded = scenario::load(folder.path()).expect("a scenario");
    assert_eq!(scenario::lint::lint(&loaded[0]), Vec::<String>::new());
    run_folder(folder.path(), |run| {
        assert_eq!(run.verdict, Verdict::Passed);
    });
}

#[test]
fn a_namespace_is_made_as_its_template_says() {
    let steps = r#"
  namespaceTemplate: {metadata: {name: shop, annotations: {of: "(join('-', ['a', $namespace]))"}}}
  steps:
  - name: one
    try:
    - assert:
        resource: {apiVersion: v1, kind: Namespace, metadata: {name: shop, annotations: {of: a-shop}}}
    - apply: {resource: {apiVersion: v1, kind: ConfigMap, metadata: {name: a}}}
    - assert: {resource: {apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: shop}}}
"#;
    run(steps, |run| assert_eq!(run.verdict, Verdict::Passed));
}

#[test]
fn a_test_of_chainsaw_s_merges_where_a_scenario_takes_fields_away() {
    let steps = r#"
  steps:
  - name: twice
    try:
    - apply: {resource: {apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {k: v, l: w}}}
    - apply: {resource: {apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {k: x}}}
    - assert: {resource: {apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {(length(@)): COUNT}}}
    - apply:
        resource: {apiVersion: v1, kind: ConfigMap, metadata: {name: b}, dta: {}}
        expect: [{check: {"(contains($error, 'dta'))": true}}]
"#;
    run(&steps.replace("COUNT", "1"), |run| {
        assert_eq!(run.verdict, Verdict::Passed);
    });
    let folder = tempfile::tempdir().expect("a folder");
    let head = "apiVersion: chainsaw.kyverno.io/v1alpha1\nkind: Test\nmetadata: {name: t}\nspec:\n";
    let text = format!("{head}{}", steps.replace("COUNT", "2"));
    std::fs::write(folder.path().join("chainsaw-test.yaml"), text).expect("a file");
    run_folder(folder.path(), |run| {
        assert_eq!(run.verdict, Verdict::Passed);
    });
}

#[test]
fn another_cluster_is_refused_before_anything_runs() {
    let folder = folder(
        "
  steps:
  - name: one
    cluster: other
    try:
    - script: {content: 'true', cluster: ''}
",
    );
    let loaded = scenario::load(folder.path()).expect("a scenario");
    let found = scenario::lint::lint(&loaded[0]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("a scenario has one cluster"), "{found:?}");
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
        assert!(why(run).contains("exit status 3"), "{}", why(run));
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
fn a_step_of_kuttls_may_be_a_folder_wait_for_commands_and_speak_of_objects_in_cel() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    };
    let map = |name: &str| {
        format!("{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}}}, data: {{k: v}}}}")
    };
    write("00-maps/a.yaml", &map("a"));
    write("00-maps/b.yaml", &map("b"));
    write("00-maps/assert.yaml", &map("b"));
    write("more/c.yaml", &map("c"));
    write(
        "01-more.yaml",
        "{apiVersion: kuttl.dev/v1beta1, kind: TestStep, metadata: {name: called}, apply: [more], \
         commands: [{command: kubectl version --client --output=name || true, ignoreFailure: true}]}",
    );
    write(
        "01-assert.yaml",
        "apiVersion: kuttl.dev/v1beta1
kind: TestAssert
timeout: 20
commands:
- script: test -e tried || { touch tried; exit 1; }
collectors:
- {selector: app=a, tail: 5}
resourceRefs:
- {apiVersion: v1, kind: ConfigMap, name: a, ref: first}
- {apiVersion: v1, kind: ConfigMap, name: c, ref: third}
assertAll:
- celExpr: first.data.k == third.data.k
assertAny:
- celExpr: first.metadata.name == 'z'
- celExpr: third.metadata.name == 'c'
",
    );
    run_folder(folder.path(), |run| {
        assert_eq!(run.verdict, Verdict::Passed);
        let names: Vec<_> = run.steps.iter().map(|step| step.name.as_str()).collect();
        assert_eq!(names, ["00-maps", "01-called"]);
        // Two maps and one that must be there.
        assert_eq!(run.steps[0].operations.len(), 3);
    });
    assert!(folder.path().join("tried").exists());
}

#[test]
fn what_kuttl_has_and_is_not_here_is_refused_by_name() {
    for (name, text, said) in [
        ("00-a.gotmpl.yaml", "{}", "templates of Go"),
        (
            "00-a.yaml",
            "{apiVersion: kuttl.dev/v1beta1, kind: TestFile, testRunSelector: {}}",
            "kuttl's TestFile is not there",
        ),
        (
            "00-a.yaml",
            "{apiVersion: kuttl.dev/v1beta1, kind: TestStep, kubeconfig: x}",
            "unknown field `kubeconfig`",
        ),
        (
            "00-a.yaml",
            "{apiVersion: v1, kind: TestStep}",
            "is of kuttl.dev/v1beta1",
        ),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join(name), text).expect("a file");
        let error = scenario::load(folder.path()).expect_err(said).to_string();
        assert!(error.contains(said), "{error}");
    }
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
