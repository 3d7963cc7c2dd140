//! The past of a cluster: each write with its reason, and the cluster as it was, read-only.

use std::{net::SocketAddr, time::Duration};

use futures::StreamExt as _;
use harness::{Failure, conditions, history::of_object, past::Past, prove};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::ConfigMap};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, ListParams, PostParams, WatchParams},
    config::KubeConfigOptions,
};

fn map(value: &str) -> String {
    format!("{{apiVersion: v1, kind: ConfigMap, metadata: {{name: a}}, data: {{k: {value}}}}}")
}

async fn client_of(past: &Past) -> Result<Client, Failure> {
    let options = KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(past.kubeconfig().clone(), &options).await?;
    Ok(Client::try_from(config)?)
}

fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn revision(object: &impl kube::ResourceExt) -> u64 {
    let text = object.resource_version().unwrap_or_default();
    text.parse().expect("a revision is a number here")
}

#[test]
fn the_cluster_as_it_was_can_be_read_and_not_changed() {
    prove(async |cluster| {
        let first = cluster.apply(&map("v")).await?;
        cluster.apply(&map("w")).await?;
        cluster.delete(&map("w")).await?;
        let past = Past::serve(cluster.client(), revision(&first[0]), loopback()).await?;
        let client = client_of(&past).await?;
        let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "default");
        let data = |map: &ConfigMap| map.data.clone().unwrap_or_default();
        assert_eq!(data(&maps.get("a").await?)["k"], "v");
        let listed = maps.list(&ListParams::default()).await?;
        assert!(
            listed
                .iter()
                .any(|map| map.name_any() == "a" && data(map)["k"] == "v")
        );
        assert!(maps.get_opt("later").await?.is_none());
        for refused in [
            maps.create(&PostParams::default(), &ConfigMap::default())
                .await
                .map(drop),
            maps.delete("a", &DeleteParams::default()).await.map(drop),
        ] {
            match refused {
                Err(kube::Error::Api(status)) => {
                    assert_eq!(status.code, 405, "{status:?}");
                    assert!(status.message.contains("can be read and not changed"));
                }
                other => panic!("a write to the past: {other:?}"),
            }
        }
        // A watch of one second: it ends in time, and nothing has happened in it.
        let parameters = WatchParams::default().timeout(1);
        let mut watch = maps
            .watch(
                &parameters,
                &first[0].resource_version().unwrap_or_default(),
            )
            .await?
            .boxed();
        assert!(watch.next().await.is_none());
        Ok(())
    });
}

#[test]
fn the_past_is_served_only_to_who_has_its_kubeconfig() {
    prove(async |cluster| {
        let first = cluster.apply(&map("v")).await?;
        let past = Past::serve(cluster.client(), revision(&first[0]), loopback()).await?;
        let mut kubeconfig = past.kubeconfig().clone();
        for user in &mut kubeconfig.auth_infos {
            user.auth_info = None;
        }
        let config =
            kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        let maps: Api<ConfigMap> = Api::default_namespaced(Client::try_from(config)?);
        match maps.get("a").await {
            Err(kube::Error::Api(status)) => assert_eq!(status.code, 401),
            other => panic!("read without a certificate: {other:?}"),
        }
        Ok(())
    });
}

#[test]
fn a_revision_that_is_forgotten_or_to_come_is_refused_with_what_to_do() {
    prove(async |cluster| {
        let early = revision(&cluster.apply(&map("v")).await?[0]);
        cluster.apply(&map("w")).await?;
        if let Some(simulated) = cluster.backend().simulated() {
            simulated.api_server().compact();
        }
        let forgotten = Past::serve(cluster.client(), early, loopback()).await;
        let why = forgotten.expect_err("it is forgotten").to_string();
        assert!(why.contains("does not remember revision"), "{why}");
        let future = Past::serve(cluster.client(), u64::MAX / 2, loopback()).await;
        let why = future.expect_err("it is to come").to_string();
        assert!(why.contains("has not happened yet; the newest is"), "{why}");
        // History goes on from where the server remembers.
        cluster.apply(&map("x")).await?;
        let explained = of_object::explained(&cluster.client(), "cm/a", "default").await?;
        assert_eq!(explained.len(), 1, "{explained:#?}");
        Ok(())
    });
}

const WEB: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: 'no.such.registry/web:1'}]}
";

#[test]
fn each_write_is_told_with_who_what_and_why() {
    prove(async |cluster| {
        cluster.apply(WEB).await?;
        let seen = conditions::Condition::holds("to be seen", |web: &Deployment| {
            let status = web.status.as_ref();
            status.is_some_and(|status| status.replicas == Some(1))
        });
        cluster
            .wait(&cluster.namespaced::<Deployment>(), "web", seen)
            .await?;
        cluster
            .delete("{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}}")
            .await?;
        let gone = conditions::absent();
        cluster
            .wait(&cluster.namespaced::<Deployment>(), "web", gone)
            .await?;
        let client = cluster.client();
        let web = of_object::explained(&client, "deploy/web", "default").await?;
        let first = web.first().ok_or("no version")?;
        assert_eq!(
            (first.version.change, first.version.by.as_str()),
            ("ADDED", "harness")
        );
        let by_controller = web
            .iter()
            .find(|explained| explained.version.by.contains("(status)"));
        let by_controller = by_controller.ok_or("no write of the status")?;
        assert!(
            by_controller
                .version
                .changes
                .iter()
                .any(|change| change.starts_with("status"))
        );
        assert!(
            web.iter().any(|explained| explained
                .because
                .iter()
                .any(|why| why.contains("ScalingReplicaSet"))),
            "{web:#?}"
        );
        assert_eq!(web.last().ok_or("no version")?.version.change, "DELETED");

        let sets = harness::history::of_kind(
            &client,
            &kube::api::ApiResource::erase::<k8s_openapi::api::apps::v1::ReplicaSet>(&()),
            None,
        )
        .await?;
        let set = &sets.first().ok_or("no ReplicaSet")?.name;
        // Its end comes after its owner's; wait until it is told.
        let explained = tokio::time::timeout(Duration::from_secs(120), async {
            loop {
                let explained =
                    of_object::explained(&client, &format!("replicasets.apps/{set}"), "default")
                        .await?;
                if explained.iter().any(|e| e.version.change == "DELETED") {
                    return Ok::<_, Failure>(explained);
                }
            }
        })
        .await??;
        let all: Vec<&String> = explained.iter().flat_map(|e| &e.because).collect();
        assert!(
            all.iter().any(|why| *why == "Deployment web owns it"),
            "{all:#?}"
        );
        Ok(())
    });
}

#[test]
fn what_cannot_be_explained_says_what_to_do() {
    prove(async |cluster| {
        for (asked, said) in [
            ("pod", "is not KIND/NAME"),
            ("flower/a", "kubectl api-resources"),
            ("po/a", "name another namespace with -n"),
        ] {
            let outcome = of_object::explained(&cluster.client(), asked, "default").await;
            let why = outcome.expect_err(asked).to_string();
            assert!(why.contains(said), "{asked}: {why}");
        }
        Ok(())
    });
}
