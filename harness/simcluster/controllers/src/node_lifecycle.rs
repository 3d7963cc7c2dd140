//! Nodes that are not well: taints that say so, the end of pods that do not tolerate them, and of pods without a node.
//!
//! [`health`] decides what a node is. It does NOT remove nodes.

use std::{
    collections::{HashMap, HashSet},
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use k8s_openapi::api::{
    coordination::v1::Lease,
    core::v1::{Node, ObjectReference, Pod},
};
use kube::{ResourceExt, api::DeleteParams};
use serde_json::{Value, json};

use crate::{
    cache::{Cache, ObjectKey},
    clock::{Clock, whole_seconds},
    context::Context,
    events::Recorder,
    objects::{Objects, WriteError},
    pods,
    settings::Settings,
    work_queue::{Next, Reconcile, WorkQueue, work},
};

mod health;

const NAME: &str = "node-controller";
/// Whoever ends pods for a node's taints speaks in a name of its own.
const EVICTION: &str = "taint-eviction-controller";
const LEASES: &str = "kube-node-lease";

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Key {
    Node(String),
    Pod(ObjectKey),
}

struct Controller {
    nodes: Objects<Node>,
    pods: Objects<Pod>,
    leases: Arc<Cache<Lease>>,
    recorder: Recorder,
    evictions: Recorder,
    /// The nodes that were told of, by name, with their uids.
    registered: Mutex<HashMap<String, Option<String>>>,
    /// Pods that a taint will end, unless it goes before.
    doomed: Mutex<HashSet<ObjectKey>>,
    settings: Arc<Settings>,
    clock: Clock,
    /// Since when nodes that pods are bound to are unknown.
    vanished: Mutex<HashMap<String, Timestamp>>,
}

/// Registers for changes; the future works until dropped.
pub(crate) fn start(context: &Context) -> impl Future<Output = ()> + Send + use<> {
    let queue: Arc<WorkQueue<Key>> = Arc::default();
    let nodes = context.objects::<Node>();
    let pods = context.objects::<Pod>();
    let leases = context.cache::<Lease>();
    let (own, known) = (queue.clone(), pods.cache().clone());
    nodes.cache().on_change(move |change| {
        let name = change.object().name_any();
        let taints = |node: &Node| node.spec.as_ref().and_then(|spec| spec.taints.clone());
        let same = change
            .old()
            .is_some_and(|old| taints(old) == taints(change.object()));
        if change.is_removal() || !same {
            for pod in known.all() {
                if pods::node_name(&pod) == Some(name.as_str()) {
                    own.add(Key::Pod(ObjectKey::of(&pod.metadata)));
                }
            }
        }
        own.add(Key::Node(name));
    });
    let (own, known) = (queue.clone(), nodes.cache().clone());
    pods.cache().on_change(move |change| {
        let pod = change.object();
        let moved = change.old().is_none_or(|old| {
            pods::node_name(old) != pods::node_name(pod)
                || old.metadata.deletion_timestamp != pod.metadata.deletion_timestamp
        });
        let Some(node) = pods::node_name(pod).filter(|_| moved && !change.is_removal()) else {
            return;
        };
        let node = known.get("", node);
        if node.is_none_or(|node| health::has_no_execute_taint(&node)) {
            own.add(Key::Pod(ObjectKey::of(&pod.metadata)));
        }
    });
    let controller = Controller {
        nodes,
        pods,
        leases,
        recorder: context.recorder(NAME),
        evictions: context.recorder(EVICTION),
        registered: Mutex::default(),
        doomed: Mutex::default(),
        settings: context.settings.clone(),
        clock: context.clock,
        vanished: Mutex::default(),
    };
    async move {
        controller.nodes.cache().synced().await;
        controller.pods.cache().synced().await;
        controller.leases.synced().await;
        work(NAME, queue, 16, controller).await;
    }
}

impl Reconcile<Key> for Controller {
    async fn reconcile(&self, key: Key) -> Result<Next, WriteError> {
        match key {
            Key::Node(name) => self.reconcile_node(&name).await,
            Key::Pod(key) => self.reconcile_pod(&key).await,
        }
    }
}

impl Controller {
    async fn reconcile_node(&self, name: &str) -> Result<Next, WriteError> {
        let node = self.nodes.cache().get("", name);
        self.tell_of(name, node.as_deref());
        let Some(node) = node else {
            return Ok(Next::OnChange);
        };
        let now = self.clock.now();
        let lease = self.leases.get(LEASES, name);
        let heard = health::last_heard(&node, lease.as_deref());
        let grace = jiff::SignedDuration::try_from(self.settings.node_grace)
            .unwrap_or(jiff::SignedDuration::MAX);
        let silent_at = heard.and_then(|heard| heard.checked_add(grace).ok());
        let silent = silent_at.is_some_and(|at| at <= now);
        if silent && let Some(conditions) = health::unknown_conditions(&node, now) {
            let ready_before = health::ready_status(&node);
            let patch = json!({
                "metadata": {"uid": node.metadata.uid},
                "status": {"conditions": conditions},
            });
            let key = ObjectKey::of(&node.metadata);
            self.nodes.strategic_status(&key, patch).await?;
            if ready_before == "True" {
                let text = format!("Node {name} status is now: NodeNotReady");
                self.recorder.normal(&*node, "NodeNotReady", text);
                self.mark_pods_not_ready(name).await?;
            }
        }
        let Some(node) = self.nodes.cache().get("", name) else {
            return Ok(Next::OnChange);
        };
        if let Some(taints) = health::wanted_taints(&node, now) {
            let taints = if taints.is_empty() {
                Value::Null
            } else {
                json!(taints)
            };
            let patch = json!({
                "metadata": {"resourceVersion": node.metadata.resource_version},
                "spec": {"taints": taints},
            });
            self.nodes
                .merge(&ObjectKey::of(&node.metadata), patch)
                .await?;
        }
        // A lease that is renewed does not wake us: at the deadline its time is read anew.
        let recheck = silent_at.filter(|_| !silent);
        Ok(recheck.map_or(Next::OnChange, |at| Next::At(self.clock.instant(at))))
    }

    async fn reconcile_pod(&self, key: &ObjectKey) -> Result<Next, WriteError> {
        let Some(pod) = self.pods.cache().find(key) else {
            lock(&self.doomed).remove(key);
            return Ok(Next::OnChange);
        };
        let Some(node_name) = pods::node_name(&pod) else {
            return Ok(Next::OnChange);
        };
        let Some(node) = self.nodes.cache().get("", node_name) else {
            let key = ObjectKey::new("", node_name);
            if self.nodes.read(&key).await?.is_none() {
                if let Some(at) = self.forgotten_at(node_name)
                    && at > self.clock.now()
                {
                    return Ok(Next::At(self.clock.instant(at)));
                }
                let text = "PodGC: node no longer exists";
                return self.end(&pod, "DeletionByPodGC", text, true).await;
            }
            return Ok(Next::OnChange);
        };
        if pods::is_terminating(&pod) || pods::is_finished(&pod) {
            lock(&self.doomed).remove(key);
            return Ok(Next::OnChange);
        }
        match health::eviction(&pod, &node, self.clock.now()) {
            health::Eviction::Never => {
                if lock(&self.doomed).remove(key) {
                    let text = format!("Cancelling deletion of Pod {key}");
                    self.evictions.normal(&*pod, "TaintManagerEviction", text);
                }
                Ok(Next::OnChange)
            }
            health::Eviction::At(at) if at > self.clock.now() => {
                lock(&self.doomed).insert(key.clone());
                Ok(Next::At(self.clock.instant(at)))
            }
            health::Eviction::At(_) => {
                lock(&self.doomed).remove(key);
                let text = format!("Marking for deletion Pod {key}");
                self.evictions.normal(&*pod, "TaintManagerEviction", text);
                let text = "Taint manager: deleting due to NoExecute taint";
                self.end(&pod, "DeletionByTaintManager", text, false).await
            }
        }
    }

    /// Tells, once each time, that a node has come or is gone.
    fn tell_of(&self, name: &str, node: Option<&Node>) {
        let mut registered = lock(&self.registered);
        let (uid, reason, what) = match node {
            Some(_) if registered.contains_key(name) => return,
            Some(node) => {
                registered.insert(name.to_owned(), node.uid());
                (
                    node.uid(),
                    "RegisteredNode",
                    format!("Registered Node {name} in Controller"),
                )
            }
            None => match registered.remove(name) {
                None => return,
                Some(uid) => (
                    uid,
                    "RemovingNode",
                    format!("Removing Node {name} from Controller"),
                ),
            },
        };
        let regarding = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Node".to_owned()),
            name: Some(name.to_owned()),
            uid,
            ..ObjectReference::default()
        };
        let text = format!("Node {name} event: {what}");
        self.recorder.record("Normal", regarding, reason, text, "");
    }

    /// Nobody hears of the pods of a silent node: they count as not ready, so that no Service leads to them.
    async fn mark_pods_not_ready(&self, node: &str) -> Result<(), WriteError> {
        let mut ready = self.pods.cache().all();
        ready.retain(|pod| pods::node_name(pod) == Some(node) && pods::is_ready(pod));
        for pod in ready {
            let patch = json!({
                "metadata": {"uid": pod.metadata.uid},
                "status": {"conditions": [{
                    "type": "Ready",
                    "status": "False",
                    "lastTransitionTime": whole_seconds(self.clock.now()),
                }]},
            });
            let key = ObjectKey::of(&pod.metadata);
            match self.pods.strategic_status(&key, patch).await {
                Ok(_) => {
                    self.recorder
                        .warning(&*pod, "NodeNotReady", "Node is not ready");
                }
                Err(error) if error.is_not_found() || error.is_conflict() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// When pods of a node that is unknown have waited long enough for it to come (back).
    fn forgotten_at(&self, node: &str) -> Option<Timestamp> {
        let mut vanished = lock(&self.vanished);
        vanished.retain(|name, _| self.nodes.cache().get("", name).is_none());
        let since = *vanished
            .entry(node.to_owned())
            .or_insert_with(|| self.clock.now());
        let grace = jiff::SignedDuration::try_from(self.settings.vanished_node_grace).ok()?;
        since.checked_add(grace).ok()
    }

    /// Says why a pod ends, and deletes it; at once if nobody is there to end it.
    async fn end(
        &self,
        pod: &Pod,
        reason: &str,
        message: &str,
        at_once: bool,
    ) -> Result<Next, WriteError> {
        let key = ObjectKey::of(&pod.metadata);
        let mut status = json!({"conditions": [{
            "type": "DisruptionTarget",
            "status": "True",
            "reason": reason,
            "message": message,
            "lastTransitionTime": whole_seconds(self.clock.now()),
        }]});
        if at_once && !pods::is_finished(pod) {
            status["phase"] = json!("Failed");
        }
        let patch = json!({"metadata": {"uid": pod.metadata.uid}, "status": status});
        match self.pods.strategic_status(&key, patch).await {
            Ok(_) => {}
            Err(error) if error.is_not_found() => return Ok(Next::OnChange),
            Err(error) => return Err(error),
        }
        let params = DeleteParams {
            grace_period_seconds: at_once.then_some(0),
            ..DeleteParams::default()
        };
        self.pods.delete_with(pod, params).await?;
        Ok(Next::OnChange)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// When something was heard last.
type Heard = Option<Timestamp>;
