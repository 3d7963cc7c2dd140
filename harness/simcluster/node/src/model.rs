//! A runtime whose programs are functions: no process, no namespace, no waiting but tokio's.
//!
//! It stands behind the same pod machine as processes do. Under tokio's paused clock a day of back-off
//! passes in milliseconds, and thousands of pods run in one test. What a program sees of its pod is a
//! [`ModelContainer`]; what it cannot have is a root file system of its own: volumes are directories of
//! this machine, at the paths that [`ModelContainer::mounts`] tells.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    net::Ipv4Addr,
    panic::AssertUnwindSafe,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use futures::{FutureExt as _, future::BoxFuture};
use simcluster_images::{Image, ImageConfig, PullOptions};
use simcluster_kubelet_api::Duplex;
use simcluster_runtime::spec::{
    ContainerSpec, ExecSpec, ExitStatus, Mount, NodeUsage, SandboxSpec,
};
use tokio::{
    io::{AsyncWriteExt as _, DuplexStream},
    sync::{mpsc, oneshot},
};
use tokio_util::sync::CancellationToken;

use crate::{
    directory::{self, Directory},
    images::{ImageFailure, Images},
    runtime::{Answer, PodRuntime, Running, RuntimeError, SIGKILL},
    services::Services,
};

mod load;
mod network;

use load::Load;
pub use network::{ModelListener, ModelStream};
use network::{Network, Way};

/// A program: what the containers of an image do.
pub trait Program: Send + Sync + 'static {
    /// Runs it to its end; the answer is the exit code. It is dropped where a process would be killed.
    fn run(&self, container: ModelContainer) -> BoxFuture<'static, i32>;

    /// Runs one more program beside it: `kubectl exec`, an exec probe, a hook. `None` if it has no such
    /// program.
    fn exec(&self, _container: ModelContainer) -> Option<BoxFuture<'static, i32>> {
        None
    }
}

impl<F, Fut> Program for F
where
    F: Fn(ModelContainer) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = i32> + Send + 'static,
{
    fn run(&self, container: ModelContainer) -> BoxFuture<'static, i32> {
        self(container).boxed()
    }
}

/// The images of a model and the network of its pods; clones are the same ones.
#[derive(Clone, Default)]
pub struct Programs {
    by_image: Arc<HashMap<String, Arc<dyn Program>>>,
    network: Network,
}

impl fmt::Debug for Programs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.by_image.keys()).finish()
    }
}

impl Programs {
    /// Adds the image of that name. Every other image cannot be pulled.
    #[must_use]
    pub fn image(mut self, reference: &str, program: impl Program) -> Self {
        let mut all = HashMap::clone(&self.by_image);
        all.insert(reference.to_owned(), Arc::new(program));
        self.by_image = Arc::new(all);
        self
    }
}

impl Images for Programs {
    fn present(&self, reference: &str) -> Option<Arc<Image>> {
        self.by_image.get(reference)?;
        Some(Arc::new(Image {
            reference: reference.to_owned(),
            resolved: reference.to_owned(),
            digest: "sha256:0".into(),
            layers: Vec::new(),
            config: ImageConfig {
                cmd: vec!["run".into()],
                ..ImageConfig::default()
            },
            substitution: None,
        }))
    }

    fn ensure(
        &self,
        reference: &str,
        _options: PullOptions,
    ) -> BoxFuture<'static, Result<Arc<Image>, ImageFailure>> {
        let found = self.present(reference).ok_or_else(|| {
            ImageFailure::Unavailable(format!("{reference}: not found among the model's images"))
        });
        std::future::ready(found).boxed()
    }
}

/// A container as its program sees it.
pub struct ModelContainer {
    /// Program and arguments, as the pod wants them; `run` if neither it nor the image says anything.
    pub command: Vec<String>,
    /// The whole environment.
    pub env: BTreeMap<String, String>,
    /// Where volumes and files that the container mounts truly are, by their paths in the container.
    pub mounts: BTreeMap<PathBuf, PathBuf>,
    /// The pod's address, unless it is the node's.
    pub address: Option<Ipv4Addr>,
    /// Standard input, if it is open.
    pub stdin: Option<DuplexStream>,
    /// Standard output: the log.
    pub stdout: DuplexStream,
    /// The other half of the log.
    pub stderr: DuplexStream,
    signals: mpsc::UnboundedReceiver<i32>,
    way: Way,
    load: Load,
}

impl fmt::Debug for ModelContainer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModelContainer")
            .field("command", &self.command)
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl ModelContainer {
    /// The next signal. As for every first process, one that nobody waits for changes nothing; `SIGKILL`
    /// never comes here.
    pub async fn signal(&mut self) -> i32 {
        match self.signals.recv().await {
            Some(signal) => signal,
            None => std::future::pending().await,
        }
    }

    /// From now on it uses so many thousandths of a processor, and so many bytes of memory, as metrics tell.
    pub fn uses(&self, milli_cpus: u64, memory: u64) {
        self.load.set(milli_cpus, memory);
    }

    /// Writes a line to the log.
    pub async fn print(&mut self, line: &str) {
        // Nobody listens to a log that is gone.
        let _ = self.stdout.write_all(format!("{line}\n").as_bytes()).await;
    }

    /// Listens at a port of the pod.
    pub fn listen(&self, port: u16) -> std::io::Result<ModelListener> {
        self.way.listen(self.address, port)
    }

    /// Connects to a pod's address, a Service's address, or a Service by `NAME.NAMESPACE`, in full or with
    /// what follows it.
    pub fn connect(&self, host: &str, port: u16) -> std::io::Result<ModelStream> {
        self.way.connect(self.address, host, port)
    }
}

/// Runs the programs of one node's pods.
pub(crate) struct ModelRuntime {
    programs: Programs,
    way: Way,
    state: Mutex<State>,
    directory: Directory,
}

#[derive(Default)]
struct State {
    /// Addresses by sandbox.
    sandboxes: HashMap<String, Option<Ipv4Addr>>,
    containers: HashMap<String, Started>,
}

#[derive(Clone)]
struct Started {
    sandbox: String,
    program: Arc<dyn Program>,
    env: BTreeMap<String, String>,
    mounts: BTreeMap<PathBuf, PathBuf>,
    signals: mpsc::UnboundedSender<i32>,
    load: Load,
    kill: CancellationToken,
    ended: CancellationToken,
}

impl ModelRuntime {
    pub(crate) fn new(programs: Programs, services: Services, directory: Directory) -> Arc<Self> {
        Arc::new(Self {
            way: Way {
                network: programs.network.clone(),
                services,
            },
            programs,
            state: Mutex::default(),
            directory,
        })
    }

    pub(crate) fn directory(&self) -> &Directory {
        &self.directory
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn find(&self, container: &str) -> Result<Started, RuntimeError> {
        self.with(|state| state.containers.get(container).cloned())
            .ok_or_else(|| RuntimeError::NotRunning(format!("no container {container} runs")))
    }

    /// A container's surroundings, and the ends of them that the node holds.
    fn furnish(
        &self,
        started: &Started,
        command: Vec<String>,
        stdin: bool,
    ) -> (ModelContainer, Ends) {
        const PIPE: usize = 64 * 1024;
        let (stdout, our_stdout) = tokio::io::duplex(PIPE);
        let (stderr, our_stderr) = tokio::io::duplex(PIPE);
        let (stdin, our_stdin) = stdin.then(|| tokio::io::duplex(PIPE)).unzip();
        let address = self.with(|state| state.sandboxes.get(&started.sandbox).copied().flatten());
        let (signals, receiver) = mpsc::unbounded_channel();
        let container = ModelContainer {
            command,
            env: started.env.clone(),
            mounts: started.mounts.clone(),
            address,
            stdin,
            stdout,
            stderr,
            signals: receiver,
            way: self.way.clone(),
            load: started.load.clone(),
        };
        let ends = Ends {
            stdin: our_stdin,
            stdout: our_stdout,
            stderr: our_stderr,
            signals,
        };
        (container, ends)
    }
}

/// The node's ends of a container's streams.
struct Ends {
    stdin: Option<DuplexStream>,
    stdout: DuplexStream,
    stderr: DuplexStream,
    signals: mpsc::UnboundedSender<i32>,
}

impl Ends {
    fn running(self, exit: oneshot::Receiver<i32>, kill: CancellationToken) -> Running {
        Running {
            stdin: self.stdin.map(|stdin| Box::new(stdin) as _),
            stdout: Some(Box::new(self.stdout)),
            stderr: Some(Box::new(self.stderr)),
            resize: None,
            exit: exit
                .map(|code| {
                    let code = code.unwrap_or(KILLED);
                    ExitStatus {
                        code,
                        signal: (code == KILLED).then_some(SIGKILL),
                        oom_killed: false,
                    }
                })
                .boxed(),
            kill: async move { kill.cancel() }.boxed(),
        }
    }
}

/// 128 + SIGKILL.
const KILLED: i32 = 137;
/// What a program that panics ends with, as Rust's do.
const PANICKED: i32 = 101;

/// Runs a program until its end or until it is killed; `ended` is told after everything of it is gone.
fn spawn(
    run: BoxFuture<'static, i32>,
    kill: CancellationToken,
    ended: CancellationToken,
) -> oneshot::Receiver<i32> {
    let (tell, exit) = oneshot::channel();
    tokio::spawn(async move {
        let run = AssertUnwindSafe(run).catch_unwind();
        let code = match kill.run_until_cancelled(run).await {
            Some(Ok(code)) => code,
            Some(Err(_)) => PANICKED,
            None => KILLED,
        };
        ended.cancel();
        let _ = tell.send(code);
    });
    exit
}

impl PodRuntime for ModelRuntime {
    fn create_sandbox(&self, spec: SandboxSpec) -> Answer<'_, ()> {
        self.with(|state| state.sandboxes.insert(spec.id, spec.address));
        std::future::ready(Ok(())).boxed()
    }

    fn remove_sandbox<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        async move {
            let all: Vec<Started> = self.with(|state| {
                let own = state.containers.values().filter(|c| c.sandbox == id);
                own.cloned().collect()
            });
            for container in &all {
                container.kill.cancel();
            }
            for container in &all {
                container.ended.cancelled().await;
            }
            self.with(|state| {
                state.sandboxes.remove(id);
                state
                    .containers
                    .retain(|_, container| container.sandbox != id);
            });
            Ok(())
        }
        .boxed()
    }

    fn start<'a>(
        &'a self,
        spec: ContainerSpec,
        image: &'a str,
        stdin: bool,
    ) -> Answer<'a, Running> {
        let Some(program) = self.programs.by_image.get(image).cloned() else {
            let why = format!("the model has no program for the image {image:?}");
            return std::future::ready(Err(RuntimeError::Failed(why))).boxed();
        };
        let mounts = spec.mounts.into_iter().filter_map(|mount| match mount {
            Mount::Bind { source, target, .. } => Some((target, source)),
            Mount::BindPart {
                source,
                part,
                target,
                ..
            } => Some((target, source.join(part))),
            Mount::Tmpfs { .. } => None,
        });
        let (nobody, _) = mpsc::unbounded_channel();
        let mut started = Started {
            sandbox: spec.sandbox,
            program: Arc::clone(&program),
            env: spec.env,
            mounts: mounts.collect(),
            signals: nobody,
            load: Load::default(),
            kill: CancellationToken::new(),
            ended: CancellationToken::new(),
        };
        let (container, ends) = self.furnish(&started, spec.command, stdin);
        started.signals = ends.signals.clone();
        let run = program.run(container);
        let exit = spawn(run, started.kill.clone(), started.ended.clone());
        let running = ends.running(exit, started.kill.clone());
        self.with(|state| {
            // Those that have ended are of interest to nobody.
            state
                .containers
                .retain(|_, known| !known.ended.is_cancelled());
            state.containers.insert(spec.id, started);
        });
        std::future::ready(Ok(running)).boxed()
    }

    fn exec(&self, spec: ExecSpec, stdin: bool) -> Answer<'_, Running> {
        let started = self.find(&spec.container).and_then(|started| {
            let name = spec.command.first().cloned().unwrap_or_default();
            let (container, ends) = self.furnish(&started, spec.command, stdin);
            let run = started.program.exec(container).ok_or_else(|| {
                let why = format!("exec: {name:?}: executable file not found in $PATH");
                RuntimeError::Program(why)
            })?;
            let kill = started.kill.child_token();
            let exit = spawn(run, kill.clone(), CancellationToken::new());
            Ok(ends.running(exit, kill))
        });
        std::future::ready(started).boxed()
    }

    fn signal<'a>(&'a self, container: &'a str, signal: i32) -> Answer<'a, ()> {
        let sent = self.find(container).map(|started| {
            if signal == SIGKILL {
                started.kill.cancel();
            } else {
                // A program that no longer listens is about to end.
                let _ = started.signals.send(signal);
            }
        });
        std::future::ready(sent).boxed()
    }

    // What a function uses is what it says it uses.
    fn limit<'a>(
        &'a self,
        container: &'a str,
        _memory: Option<u64>,
        _cpu: Option<u64>,
    ) -> Answer<'a, Vec<String>> {
        std::future::ready(self.find(container).map(|_| Vec::new())).boxed()
    }

    fn usage(&self) -> Answer<'_, NodeUsage> {
        let containers = self.with(|state| {
            let alive = state.containers.iter();
            let alive = alive.filter(|(_, started)| !started.ended.is_cancelled());
            alive
                .map(|(id, started)| (id.clone(), started.load.usage()))
                .collect()
        });
        let usage = NodeUsage {
            containers,
            ..NodeUsage::default()
        };
        std::future::ready(Ok(usage)).boxed()
    }

    fn dial(&self, sandbox: String, address: Ipv4Addr, port: u16) -> Answer<'_, Box<dyn Duplex>> {
        let own = self.with(|state| state.sandboxes.get(&sandbox).copied().flatten());
        let made = self.way.connect(own, &address.to_string(), port);
        let made = made
            .map(|stream| Box::new(stream) as Box<dyn Duplex>)
            .map_err(|error| RuntimeError::Failed(error.to_string()));
        std::future::ready(made).boxed()
    }

    fn remove_tree<'a>(&'a self, path: &'a Path) -> Answer<'a, ()> {
        let removed = directory::remove_tree(path);
        let removed = removed.map_err(|error| RuntimeError::Failed(error.to_string()));
        std::future::ready(removed).boxed()
    }
}
