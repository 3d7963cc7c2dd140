//! Puts a pod's volumes in place, trying again until all are, and then keeps them current.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use tokio::sync::{broadcast, mpsc, watch};

use crate::{
    container::references::References,
    context::{Changed, Context},
    events::{Note, pod_reference},
    pod::Event,
    volumes::{
        mounts::Placed,
        payload,
        setup::{PodVolumes, retry_pause, volumes},
    },
};

/// Without any news, files of the API are looked at again after this time; tokens need it.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

pub(super) async fn mount(
    context: Arc<Context>,
    own: Arc<PodVolumes>,
    mut pod: watch::Receiver<Arc<Pod>>,
    mounted: watch::Sender<Arc<BTreeMap<String, Placed>>>,
    events: mpsc::UnboundedSender<Event>,
) {
    // Subscribed before the first look, so that no change falls between.
    let mut changes = context.changes.subscribe();
    let facts = context.facts(None);
    let mut placed: BTreeMap<String, Placed> = BTreeMap::new();
    let mut failures = 0;
    loop {
        let now = Arc::clone(&pod.borrow());
        let missing: Vec<_> = volumes(&now)
            .filter(|volume| !placed.contains_key(&volume.name))
            .collect();
        if missing.is_empty() {
            break;
        }
        let results = join_all(missing.iter().map(|volume| own.place(&now, &facts, volume))).await;
        let mut failed = false;
        for (volume, result) in missing.iter().zip(results) {
            match result {
                Ok(place) => {
                    placed.insert(volume.name.clone(), place);
                }
                Err(error) => {
                    failed = true;
                    let note = Note {
                        warning: true,
                        reason: "FailedMount".into(),
                        message: error.to_string(),
                    };
                    context.recorder.record(pod_reference(&now, None), note);
                }
            }
        }
        if failed {
            let pause = retry_pause(failures);
            failures += 1;
            let _ = tokio::time::timeout(pause, affected(&mut changes, &now)).await;
        }
    }
    mounted.send_replace(Arc::new(placed));
    let _ = events.send(Event::VolumesMounted);

    if !volumes(&pod.borrow()).any(payload::is_payload) {
        return;
    }
    loop {
        let now = Arc::clone(&pod.borrow());
        tokio::select! {
            () = affected(&mut changes, &now) => {}
            () = relabelled(&mut pod, &now) => {}
            () = tokio::time::sleep(LOOK_AGAIN) => {}
        }
        let now = Arc::clone(&pod.borrow());
        own.refresh(&now, &facts).await;
    }
}

/// Waits until the pod has other labels or annotations, which the downward API shows; its many other changes are not
/// worth a look at the API.
async fn relabelled(pod: &mut watch::Receiver<Arc<Pod>>, shown: &Pod) {
    let changed = |now: &Arc<Pod>| {
        now.metadata.labels != shown.metadata.labels
            || now.metadata.annotations != shown.metadata.annotations
    };
    if pod.wait_for(changed).await.is_err() {
        // The worker has gone, and this task goes with it.
        std::future::pending::<()>().await;
    }
}

/// Waits until something changes that the pod's volumes refer to.
async fn affected(changes: &mut broadcast::Receiver<Changed>, pod: &Pod) {
    let references: Vec<References> = volumes(pod).map(References::of_volume).collect();
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    loop {
        match changes.recv().await {
            Ok(change) => {
                let listed = references.iter().any(|r| {
                    let names = if change.secret {
                        &r.secrets
                    } else {
                        &r.config_maps
                    };
                    names.contains(&change.name)
                });
                if listed && change.namespace == namespace {
                    return;
                }
            }
            // Some changes were missed: perhaps one of ours.
            Err(broadcast::error::RecvError::Lagged(_)) => return,
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}
