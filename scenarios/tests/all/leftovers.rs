//! What earlier lives, earlier operators and other people leave behind, and what a new life makes of it.

use harness::conditions;
use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{PersistentVolume, PersistentVolumeClaim, Service},
    storage::v1::StorageClass,
};
use kube::{
    Api, ResourceExt as _,
    api::{Patch, PatchParams, PostParams},
};
use scenarios::{
    deploy::{CR, CR_PASSWD, DATABASE, INSTANCE, NEW_PASSWORD, PASSWORD},
    helper_pod, prove, prove_with,
};
use serde_json::json;

use crate::kept::{
    begin, begin_to_delete, eager, gone, next_life_has_the_row, prove_kept, rows_are_back,
};

#[test]
fn an_instance_applied_in_the_moment_after_its_deletion_comes_up_with_its_rows() {
    prove_kept(async |lab| {
        begin_to_delete(lab).await?;
        gone(lab).await
    });
}

#[test]
fn a_new_life_may_have_another_password() {
    prove(async |lab| {
        begin(lab).await?;
        lab.delete(INSTANCE).await?;
        lab.create(CR_PASSWD).await?;
        rows_are_back(lab, NEW_PASSWORD).await?;
        scenarios::verification::refused(lab, PASSWORD).await
    });
}

#[test]
fn the_first_life_needs_no_dump_and_its_restore_job_succeeds_at_once() {
    prove(async |lab| {
        lab.create(CR).await?;
        let jobs: Api<Job> = lab.cluster().namespaced();
        let job = jobs.get(&format!("restore-{INSTANCE}-job")).await?;
        let status = job.status.unwrap_or_default();
        assert_eq!((status.succeeded, status.failed.unwrap_or(0)), (Some(1), 0));
        let instance = lab.instances().get(INSTANCE).await?;
        let restored = instance
            .status
            .as_ref()
            .and_then(|status| status.condition("Restored"))
            .map(|restored| restored.reason.clone());
        assert_eq!(restored.as_deref(), Some("NoBackup"));
        Ok(())
    });
}

#[test]
fn a_restore_job_left_by_somebody_else_does_not_count_as_a_restore() {
    prove_kept(async |lab| {
        lab.delete(INSTANCE).await?;
        let jobs: Api<Job> = lab.cluster().namespaced();
        let name = format!("restore-{INSTANCE}-job");
        let leftover: Job = serde_json::from_value(json!({
            "metadata": {"name": name},
            "spec": {"template": {"spec": {
                "restartPolicy": "Never",
                "containers": [{"name": "old", "image": "busybox", "command": ["true"]}],
            }}},
        }))?;
        jobs.create(&PostParams::default(), &leftover).await?;
        lab.cluster()
            .wait(&jobs, &name, conditions::job_complete())
            .await?;
        Ok(())
    });
}

#[test]
fn a_damaged_backup_is_not_restored_and_the_way_out_is_told() {
    prove_with(eager(), async |lab| {
        begin(lab).await?;
        lab.delete(INSTANCE).await?;
        let claim = format!("backup-{INSTANCE}-pvc");
        let cut = "cd /volume/gen-*; cp dump.sql.gz whole; head -c 100 whole > dump.sql.gz";
        helper_pod::run(lab, &claim, cut).await?;
        lab.cluster().apply(CR).await?;
        lab.says(INSTANCE, "Restored", "False", "ChecksumMismatch")
            .await?;
        let pod = lab.pod(INSTANCE).await?;
        let ready = pod
            .status
            .and_then(|status| status.conditions)
            .unwrap_or_default()
            .into_iter()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True");
        assert!(!ready, "clients are let in to an empty database");
        helper_pod::run(lab, &claim, "cd /volume/gen-*; mv whole dump.sql.gz").await?;
        lab.ready(INSTANCE).await?;
        rows_are_back(lab, PASSWORD).await
    });
}

#[test]
fn a_backup_that_is_known_to_have_existed_and_is_gone_blocks_instead_of_coming_up_empty() {
    prove_with(eager(), async |lab| {
        begin(lab).await?;
        lab.delete(INSTANCE).await?;
        let claim = format!("backup-{INSTANCE}-pvc");
        helper_pod::run(
            lab,
            &claim,
            "mkdir /volume/away; mv /volume/gen-* /volume/away",
        )
        .await?;
        lab.cluster().apply(CR).await?;
        lab.says(INSTANCE, "Restored", "False", "BackupExpectedButMissing")
            .await?;
        helper_pod::run(lab, &claim, "mv /volume/away/* /volume").await?;
        lab.ready(INSTANCE).await?;
        rows_are_back(lab, PASSWORD).await
    });
}

#[test]
fn a_backup_of_another_database_is_restored_only_by_wish() {
    let other = CR.replace(DATABASE, "another");
    prove_with(eager(), async |lab| {
        begin(lab).await?;
        lab.delete(INSTANCE).await?;
        lab.cluster().apply(&other).await?;
        lab.says(INSTANCE, "Restored", "False", "DatabaseMismatch")
            .await?;
        lab.annotate(INSTANCE, "otus.homework/restore-as", DATABASE)
            .await?;
        lab.ready(INSTANCE).await?;
        let rows = lab
            .read(INSTANCE, PASSWORD, "another", "SELECT id FROM kept")
            .await?;
        assert_eq!(rows, [["7"]]);
        Ok(())
    });
}

#[test]
fn a_default_storage_class_does_not_take_the_claims_away_from_their_volumes() {
    prove(async |lab| {
        let classes: Api<StorageClass> = lab.cluster().all();
        let class: StorageClass = serde_json::from_value(json!({
            "metadata": {
                "name": "tempting",
                "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
            },
            "provisioner": "example.com/none",
        }))?;
        classes.create(&PostParams::default(), &class).await?;
        lab.create(CR).await?;
        let claims: Api<PersistentVolumeClaim> = lab.cluster().namespaced();
        for (claim, volume) in [
            (format!("{INSTANCE}-pvc"), format!("{INSTANCE}-pv")),
            (
                format!("backup-{INSTANCE}-pvc"),
                format!("backup-{INSTANCE}-pv"),
            ),
        ] {
            let bound = claims
                .get(&claim)
                .await?
                .spec
                .and_then(|spec| spec.volume_name);
            assert_eq!(bound, Some(volume));
        }
        Ok(())
    });
}

#[test]
fn an_object_of_somebody_else_is_not_taken_over_without_being_told_to() {
    prove_with(eager(), async |lab| {
        let services: Api<Service> = lab.cluster().namespaced();
        let foreign: Service = serde_json::from_value(json!({
            "metadata": {"name": INSTANCE, "labels": {"of": "somebody"}},
            "spec": {"clusterIP": "None", "ports": [{"name": "theirs", "port": 1}]},
        }))?;
        services.create(&PostParams::default(), &foreign).await?;
        lab.cluster().apply(CR).await?;
        let refused = lab.says(INSTANCE, "Ready", "False", "NameConflict").await?;
        let message = &refused
            .status
            .as_ref()
            .and_then(|status| status.condition("Ready"))
            .ok_or("no condition")?
            .message;
        assert!(message.contains("otus.homework/adopt"), "{message}");
        assert_eq!(services.get(INSTANCE).await?.labels()["of"], "somebody");
        lab.annotate(INSTANCE, "otus.homework/adopt", "true")
            .await?;
        lab.ready(INSTANCE).await?;
        Ok(())
    });
}

fn no_child<K: kube::Resource<DynamicType = ()> + 'static>() -> conditions::Condition<K> {
    conditions::Condition::holds("to be no child of the resource", |object: &K| {
        object
            .meta()
            .owner_references
            .as_ref()
            .is_none_or(Vec::is_empty)
    })
}

#[test]
fn an_instance_left_by_the_old_operator_is_taken_over_with_its_rows() {
    prove(async |lab| {
        // As the old operator leaves it: our own instance, with its marks in place of ours.
        begin(lab).await?;
        lab.stop_operator().await?;
        let instances = lab.instances();
        let uid = instances.get(INSTANCE).await?.uid().unwrap_or_default();
        let marks = Patch::Merge(json!({"metadata": {
            "finalizers": ["kopf.zalando.org/KopfFinalizerMarker"],
            "annotations": {"kopf.zalando.org/last-handled-configuration": "{\"spec\": {\"password\": \"otuspassword\"}}"},
        }, "status": null}));
        instances
            .patch(INSTANCE, &PatchParams::default(), &marks)
            .await?;
        let owner = json!([{
            "apiVersion": "otus.homework/v1", "kind": "MySQL", "name": INSTANCE, "uid": uid,
            "controller": true, "blockOwnerDeletion": true,
        }]);
        let as_child = Patch::Merge(json!({"metadata": {"ownerReferences": owner}}));
        let parameters = PatchParams::default();
        let services: Api<Service> = lab.cluster().namespaced();
        services.patch(INSTANCE, &parameters, &as_child).await?;
        let claims: Api<PersistentVolumeClaim> = lab.cluster().namespaced();
        let claim = format!("{INSTANCE}-pvc");
        claims.patch(&claim, &parameters, &as_child).await?;

        lab.start_operator();
        let taken = conditions::Condition::holds(
            "to have our finalizer and no mark of the old operator",
            |instance: &mysql_operator::crd::MySQL| {
                let finalizers = instance.finalizers();
                finalizers
                    .iter()
                    .any(|name| name.starts_with("otus.homework/"))
                    && !finalizers.iter().any(|name| name.contains("kopf"))
                    && !instance
                        .annotations()
                        .keys()
                        .any(|key| key.contains("kopf"))
            },
        );
        lab.cluster().wait(&instances, INSTANCE, taken).await?;
        lab.ready(INSTANCE).await?;
        lab.cluster().wait(&claims, &claim, no_child()).await?;
        lab.cluster().wait(&services, INSTANCE, no_child()).await?;
        rows_are_back(lab, PASSWORD).await?;
        lab.delete(INSTANCE).await?;
        next_life_has_the_row(lab).await
    });
}

#[test]
fn a_single_dump_of_the_old_operator_restores_and_a_volume_owned_by_its_resource_is_no_obstacle() {
    prove(async |lab| {
        let volumes: Api<PersistentVolume> = lab.cluster().all();
        let claims: Api<PersistentVolumeClaim> = lab.cluster().namespaced();
        // As the old operator made them: no labels of ours, and for the data volume an owner that is gone.
        for (name, owners) in [
            (
                format!("{INSTANCE}-pv"),
                json!([{"apiVersion": "otus.homework/v1", "kind": "MySQL", "name": INSTANCE, "uid": "gone"}]),
            ),
            (format!("backup-{INSTANCE}-pv"), json!([])),
        ] {
            let volume: PersistentVolume = serde_json::from_value(json!({
                "metadata": {"name": name, "labels": {"pv-usage": name.trim_end_matches("-pv")}, "ownerReferences": owners},
                "spec": {
                    "capacity": {"storage": "1Gi"},
                    "accessModes": ["ReadWriteOnce"],
                    "persistentVolumeReclaimPolicy": "Retain",
                    "hostPath": {"path": format!("/data/{name}/")},
                },
            }))?;
            volumes.create(&PostParams::default(), &volume).await?;
        }
        let claim: PersistentVolumeClaim = serde_json::from_value(json!({
            "metadata": {"name": format!("backup-{INSTANCE}-pvc")},
            "spec": {
                "storageClassName": "",
                "volumeName": format!("backup-{INSTANCE}-pv"),
                "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "1Gi"}},
            },
        }))?;
        claims.create(&PostParams::default(), &claim).await?;
        let dump = format!(
            "cat > /volume/{INSTANCE}-dump.sql <<'END'\n\
             DROP TABLE IF EXISTS kept;\nCREATE TABLE kept (id int primary key);\nINSERT INTO kept VALUES (7);\n\
             -- Dump completed on 2024-01-01 00:00:00\nEND\n"
        );
        helper_pod::run(lab, &format!("backup-{INSTANCE}-pvc"), &dump).await?;
        lab.create(CR).await?;
        rows_are_back(lab, PASSWORD).await?;
        let instance = lab.instances().get(INSTANCE).await?;
        let message = instance.status.and_then(|status| status.message);
        assert_eq!(
            message.as_deref(),
            Some("mysql-instance created WITH restore-job")
        );
        Ok(())
    });
}
