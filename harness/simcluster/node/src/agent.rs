//! Follows the pods of this node: a worker for each, told of every change.
//!
//! It knows pods only as objects that come, change and go; what is done for one is its worker's matter.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod, Secret};
use kube::{
    Api, Resource, ResourceExt as _,
    core::PartialObjectMeta,
    runtime::{WatchStreamExt as _, watcher},
};

use crate::{
    admission::{self, Refusal},
    context::{Changed, Context},
    handle::PodHandle,
    pod::Event,
    worker::Worker,
};

/// The pods of this node, by uid.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pods(Arc<Mutex<BTreeMap<String, Arc<PodHandle>>>>);

impl Pods {
    pub(crate) fn get(&self, uid: &str) -> Option<Arc<PodHandle>> {
        self.lock().get(uid).cloned()
    }

    /// All uids.
    pub(crate) fn uids(&self) -> Vec<String> {
        self.lock().keys().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<PodHandle>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Follows the pods bound to this node until the task is dropped.
pub(crate) async fn follow_pods(context: Arc<Context>, pods: Pods) {
    if context.own_node.wait_until_ready().await.is_err() {
        return;
    }
    let api: Api<Pod> = Api::all(context.client.clone());
    let config = watcher::Config::default().fields(&format!("spec.nodeName={}", context.node));
    let mut events = watcher(api, config).default_backoff().boxed();
    // The uids of a list under way: what is not among them has gone.
    let mut listed: HashSet<String> = HashSet::new();
    loop {
        match events.try_next().await {
            Ok(Some(watcher::Event::Init)) => listed.clear(),
            Ok(Some(watcher::Event::InitApply(pod))) => {
                listed.extend(pod.uid());
                see(&context, &pods, pod).await;
            }
            Ok(Some(watcher::Event::InitDone)) => {
                for (uid, handle) in pods.lock().iter().filter(|(uid, _)| !listed.contains(*uid)) {
                    tracing::debug!(uid, "pod vanished while the watch was down");
                    let _ = handle.events.send(Event::Gone);
                }
            }
            Ok(Some(watcher::Event::Apply(pod))) => see(&context, &pods, pod).await,
            Ok(Some(watcher::Event::Delete(pod))) => {
                if let Some(handle) = pod.uid().and_then(|uid| pods.get(&uid)) {
                    let _ = handle.events.send(Event::Gone);
                }
            }
            Ok(None) => return,
            Err(error) => tracing::debug!(%error, "pod watch interrupted"),
        }
    }
}

async fn see(context: &Arc<Context>, pods: &Pods, pod: Pod) {
    let Some(uid) = pod.uid() else { return };
    if let Some(handle) = pods.get(&uid) {
        handle.see(&pod);
        let _ = handle.events.send(Event::Seen(Box::new(pod)));
        return;
    }
    let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref());
    let ended = matches!(phase, Some("Succeeded" | "Failed"));
    if ended && pod.metadata.deletion_timestamp.is_none() {
        // Its processes are those of an earlier life of this node.
        return;
    }
    let refusal = refusal(context, pods, &pod).await;
    let (worker, handle) = Worker::new(Arc::clone(context), pod);
    pods.lock().insert(uid.clone(), handle);
    let pods = pods.clone();
    context.tasks.spawn(async move {
        Box::pin(worker.run(refusal)).await;
        pods.lock().remove(&uid);
    });
}

/// Why the node does not take a pod, if so.
async fn refusal(context: &Context, pods: &Pods, pod: &Pod) -> Option<Refusal> {
    if pod.metadata.deletion_timestamp.is_some() {
        // It goes anyway.
        return None;
    }
    let taken: Vec<Arc<Pod>> = pods.lock().values().filter_map(|h| h.occupant()).collect();
    let taken: Vec<&Pod> = taken.iter().map(AsRef::as_ref).collect();
    let node = context.own_node.state().first().cloned()?;
    let refused = admission::refusal(pod, &node, &taken)?;
    if refused.reason != admission::NODE_AFFINITY {
        return Some(refused);
    }
    // The labels that it asks for may have just come.
    let nodes: Api<Node> = Api::all(context.client.clone());
    match nodes.get(&context.node).await {
        Ok(node) => admission::refusal(pod, &node, &taken),
        Err(error) => {
            tracing::debug!(%error, "the node was not read again");
            Some(refused)
        }
    }
}

/// Tells the workers which ConfigMaps or Secrets have changed, until the task is dropped.
pub(crate) async fn follow_config_maps(context: Arc<Context>) {
    follow::<ConfigMap>(context, false).await;
}

/// As [`follow_config_maps`].
pub(crate) async fn follow_secrets(context: Arc<Context>) {
    follow::<Secret>(context, true).await;
}

async fn follow<K>(context: Arc<Context>, secret: bool)
where
    K: Resource<DynamicType = ()>
        + Clone
        + serde::de::DeserializeOwned
        + std::fmt::Debug
        + Send
        + 'static,
{
    let api: Api<PartialObjectMeta<K>> = Api::all(context.client.clone());
    let mut events = watcher(api, watcher::Config::default())
        .default_backoff()
        .boxed();
    loop {
        let changed = match events.try_next().await {
            Ok(Some(
                watcher::Event::Apply(object)
                | watcher::Event::InitApply(object)
                | watcher::Event::Delete(object),
            )) => object,
            Ok(Some(watcher::Event::Init | watcher::Event::InitDone)) => continue,
            Ok(None) => return,
            Err(error) => {
                tracing::debug!(%error, "watch interrupted");
                continue;
            }
        };
        let change = Changed {
            secret,
            namespace: changed.namespace().unwrap_or_default(),
            name: changed.name_any(),
        };
        // Nobody may be interested just now.
        let _ = context.changes.send(change);
    }
}
