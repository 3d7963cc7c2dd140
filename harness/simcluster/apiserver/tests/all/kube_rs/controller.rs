//! `Controller`: reconciles its own objects, those whose children change, and those that somebody
//! else's objects name.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{
    Api, Client, Resource as _, ResourceExt as _,
    api::{DeleteParams, ObjectMeta, Patch, PatchParams},
    runtime::{
        controller::{Action, Controller},
        reflector::ObjectRef,
        watcher,
    },
};
use serde_json::json;

use super::{config_maps, create, in_time};
use crate::support::World;

/// Each ConfigMap has a Secret of its name, applied.
async fn reconcile(parent: Arc<ConfigMap>, client: Arc<Client>) -> Result<Action, kube::Error> {
    let secrets: Api<Secret> = Api::namespaced((*client).clone(), "default");
    let child = Secret {
        metadata: ObjectMeta {
            name: parent.metadata.name.clone(),
            owner_references: Some(parent.controller_owner_ref(&()).into_iter().collect()),
            ..ObjectMeta::default()
        },
        ..Secret::default()
    };
    let params = PatchParams::apply("parents").force();
    secrets
        .patch(&parent.name_any(), &params, &Patch::Apply(&child))
        .await?;
    Ok(Action::await_change())
}

#[tokio::test]
async fn a_controller_reconciles_when_a_child_changes() {
    let world = World::start();
    let parents = config_maps(&world);
    let secrets: Api<Secret> = Api::namespaced(world.client.clone(), "default");
    create(&parents, "a").await;
    let config = watcher::Config::default();
    let noticed = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&noticed);
    let controller = Controller::new(parents.clone(), config.clone())
        .owns(secrets.clone(), config.clone())
        .watches(secrets.clone(), config, move |secret| {
            let named = secret.annotations().get("example.com/parent");
            seen.fetch_or(named.is_some(), Ordering::SeqCst);
            named.map(|name| ObjectRef::new(name).within("default"))
        })
        .run(
            reconcile,
            |_, _, _| Action::requeue(Duration::from_millis(10)),
            Arc::new(world.client.clone()),
        );
    let mut reconciled = Box::pin(controller.filter_map(async |result| result.ok()));
    let (first, _) = in_time("the first reconcile", reconciled.next())
        .await
        .expect("the controller runs");
    assert_eq!(first.name, "a");
    let uid = secrets.get("a").await.expect("the child is there").uid();

    // Whoever takes the child away gets it again.
    let gone = secrets.delete("a", &DeleteParams::default()).await;
    gone.expect("it is deleted");
    in_time("the child comes back", async {
        loop {
            if let Ok(Some(child)) = secrets.get_opt("a").await {
                break assert_ne!(child.uid(), uid);
            }
            reconciled.next().await.expect("the controller runs");
        }
    })
    .await;

    // Somebody else's object, which names a parent.
    let stranger = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {
        "name": "stranger",
        "annotations": {"example.com/parent": "a"}}});
    let (params, stranger) = (PatchParams::apply("somebody"), Patch::Apply(&stranger));
    let applied = secrets.patch("stranger", &params, &stranger).await;
    applied.expect("it is applied");
    in_time("the stranger is noticed", async {
        while !noticed.load(Ordering::SeqCst) {
            reconciled.next().await.expect("the controller runs");
        }
    })
    .await;
}
