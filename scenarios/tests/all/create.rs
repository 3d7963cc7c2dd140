//! What applying a resource gives.

use harness::conditions;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{PersistentVolume, PersistentVolumeClaim, Pod, Service},
};
use kube::{ResourceExt, api::ListParams};
use scenarios::{
    deploy::{CR, DATABASE, INSTANCE, PASSWORD},
    prove,
};

#[test]
fn an_instance_has_the_objects_that_the_homework_names() {
    prove(async |lab| {
        lab.create(CR).await?;
        let cluster = lab.cluster();
        cluster.namespaced::<Deployment>().get(INSTANCE).await?;
        let service = cluster.namespaced::<Service>().get(INSTANCE).await?;
        assert_eq!(
            service.spec.and_then(|spec| spec.cluster_ip).as_deref(),
            Some("None")
        );
        let claims = cluster.namespaced::<PersistentVolumeClaim>();
        for name in [format!("{INSTANCE}-pvc"), format!("backup-{INSTANCE}-pvc")] {
            cluster
                .wait(&claims, &name, conditions::claim_bound())
                .await?;
        }
        let volumes = cluster.all::<PersistentVolume>();
        let labelled = volumes
            .list(&ListParams::default().labels(&format!("pv-usage={INSTANCE}")))
            .await?;
        assert!(
            labelled
                .iter()
                .any(|volume| volume.name_any() == format!("{INSTANCE}-pv"))
        );
        Ok(())
    });
}

#[test]
fn a_ready_instance_lets_root_in_over_tcp() {
    prove(async |lab| {
        lab.create(CR).await?;
        let mut session = lab.login(INSTANCE, PASSWORD, DATABASE).await?;
        assert_eq!(session.rows("SELECT 1 + 1").await?, [["2"]]);
        Ok(())
    });
}

#[test]
fn a_substituted_image_is_said_in_an_event_and_in_the_pods_status() {
    prove(async |lab| {
        lab.create(CR).await?;
        let pod = lab.pod(INSTANCE).await?;
        let statuses = pod
            .status
            .and_then(|status| status.container_statuses)
            .unwrap_or_default();
        assert!(
            statuses
                .iter()
                .any(|status| !status.image_id.contains("mysql:5.7")),
            "{statuses:?}"
        );
        let events = lab
            .cluster()
            .namespaced::<k8s_openapi::api::core::v1::Event>();
        let list = events.list(&ListParams::default()).await?;
        assert!(
            list.iter()
                .any(|event| event.reason.as_deref() == Some("ImageSubstituted"))
        );
        Ok(())
    });
}

#[test]
fn two_instances_live_side_by_side() {
    prove(async |lab| {
        let other = CR.replace(INSTANCE, "second");
        lab.cluster().apply(CR).await?;
        lab.cluster().apply(&other).await?;
        for name in [INSTANCE, "second"] {
            lab.ready(name).await?;
            let mut session = lab.login(name, PASSWORD, DATABASE).await?;
            session
                .execute("CREATE TABLE mine (name varchar(20))")
                .await?;
            session
                .execute(&format!("INSERT INTO mine VALUES ('{name}')"))
                .await?;
            assert_eq!(session.rows("SELECT name FROM mine").await?, [[name]]);
        }
        let pods = lab.cluster().namespaced::<Pod>();
        assert_eq!(
            pods.list(&ListParams::default().labels("app=second"))
                .await?
                .items
                .len(),
            1
        );
        Ok(())
    });
}
