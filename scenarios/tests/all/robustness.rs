//! Crashes, races and interruptions: what was acknowledged stays, and everything comes to an end.

use std::time::Duration;

use harness::{conditions, sql::Session};
use k8s_openapi::api::{
    apps::v1::Deployment,
    batch::v1::Job,
    core::v1::{Namespace, Pod},
    discovery::v1::EndpointSlice,
};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, PostParams},
    runtime::watcher,
};
use mysql_operator::{Settings, crd::MySQL};
use rstest::rstest;
use scenarios::{
    deploy::{CR, CR_PASSWD, DATABASE, INSTANCE, NEW_PASSWORD, PASSWORD},
    prove, prove_with, shell, watching,
};
use serde_json::json;

use crate::kept::{eager, fill, rows_are_back};

/// Writes until the server refuses; gives how many rows it acknowledged.
async fn write_until_refused(mut session: Session) -> u64 {
    let mut acknowledged = 0;
    while session
        .execute("INSERT INTO written (at) VALUES (now())")
        .await
        .is_ok()
    {
        acknowledged += 1;
    }
    acknowledged
}

#[rstest]
#[case::mysql("mysql:5.7")]
#[case::mariadb("mariadb:10.11")]
fn every_row_that_was_acknowledged_before_the_deletion_comes_back(#[case] image: &str) {
    let manifest = CR.replace("mysql:5.7", image);
    prove(async |lab| {
        lab.create(&manifest).await?;
        let table = "CREATE TABLE written (id int primary key auto_increment, at datetime)";
        lab.write(INSTANCE, PASSWORD, DATABASE, &[table]).await?;
        let session = lab.login(INSTANCE, PASSWORD, DATABASE).await?;
        let (acknowledged, deleted) =
            tokio::join!(write_until_refused(session), lab.delete(INSTANCE));
        deleted?;
        assert!(acknowledged > 0, "nothing was written");
        lab.create(&manifest).await?;
        let rows = lab
            .read(INSTANCE, PASSWORD, DATABASE, "SELECT count(*) FROM written")
            .await?;
        let there: u64 = rows[0][0].parse()?;
        // The last one may have been written and its acknowledgement lost with the connection.
        assert!(
            there == acknowledged || there == acknowledged + 1,
            "{acknowledged} rows were acknowledged, {there} are there"
        );
        Ok(())
    });
}

#[test]
fn no_service_leads_to_the_server_before_its_rows_are_back() {
    prove(async |lab| {
        lab.create(CR).await?;
        fill(lab).await?;
        lab.delete(INSTANCE).await?;
        lab.cluster().apply(CR).await?;
        let slices: Api<EndpointSlice> = lab.cluster().namespaced();
        let config =
            watcher::Config::default().labels(&format!("kubernetes.io/service-name={INSTANCE}"));
        watching::until(slices, config, "an endpoint that is ready", |slices| {
            let mut endpoints = slices
                .values()
                .flat_map(|slice| slice.endpoints.iter().flatten());
            endpoints
                .any(|endpoint| {
                    let conditions = endpoint.conditions.clone().unwrap_or_default();
                    conditions.ready == Some(true)
                })
                .then_some(())
        })
        .await?;
        rows_are_back(lab, PASSWORD).await
    });
}

#[test]
fn an_initialisation_that_was_interrupted_is_begun_again() {
    prove_with(eager(), async |lab| {
        lab.stop_operator().await?;
        lab.start_operator();
        lab.cluster().apply(CR).await?;
        let pod = lab.appearing_pod(INSTANCE).await?;
        // The server comes up, and nobody fills it.
        lab.end_operator().await?;
        let jobs: Api<Job> = lab.cluster().namespaced();
        let job = format!("restore-{INSTANCE}-job");
        if jobs.get_opt(&job).await?.is_some() {
            jobs.delete(&job, &DeleteParams::foreground()).await?;
        }
        lab.cluster()
            .wait(&jobs, &job, conditions::absent())
            .await?;
        let name = pod.name_any();
        let pods: Api<Pod> = lab.cluster().namespaced();
        let initialised = conditions::Condition::holds("to answer", |pod: &Pod| {
            let statuses = pod
                .status
                .as_ref()
                .and_then(|status| status.container_statuses.clone());
            statuses
                .unwrap_or_default()
                .iter()
                .any(|status| status.ready)
        });
        lab.cluster().wait(&pods, &name, initialised).await?;
        let script = "touch /var/lib/mysql/half-made; rm /var/lib/mysql-operator-state/initialized; kill -TERM 1";
        shell::exec(&pods, &name, "mysql", &["bash", "-c", script]).await?;
        let restarted = conditions::Condition::holds("to have been restarted", |pod: &Pod| {
            let statuses = pod
                .status
                .as_ref()
                .and_then(|status| status.container_statuses.clone());
            statuses
                .unwrap_or_default()
                .iter()
                .any(|status| status.restart_count > 0)
        });
        lab.cluster().wait(&pods, &name, restarted).await?;
        lab.start_operator();
        lab.ready(INSTANCE).await?;
        let new = lab.pod(INSTANCE).await?.name_any();
        assert_ne!(new, name, "the pod was not replaced");
        let left = shell::exec(&pods, &new, "mysql", &["ls", "/var/lib/mysql"]).await?;
        assert!(!left.text.contains("half-made"), "{}", left.text);
        fill(lab).await
    });
}

#[test]
fn a_server_that_is_away_at_the_deletion_is_brought_back_for_its_backup() {
    prove(async |lab| {
        lab.create(CR).await?;
        fill(lab).await?;
        lab.stop_operator().await?;
        let deployments: Api<Deployment> = lab.cluster().namespaced();
        deployments
            .delete(INSTANCE, &DeleteParams::foreground())
            .await?;
        lab.cluster()
            .wait(&deployments, INSTANCE, conditions::absent())
            .await?;
        lab.instances()
            .delete(INSTANCE, &DeleteParams::default())
            .await?;
        lab.start_operator();
        lab.cluster()
            .wait(&lab.instances(), INSTANCE, conditions::absent())
            .await?;
        lab.create(CR).await?;
        rows_are_back(lab, PASSWORD).await
    });
}

#[test]
fn the_last_of_several_quick_password_changes_holds() {
    let third = CR.replace(PASSWORD, "the-third");
    prove(async |lab| {
        lab.create(CR).await?;
        lab.cluster().apply(CR_PASSWD).await?;
        lab.cluster().apply(&third).await?;
        lab.ready(INSTANCE).await?;
        let session = lab.login(INSTANCE, "the-third", DATABASE).await?;
        session.close().await?;
        scenarios::verification::refused(lab, PASSWORD).await?;
        scenarios::verification::refused(lab, NEW_PASSWORD).await
    });
}

#[test]
fn a_password_may_come_from_a_secret_and_follows_it() {
    let manifest = CR.replace(
        &format!("password: {PASSWORD}"),
        "passwordSecretRef: {name: mine, key: word}",
    );
    let settings = Settings {
        secret_poll: Duration::from_secs(1),
        ..eager()
    };
    prove_with(settings, async |lab| {
        lab.cluster().apply(&manifest).await?;
        lab.says(INSTANCE, "Ready", "False", "SecretNotFound")
            .await?;
        let secret = |word: &str| {
            format!(
                "{{apiVersion: v1, kind: Secret, metadata: {{name: mine}}, stringData: {{word: {word}}}}}"
            )
        };
        lab.cluster().apply(&secret("first-word")).await?;
        lab.ready(INSTANCE).await?;
        let session = lab.login(INSTANCE, "first-word", DATABASE).await?;
        session.close().await?;
        lab.cluster().apply(&secret("second-word")).await?;
        lab.event(INSTANCE, "PasswordChanged").await?;
        let session = lab.login(INSTANCE, "second-word", DATABASE).await?;
        session.close().await?;
        scenarios::verification::refused(lab, "first-word").await
    });
}

#[test]
fn namesakes_in_two_namespaces_have_volumes_backups_and_rows_of_their_own() {
    let other = CR.replace("metadata:\n", "metadata:\n  namespace: other\n");
    prove(async |lab| {
        let namespaces: Api<Namespace> = lab.cluster().all();
        let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": "other"}}))?;
        namespaces
            .create(&PostParams::default(), &namespace)
            .await?;
        lab.cluster().apply(CR).await?;
        lab.cluster().apply(&other).await?;
        lab.ready(INSTANCE).await?;
        let theirs: Api<MySQL> = Api::namespaced(lab.cluster().client(), "other");
        lab.cluster()
            .wait(&theirs, INSTANCE, scenarios::lab::instance_ready())
            .await?;
        fill(lab).await?;
        lab.delete(INSTANCE).await?;
        theirs.delete(INSTANCE, &DeleteParams::default()).await?;
        lab.cluster()
            .wait(&theirs, INSTANCE, conditions::absent())
            .await?;
        lab.create(CR).await?;
        rows_are_back(lab, PASSWORD).await?;
        lab.cluster().apply(&other).await?;
        let again = lab
            .cluster()
            .wait(&theirs, INSTANCE, scenarios::lab::instance_ready())
            .await?
            .ok_or("it is gone")?;
        let restored = again
            .status
            .as_ref()
            .and_then(|status| status.condition("Restored"))
            .map(|restored| restored.reason.clone());
        assert_eq!(restored.as_deref(), Some("RestoredEmpty"));
        Ok(())
    });
}

#[test]
fn an_operator_that_crashes_again_and_again_loses_nothing() {
    prove_with(eager(), async |lab| {
        lab.cluster().apply(CR).await?;
        // At whatever step it is: the pod appears, the Job appears, the instance is ready.
        lab.appearing_pod(INSTANCE).await?;
        lab.end_operator().await?;
        lab.start_operator();
        let jobs: Api<Job> = lab.cluster().namespaced();
        lab.cluster()
            .wait(
                &jobs,
                &format!("restore-{INSTANCE}-job"),
                conditions::exists(),
            )
            .await?;
        lab.end_operator().await?;
        lab.start_operator();
        lab.ready(INSTANCE).await?;
        fill(lab).await?;
        lab.instances()
            .delete(INSTANCE, &DeleteParams::default())
            .await?;
        lab.cluster()
            .wait(
                &jobs,
                &format!("backup-{INSTANCE}-job"),
                conditions::exists(),
            )
            .await?;
        lab.end_operator().await?;
        lab.start_operator();
        lab.cluster()
            .wait(
                &jobs,
                &format!("backup-{INSTANCE}-job"),
                conditions::job_complete(),
            )
            .await?;
        lab.end_operator().await?;
        lab.start_operator();
        lab.cluster()
            .wait(&lab.instances(), INSTANCE, conditions::absent())
            .await?;
        lab.create(CR).await?;
        rows_are_back(lab, PASSWORD).await
    });
}
