//! One pod's worker: feeds the pod machine with what happens and performs what it asks for.
//!
//! It decides nothing. Everything slow runs in tasks of its own that answer with an event:
//! [`mount`] (volumes), [`launch`] (images and containers), [`prober`] and [`hooks`], [`usage`]
//! (volume limits), [`resize`] (other resources), [`report`] (the API).

use std::{
    collections::{BTreeMap, HashMap},
    net::Ipv4Addr,
    sync::Arc,
};

use k8s_openapi::api::core::v1::{Container, Pod, PodStatus};
use simcluster_runtime::spec::SandboxSpec;
use tokio::{
    sync::{mpsc, watch},
    task::{AbortHandle, JoinSet},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    admission::Refusal,
    agent::Pods,
    context::Context,
    events::{Note, pod_reference},
    handle::PodHandle,
    pod::{Action, Event, PodState, Record},
    pod_files,
    runtime::{SIGKILL, SIGTERM, signal_number},
    sysctls,
    volumes::{in_memory, mounts::Placed, setup::PodVolumes},
};

mod grpc;
mod hooks;
mod launch;
mod mount;
mod prober;
mod report;
mod resize;
mod tls;
mod usage;

/// Runs one pod from its first sight to its end on this node.
pub(crate) struct Worker {
    context: Arc<Context>,
    handle: Arc<PodHandle>,
    events: mpsc::UnboundedReceiver<Event>,
    state: PodState,
    pod: watch::Sender<Arc<Pod>>,
    volumes: Arc<PodVolumes>,
    placed: Arc<BTreeMap<String, Placed>>,
    mounted: watch::Sender<Arc<BTreeMap<String, Placed>>>,
    address: Option<Ipv4Addr>,
    ip: Option<String>,
    reports: mpsc::UnboundedSender<report::Report>,
    tasks: JoinSet<()>,
    mounting: Option<AbortHandle>,
    starts: HashMap<usize, CancellationToken>,
    probes: HashMap<usize, Vec<AbortHandle>>,
    alarm: Option<Instant>,
    /// The node's other pods.
    pods: Pods,
    judging: Option<AbortHandle>,
    limiting: HashMap<usize, AbortHandle>,
}

impl Worker {
    /// A worker for `pod`, beside those of `pods`, and how others reach it.
    pub(crate) fn new(context: Arc<Context>, pods: Pods, pod: Pod) -> (Self, Arc<PodHandle>) {
        let (sender, events) = mpsc::unbounded_channel();
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let handle = PodHandle::new(uid, sender, pod.clone());
        let state = PodState::new(
            pod.clone(),
            &context.host_ip.to_string(),
            context.clock.now(),
        );
        let volumes = PodVolumes::new(context.client.clone(), context.paths.clone(), context.clock);
        let mut tasks = JoinSet::new();
        let (reports, receiver) = mpsc::unbounded_channel();
        tasks.spawn(context.tasks.track(report::write(
            context.client.clone(),
            pod.clone(),
            receiver,
        )));
        let worker = Self {
            context,
            handle: Arc::clone(&handle),
            events,
            state,
            pod: watch::Sender::new(Arc::new(pod)),
            volumes,
            placed: Arc::default(),
            mounted: watch::Sender::default(),
            address: None,
            ip: None,
            reports,
            tasks,
            mounting: None,
            starts: HashMap::new(),
            probes: HashMap::new(),
            alarm: None,
            pods,
            judging: None,
            limiting: HashMap::new(),
        };
        (worker, handle)
    }

    /// Works until nothing of the pod is left; if the node refuses it, that is only its object.
    pub(crate) async fn run(mut self, refusal: Option<Refusal>) {
        let first = self.state.pod().clone();
        let mut next = Some(match refusal {
            None => Event::Seen(Box::new(first)),
            Some(Refusal { reason, message }) => Event::Refused { reason, message },
        });
        loop {
            let event = match next.take() {
                Some(event) => event,
                None => self.wait().await,
            };
            self.note(&event);
            let now = self.context.clock.now();
            for action in self.state.step(event, now) {
                if action == Action::Forget {
                    self.forget().await;
                    return;
                }
                self.perform(action);
            }
        }
    }

    async fn wait(&mut self) -> Event {
        loop {
            let alarm = self.alarm;
            let rings = async move {
                match alarm {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                event = self.events.recv() => {
                    // The handle of this very worker keeps the channel open.
                    return event.unwrap_or(Event::Tick);
                }
                () = rings => {
                    self.alarm = None;
                    return Event::Tick;
                }
                Some(ended) = self.tasks.join_next(), if !self.tasks.is_empty() => {
                    if let Err(error) = ended && error.is_panic() {
                        tracing::error!(%error, pod = self.handle.uid, "a task of a pod panicked");
                    }
                }
            }
        }
    }

    /// Keeps what the tasks need from events that pass by.
    fn note(&mut self, event: &Event) {
        match event {
            Event::Seen(pod) => {
                self.pod.send_replace(Arc::new((**pod).clone()));
            }
            Event::VolumesMounted => {
                self.placed = Arc::clone(&self.mounted.borrow());
                self.watch_usage();
            }
            Event::SandboxReady { ip } => {
                self.ip.clone_from(ip);
                if let Some(ip) = ip {
                    let ports = &self.context.host_ports;
                    ports.open(&self.handle.uid, &self.pod.borrow(), ip);
                }
            }
            Event::SandboxRemoved => {
                self.context.host_ports.close(&self.handle.uid);
                if let Some(address) = self.address.take() {
                    self.context.release_address(address);
                }
            }
            _ => {}
        }
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::MountVolumes => self.mount_volumes(),
            Action::CancelMounts => {
                if let Some(mounting) = self.mounting.take() {
                    mounting.abort();
                }
            }
            Action::CreateSandbox => self.create_sandbox(),
            Action::RemoveSandbox => self.remove_sandbox(),
            Action::Start { container, run } => self.start(container, run),
            Action::CancelStart { container } => {
                if let Some(start) = self.starts.get(&container) {
                    start.cancel();
                }
            }
            Action::PostStart { container, run } => self.post_start(container, run),
            Action::PreStop {
                container,
                run,
                limit,
            } => self.pre_stop(container, run, limit),
            Action::Signal { container, kill } => self.signal(container, kill),
            Action::StartProbe {
                container,
                run,
                kind,
            } => self.start_probe(container, run, kind),
            Action::StopProbes { container } => {
                for probe in self.probes.remove(&container).into_iter().flatten() {
                    probe.abort();
                }
            }
            Action::JudgeResize { question } => self.judge_resize(question),
            Action::Limit {
                container,
                run,
                resources,
            } => self.limit(container, run, *resources),
            Action::Record(record) => self.record(&record),
            Action::WriteStatus(status) => self.write_status(*status),
            Action::WakeAt(at) => self.alarm = Some(self.context.clock.instant(at)),
            // A closed channel means that the object is gone already.
            Action::Delete => drop(self.reports.send(report::Report::Delete)),
            Action::Forget => {}
        }
    }

    /// A task that ends with this worker at the latest.
    fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        self.tasks.spawn(self.context.tasks.track(task))
    }

    fn container(&self, index: usize) -> Container {
        self.state.containers()[index].spec.clone()
    }

    fn record(&self, record: &Record) {
        let container = record.container.map(|index| {
            let container = &self.state.containers()[index];
            (container.spec.name.as_str(), container.role)
        });
        let about = pod_reference(self.state.pod(), container);
        let note = Note {
            warning: record.warning,
            reason: record.reason.to_string(),
            message: record.message.clone(),
        };
        self.context.recorder.record(about, note);
    }

    fn write_status(&mut self, status: PodStatus) {
        self.handle.set_status(status.clone());
        let _ = self.reports.send(report::Report::Status(Box::new(status)));
    }

    fn mount_volumes(&mut self) {
        let task = mount::mount(
            Arc::clone(&self.context),
            Arc::clone(&self.volumes),
            self.pod.subscribe(),
            self.mounted.clone(),
            self.handle.events.clone(),
        );
        self.mounting = Some(self.spawn(task));
    }

    fn create_sandbox(&mut self) {
        let pod = Arc::clone(&self.pod.borrow());
        let shared = pod
            .spec
            .as_ref()
            .is_some_and(|s| s.host_network == Some(true));
        if !shared && self.address.is_none() {
            self.address = self.context.take_address();
        }
        let address = self.address;
        let context = Arc::clone(&self.context);
        let events = self.handle.events.clone();
        let uid = self.handle.uid.clone();
        self.spawn(async move {
            let made = make_sandbox(&context, &pod, uid, address, shared).await;
            let event = match made {
                Ok(ip) => Event::SandboxReady { ip: Some(ip) },
                Err(error) => {
                    let note = Note {
                        warning: true,
                        reason: "FailedCreatePodSandBox".into(),
                        message: format!("Failed to create pod sandbox: {error}"),
                    };
                    context.recorder.record(pod_reference(&pod, None), note);
                    Event::SandboxFailed
                }
            };
            let _ = events.send(event);
        });
    }

    fn remove_sandbox(&mut self) {
        let context = Arc::clone(&self.context);
        let events = self.handle.events.clone();
        let uid = self.handle.uid.clone();
        self.spawn(async move {
            if let Err(error) = context.runtime.remove_sandbox(&uid).await {
                tracing::warn!(%error, pod = uid, "sandbox not removed");
            }
            let _ = events.send(Event::SandboxRemoved);
        });
    }

    fn signal(&mut self, index: usize, kill: bool) {
        let container = self.container(index);
        let Some(run) = self.handle.runs(&container.name).current else {
            return;
        };
        let own = container.lifecycle.and_then(|l| l.stop_signal);
        let signal = if kill {
            SIGKILL
        } else {
            own.or(run.stop_signal)
                .and_then(|name| signal_number(&name))
                .unwrap_or(SIGTERM)
        };
        let context = Arc::clone(&self.context);
        self.spawn(async move {
            if let Err(error) = context.runtime.signal(&run.id, signal).await {
                // It may have ended meanwhile.
                tracing::debug!(%error, container = run.id, signal, "signal not sent");
            }
        });
    }

    /// Removes what is left of the pod on this node.
    async fn forget(mut self) {
        self.tasks.shutdown().await;
        self.context.host_ports.close(&self.handle.uid);
        if let Some(address) = self.address.take() {
            self.context.release_address(address);
        }
        let directory = self.context.paths.pod(&self.handle.uid);
        if let Err(error) = self.context.runtime.remove_tree(&directory).await {
            tracing::warn!(%error, directory = %directory.display(), "pod directory not removed");
        }
    }
}

/// Whether the pod's containers see each other's processes.
fn shares_processes(pod: &Pod) -> bool {
    let spec = pod.spec.as_ref();
    spec.is_some_and(|spec| spec.share_process_namespace == Some(true))
}

async fn make_sandbox(
    context: &Context,
    pod: &Pod,
    uid: String,
    address: Option<Ipv4Addr>,
    shared: bool,
) -> Result<String, String> {
    let ip = match (address, shared) {
        (Some(address), _) => address,
        (None, true) => context.host_ip,
        (None, false) => return Err("no free pod address is left on this node".into()),
    };
    let directory = context.paths.pod(&uid).join("etc");
    let name = pod_files::hostname(pod, &context.node);
    let files = [
        (
            "hosts",
            pod_files::hosts(pod, Some(&ip.to_string()), &context.node, &context.domain),
        ),
        (
            "resolv.conf",
            pod_files::resolv_conf(pod, context.dns_ip, &context.domain),
        ),
        ("hostname", format!("{name}\n")),
    ];
    std::fs::create_dir_all(&directory)
        .and_then(|()| {
            files
                .iter()
                .try_for_each(|(file, text)| std::fs::write(directory.join(file), text))
        })
        .map_err(|error| format!("cannot write into {}: {error}", directory.display()))?;
    let spec = SandboxSpec {
        memory: in_memory::volumes(pod, |volume| context.paths.volume(&uid, volume)),
        share_processes: shares_processes(pod),
        sysctls: sysctls::of(pod),
        id: uid,
        hostname: name,
        address,
    };
    context
        .runtime
        .create_sandbox(spec)
        .await
        .map_err(|error| error.to_string())?;
    Ok(ip.to_string())
}
