//! Starts one container: image, environment, identity, mounts, process, log; and tells of its end.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, ObjectReference, Pod};
use simcluster_images::Image;
use simcluster_runtime::{
    capabilities,
    spec::{ContainerSpec, ExitStatus},
};
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::{Worker, resize::limit_of};
use crate::{
    container::{
        command, environment,
        identity::{self, Accounts},
        references::References,
        service_links,
    },
    context::Context,
    events::{Note, pod_reference},
    handle::{PodHandle, Run},
    logs::{self, Log, Source},
    objects,
    pod::{Event, container::StartFailure},
    pod_files,
    runtime::{Running, RuntimeError},
    volumes::mounts::{self, OwnFiles, Placed},
};

mod image;

/// Everything one start needs.
struct Launch {
    context: Arc<Context>,
    handle: Arc<PodHandle>,
    pod: Arc<Pod>,
    container: Container,
    index: usize,
    run: u32,
    about: ObjectReference,
    placed: Arc<BTreeMap<String, Placed>>,
    ip: Option<String>,
    cancelled: CancellationToken,
}

/// How long the rest of a container's output is waited for after its end. Its processes are gone by
/// then, so this only guards against a runtime that keeps a pipe open.
const OUTPUT_LIMIT: Duration = Duration::from_secs(2);
/// What is kept of a termination message.
const MESSAGE_BYTES: usize = 4096;
/// What of the log stands in for a missing one.
const MESSAGE_LINES: usize = 80;
const MESSAGE_LOG_BYTES: usize = 2048;

impl Worker {
    pub(super) fn start(&mut self, index: usize, run: u32) {
        let state = &self.state.containers()[index];
        let role = state.role;
        let container = Container {
            resources: Some(state.granted.clone()),
            ..state.spec.clone()
        };
        let cancelled = CancellationToken::new();
        self.starts.insert(index, cancelled.clone());
        let launch = Launch {
            context: Arc::clone(&self.context),
            handle: Arc::clone(&self.handle),
            pod: Arc::clone(&self.pod.borrow()),
            about: pod_reference(self.state.pod(), Some((&container.name, role))),
            container,
            index,
            run,
            placed: Arc::clone(&self.placed),
            ip: self.ip.clone(),
            cancelled,
        };
        self.spawn(launch.start());
    }
}

impl Launch {
    async fn start(self) {
        let started = self.try_start().await;
        let events = self.handle.events.clone();
        match started {
            Err(failure) => {
                let _ = events.send(Event::StartFailed {
                    container: self.index,
                    failure,
                });
            }
            Ok(started) => {
                let _ = events.send(Event::Started {
                    container: self.index,
                    container_id: format!("{CONTAINER_ID_SCHEME}://{}", started.id),
                    image: self.image_name().to_owned(),
                    image_id: image_id(&started.image),
                    at: started.at,
                });
                let event = self.outlive(started).await;
                let _ = events.send(event);
            }
        }
    }

    fn image_name(&self) -> &str {
        self.container.image.as_deref().unwrap_or_default()
    }

    fn note(&self, warning: bool, reason: &str, message: impl Into<String>) {
        let note = Note {
            warning,
            reason: reason.into(),
            message: message.into(),
        };
        self.context.recorder.record(self.about.clone(), note);
    }

    async fn try_start(&self) -> Result<Started, StartFailure> {
        let image = self.image().await?;
        let environment = self
            .environment(&image)
            .await
            .map_err(StartFailure::Config)?;
        let spec = self.spec(&image, &environment)?;
        let (id, scratch) = (spec.id.clone(), spec.scratch.clone());
        let create = |what: &Path| {
            let what = what.display().to_string();
            move |error| StartFailure::Create(format!("cannot make {what}: {error}"))
        };
        fs::create_dir_all(&scratch).map_err(create(&scratch))?;
        let message = self.file("termination");
        fs::write(&message, "")
            .and_then(|()| fs::set_permissions(&message, fs::Permissions::from_mode(0o666)))
            .map_err(create(&message))?;
        let log = Log::create(&self.file("log")).map_err(create(&self.file("log")))?;
        let stdin = self.container.stdin.unwrap_or_default();
        let runtime = &self.context.runtime;
        let process = runtime.start(spec, self.image_name(), stdin).await;
        let process = match process {
            Ok(process) => process,
            Err(RuntimeError::Program(text)) => {
                self.note(false, "Created", "Container created");
                return Err(StartFailure::Run(text));
            }
            Err(error) => return Err(StartFailure::Create(error.to_string())),
        };
        let at = self.context.clock.now();
        self.note(false, "Created", "Container created");
        self.note(false, "Started", "Container started");
        Ok(self.attach_streams(id, image, log, process, at))
    }

    async fn environment(&self, image: &Image) -> Result<BTreeMap<String, String>, String> {
        let namespace = self.pod.metadata.namespace.as_deref().unwrap_or_default();
        let references = References::of_environment(&self.container);
        let found = objects::find(&self.context.client, namespace, &references)
            .await
            .map_err(|error| objects::text(&error))?;
        let links = self
            .pod
            .spec
            .as_ref()
            .and_then(|s| s.enable_service_links)
            .unwrap_or(true);
        let services = self.context.services.state();
        let services =
            service_links::variables(services.iter().map(AsRef::as_ref), namespace, links);
        let own = environment::variables(&environment::Inputs {
            pod: &self.pod,
            container: &self.container,
            found: &found,
            facts: &self.context.facts(self.ip.clone()),
            services: &services,
        })?;
        let mut all = command::with_image_environment(&image.config, own);
        all.entry("HOSTNAME".into())
            .or_insert_with(|| pod_files::hostname(&self.pod, &self.context.node));
        Ok(all)
    }

    fn spec(
        &self,
        image: &Image,
        environment: &BTreeMap<String, String>,
    ) -> Result<ContainerSpec, StartFailure> {
        let security = self.container.security_context.clone().unwrap_or_default();
        let passwd = file_of_image(&image.layers, "etc/passwd");
        let group = file_of_image(&image.layers, "etc/group");
        let accounts = Accounts {
            passwd: &passwd,
            group: &group,
        };
        let user = identity::user(&self.pod, &self.container, &image.config.user, accounts)
            .map_err(StartFailure::Config)?;
        let command = command::command(&self.container, &image.config, environment)
            .map_err(StartFailure::Create)?;
        let etc = self.context.paths.pod(&self.handle.uid).join("etc");
        let files = OwnFiles {
            hosts: etc.join("hosts"),
            resolv_conf: etc.join("resolv.conf"),
            hostname: etc.join("hostname"),
            termination_message: self.file("termination"),
        };
        let mounts = mounts::mounts(&self.container, &self.placed, &files, environment)
            .map_err(StartFailure::Config)?;
        let own_directory = self
            .container
            .working_dir
            .as_deref()
            .filter(|dir| !dir.is_empty());
        let image_directory = Some(image.config.working_dir.as_str()).filter(|d| !d.is_empty());
        let kept = if security.privileged == Some(true) {
            Some(capabilities::ALL.map(|name| format!("CAP_{name}")).to_vec())
        } else {
            identity::kept_capabilities(security.capabilities.as_ref())
        };
        Ok(ContainerSpec {
            id: format!(
                "{}{}",
                uuid::Uuid::new_v4().simple(),
                uuid::Uuid::new_v4().simple()
            ),
            sandbox: self.handle.uid.clone(),
            layers: image.layers.clone(),
            scratch: self.file("scratch"),
            read_only_root: security.read_only_root_filesystem.unwrap_or_default(),
            mounts,
            command,
            env: environment.clone(),
            working_dir: own_directory.or(image_directory).unwrap_or("/").into(),
            user,
            no_new_privileges: security.allow_privilege_escalation == Some(false),
            capabilities: kept,
            tty: self.container.tty.unwrap_or_default(),
            pids_of: self.target()?,
            memory_limit: limit_of(self.container.resources.as_ref(), "memory", "1"),
            cpu_limit: limit_of(self.container.resources.as_ref(), "cpu", "1m"),
        })
    }

    /// The run whose processes an ephemeral container is to see, if it names its container.
    fn target(&self) -> Result<Option<String>, StartFailure> {
        let named = self.pod.spec.iter().find_map(|spec| {
            let all = spec.ephemeral_containers.iter().flatten();
            let own = all.into_iter().find(|c| c.name == self.container.name)?;
            own.target_container_name.as_deref()
        });
        let Some(name) = named.filter(|name| !name.is_empty()) else {
            return Ok(None);
        };
        let run = self.handle.runs(name).current.filter(Run::alive);
        run.map(|run| Some(run.id)).ok_or_else(|| {
            StartFailure::Create(format!("unable to find target container {name:?}"))
        })
    }

    /// A file or directory of this run.
    fn file(&self, kind: &str) -> PathBuf {
        let pod = self.context.paths.pod(&self.handle.uid);
        pod.join("containers")
            .join(&self.container.name)
            .join(format!("{}.{kind}", self.run))
    }

    /// Connects the process with its log, and lets others find it.
    fn attach_streams(
        &self,
        id: String,
        image: Arc<Image>,
        log: Arc<Log>,
        process: Running,
        at: Timestamp,
    ) -> Started {
        let Running {
            stdin,
            stdout,
            stderr,
            resize,
            exit,
            kill: _,
        } = process;
        let clock = self.context.clock;
        let pumps = [(Source::Stdout, stdout), (Source::Stderr, stderr)]
            .into_iter()
            .filter_map(|(source, output)| Some((source, output?)))
            .map(|(source, output)| {
                self.context
                    .tasks
                    .spawn_joined(Arc::clone(&log).pump(source, output, clock))
            })
            .collect();
        let (ended, watch) = watch::channel(None);
        let run = Run {
            id: id.clone(),
            log: Arc::clone(&log),
            exit: watch,
            stdin: Arc::new(tokio::sync::Mutex::new(stdin)),
            stdin_once: self.container.stdin_once.unwrap_or_default(),
            resize: resize.map(Arc::new),
            stop_signal: image.config.stop_signal.clone(),
            started: at,
        };
        if let Some(oldest) = self.handle.begin(&self.container.name, run) {
            // Only the current and the previous log can be asked for.
            let _ = fs::remove_file(oldest.log.path());
        }
        Started {
            id,
            image,
            log,
            exit,
            pumps,
            ended,
            at,
        }
    }

    /// Waits for the container's end, and makes the event of it.
    async fn outlive(&self, started: Started) -> Event {
        let status: ExitStatus = started.exit.await;
        let at = self.context.clock.now();
        for pump in started.pumps {
            let _ = tokio::time::timeout(OUTPUT_LIMIT, pump).await;
        }
        started.log.close();
        started.ended.send_replace(Some(status.code));
        let message = self.termination_message(&started.log, status.code);
        let scratch = self.file("scratch");
        if let Err(error) = self.context.runtime.remove_tree(&scratch).await {
            tracing::debug!(%error, "a container's files not removed");
        }
        Event::Exited {
            container: self.index,
            code: status.code,
            oom_killed: status.oom_killed,
            message,
            at,
        }
    }

    fn termination_message(&self, log: &Log, code: i32) -> Option<String> {
        let written = fs::read(self.file("termination")).unwrap_or_default();
        let cut = &written[..written.len().min(MESSAGE_BYTES)];
        let mut text = String::from_utf8_lossy(cut).into_owned();
        let policy = self.container.termination_message_policy.as_deref();
        if text.is_empty() && code != 0 && policy == Some("FallbackToLogsOnError") {
            text = logs::tail(log.path(), MESSAGE_LINES, MESSAGE_LOG_BYTES);
        }
        (!text.is_empty()).then_some(text)
    }
}

/// A container that runs.
struct Started {
    id: String,
    image: Arc<Image>,
    log: Arc<Log>,
    exit: futures::future::BoxFuture<'static, ExitStatus>,
    pumps: Vec<JoinHandle<()>>,
    ended: watch::Sender<Option<i32>>,
    at: Timestamp,
}

/// What clients expect before a container's id: the name of an engine they know.
const CONTAINER_ID_SCHEME: &str = "containerd";

/// What the container truly runs from.
fn image_id(image: &Image) -> String {
    format!("{}@{}", image.resolved, image.digest)
}

/// A small text file of an image; its topmost version counts.
fn file_of_image(layers: &[PathBuf], path: &str) -> String {
    let found = layers
        .iter()
        .rev()
        .find_map(|layer| fs::read(layer.join(path)).ok());
    String::from_utf8_lossy(&found.unwrap_or_default()).into_owned()
}
