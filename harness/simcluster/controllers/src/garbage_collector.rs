//! The garbage collector: what has lost all its owners goes, in the order that deletions ask for.
//!
//! [`graph`] holds who owns whom, for all objects of all kinds, and says whom a change concerns; [`judge`] decides what
//! becomes of one object once its owners are known. Before anything is deleted, the API server is asked whether the
//! owners are really gone. It does NOT empty namespaces (`namespace` does).

use std::{
    collections::{HashSet, VecDeque},
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::{StreamExt, stream};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::{
    Client,
    api::{DeleteParams, ListParams, Patch, PatchParams, Preconditions, PropagationPolicy},
    core::Status,
};
use serde_json::{Value, json};
use tracing::debug;

use crate::{
    cache::{ObjectKey, set::MetadataChange},
    context::{CONTROLLER_MANAGER, Context},
    events::{Recorder, reference_by_metadata},
    objects::WriteError,
    universe::{KnownKind, Universe, group_of, has_finalizer},
    work_queue::{Next, Reconcile, WorkQueue, work},
};

mod graph;
mod judge;

use graph::{FOREGROUND, Graph, Identity, Node, ORPHAN, Task};
use judge::{Owner, Sentence};

const NAME: &str = "garbage-collector-controller";
/// So many uids of owners that are gone are remembered.
const ABSENT: usize = 500;
/// So many uids whose end was seen are remembered.
const ENDED: usize = 10_000;

struct Collector {
    client: Client,
    universe: Arc<Universe>,
    graph: Arc<Mutex<Graph>>,
    queue: Arc<WorkQueue<Task>>,
    recorder: Recorder,
    /// Owners that the server does not know: uids never come back.
    absent: Mutex<HashSet<(String, String)>>,
    /// Objects with an owner of a kind that nobody knows; a new kind may be it.
    unresolved: Arc<Mutex<HashSet<String>>>,
    reported: Mutex<HashSet<(String, String)>>,
    /// Uids whose end was seen, for owners of kinds that are gone themselves.
    ended: Arc<Mutex<Ended>>,
}

/// The latest uids whose end was seen.
#[derive(Default)]
struct Ended {
    known: HashSet<String>,
    order: VecDeque<String>,
}

impl Ended {
    fn put(&mut self, uid: &str) {
        if self.known.insert(uid.to_owned()) {
            self.order.push_back(uid.to_owned());
        }
        if self.order.len() > ENDED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Registers for changes; the future works until dropped.
pub(crate) fn start(context: &Context) -> impl Future<Output = ()> + Send + use<> {
    let universe = context.universe();
    let queue: Arc<WorkQueue<Task>> = Arc::default();
    let graph: Arc<Mutex<Graph>> = Arc::default();
    let unresolved: Arc<Mutex<HashSet<String>>> = Arc::default();
    let ended: Arc<Mutex<Ended>> = Arc::default();
    let (tasks, seen, over) = (queue.clone(), graph.clone(), ended.clone());
    universe.on_change(move |kind, change| {
        let concerned = match change {
            MetadataChange::Present(metadata) => lock(&seen).present(kind, metadata),
            MetadataChange::Gone(metadata) => {
                lock(&over).put(metadata.uid.as_deref().unwrap_or_default());
                lock(&seen).gone(metadata.uid.as_deref())
            }
        };
        for task in concerned {
            tasks.add(task);
        }
    });
    let (tasks, open) = (queue.clone(), unresolved.clone());
    universe.on_new_kind(move || {
        for uid in lock(&open).drain() {
            tasks.add(Task::Judge(uid));
        }
    });
    let collector = Collector {
        client: context.client.clone(),
        universe: universe.clone(),
        graph,
        queue: queue.clone(),
        recorder: context.recorder(NAME),
        absent: Mutex::default(),
        unresolved,
        reported: Mutex::default(),
        ended,
    };
    async move {
        // Orphaning and foreground deletion must know all dependents.
        universe.synced().await;
        work(NAME, queue, 20, collector).await;
    }
}

impl Reconcile<Task> for Collector {
    async fn reconcile(&self, task: Task) -> Result<Next, WriteError> {
        match task {
            Task::Judge(uid) => self.judge(&uid).await?,
            Task::Orphan(uid) => self.orphan(&uid).await?,
        }
        Ok(Next::OnChange)
    }
}

impl Collector {
    async fn judge(&self, uid: &str) -> Result<(), WriteError> {
        let Some(node) = lock(&self.graph).get(uid) else {
            return Ok(());
        };
        if node.deleting {
            if node.foreground {
                self.finish_foreground(&node.identity).await?;
            }
            return Ok(());
        }
        let mut owners = self.look_up_all(&node).await?;
        if judge::judge(&owners, false) != Sentence::Stays {
            // The watch that the graph lives from may be late: only who its owners are now counts.
            let Some(fresh) = self.fresh(&node.identity).await? else {
                return Ok(());
            };
            let now = fresh.owner_references.clone().unwrap_or_default();
            if now != node.owners {
                let concerned = lock(&self.graph).present(&node.identity.kind, &fresh);
                for task in concerned {
                    self.queue.add(task);
                }
                let node = Node {
                    owners: now,
                    ..node.clone()
                };
                owners = self.look_up_all(&node).await?;
            }
        }
        let has_dependents = lock(&self.graph).has_dependents(uid);
        match judge::judge(&owners, has_dependents) {
            Sentence::Stays => {}
            Sentence::LosesReferences(uids) => {
                self.drop_owners(&node.identity, &uids).await?;
            }
            Sentence::GoesInForeground => {
                if lock(&self.graph).has_foreground_dependents(uid) {
                    // Two that wait for each other: nobody waits for this one any more.
                    self.unblock_owners(&node.identity).await?;
                }
                self.delete(&node.identity, Some(PropagationPolicy::Foreground))
                    .await?;
            }
            Sentence::Goes => self.delete(&node.identity, None).await?,
        }
        Ok(())
    }

    async fn look_up_all(&self, node: &Node) -> Result<Vec<(OwnerReference, Owner)>, WriteError> {
        let mut owners = Vec::with_capacity(node.owners.len());
        for reference in &node.owners {
            let owner = self.look_up(&node.identity, reference).await?;
            owners.push((reference.clone(), owner));
        }
        Ok(owners)
    }

    /// What is known, or can be learned, of an owner.
    async fn look_up(
        &self,
        dependent: &Identity,
        reference: &OwnerReference,
    ) -> Result<Owner, WriteError> {
        let known = lock(&self.graph).get(&reference.uid);
        if let Some(owner) = &known
            && owner
                .identity
                .is_named_by(reference, &dependent.key.namespace)
        {
            return Ok(if owner.deleting && owner.foreground {
                Owner::Waits
            } else {
                Owner::Lives
            });
        }
        let group = group_of(&reference.api_version);
        let Some(kind) = self.universe.kind(group, &reference.kind) else {
            if lock(&self.ended).known.contains(&reference.uid) {
                return Ok(Owner::Gone);
            }
            lock(&self.unresolved).insert(dependent.uid.clone());
            return Ok(Owner::Unknown);
        };
        let namespace = &dependent.key.namespace;
        if kind.namespaced && namespace.is_empty() {
            self.report_invalid(dependent, reference);
            return Ok(Owner::Unknown);
        }
        if known.is_some() {
            // It lives, but elsewhere than the reference says.
            self.report_invalid(dependent, reference);
        }
        let home = if kind.namespaced {
            namespace.clone()
        } else {
            String::new()
        };
        let identity = (home.clone(), reference.uid.clone());
        if lock(&self.absent).contains(&identity) {
            return Ok(Owner::Gone);
        }
        let key = ObjectKey::new(home, reference.name.clone());
        match self.read(&kind, &key).await? {
            Some(metadata) if metadata.uid.as_deref() == Some(&reference.uid) => {
                let waits =
                    metadata.deletion_timestamp.is_some() && has_finalizer(&metadata, FOREGROUND);
                Ok(if waits { Owner::Waits } else { Owner::Lives })
            }
            _ => {
                let mut absent = lock(&self.absent);
                if absent.len() >= ABSENT {
                    absent.clear();
                }
                absent.insert(identity);
                Ok(Owner::Gone)
            }
        }
    }

    fn report_invalid(&self, dependent: &Identity, reference: &OwnerReference) {
        let mut reported = lock(&self.reported);
        if reported.len() > 4096 {
            reported.clear();
        }
        if !reported.insert((dependent.uid.clone(), reference.uid.clone())) {
            return;
        }
        let ObjectKey { namespace, name } = &dependent.key;
        let OwnerReference {
            api_version,
            kind,
            name: owner,
            uid,
            ..
        } = reference;
        let resource = &dependent.kind.resource;
        let metadata = ObjectMeta {
            namespace: (!namespace.is_empty()).then(|| namespace.clone()),
            name: Some(name.clone()),
            uid: Some(dependent.uid.clone()),
            ..ObjectMeta::default()
        };
        let regarding = reference_by_metadata(&resource.api_version, &resource.kind, &metadata);
        let message = format!(
            "ownerRef [{api_version}/{kind}, namespace: {namespace}, name: {owner}, uid: {uid}] \
             does not exist in namespace \"{namespace}\""
        );
        self.recorder.record(
            "Warning",
            regarding,
            "OwnerRefInvalidNamespace",
            message,
            "",
        );
    }

    /// An owner that goes last goes when nobody who blocks it is left.
    async fn finish_foreground(&self, owner: &Identity) -> Result<(), WriteError> {
        let blocking = lock(&self.graph).blocking_dependents(&owner.uid);
        if blocking.is_empty() {
            return self.drop_finalizer(owner, FOREGROUND).await;
        }
        for uid in blocking {
            self.queue.add(Task::Judge(uid));
        }
        Ok(())
    }

    async fn orphan(&self, uid: &str) -> Result<(), WriteError> {
        let Some(owner) = lock(&self.graph).get(uid) else {
            return Ok(());
        };
        if !(owner.deleting && owner.orphan) {
            return Ok(());
        }
        // A dependent made just before the deletion may not be in the graph yet, and would be lost: ask the server.
        let mut dependents = lock(&self.graph).dependents(uid);
        for found in self.list_dependents(&owner.identity).await? {
            if !dependents.iter().any(|known| known.uid == found.uid) {
                dependents.push(found);
            }
        }
        for dependent in dependents {
            self.drop_owners(&dependent, &[uid.to_owned()]).await?;
        }
        self.drop_finalizer(&owner.identity, ORPHAN).await
    }

    async fn list_dependents(&self, owner: &Identity) -> Result<Vec<Identity>, WriteError> {
        let namespace = &owner.key.namespace;
        let kinds = self.universe.namespaced();
        let lists = stream::iter(kinds.into_iter().map(|kind| {
            let api = kind.api(self.client.clone(), namespace);
            async move { (api.list_metadata(&ListParams::default()).await, kind) }
        }));
        let lists: Vec<_> = lists.buffer_unordered(16).collect().await;
        let mut found = Vec::new();
        for (list, kind) in lists {
            let list = match list {
                Ok(list) => list,
                // Not listable after all, as subresource-like kinds: it has no dependents for us.
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 405) => continue,
                Err(source) => {
                    let what = format!("possible dependents in {}", kind.resource.plural);
                    return Err(WriteError::new("listing", what, owner.key.clone(), source));
                }
            };
            found.extend(
                list.items
                    .iter()
                    .filter(|object| {
                        let owners = object.metadata.owner_references.iter().flatten();
                        owners
                            .into_iter()
                            .any(|reference| reference.uid == owner.uid)
                    })
                    .filter_map(|object| Identity::of(&kind, &object.metadata)),
            );
        }
        Ok(found)
    }

    async fn read(
        &self,
        kind: &KnownKind,
        key: &ObjectKey,
    ) -> Result<Option<ObjectMeta>, WriteError> {
        match kind
            .api(self.client.clone(), &key.namespace)
            .get_metadata(&key.name)
            .await
        {
            Ok(object) => Ok(Some(object.metadata)),
            // Not the path but the object is unknown: a version that is not served any more says nothing.
            Err(kube::Error::Api(status)) if status.code == 404 && names_object(&status) => {
                Ok(None)
            }
            Err(source) => Err(failed("reading", kind, key, source)),
        }
    }

    /// The newest version, if it is still the same object; else the graph learns that it is gone.
    async fn fresh(&self, identity: &Identity) -> Result<Option<ObjectMeta>, WriteError> {
        let found = self.read(&identity.kind, &identity.key).await?;
        let found = found.filter(|found| found.uid.as_deref() == Some(&identity.uid));
        if found.is_none() {
            let concerned = lock(&self.graph).gone(Some(&identity.uid));
            for task in concerned {
                self.queue.add(task);
            }
        }
        Ok(found)
    }

    async fn delete(
        &self,
        identity: &Identity,
        policy: Option<PropagationPolicy>,
    ) -> Result<(), WriteError> {
        let Some(fresh) = self.fresh(identity).await? else {
            return Ok(());
        };
        if fresh.deletion_timestamp.is_some() {
            return Ok(());
        }
        let policy = policy.unwrap_or(if has_finalizer(&fresh, ORPHAN) {
            PropagationPolicy::Orphan
        } else if has_finalizer(&fresh, FOREGROUND) {
            PropagationPolicy::Foreground
        } else {
            PropagationPolicy::Background
        });
        debug!(kind = identity.kind.resource.kind, key = %identity.key, ?policy, "collecting");
        let params = DeleteParams {
            propagation_policy: Some(policy),
            // Were it given a new owner in this moment, it must not go.
            preconditions: Some(Preconditions {
                uid: Some(identity.uid.clone()),
                resource_version: fresh.resource_version,
            }),
            ..DeleteParams::default()
        };
        let api = identity
            .kind
            .api(self.client.clone(), &identity.key.namespace);
        match api.delete(&identity.key.name, &params).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(source) => Err(failed("collecting", &identity.kind, &identity.key, source)),
        }
    }

    async fn drop_owners(&self, dependent: &Identity, uids: &[String]) -> Result<(), WriteError> {
        let Some(fresh) = self.fresh(dependent).await? else {
            return Ok(());
        };
        let owners = fresh.owner_references.unwrap_or_default();
        let staying: Vec<_> = owners
            .iter()
            .filter(|owner| !uids.contains(&owner.uid))
            .cloned()
            .collect();
        if staying.len() == owners.len() {
            return Ok(());
        }
        let patch = json!({
            "ownerReferences": if staying.is_empty() { Value::Null } else { json!(staying) },
        });
        self.patch(dependent, fresh.resource_version, patch).await
    }

    async fn unblock_owners(&self, dependent: &Identity) -> Result<(), WriteError> {
        let Some(fresh) = self.fresh(dependent).await? else {
            return Ok(());
        };
        let mut owners = fresh.owner_references.unwrap_or_default();
        for owner in &mut owners {
            owner.block_owner_deletion = owner.block_owner_deletion.map(|_| false);
        }
        self.patch(
            dependent,
            fresh.resource_version,
            json!({"ownerReferences": owners}),
        )
        .await
    }

    async fn drop_finalizer(&self, object: &Identity, finalizer: &str) -> Result<(), WriteError> {
        let Some(fresh) = self.fresh(object).await? else {
            return Ok(());
        };
        if !has_finalizer(&fresh, finalizer) {
            return Ok(());
        }
        let mut staying = fresh.finalizers.unwrap_or_default();
        staying.retain(|known| known != finalizer);
        self.patch(
            object,
            fresh.resource_version,
            json!({"finalizers": staying}),
        )
        .await
    }

    async fn patch(
        &self,
        object: &Identity,
        revision: Option<String>,
        mut metadata: Value,
    ) -> Result<(), WriteError> {
        metadata["uid"] = json!(object.uid);
        metadata["resourceVersion"] = json!(revision);
        let params = PatchParams {
            field_manager: Some(CONTROLLER_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let api = object.kind.api(self.client.clone(), &object.key.namespace);
        let patch = Patch::Merge(json!({"metadata": metadata}));
        match api.patch_metadata(&object.key.name, &params, &patch).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(source) => Err(failed("patching", &object.kind, &object.key, source)),
        }
    }
}

fn names_object(status: &Status) -> bool {
    status
        .details
        .as_ref()
        .is_some_and(|details| !details.name.is_empty())
}

fn failed(
    action: &'static str,
    kind: &KnownKind,
    key: &ObjectKey,
    source: kube::Error,
) -> WriteError {
    WriteError::new(action, kind.resource.kind.clone(), key.clone(), source)
}
