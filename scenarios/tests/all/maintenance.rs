//! What is done to an instance while it serves: backups on demand and on schedule, restore tests, upgrades,
//! looking after the password.

use std::time::Duration;

use harness::{Failure, conditions::Condition};
use k8s_openapi::api::{batch::v1::Job, core::v1::PersistentVolume};
use kube::ResourceExt as _;
use mysql_operator::{Settings, crd::MySQL};
use scenarios::{
    Lab,
    deploy::{CR, DATABASE, INSTANCE, PASSWORD},
    prove, prove_with,
};
use serde_json::json;

use crate::kept::eager;

async fn fill(lab: &Lab<'_>) -> Result<(), Failure> {
    let statements = [
        "CREATE TABLE kept (id int primary key)",
        "INSERT INTO kept VALUES (1), (2)",
    ];
    lab.write(INSTANCE, PASSWORD, DATABASE, &statements).await
}

async fn kept(lab: &Lab<'_>) -> Result<Vec<Vec<String>>, Failure> {
    lab.read(
        INSTANCE,
        PASSWORD,
        DATABASE,
        "SELECT id FROM kept ORDER BY id",
    )
    .await
}

#[test]
fn a_backup_that_is_asked_for_is_made_while_clients_work_and_can_be_tried_out() {
    prove(async |lab| {
        lab.create(CR).await?;
        fill(lab).await?;
        lab.annotate(INSTANCE, "otus.homework/backup-now", "1")
            .await?;
        let instance = lab.says(INSTANCE, "BackedUp", "True", "Verified").await?;
        let backup = instance
            .status
            .and_then(|status| status.last_backup)
            .ok_or("no lastBackup in the status")?;
        assert_eq!(backup.rows, Some(2));
        // No fence: clients go on writing.
        lab.write(
            INSTANCE,
            PASSWORD,
            DATABASE,
            &["INSERT INTO kept VALUES (3)"],
        )
        .await?;

        lab.annotate(INSTANCE, "otus.homework/restore-test", "1")
            .await?;
        let instance = lab
            .says(INSTANCE, "RestoreTested", "True", "Restorable")
            .await?;
        let test = instance
            .status
            .and_then(|status| status.restore_test)
            .ok_or("no restoreTest in the status")?;
        assert_eq!(test.generation.as_deref(), Some(backup.generation.as_str()));
        assert!(test.passed);
        assert_eq!(
            kept(lab).await?,
            [["1"], ["2"], ["3"]],
            "the test touched the instance"
        );
        Ok(())
    });
}

#[test]
fn backups_are_made_on_schedule_and_the_oldest_go() {
    let manifest = format!("{CR}  backup: {{schedule: '* * * * * *', keep: 2}}\n");
    prove_with(eager(), async |lab| {
        lab.create(&manifest).await?;
        fill(lab).await?;
        let third = Condition::holds("to have a third backup", |instance: &MySQL| {
            instance
                .status
                .as_ref()
                .and_then(|status| status.last_backup.as_ref())
                .is_some_and(|backup| backup.generation.starts_with("gen-000003-"))
        });
        lab.cluster()
            .wait(&lab.instances(), INSTANCE, third)
            .await?;
        let event = lab.event(INSTANCE, "BackupCompleted").await?;
        assert!(event.contains("verified"), "{event}");
        lab.delete(INSTANCE).await?;
        let job = lab
            .cluster()
            .namespaced::<Job>()
            .get(&format!("backup-{INSTANCE}-job"))
            .await?;
        assert!(job.status.is_some_and(|status| status.succeeded == Some(1)));
        lab.create(CR).await?;
        assert_eq!(kept(lab).await?, [["1"], ["2"]]);
        Ok(())
    });
}

#[test]
fn a_schedule_that_is_none_is_told_and_the_instance_serves() {
    let manifest = format!("{CR}  backup: {{schedule: every night}}\n");
    prove(async |lab| {
        lab.create(&manifest).await?;
        lab.says(INSTANCE, "BackedUp", "False", "InvalidSchedule")
            .await?;
        fill(lab).await
    });
}

#[test]
fn an_image_that_does_not_exist_leaves_the_old_server_running() {
    prove_with(eager(), async |lab| {
        lab.create(CR).await?;
        fill(lab).await?;
        let pod = lab.pod(INSTANCE).await?.uid();
        lab.patch(INSTANCE, json!({"spec": {"image": "no-such-image:1"}}))
            .await?;
        let refused =
            Condition::holds("to say that the image cannot be had", |instance: &MySQL| {
                instance
                    .status
                    .as_ref()
                    .and_then(|status| status.condition("Upgraded"))
                    .is_some_and(|said| {
                        said.status == "False"
                            && ["ErrImagePull", "ImagePullBackOff"].contains(&said.reason.as_str())
                    })
            });
        lab.cluster()
            .wait(&lab.instances(), INSTANCE, refused)
            .await?;
        assert_eq!(lab.pod(INSTANCE).await?.uid(), pod);
        assert_eq!(kept(lab).await?, [["1"], ["2"]]);
        lab.patch(INSTANCE, json!({"spec": {"image": "mysql:5.7"}}))
            .await?;
        lab.says(INSTANCE, "Upgraded", "True", "Current").await?;
        assert_eq!(lab.pod(INSTANCE).await?.uid(), pod);
        Ok(())
    });
}

#[test]
fn another_flavour_is_refused_and_the_old_server_goes_on() {
    prove_with(eager(), async |lab| {
        lab.create(CR).await?;
        fill(lab).await?;
        let pod = lab.pod(INSTANCE).await?.uid();
        lab.patch(INSTANCE, json!({"spec": {"image": "mariadb:10.11"}}))
            .await?;
        let instance = lab
            .says(INSTANCE, "Upgraded", "False", "DowngradeNotSupported")
            .await?;
        let ready = instance
            .status
            .as_ref()
            .and_then(|status| status.condition("Ready"));
        assert_eq!(ready.map(|ready| ready.status.as_str()), Some("True"));
        assert_eq!(lab.pod(INSTANCE).await?.uid(), pod);
        assert_eq!(kept(lab).await?, [["1"], ["2"]]);
        Ok(())
    });
}

#[test]
fn an_upgrade_is_backed_up_first_and_keeps_the_rows() {
    prove_with(eager(), async |lab| {
        lab.create(CR).await?;
        fill(lab).await?;
        let pod = lab.pod(INSTANCE).await?.uid();
        lab.patch(INSTANCE, json!({"spec": {"image": "mysql:8.0"}}))
            .await?;
        let instance = lab.says(INSTANCE, "Upgraded", "True", "Current").await?;
        let backup = instance
            .status
            .and_then(|status| status.last_backup)
            .ok_or("no backup was made before the upgrade")?;
        assert!(backup.generation.contains("upgrade-"), "{backup:?}");
        lab.ready(INSTANCE).await?;
        let new = lab.appearing_pod(INSTANCE).await?;
        assert_ne!(new.uid(), pod);
        let image = new
            .spec
            .and_then(|spec| spec.containers.first()?.image.clone());
        assert_eq!(image.as_deref(), Some("mysql:8.0"));
        assert_eq!(kept(lab).await?, [["1"], ["2"]]);
        Ok(())
    });
}

#[test]
fn a_password_that_somebody_changed_on_the_server_is_set_again() {
    let settings = Settings {
        password_check: Some(Duration::from_secs(1)),
        ..eager()
    };
    prove_with(settings, async |lab| {
        lab.create(CR).await?;
        let statements = ["ALTER USER root@'%' IDENTIFIED BY 'drifted'"];
        lab.write(INSTANCE, PASSWORD, DATABASE, &statements).await?;
        lab.event(INSTANCE, "PasswordRepaired").await?;
        lab.login(INSTANCE, PASSWORD, DATABASE)
            .await?
            .close()
            .await?;
        Ok(())
    });
}

#[test]
fn a_larger_size_is_on_the_volumes_and_a_smaller_one_is_refused() {
    prove(async |lab| {
        lab.create(CR).await?;
        lab.patch(INSTANCE, json!({"spec": {"storage_size": "2Gi"}}))
            .await?;
        let volumes = lab.cluster().all::<PersistentVolume>();
        for name in [format!("{INSTANCE}-pv"), format!("backup-{INSTANCE}-pv")] {
            let grown = Condition::holds("to have 2Gi", |volume: &PersistentVolume| {
                let capacity = volume.spec.as_ref().and_then(|spec| spec.capacity.as_ref());
                capacity.is_some_and(|capacity| capacity["storage"].0 == "2Gi")
            });
            lab.cluster().wait(&volumes, &name, grown).await?;
        }
        let refused = lab
            .patch(INSTANCE, json!({"spec": {"storage_size": "1Gi"}}))
            .await
            .err()
            .ok_or("a volume shrank")?;
        assert!(refused.to_string().contains("cannot shrink"), "{refused}");
        Ok(())
    });
}
