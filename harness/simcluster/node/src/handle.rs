//! A pod as the kubelet's API sees it: which containers run, where their logs are, how to reach them.
//!
//! Its worker writes it, [`crate::kubelet`] reads it; neither waits for the other.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodStatus};
use simcluster_kubelet_api::Input;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::{logs::Log, pod::Event, runtime::Resize};

/// One run of a container.
#[derive(Clone)]
pub(crate) struct Run {
    /// The runtime's name for it.
    pub(crate) id: String,
    /// Its output.
    pub(crate) log: Arc<Log>,
    /// Its exit code, once it has one.
    pub(crate) exit: watch::Receiver<Option<i32>>,
    /// Its input, if the pod keeps that open.
    pub(crate) stdin: Arc<tokio::sync::Mutex<Option<Input>>>,
    /// Its input ends with the first client that was attached to it.
    pub(crate) stdin_once: bool,
    /// With a terminal.
    pub(crate) resize: Option<Arc<Resize>>,
    /// The image's stop signal, if it names one.
    pub(crate) stop_signal: Option<String>,
    /// When it began.
    pub(crate) started: Timestamp,
}

impl Run {
    /// Whether its process exists.
    pub(crate) fn alive(&self) -> bool {
        self.exit.borrow().is_none()
    }
}

/// The runs of one container that are still of interest.
#[derive(Clone, Default)]
pub(crate) struct Runs {
    pub(crate) current: Option<Run>,
    pub(crate) previous: Option<Run>,
}

/// One pod of the node.
pub(crate) struct PodHandle {
    /// `metadata.uid`, also the sandbox's name.
    pub(crate) uid: String,
    /// Where its worker takes events.
    pub(crate) events: mpsc::UnboundedSender<Event>,
    containers: Mutex<BTreeMap<String, Runs>>,
    status: watch::Sender<PodStatus>,
    /// Cancelled when its worker has ended, and nothing of the pod is left.
    pub(crate) left: CancellationToken,
    /// The object as it was last seen.
    pod: Mutex<Arc<Pod>>,
    /// The one whose resources the node has granted it.
    granted: Mutex<Arc<Pod>>,
}

impl std::fmt::Debug for PodHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PodHandle")
            .field("uid", &self.uid)
            .finish_non_exhaustive()
    }
}

impl PodHandle {
    pub(crate) fn new(uid: String, events: mpsc::UnboundedSender<Event>, pod: Pod) -> Arc<Self> {
        Arc::new(Self {
            uid,
            events,
            containers: Mutex::default(),
            status: watch::Sender::default(),
            left: CancellationToken::new(),
            granted: Mutex::new(Arc::new(pod.clone())),
            pod: Mutex::new(Arc::new(pod)),
        })
    }

    /// The runs of a container.
    pub(crate) fn runs(&self, container: &str) -> Runs {
        lock(&self.containers)
            .get(container)
            .cloned()
            .unwrap_or_default()
    }

    /// The newest run of a container becomes the previous one; the one before is answered.
    pub(crate) fn begin(&self, container: &str, run: Run) -> Option<Run> {
        let mut all = lock(&self.containers);
        let runs = all.entry(container.to_owned()).or_default();
        let oldest = runs.previous.take();
        runs.previous = runs.current.replace(run);
        oldest
    }

    /// Remembers what the API is told.
    pub(crate) fn set_status(&self, status: PodStatus) {
        self.status.send_replace(status);
    }

    /// The newest status of a container.
    pub(crate) fn container_status(&self, container: &str) -> Option<ContainerStatus> {
        let status = self.status.borrow();
        let all = [
            &status.container_statuses,
            &status.init_container_statuses,
            &status.ephemeral_container_statuses,
        ];
        all.into_iter()
            .flatten()
            .flatten()
            .find(|c| c.name == container)
            .cloned()
    }

    /// Remembers what its object has become.
    pub(crate) fn see(&self, pod: &Pod) {
        *lock(&self.pod) = Arc::new(pod.clone());
    }

    /// Its object as it was last seen.
    pub(crate) fn pod(&self) -> Arc<Pod> {
        Arc::clone(&lock(&self.pod))
    }

    /// What the API is told.
    pub(crate) fn status(&self) -> PodStatus {
        self.status.borrow().clone()
    }

    /// The pod with what it was granted, unless it has ended and takes nothing of the node any more.
    pub(crate) fn occupant(&self) -> Option<Arc<Pod>> {
        (!has_ended(&self.status.borrow())).then(|| Arc::clone(&lock(&self.granted)))
    }

    /// From now on it takes what that object asks for.
    pub(crate) fn grant(&self, pod: &Pod) {
        *lock(&self.granted) = Arc::new(pod.clone());
    }

    /// Waits until the pod takes nothing of the node any more.
    pub(crate) async fn ended(&self) {
        let mut status = self.status.subscribe();
        tokio::select! {
            () = async { drop(status.wait_for(has_ended).await) } => {}
            () = self.left.cancelled() => {}
        }
    }

    /// The pod's address.
    pub(crate) fn pod_ip(&self) -> Option<String> {
        self.status.borrow().pod_ip.clone()
    }
}

fn has_ended(status: &PodStatus) -> bool {
    matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
