//! Records Events, the same one again as a higher count, like a node's recorder.
//!
//! Recording never waits: a task of its own writes them in order. An Event that cannot be written is
//! dropped; nothing depends on one.

use std::collections::HashMap;

use k8s_openapi::{
    api::core::v1::{Event, EventSource, ObjectReference, Pod},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use kube::{Api, Client, api::Patch};
use serde_json::json;
use tokio::sync::mpsc;

use crate::{
    clock::Clock,
    pod::{conditions::whole_seconds, container::Role},
    written,
};

/// What is recorded.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Note {
    pub(crate) warning: bool,
    pub(crate) reason: String,
    pub(crate) message: String,
}

/// Records Events about objects. Clones record to the same place.
#[derive(Clone, Debug)]
pub(crate) struct Recorder {
    sender: mpsc::UnboundedSender<(ObjectReference, Note)>,
}

/// So many different Events are remembered for counting; then the memory begins anew.
const REMEMBERED: usize = 4096;

impl Recorder {
    /// Starts a recorder for the node `node`; the future writes until the recorder is dropped.
    pub(crate) fn new(
        client: Client,
        node: String,
        clock: Clock,
    ) -> (Self, impl Future<Output = ()> + Send) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self { sender }, write(client, node, clock, receiver))
    }

    /// Records an Event.
    pub(crate) fn record(&self, about: ObjectReference, note: Note) {
        // Without a writer the node is ending.
        let _ = self.sender.send((about, note));
    }
}

/// A reference to a pod, or to one of its containers.
pub(crate) fn pod_reference(pod: &Pod, container: Option<(&str, Role)>) -> ObjectReference {
    let meta = &pod.metadata;
    ObjectReference {
        api_version: Some("v1".into()),
        kind: Some("Pod".into()),
        name: meta.name.clone(),
        namespace: meta.namespace.clone(),
        uid: meta.uid.clone(),
        resource_version: meta.resource_version.clone(),
        field_path: container.map(|(name, role)| {
            let list = match role {
                Role::Init | Role::Sidecar => "initContainers",
                Role::Main => "containers",
                Role::Ephemeral => "ephemeralContainers",
            };
            format!("spec.{list}{{{name}}}")
        }),
    }
}

async fn write(
    client: Client,
    node: String,
    clock: Clock,
    mut receiver: mpsc::UnboundedReceiver<(ObjectReference, Note)>,
) {
    type Key = (Option<String>, Option<String>, Option<String>, Note);
    let mut known: HashMap<Key, (String, i32)> = HashMap::new();
    let mut number: u64 = 0;
    while let Some((about, note)) = receiver.recv().await {
        let namespace = about.namespace.clone().unwrap_or_else(|| "default".into());
        let api: Api<Event> = Api::namespaced(client.clone(), &namespace);
        let now = Time(whole_seconds(clock.now()));
        let key = (
            about.uid.clone(),
            about.name.clone(),
            about.field_path.clone(),
            note.clone(),
        );
        if let Some((name, count)) = known.get_mut(&key) {
            *count += 1;
            let patch = json!({"count": *count, "lastTimestamp": now});
            let params = written::by_patch();
            match api.patch(name, &params, &Patch::Strategic(patch)).await {
                Ok(_) => continue,
                // The Event has expired or was deleted: record it anew.
                Err(error) => tracing::debug!(%error, name, "event not counted"),
            }
        }
        number += 1;
        let object = about.name.clone().unwrap_or_default();
        let stamp = u64::try_from(clock.now().as_nanosecond()).unwrap_or_default() + number;
        let event = Event {
            metadata: ObjectMeta {
                name: Some(format!("{object}.{stamp:x}")),
                namespace: Some(namespace),
                ..ObjectMeta::default()
            },
            involved_object: about,
            type_: Some(if note.warning { "Warning" } else { "Normal" }.into()),
            reason: Some(note.reason.clone()),
            message: Some(note.message.clone()),
            count: Some(1),
            first_timestamp: Some(now.clone()),
            last_timestamp: Some(now),
            source: Some(EventSource {
                component: Some("kubelet".into()),
                host: Some(node.clone()),
            }),
            reporting_component: Some("kubelet".into()),
            reporting_instance: Some(node.clone()),
            ..Event::default()
        };
        let name = event.metadata.name.clone().unwrap_or_default();
        match written::create(&client, &api, &event).await {
            Ok(()) => {
                if known.len() >= REMEMBERED {
                    known.clear();
                }
                known.insert(key, (name, 1));
            }
            Err(error) => tracing::debug!(%error, reason = note.reason, "event not recorded"),
        }
    }
}
