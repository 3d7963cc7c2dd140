//! What people do by hand at the wrong moment, and names that meet.

use harness::conditions::{self, Condition};
use k8s_openapi::{
    api::core::v1::{PersistentVolumeClaim, Secret, Service},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams},
};
use rstest::rstest;
use scenarios::deploy::{CR, INSTANCE};
use serde_json::json;

use crate::kept::{begin_to_delete, eager, gone, prove_kept, prove_kept_with};

/// `mysql-instance-admin` is the second service of `mysql-instance`, `backup-mysql-instance-pvc` its backups.
#[rstest]
#[case::the_second_service(format!("{INSTANCE}-admin"))]
#[case::the_backups(format!("backup-{INSTANCE}"))]
fn an_instance_whose_names_meet_anothers_is_refused_and_leaves_it_alone(#[case] name: String) {
    let other = CR.replace(INSTANCE, &name);
    prove_kept_with(eager(), async |lab| {
        lab.cluster().apply(&other).await?;
        lab.annotate(&name, "otus.homework/adopt", "true").await?;
        let refused = lab.says(&name, "Ready", "False", "NameConflict").await?;
        let said = refused
            .status
            .as_ref()
            .and_then(|status| status.condition("Ready"))
            .ok_or("no condition")?;
        assert!(said.message.contains(INSTANCE), "{said:?}");
        lab.delete(&name).await?;
        let services: Api<Service> = lab.cluster().namespaced();
        services.get(&format!("{INSTANCE}-admin")).await?;
        let claims: Api<PersistentVolumeClaim> = lab.cluster().namespaced();
        claims.get(&format!("backup-{INSTANCE}-pvc")).await?;
        lab.delete(INSTANCE).await
    });
}

#[test]
fn a_secret_that_is_lost_with_the_deletion_does_not_keep_the_backup_from_being_made() {
    prove_kept_with(eager(), async |lab| {
        lab.stop_operator().await?;
        begin_to_delete(lab).await?;
        let secrets: Api<Secret> = lab.cluster().namespaced();
        secrets
            .delete(&format!("{INSTANCE}-auth"), &DeleteParams::default())
            .await?;
        lab.start_operator();
        gone(lab).await
    });
}

#[test]
fn an_instance_of_the_old_operator_that_was_deleted_without_it_is_backed_up_and_goes() {
    prove_kept_with(eager(), async |lab| {
        lab.stop_operator().await?;
        let uid = lab.instances().get(INSTANCE).await?.uid();
        let marks = Patch::Merge(json!({
            "metadata": {"finalizers": ["kopf.zalando.org/KopfFinalizerMarker"]},
            "status": null,
        }));
        let parameters = PatchParams::default();
        lab.instances().patch(INSTANCE, &parameters, &marks).await?;
        let status = Patch::Merge(json!({"status": null}));
        lab.instances()
            .patch_status(INSTANCE, &parameters, &status)
            .await?;
        let secrets: Api<Secret> = lab.cluster().namespaced();
        secrets
            .delete(&format!("{INSTANCE}-auth"), &DeleteParams::default())
            .await?;
        let claims: Api<PersistentVolumeClaim> = lab.cluster().namespaced();
        let as_child = Patch::Merge(json!({"metadata": {"labels": null, "ownerReferences": [{
            "apiVersion": "otus.homework/v1", "kind": "MySQL", "name": INSTANCE, "uid": uid,
        }]}}));
        let claim = format!("{INSTANCE}-pvc");
        claims.patch(&claim, &parameters, &as_child).await?;
        begin_to_delete(lab).await?;
        lab.start_operator();
        gone(lab).await
    });
}

#[test]
fn the_definition_may_go_and_come_back_and_so_do_the_rows() {
    prove_kept(async |lab| {
        let definitions: Api<CustomResourceDefinition> = lab.cluster().all();
        let name = "mysqls.otus.homework";
        definitions.delete(name, &DeleteParams::default()).await?;
        lab.cluster()
            .wait(&definitions, name, conditions::absent())
            .await?;
        let claims: Api<PersistentVolumeClaim> = lab.cluster().namespaced();
        let marked = Condition::holds("to have a last backup", |claim: &PersistentVolumeClaim| {
            let generation = claim
                .annotations()
                .get("otus.homework/last-verified-generation");
            generation.is_some_and(|name| name.contains("-final-"))
        });
        lab.cluster()
            .wait(&claims, &format!("backup-{INSTANCE}-pvc"), marked)
            .await?;
        lab.install().await
    });
}
