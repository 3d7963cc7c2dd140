//! Deleting an instance: nothing goes without a backup, unless people say so.

use std::time::Duration;

use harness::conditions;
use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{Namespace, PersistentVolume, PersistentVolumeClaim, Service},
};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams, PostParams, PropagationPolicy},
};
use mysql_operator::{Settings, crd::MySQL};
use rstest::rstest;
use scenarios::{
    deploy::{CR, CR_PASSWD, DATABASE, INSTANCE, NEW_PASSWORD, PASSWORD},
    prove, prove_with,
};
use serde_json::json;

use crate::kept::{
    begin, begin_to_delete, eager, fill, gone, next_life_has_the_row, prove_kept, prove_kept_with,
    rows_are_back,
};

#[rstest]
#[case::background(PropagationPolicy::Background)]
#[case::foreground(PropagationPolicy::Foreground)]
#[case::orphan(PropagationPolicy::Orphan)]
fn a_deletion_is_backed_up_whatever_the_cascade(#[case] cascade: PropagationPolicy) {
    prove_kept(async |lab| {
        let parameters = DeleteParams {
            propagation_policy: Some(cascade),
            ..DeleteParams::default()
        };
        lab.instances().delete(INSTANCE, &parameters).await?;
        gone(lab).await
    });
}

#[test]
fn a_failed_backup_blocks_the_deletion_and_removing_its_job_is_no_success() {
    prove_kept_with(eager(), async |lab| {
        let statements =
            format!("RENAME TABLE kept TO mysql.kept_elsewhere; DROP DATABASE `{DATABASE}`");
        let mut session = lab.login(INSTANCE, PASSWORD, DATABASE).await?;
        for statement in statements.split("; ") {
            session.execute(statement).await?;
        }
        session.close().await?;
        begin_to_delete(lab).await?;
        let blocked = lab
            .says(INSTANCE, "Ready", "False", "DeletionBlocked")
            .await?;
        let condition = |type_| {
            let status = blocked.status.as_ref()?;
            status.condition(type_)
        };
        let ready = condition("Ready").ok_or("no condition Ready")?;
        assert!(ready.message.contains("skip-final-backup"), "{ready:?}");
        let backup = condition("FinalBackup").ok_or("no condition FinalBackup")?;
        assert_eq!(backup.reason, "DatabaseMissing");

        // What people did with the old operator, and what cost them their data.
        let jobs: Api<Job> = lab.cluster().namespaced();
        let name = format!("backup-{INSTANCE}-job");
        let first = lab.cluster().wait(&jobs, &name, conditions::exists());
        let first = first.await?.ok_or("the Job is gone")?.uid();
        match jobs.delete(&name, &DeleteParams::background()).await {
            // The operator, which tries again, was faster.
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            removed => drop(removed?),
        }
        let another =
            conditions::Condition::holds("to be another one", move |job: &Job| job.uid() != first);
        lab.cluster().wait(&jobs, &name, another).await?;
        assert!(lab.instances().get_opt(INSTANCE).await?.is_some());

        // The fence is down while the deletion is blocked: people can repair what is wrong. That takes two
        // statements, between which no attempt shall begin.
        lab.stop_operator().await?;
        let over = conditions::Condition::holds("to have failed", |job: &Job| {
            let conditions = job.status.as_ref().and_then(|all| all.conditions.as_ref());
            conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Failed"))
        });
        if jobs.get_opt(&name).await?.is_some() {
            lab.cluster().wait(&jobs, &name, over).await?;
        }
        let mut session = lab.login(INSTANCE, PASSWORD, "mysql").await?;
        for statement in [
            format!("CREATE DATABASE `{DATABASE}`"),
            format!("RENAME TABLE mysql.kept_elsewhere TO `{DATABASE}`.kept"),
        ] {
            session.execute(&statement).await?;
        }
        session.close().await?;
        lab.start_operator();
        gone(lab).await
    });
}

#[test]
fn an_instance_that_was_never_ready_goes_without_a_backup() {
    let manifest = CR.replace("mysql:5.7", "no-such-image:1");
    prove(async |lab| {
        lab.cluster().apply(&manifest).await?;
        let waiting = conditions::Condition::holds("to say why it waits", |instance: &MySQL| {
            instance
                .status
                .as_ref()
                .and_then(|status| status.condition("Ready"))
                .is_some_and(|ready| {
                    ["ErrImagePull", "ImagePullBackOff"].contains(&ready.reason.as_str())
                })
        });
        lab.cluster()
            .wait(&lab.instances(), INSTANCE, waiting)
            .await?;
        lab.delete(INSTANCE).await?;
        lab.event(INSTANCE, "FinalBackupSkipped").await?;
        let jobs: Api<Job> = lab.cluster().namespaced();
        assert!(
            jobs.get_opt(&format!("backup-{INSTANCE}-job"))
                .await?
                .is_none()
        );
        Ok(())
    });
}

#[test]
fn deletion_policy_retain_keeps_the_data_and_the_next_life_finds_them() {
    let manifest = format!("{CR}  deletionPolicy: Retain\n");
    prove(async |lab| {
        lab.create(&manifest).await?;
        fill(lab).await?;
        lab.delete(INSTANCE).await?;
        let claims: Api<PersistentVolumeClaim> = lab.cluster().namespaced();
        claims.get(&format!("{INSTANCE}-pvc")).await?;
        let services: Api<Service> = lab.cluster().namespaced();
        assert!(services.get_opt(INSTANCE).await?.is_none());
        lab.create(&manifest).await?;
        rows_are_back(lab, PASSWORD).await
    });
}

#[test]
fn deletion_policy_delete_removes_everything_and_the_next_life_is_empty() {
    let manifest = format!("{CR}  deletionPolicy: Delete\n");
    prove(async |lab| {
        lab.create(&manifest).await?;
        fill(lab).await?;
        lab.delete(INSTANCE).await?;
        let claims: Api<PersistentVolumeClaim> = lab.cluster().namespaced();
        assert!(claims.get_opt(&format!("{INSTANCE}-pvc")).await?.is_none());
        lab.create(&manifest).await?;
        let tables = lab
            .read(INSTANCE, PASSWORD, DATABASE, "SHOW TABLES")
            .await?;
        assert!(tables.is_empty(), "data of a deleted life: {tables:?}");
        Ok(())
    });
}

#[test]
fn a_server_that_cannot_be_backed_up_goes_by_explicit_wish_and_its_data_stay() {
    prove_with(eager(), async |lab| {
        begin(lab).await?;
        let mut session = lab.login(INSTANCE, PASSWORD, DATABASE).await?;
        session.execute("RENAME TABLE kept TO mysql.kept").await?;
        session
            .execute(&format!("DROP DATABASE `{DATABASE}`"))
            .await?;
        session.close().await?;
        begin_to_delete(lab).await?;
        lab.says(INSTANCE, "FinalBackup", "False", "DatabaseMissing")
            .await?;
        lab.annotate(INSTANCE, "otus.homework/skip-final-backup", "true")
            .await?;
        gone(lab).await?;
        let claims: Api<PersistentVolumeClaim> = lab.cluster().namespaced();
        claims.get(&format!("{INSTANCE}-pvc")).await?;
        Ok(())
    });
}

#[test]
fn a_namespace_that_is_deleted_finishes_although_no_backup_is_possible() {
    let manifest = CR.replace(
        "kind: MySQL\nmetadata:\n",
        "kind: MySQL\nmetadata:\n  namespace: going\n",
    );
    assert!(manifest.contains("going"));
    prove(async |lab| {
        let namespaces: Api<Namespace> = lab.cluster().all();
        let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": "going"}}))?;
        namespaces
            .create(&PostParams::default(), &namespace)
            .await?;
        lab.cluster().apply(&manifest).await?;
        let instances: Api<MySQL> = Api::namespaced(lab.cluster().client(), "going");
        lab.cluster()
            .wait(&instances, INSTANCE, scenarios::lab::instance_ready())
            .await?;
        namespaces.delete("going", &DeleteParams::default()).await?;
        lab.cluster()
            .wait(&namespaces, "going", conditions::absent())
            .await?;
        Ok(())
    });
}

#[test]
fn a_password_that_was_wished_for_and_not_applied_does_not_disturb_the_backup() {
    prove(async |lab| {
        begin(lab).await?;
        lab.stop_operator().await?;
        lab.cluster().apply(CR_PASSWD).await?;
        begin_to_delete(lab).await?;
        // Applying again only changes the resource that is going.
        lab.cluster().apply(CR_PASSWD).await?;
        lab.start_operator();
        gone(lab).await?;
        lab.create(CR_PASSWD).await?;
        rows_are_back(lab, NEW_PASSWORD).await
    });
}

#[test]
fn a_resource_whose_finalizer_was_stripped_leaves_its_data_to_the_next_life() {
    prove(async |lab| {
        lab.exceptions.push("I8");
        begin(lab).await?;
        lab.stop_operator().await?;
        begin_to_delete(lab).await?;
        let strip = Patch::Merge(json!({"metadata": {"finalizers": null}}));
        // The resource goes with its last finalizer.
        lab.instances()
            .patch(INSTANCE, &PatchParams::default(), &strip)
            .await?;
        gone(lab).await?;
        lab.start_operator();
        next_life_has_the_row(lab).await
    });
}

#[test]
fn an_operator_removed_together_with_its_resources_finishes_their_deletion_first() {
    // How long a busy machine takes for the last backup is not what is asked here.
    let patient = Settings {
        shutdown_grace: Duration::from_mins(5),
        ..Settings::default()
    };
    prove_with(patient, async |lab| {
        begin(lab).await?;
        begin_to_delete(lab).await?;
        let dying = conditions::Condition::holds("to be going", |instance: &MySQL| {
            instance
                .status
                .as_ref()
                .is_some_and(|status| status.phase == Some(mysql_operator::crd::Phase::Deleting))
        });
        lab.cluster()
            .wait(&lab.instances(), INSTANCE, dying)
            .await?;
        lab.stop_operator().await?;
        assert!(
            lab.instances().get_opt(INSTANCE).await?.is_none(),
            "the operator ended and left a resource that nobody lets go"
        );
        Ok(())
    });
}

#[test]
fn finalizers_of_others_are_left_alone() {
    prove(async |lab| {
        lab.create(CR).await?;
        let theirs = "example.com/theirs";
        let add = Patch::Json::<()>(serde_json::from_value(json!([
            {"op": "add", "path": "/metadata/finalizers/0", "value": theirs},
        ]))?);
        lab.instances()
            .patch(INSTANCE, &PatchParams::default(), &add)
            .await?;
        begin_to_delete(lab).await?;
        let only_theirs =
            conditions::Condition::holds("to be kept by others only", move |instance: &MySQL| {
                instance.finalizers() == [theirs.to_owned()]
            });
        lab.cluster()
            .wait(&lab.instances(), INSTANCE, only_theirs)
            .await?;
        let volumes: Api<PersistentVolume> = lab.cluster().all();
        assert!(volumes.get_opt(&format!("{INSTANCE}-pv")).await?.is_none());
        let strip = Patch::Merge(json!({"metadata": {"finalizers": null}}));
        lab.instances()
            .patch(INSTANCE, &PatchParams::default(), &strip)
            .await?;
        gone(lab).await
    });
}
