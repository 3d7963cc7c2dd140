//! Faults at an operator's requests: each strikes where it was told, is proved, and is survived by an
//! operator that works by levels.

use std::{path::Path, time::Duration};

use futures::{FutureExt as _, TryStreamExt as _, future::BoxFuture};
use harness::{
    Cluster, Failure,
    operator::Task,
    prove,
    scenario::{self, Run, Silent, Subject, Verdict},
};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client, ResourceExt as _,
    api::PostParams,
    runtime::watcher::{self, Event},
};
use tokio_util::sync::CancellationToken;

/// For each ConfigMap `wish` there shall be one that is called `granted`.
#[derive(Default)]
struct Granter(Option<Task>);

async fn grant(client: Client, stop: CancellationToken) -> Result<(), Failure> {
    let maps: Api<ConfigMap> = Api::default_namespaced(client);
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            // Whatever went wrong: look again from the beginning.
            outcome = until_trouble(&maps) => drop(outcome),
        }
    }
}

async fn until_trouble(maps: &Api<ConfigMap>) -> Result<(), Failure> {
    let config = watcher::Config::default().fields("metadata.name=wish");
    let mut events = Box::pin(watcher::watcher(maps.clone(), config));
    while let Some(event) = events.try_next().await? {
        if !matches!(event, Event::Apply(_) | Event::InitApply(_)) {
            continue;
        }
        let mut granted = ConfigMap::default();
        granted.metadata.name = Some("granted".to_owned());
        match maps.create(&PostParams::default(), &granted).await {
            Ok(map) => assert_eq!(map.name_any(), "granted"),
            Err(kube::Error::Api(status)) if status.is_already_exists() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

impl Subject for Granter {
    fn start<'a>(&'a mut self, cluster: &'a Cluster) -> BoxFuture<'a, Result<(), Failure>> {
        let client = cluster.client_of("operator");
        self.0 = Some(Task::start(async move |stop| grant(client, stop).await));
        std::future::ready(Ok(())).boxed()
    }

    fn stop(&mut self) -> BoxFuture<'_, Result<(), Failure>> {
        async {
            match self.0.take() {
                Some(task) => task.stop().await,
                None => Ok(()),
            }
        }
        .boxed()
    }

    fn kill(&mut self) -> BoxFuture<'_, Result<(), Failure>> {
        async {
            match self.0.take() {
                Some(task) => task.end().await,
                None => Err("it does not run".into()),
            }
        }
        .boxed()
    }
}

fn file(fault: &str, steps: &str) -> tempfile::TempDir {
    folder_of(&format!("    - fault: {fault}\n{steps}"))
}

/// A scenario of one step.
fn folder_of(operations: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let text = format!(
        "apiVersion: harness.otus.homework/v1alpha1
kind: Scenario
metadata: {{name: s}}
spec:
  steps:
  - name: disturb
    try:
{operations}"
    );
    std::fs::write(folder.path().join("scenario.yaml"), text).expect("a file");
    folder
}

/// The wish is granted although the fault struck.
const GRANTED: &str = "
    - apply: {resource: {apiVersion: v1, kind: ConfigMap, metadata: {name: wish}}}
    - faultsFired: all
    - assert: {resource: {apiVersion: v1, kind: ConfigMap, metadata: {name: granted}}}
";

#[track_caller]
fn run(fault: &str, steps: &str, look: impl FnOnce(&Run, &Cluster)) {
    run_until(0, fault, steps, look);
}

/// As [`run`]; looks only when the operator's journal has so many creations: an effect may be seen before
/// the answer is recorded.
#[track_caller]
fn run_until(creations: usize, fault: &str, steps: &str, look: impl FnOnce(&Run, &Cluster)) {
    let folder = file(fault, steps);
    run_folder(creations, folder.path(), look);
}

#[track_caller]
fn run_folder(creations: usize, folder: &Path, look: impl FnOnce(&Run, &Cluster)) {
    prove(async |cluster| {
        let loaded = scenario::load(folder)?;
        let loaded = loaded.first().ok_or("no scenario")?;
        assert_eq!(scenario::lint::lint(loaded), Vec::<String>::new());
        let mut granter = Granter::default();
        let run = scenario::run(loaded, cluster, &mut granter, &mut Silent).await;
        let recorded = async {
            while answers(cluster).len() < creations {
                tokio::task::yield_now().await;
            }
        };
        let in_time = tokio::time::timeout(Duration::from_secs(120), recorded).await;
        assert!(in_time.is_ok(), "recorded: {:?}", answers(cluster));
        look(&run, cluster);
        granter.stop().await
    });
}

/// What the operator was answered to its creations.
fn answers(cluster: &Cluster) -> Vec<Option<u16>> {
    let entries = cluster.journal().entries();
    let creations = entries.iter().filter(|entry| entry.method == "POST");
    creations.map(|entry| entry.status).collect()
}

/// What `faultsFired` showed.
fn proof(run: &Run) -> String {
    assert_eq!(run.verdict, Verdict::Passed);
    let operations = run.steps.iter().flat_map(|step| &step.operations);
    operations
        .filter(|operation| operation.action == "faultsFired")
        .filter_map(|operation| operation.output.clone())
        .collect()
}

const AT_THE_GRANT: &str = "verb: create, resource: configmaps, name: granted";

#[test]
fn a_request_that_gets_an_error_never_reaches_the_cluster_and_is_tried_again() {
    let fault = format!("{{error: 503, on: {{{AT_THE_GRANT}}}}}");
    run_until(2, &fault, GRANTED, |run, cluster| {
        let proof = proof(run);
        assert!(proof.contains("Error(503)"), "{proof}");
        assert!(
            proof.contains(
                "POST /api/v1/namespaces/default/configmaps, which the cluster never saw"
            ),
            "{proof}"
        );
        assert_eq!(answers(cluster), [Some(503), Some(201)]);
    });
}

#[test]
fn an_answer_that_is_lost_leaves_the_write_done() {
    let fault = format!("{{loseResponse: {{}}, on: {{{AT_THE_GRANT}}}}}");
    run_until(2, &fault, GRANTED, |run, cluster| {
        let proof = proof(run);
        assert!(proof.contains("which made revision "), "{proof}");
        // Done at first, so the second try finds it.
        assert_eq!(answers(cluster), [None, Some(409)]);
    });
}

#[test]
fn an_operator_that_crashes_after_its_write_is_started_again() {
    let fault = format!("{{crashOperator: {{}}, on: {{{AT_THE_GRANT}, when: afterCommit}}}}");
    run(&fault, GRANTED, |run, _| {
        let proof = proof(run);
        assert!(
            proof.contains("CrashOperator") && proof.contains("which made revision "),
            "{proof}"
        );
    });
}

#[test]
fn a_conflict_and_a_watch_that_is_too_old_are_survived() {
    let conflict = format!("{{conflict: {{}}, on: {{{AT_THE_GRANT}}}}}");
    run(&conflict, GRANTED, |run, _| {
        assert!(proof(run).contains("Conflict"));
    });
    // The first watch of the operator may have begun before the fault was armed; the one after an error
    // has not.
    let steps = format!("    - fault: {{error: 500, on: {{{AT_THE_GRANT}}}}}{GRANTED}");
    run(
        "{gone410: {}, on: {verb: watch, resource: configmaps}}",
        &steps,
        |run, _| {
            let proof = proof(run);
            assert!(
                proof.contains("Gone at ") && proof.contains("Error(500)"),
                "{proof}"
            );
        },
    );
}

#[test]
fn a_fault_strikes_at_the_request_of_its_number() {
    let fault = format!("{{error: 503, on: {{{AT_THE_GRANT}, occurrence: 2}}}}");
    let steps = format!("    - fault: {{error: 500, on: {{{AT_THE_GRANT}}}}}{GRANTED}");
    run_until(3, &fault, &steps, |run, cluster| {
        proof(run);
        assert_eq!(answers(cluster), [Some(500), Some(503), Some(201)]);
    });
}

#[test]
fn a_fault_that_does_not_fire_fails_the_scenario() {
    let never = "{error: 503, on: {verb: delete, resource: pods, name: '~^never-'}}";
    run(
        never,
        "    - script: {content: 'true'}\n",
        |run, _| match &run.verdict {
            Verdict::Failed(why) => {
                assert!(why.contains("a fault did not fire"), "{why}");
                assert!(why.contains("delete pods ~^never-: 0 of 1"), "{why}");
            }
            other => panic!("{other:?}"),
        },
    );
}

/// The operator's watch flows: it granted one wish already, and what it granted is taken away.
fn steps_in_a_stream(fault: &str) -> String {
    let map = |name: &str, data: &str| {
        format!("{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}}}, data: {{{data}}}}}")
    };
    format!(
        "    - apply: {{resource: {wish}}}
    - assert: {{resource: {granted}}}
    - fault: {fault}
    - delete: {{ref: {{apiVersion: v1, kind: ConfigMap, name: granted}}}}
    - apply: {{resource: {again}}}
    - apply: {{resource: {at_last}}}
    - faultsFired: all
    - assert: {{resource: {granted}}}
",
        wish = map("wish", ""),
        granted = "{apiVersion: v1, kind: ConfigMap, metadata: {name: granted}}",
        again = map("wish", "try: again"),
        at_last = map("wish", "try: 'at last'"),
    )
}

const WISH_EVENTS: &str = "on: {verb: watch, resource: configmaps, name: wish}";

#[test]
fn events_that_are_dropped_are_never_seen_and_made_up_for_by_a_list() {
    let fault = format!("{{dropEvents: {{count: 2}}, {WISH_EVENTS}}}");
    let folder = folder_of(&steps_in_a_stream(&fault));
    run_folder(2, folder.path(), |run, cluster| {
        let proof = proof(run);
        assert_eq!(
            proof.matches("MODIFIED configmaps wish").count(),
            2,
            "{proof}"
        );
        assert!(proof.contains("then its watch ended with 410"), "{proof}");
        // Two events, but one look at what came of them.
        assert_eq!(answers(cluster), [Some(201), Some(201)]);
    });
}

#[test]
fn a_watch_that_lags_tells_everything_later_and_in_order() {
    let fault = format!("{{lagWatch: {{by: 700ms}}, {WISH_EVENTS}}}");
    let folder = folder_of(&steps_in_a_stream(&fault));
    run_folder(0, folder.path(), |run, _| {
        let proof = proof(run);
        assert!(proof.contains("was told 700ms later"), "{proof}");
        let operations: Vec<_> = run.steps.iter().flat_map(|step| &step.operations).collect();
        let applied = operations.iter().filter(|one| one.action == "apply").nth(1);
        let seen = operations.iter().rev().find(|one| one.action == "assert");
        let (applied, seen) = (applied.expect("applied"), seen.expect("seen"));
        let took = (seen.began + seen.took).saturating_sub(applied.began);
        assert!(took >= Duration::from_millis(700), "{took:?}");
    });
}

const LEASE: &str =
    "{apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {name: leader}, spec: ";

#[test]
fn a_lease_is_taken_from_its_holder_also_at_a_request() {
    let held = format!(
        "    - apply: {{resource: {LEASE} {{holderIdentity: me, leaseDurationSeconds: 15}}}}}}\n"
    );
    let taken = format!(
        "    - assert: {{resource: {LEASE} {{holderIdentity: a-rival-of-the-scenario, leaseTransitions: 1}}}}}}\n"
    );
    let at_once = folder_of(&format!(
        "{held}    - fault: {{expireLease: {{name: leader}}}}\n{taken}"
    ));
    run_folder(0, at_once.path(), |run, _| {
        assert_eq!(run.verdict, Verdict::Passed);
        let output = run.steps[0].operations[1]
            .output
            .clone()
            .unwrap_or_default();
        assert!(
            output.contains("taken from me, which made revision"),
            "{output}"
        );
    });
    let at_a_request = folder_of(&format!(
        "{held}    - fault: {{expireLease: {{name: leader}}, on: {{{AT_THE_GRANT}, when: afterCommit}}}}\n{GRANTED}{taken}"
    ));
    run_folder(0, at_a_request.path(), |run, _| {
        assert!(proof(run).contains("taken from me"), "{}", proof(run));
    });
    let free = folder_of(
        "    - apply: {resource: {apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {name: leader}}}\n    - fault: {expireLease: {name: leader}}\n",
    );
    run_folder(0, free.path(), |run, _| match &run.verdict {
        Verdict::Failed(why) => assert!(why.contains("nobody holds the Lease leader"), "{why}"),
        other => panic!("{other:?}"),
    });
}

#[test]
fn faults_that_make_no_sense_or_are_not_there_are_refused_before_anything_runs() {
    for (fault, said) in [
        ("{advanceTime: {by: 5s}}", "cannot be moved"),
        (
            "{lagWatch: {by: 5s}}",
            "at which request of the operator: `on`",
        ),
        (
            "{lagWatch: {by: soon}, on: {verb: watch}}",
            "\"soon\" is no duration",
        ),
        (
            "{dropEvents: {}, on: {verb: get}}",
            "it strikes at events of a watch",
        ),
        (
            "{dropEvents: {count: 0}, on: {verb: watch}}",
            "counted from 1",
        ),
        ("{expireLease: {}}", "say which Lease"),
        ("{error: 503}", "at which request of the operator: `on`"),
        ("{error: 503, on: {verb: push}}", "\"push\" is no verb"),
        ("{error: 200, on: {verb: get}}", "from 400 to 599"),
        ("{gone410: {}, on: {verb: get}}", "is for `verb: watch`"),
        (
            "{crashOperator: {}, on: {verb: watch, when: afterCommit}}",
            "`afterCommit` is for writes",
        ),
        (
            "{conflict: {}, on: {name: '~('}}",
            "is no regular expression",
        ),
        ("{forgetHistory: {}, on: {}}", "happens at once"),
    ] {
        let folder = file(fault, "");
        let loaded = scenario::load(folder.path()).expect("it can be read");
        let found = scenario::lint::lint(&loaded[0]).join("\n");
        assert!(found.contains(said), "{fault}: {found:?}");
    }
}
