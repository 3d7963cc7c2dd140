//! Somebody else's cluster: one that another process runs, reached by its kubeconfig only.

use std::path::Path;

use crate::lab_up::Up;
use harness::{
    Failure,
    backend::{Selection, existing::Access},
};
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, api::ListParams, config::KubeConfigOptions};
use scenarios::{Lab, images::Programs, lab, progress::Progress, verification};

async fn names<K>(api: Api<K>) -> Vec<String>
where
    K: kube::Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let list = api.list(&ListParams::default()).await;
    list.expect("a list")
        .iter()
        .map(kube::ResourceExt::name_any)
        .collect()
}

pub(crate) async fn all<K>(path: &Path) -> Vec<String>
where
    K: kube::Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
    K::DynamicType: Default,
{
    let kubeconfig = kube::config::Kubeconfig::read_from(path).expect("its kubeconfig");
    let config =
        kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    let client = kube::Client::try_from(config.expect("a context")).expect("a client");
    names(Api::<K>::all(client)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_verification_passes_on_the_cluster_of_another_process_and_leaves_nothing_in_it()
-> Result<(), Failure> {
    use k8s_openapi::{
        api::core::v1::PersistentVolume,
        apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
    };
    let up = Up::start();
    let before = all::<Namespace>(&up.kubeconfig).await;
    let images = lab::image_store(Programs::Job).await?;
    let cluster = Selection::Existing(up.access()).start(images, &[]).await?;
    let mut lab = Lab::new(&cluster);
    lab.install().await?;
    lab.start_operator();
    let outcome = verification::verify(&lab, &Progress::silent()).await?;
    assert_eq!(outcome.after, [["1", "some data"], ["2", "some data-2"]]);
    assert_eq!(cluster.clean_up().await.0, Vec::<String>::new());
    lab.stop_operator().await?;
    let left = cluster.stop().await;
    // The directory of the backup is the one thing that cannot be removed from here, and is said.
    assert!(
        left.0.iter().all(|line| line.starts_with("directory ")),
        "{left}"
    );
    assert_eq!(all::<Namespace>(&up.kubeconfig).await, before);
    assert!(all::<PersistentVolume>(&up.kubeconfig).await.is_empty());
    assert!(
        all::<CustomResourceDefinition>(&up.kubeconfig)
            .await
            .is_empty()
    );
    Ok(())
}

#[tokio::test]
async fn a_cluster_that_is_not_on_this_machine_is_refused_unless_told() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("kubeconfig");
    let text = "{apiVersion: v1, kind: Config, current-context: prod, \
        clusters: [{name: prod, cluster: {server: 'https://10.1.2.3:6443'}}], \
        users: [{name: prod, user: {}}], \
        contexts: [{name: prod, context: {cluster: prod, user: prod}}]}";
    std::fs::write(&path, text).expect("a kubeconfig");
    let access = Access {
        kubeconfig: Some(path),
        ..Access::default()
    };
    let refused = harness::backend::existing::Existing::enter(&access).await;
    let error = harness::proof::chain(&refused.expect_err("it is far away"));
    assert!(
        error.contains("\"prod\" leads to https://10.1.2.3:6443"),
        "{error}"
    );
    assert!(error.contains("--yes-this-cluster"), "{error}");
}
