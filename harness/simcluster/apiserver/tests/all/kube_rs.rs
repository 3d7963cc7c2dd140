//! The helpers of kube-rs, unmodified: what operators are made of works on this server.

mod controller;
mod events;
mod finalizer;
mod lease;
mod subresources;
mod wait;
mod watcher;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api,
    api::{ObjectMeta, PostParams},
};

use crate::support::{LIMIT, World};

fn config_maps(world: &World) -> Api<ConfigMap> {
    Api::namespaced(world.client.clone(), "default")
}

fn config_map(name: &str) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        },
        ..ConfigMap::default()
    }
}

async fn create(api: &Api<ConfigMap>, name: &str) -> ConfigMap {
    let made = api.create(&PostParams::default(), &config_map(name)).await;
    made.expect("it is created")
}

/// Waits no longer than anything takes that works.
async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(LIMIT, future).await;
    waited.unwrap_or_else(|_| panic!("waited in vain: {what}"))
}
