//! Events: what the controllers tell the user about an object.
//!
//! A [`Recorder`] never makes its controller wait: occurrences go through a channel to one writer, which lets
//! [`correlate`] decide what becomes a new Event, what raises the count of one, and what is too much. Events are
//! best effort: one that the API server refuses is logged and dropped. Old Events are removed by the API server.

use k8s_openapi::api::core::v1::{Event, ObjectReference};
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams, PostParams},
};
use tokio::sync::mpsc;
use tracing::debug;

use crate::{clock::Clock, objects::Kind};

pub(crate) mod correlate;

use correlate::{Correlator, Decision};

/// Which of the two forms an Event has: most controllers write the first, the scheduler the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// `source`, `firstTimestamp`, `lastTimestamp`, `count`.
    Core,
    /// `eventTime`, `reportingComponent`, `action`, `series`.
    Reporting,
}

/// Something that happened to an object.
#[derive(Clone, Debug)]
pub(crate) struct Occurrence {
    pub(crate) component: &'static str,
    pub(crate) form: Form,
    pub(crate) regarding: ObjectReference,
    pub(crate) type_: &'static str,
    pub(crate) reason: String,
    pub(crate) message: String,
    pub(crate) action: &'static str,
}

/// Says what happens to objects, in the name of one controller.
#[derive(Clone, Debug)]
pub(crate) struct Recorder {
    component: &'static str,
    form: Form,
    sender: mpsc::UnboundedSender<Occurrence>,
}

/// Names an object in an Event.
pub(crate) fn reference<K: Kind>(object: &K) -> ObjectReference {
    ObjectReference {
        api_version: Some(K::api_version(&()).into_owned()),
        kind: Some(K::kind(&()).into_owned()),
        namespace: object.namespace(),
        name: object.meta().name.clone(),
        uid: object.uid(),
        resource_version: object.resource_version(),
        field_path: None,
    }
}

impl Recorder {
    pub(crate) fn normal<K: Kind>(&self, object: &K, reason: &str, message: impl Into<String>) {
        self.record("Normal", reference(object), reason, message.into(), "");
    }

    pub(crate) fn warning<K: Kind>(&self, object: &K, reason: &str, message: impl Into<String>) {
        self.record("Warning", reference(object), reason, message.into(), "");
    }

    /// The general form: any reference, and the action of [`Form::Reporting`].
    pub(crate) fn record(
        &self,
        type_: &'static str,
        regarding: ObjectReference,
        reason: &str,
        message: String,
        action: &'static str,
    ) {
        // A closed channel means that the process is ending; Events are best effort.
        let _ = self.sender.send(Occurrence {
            component: self.component,
            form: self.form,
            regarding,
            type_,
            reason: reason.to_owned(),
            message,
            action,
        });
    }
}

/// The way from all recorders to the one writer.
#[derive(Debug)]
pub(crate) struct Events {
    sender: mpsc::UnboundedSender<Occurrence>,
    receiver: mpsc::UnboundedReceiver<Occurrence>,
}

/// Makes recorders.
#[derive(Clone, Debug)]
pub(crate) struct Recorders(mpsc::UnboundedSender<Occurrence>);

impl Recorders {
    pub(crate) fn recorder(&self, component: &'static str, form: Form) -> Recorder {
        Recorder {
            component,
            form,
            sender: self.0.clone(),
        }
    }
}

impl Events {
    pub(crate) fn new() -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        Self { sender, receiver }
    }

    pub(crate) fn recorders(&self) -> Recorders {
        Recorders(self.sender.clone())
    }

    /// Writes what is recorded, until dropped.
    pub(crate) async fn write(mut self, client: Client, clock: Clock) {
        let mut correlator = Correlator::default();
        while let Some(occurrence) = self.receiver.recv().await {
            let manager = manager_of(occurrence.form);
            match correlator.decide(occurrence.clone(), clock.now()) {
                Decision::Drop => {}
                Decision::Create(event) => create(&client, manager, &event).await,
                Decision::Raise {
                    namespace,
                    name,
                    patch,
                } => {
                    let api: Api<Event> = Api::namespaced(client.clone(), &namespace);
                    let params = PatchParams {
                        field_manager: Some(manager.to_owned()),
                        ..PatchParams::default()
                    };
                    match api.patch(&name, &params, &Patch::Merge(patch)).await {
                        Ok(_) => {}
                        Err(kube::Error::Api(status)) if status.code == 404 => {
                            // It has expired: tell it anew.
                            correlator.forget(&occurrence);
                            if let Decision::Create(event) =
                                correlator.decide(occurrence, clock.now())
                            {
                                create(&client, manager, &event).await;
                            }
                        }
                        Err(error) => debug!(%error, name, "an Event was not updated"),
                    }
                }
            }
        }
    }
}

fn manager_of(form: Form) -> &'static str {
    match form {
        Form::Core => "kube-controller-manager",
        Form::Reporting => "kube-scheduler",
    }
}

async fn create(client: &Client, manager: &str, event: &Event) {
    let namespace = event.namespace().unwrap_or_default();
    let api: Api<Event> = Api::namespaced(client.clone(), &namespace);
    let params = PostParams {
        field_manager: Some(manager.to_owned()),
        ..PostParams::default()
    };
    if let Err(error) = api.create(&params, event).await {
        // A namespace that is going away refuses Events, too.
        debug!(%error, reason = event.reason, message = event.message, "an Event was not written");
    }
}

/// Names an object known by its metadata only.
pub(crate) fn reference_by_metadata(
    api_version: &str,
    kind: &str,
    metadata: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta,
) -> ObjectReference {
    ObjectReference {
        api_version: Some(api_version.to_owned()),
        kind: Some(kind.to_owned()),
        namespace: metadata.namespace.clone(),
        name: metadata.name.clone(),
        uid: metadata.uid.clone(),
        ..ObjectReference::default()
    }
}
