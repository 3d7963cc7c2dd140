//! Volumes that are full, and claims and volumes that somebody removes by hand.

use harness::{
    Failure,
    conditions::{self, Condition},
};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use mysql_operator::crd::MySQL;
use scenarios::{
    Lab,
    deploy::{CR, DATABASE, INSTANCE, PASSWORD},
    helper_pod, prove, prove_with, shell,
};
use serde_json::json;

use crate::kept::{
    begin, begin_to_delete, eager, gone, prove_kept, prove_kept_with, rows_are_back,
};

/// A pod with a disk of half a mebibyte in memory, and the backup volume of the instance on it.
async fn small_disk(lab: &Lab<'_>) -> Result<Api<Pod>, Failure> {
    let pods: Api<Pod> = lab.cluster().namespaced();
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": "disk"},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{
                "name": "disk",
                "image": "busybox",
                "command": ["sleep", "infinity"],
                "volumeMounts": [{"name": "small", "mountPath": "/small"}],
            }],
            "volumes": [{"name": "small", "emptyDir": {"medium": "Memory", "sizeLimit": "512Ki"}}],
        },
    }))?;
    let made = pods.create(&PostParams::default(), &pod).await?;
    lab.cluster()
        .wait(&pods, "disk", conditions::pod_ready())
        .await?;
    let uid = made.uid().unwrap_or_default();
    let volumes: Api<PersistentVolume> = lab.cluster().all();
    let volume: PersistentVolume = serde_json::from_value(json!({
        "metadata": {"name": format!("backup-{INSTANCE}-pv")},
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "",
            "persistentVolumeReclaimPolicy": "Retain",
            "hostPath": {
                "path": format!("/var/lib/kubelet/pods/{uid}/volumes/kubernetes.io~empty-dir/small"),
                "type": "Directory",
            },
        },
    }))?;
    volumes.create(&PostParams::default(), &volume).await?;
    Ok(pods)
}

#[test]
fn a_full_backup_volume_blocks_the_deletion_until_there_is_space() {
    prove_with(eager(), async |lab| {
        let pods = small_disk(lab).await?;
        let on_disk = async |script: &str| {
            let output = shell::exec(&pods, "disk", "disk", &["sh", "-c", script]).await?;
            Ok::<_, Failure>(output.text)
        };
        begin(lab).await?;
        lab.delete(INSTANCE).await?;
        let first = on_disk("cat /small/CURRENT").await?;
        assert!(first.starts_with("gen-000001-"), "{first}");

        lab.create(CR).await?;
        rows_are_back(lab, PASSWORD).await?;
        // Filled to its last byte, with no room for another backup.
        on_disk("dd if=/dev/zero of=/small/ballast bs=1k; :").await?;
        lab.write(
            INSTANCE,
            PASSWORD,
            DATABASE,
            &["INSERT INTO kept VALUES (8)"],
        )
        .await?;
        begin_to_delete(lab).await?;
        let blocked = lab
            .says(INSTANCE, "FinalBackup", "False", "BackupVolumeFull")
            .await?;
        let said = blocked
            .status
            .as_ref()
            .and_then(|status| status.condition("FinalBackup"))
            .ok_or("no condition")?;
        assert!(said.message.contains("bytes are free"), "{said:?}");
        let claims: Api<PersistentVolumeClaim> = lab.cluster().namespaced();
        claims.get(&format!("{INSTANCE}-pvc")).await?;
        assert_eq!(on_disk("cat /small/CURRENT").await?, first);

        on_disk("rm /small/ballast").await?;
        gone(lab).await?;
        lab.create(CR).await?;
        let rows = lab
            .read(
                INSTANCE,
                PASSWORD,
                DATABASE,
                "SELECT id FROM kept ORDER BY id",
            )
            .await?;
        assert_eq!(rows, [["7"], ["8"]]);
        Ok(())
    });
}

/// Removes a claim and the pod that protects it, and waits until another claim has its name.
async fn replace_claim(lab: &Lab<'_>, name: &str, pods: &str) -> Result<(), Failure> {
    let claims: Api<PersistentVolumeClaim> = lab.cluster().namespaced();
    let before = claims.get(name).await?.uid();
    claims.delete(name, &DeleteParams::default()).await?;
    let protecting: Api<Pod> = lab.cluster().namespaced();
    let selected = kube::api::ListParams::default().labels(pods);
    protecting
        .delete_collection(&DeleteParams::default(), &selected)
        .await?;
    let another = Condition::holds(
        "to be another one, and bound",
        move |claim: &PersistentVolumeClaim| {
            let phase = claim
                .status
                .as_ref()
                .and_then(|status| status.phase.as_deref());
            claim.uid() != before && phase == Some("Bound")
        },
    );
    lab.cluster().wait(&claims, name, another).await?;
    Ok(())
}

#[test]
fn a_data_claim_that_somebody_removes_comes_back_with_its_rows() {
    prove_kept(async |lab| {
        replace_claim(lab, &format!("{INSTANCE}-pvc"), &format!("app={INSTANCE}")).await?;
        lab.ready(INSTANCE).await?;
        rows_are_back(lab, PASSWORD).await?;
        lab.delete(INSTANCE).await
    });
}

#[test]
fn a_data_volume_that_somebody_removes_comes_back_with_its_rows() {
    prove(async |lab| {
        begin(lab).await?;
        let volumes: Api<PersistentVolume> = lab.cluster().all();
        let name = format!("{INSTANCE}-pv");
        let before = volumes.get(&name).await?.uid();
        volumes.delete(&name, &DeleteParams::default()).await?;
        // What people do who want it gone although it is bound.
        let strip = Patch::Merge(json!({"metadata": {"finalizers": null}}));
        volumes
            .patch(&name, &PatchParams::default(), &strip)
            .await?;
        let again = Condition::holds(
            "to be another one, and bound",
            move |volume: &PersistentVolume| {
                let phase = volume
                    .status
                    .as_ref()
                    .and_then(|status| status.phase.as_deref());
                volume.uid() != before && phase == Some("Bound")
            },
        );
        lab.cluster().wait(&volumes, &name, again).await?;
        let claims: Api<PersistentVolumeClaim> = lab.cluster().namespaced();
        lab.cluster()
            .wait(
                &claims,
                &format!("{INSTANCE}-pvc"),
                conditions::claim_bound(),
            )
            .await?;
        lab.ready(INSTANCE).await?;
        rows_are_back(lab, PASSWORD).await
    });
}

#[test]
fn a_backup_claim_that_is_replaced_is_told_and_gets_a_backup_at_once() {
    prove(async |lab| {
        begin(lab).await?;
        lab.annotate(INSTANCE, "otus.homework/backup-now", "1")
            .await?;
        lab.says(INSTANCE, "BackedUp", "True", "Verified").await?;
        let claim = format!("backup-{INSTANCE}-pvc");
        replace_claim(lab, &claim, "batch.kubernetes.io/job-name").await?;
        let told = lab.event(INSTANCE, "BackupVolumeReplaced").await?;
        assert!(told.contains(&claim), "{told}");
        let second = Condition::holds("to have a second backup", |instance: &MySQL| {
            let status = instance.status.clone().unwrap_or_default();
            status
                .last_backup
                .as_ref()
                .is_some_and(|backup| backup.generation.starts_with("gen-000002-replaced-"))
                && status
                    .condition("BackedUp")
                    .is_some_and(|said| said.status == "True")
        });
        lab.cluster()
            .wait(&lab.instances(), INSTANCE, second)
            .await?;
        Ok(())
    });
}

#[test]
fn an_instance_whose_volume_was_emptied_does_not_come_up_empty() {
    prove_kept_with(eager(), async |lab| {
        lab.annotate(INSTANCE, "otus.homework/backup-now", "1")
            .await?;
        lab.says(INSTANCE, "BackedUp", "True", "Verified").await?;
        helper_pod::run(lab, &format!("{INSTANCE}-pvc"), "rm -rf /volume/data/*").await?;
        let pods: Api<Pod> = lab.cluster().namespaced();
        let pod = lab.pod(INSTANCE).await?.name_any();
        pods.delete(&pod, &DeleteParams::default().grace_period(0))
            .await?;
        let lost = lab.says(INSTANCE, "Ready", "False", "DataLost").await?;
        let status = lost.status.ok_or("no status")?;
        assert_eq!(status.phase, Some(mysql_operator::crd::Phase::Blocked));
        let said = status.condition("Ready").ok_or("no condition")?;
        assert!(said.message.contains("skip-final-backup"), "{said:?}");

        // The way out that it tells of.
        lab.exceptions.push("I1");
        lab.annotate(INSTANCE, "otus.homework/skip-final-backup", "true")
            .await?;
        begin_to_delete(lab).await?;
        gone(lab).await
    });
}
