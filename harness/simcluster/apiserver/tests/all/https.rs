//! The same server over HTTPS.

use std::{net::SocketAddr, os::unix::fs::PermissionsExt as _};

use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::{
    Api, Client,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::json;
use simcluster_apiserver::{Config, Listening};

use crate::support::World;

async fn listening(world: &World) -> Listening {
    world
        .server
        .listen(SocketAddr::from(([127, 0, 0, 1], 0)))
        .await
        .expect("a port is free")
}

async fn connect(kubeconfig: Kubeconfig) -> Client {
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .expect("the kubeconfig is whole");
    Client::try_from(config).expect("a client needs nothing else")
}

#[tokio::test]
async fn a_kubeconfig_is_all_a_client_needs() {
    let world = World::start();
    world.config_map("a", &json!({"k": "v"})).await;
    let listening = listening(&world).await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("kubeconfig");
    listening.write_kubeconfig(&path).unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let client = connect(Kubeconfig::read_from(&path).unwrap()).await;
    let maps: Api<ConfigMap> = Api::default_namespaced(client);
    let seen = maps.get("a").await.unwrap();
    assert_eq!(seen.data.unwrap()["k"], "v");
}

#[tokio::test]
async fn tokens_of_service_accounts_are_accepted_until_the_account_goes() {
    let world = World::with(Config::default());
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    world
        .post(accounts, &json!({"metadata": {"name": "bot"}}))
        .await
        .ok();
    let request = world
        .post(&format!("{accounts}/bot/token"), &json!({"spec": {}}))
        .await
        .ok();
    let token = request["status"]["token"].as_str().unwrap().to_owned();

    let listening = listening(&world).await;
    let mut kubeconfig = listening.kubeconfig().clone();
    let user = kubeconfig.auth_infos[0].auth_info.as_mut().unwrap();
    user.client_certificate_data = None;
    user.client_key_data = None;
    user.token = Some(token.into());
    let bot = connect(kubeconfig).await;

    let namespaces: Api<Namespace> = Api::all(bot.clone());
    let kube::Error::Api(refused) = namespaces
        .list(&kube::api::ListParams::default())
        .await
        .unwrap_err()
    else {
        panic!("a Status was expected");
    };
    assert_eq!(
        refused.message,
        "namespaces is forbidden: User \"system:serviceaccount:default:bot\" cannot list resource \"namespaces\" \
         in API group \"\" at the cluster scope"
    );
    world.delete(&format!("{accounts}/bot")).await.ok();
    let kube::Error::Api(refused) = namespaces
        .list(&kube::api::ListParams::default())
        .await
        .unwrap_err()
    else {
        panic!("a Status was expected");
    };
    assert_eq!(refused.code, 401);
}

#[tokio::test]
async fn a_port_in_use_is_said() {
    let world = World::start();
    let first = listening(&world).await;
    let error = world.server.listen(first.address()).await.unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("choose another port"), "{source}");
}
