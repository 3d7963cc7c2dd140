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
    admission::{self, Verdict},
    context::{Changed, Context},
    handle::PodHandle,
    pod::{Event, resize::Fit},
    worker::Worker,
};

/// The pods of this node, by uid.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pods(Arc<Mutex<BTreeMap<String, Arc<PodHandle>>>>);

impl Pods {
    pub(crate) fn get(&self, uid: &str) -> Option<Arc<PodHandle>> {
        self.lock().get(uid).cloned()
    }

    /// Grants a pod what it wants, if there is room beside the others; answers with these.
    pub(crate) fn grant(&self, context: &Context, pod: &Pod) -> (Fit, Vec<Arc<PodHandle>>) {
        // One after the other, so that no two are granted the same room.
        let all = self.lock();
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        let others = all.values().filter(|handle| handle.uid != uid);
        let others: Vec<_> = others
            .filter_map(|handle| Some((Arc::clone(handle), handle.occupant()?)))
            .collect();
        let taken: Vec<&Pod> = others.iter().map(|(_, pod)| pod.as_ref()).collect();
        let node = context.own_node.state().first().cloned();
        let fit = node.map_or(Fit::Fits, |node| admission::fit(pod, &node, &taken));
        if let Some(own) = all.get(uid).filter(|_| fit == Fit::Fits) {
            own.grant(pod);
        }
        (fit, others.into_iter().map(|(handle, _)| handle).collect())
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<Arc<PodHandle>> {
        self.lock().values().cloned().collect()
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
    let mut events = watcher(api, config)
        .default_backoff()
        .modify(forget_managers)
        .boxed();
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

/// A node does not ask who wrote what, which is the largest part of many objects.
pub(crate) fn forget_managers<K: Resource>(object: &mut K) {
    object.meta_mut().managed_fields = None;
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
    let (verdict, others) = judge(context, pods, &pod).await;
    let (worker, handle) = Worker::new(Arc::clone(context), pods.clone(), pod);
    pods.lock().insert(uid.clone(), Arc::clone(&handle));
    let pods = pods.clone();
    context.tasks.spawn(async move {
        let refusal = match verdict {
            Verdict::Taken => None,
            Verdict::Refused(refusal) => Some(refusal),
            Verdict::TakenInsteadOf(places) => {
                let gone = places.into_iter().filter_map(|place| others.get(place));
                push_out(gone).await;
                None
            }
        };
        Box::pin(worker.run(refusal)).await;
        handle.left.cancel();
        pods.lock().remove(&uid);
    });
}

/// Ends pods for another one, and waits until they take nothing of the node any more.
async fn push_out(pods: impl Iterator<Item = &Arc<PodHandle>>) {
    let pods: Vec<_> = pods.collect();
    for pod in &pods {
        let _ = pod.events.send(Event::Preempted);
    }
    for pod in pods {
        pod.ended().await;
    }
}

/// Whether the node takes a pod, and the others that its verdict speaks of.
async fn judge(context: &Context, pods: &Pods, pod: &Pod) -> (Verdict, Vec<Arc<PodHandle>>) {
    let node = context.own_node.state().first().cloned();
    let goes_anyway = pod.metadata.deletion_timestamp.is_some();
    let Some(node) = node.filter(|_| !goes_anyway) else {
        return (Verdict::Taken, Vec::new());
    };
    let others: Vec<_> = pods
        .lock()
        .values()
        .filter_map(|handle| Some((Arc::clone(handle), handle.occupant()?)))
        .collect();
    let taken: Vec<&Pod> = others.iter().map(|(_, pod)| pod.as_ref()).collect();
    let mut verdict = admission::judge(pod, &node, &taken);
    if matches!(&verdict, Verdict::Refused(why) if why.reason == admission::NODE_AFFINITY) {
        // The labels that it asks for may have just come.
        let nodes: Api<Node> = Api::all(context.client.clone());
        match nodes.get(&context.node).await {
            Ok(node) => verdict = admission::judge(pod, &node, &taken),
            Err(error) => tracing::debug!(%error, "the node was not read again"),
        }
    }
    let handles = others.into_iter().map(|(handle, _)| handle).collect();
    (verdict, handles)
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
        .modify(forget_managers)
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
