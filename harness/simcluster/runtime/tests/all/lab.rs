//! A node for one test, and containers made of the host's programs.

use std::{
    collections::BTreeMap,
    fs,
    net::Ipv4Addr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use simcluster_runtime::{
    Container, Error, Fabric, Process, Runtime, RuntimeConfig, StdioSpec,
    spec::{ContainerSpec, ExecSpec, Mount, NetworkSpec, SandboxSpec, User},
};
use tempfile::TempDir;
use tokio::io::AsyncReadExt;

pub(crate) const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 42, 0, 1);

/// A directory that goes with all that a node has left in it.
///
/// Mounting an overlay makes a directory that nobody may enter, and opens it the moment after. A node that is killed
/// in between leaves it closed, and an ordinary user has to open it before it can be removed. And the kernel may take
/// a moment to let go of what is mounted no longer.
#[derive(Debug)]
pub(crate) struct Place(TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("the test may write to the temporary directory"))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let begin = Instant::now();
        while fs::remove_dir_all(self.path()).is_err()
            && self.path().exists()
            && begin.elapsed() < Duration::from_secs(10)
        {
            open_directories(self.path());
        }
    }
}

fn open_directories(directory: &Path) {
    // What cannot be opened is not removed either, and then somebody sees it.
    let _ = fs::set_permissions(directory, fs::Permissions::from_mode(0o700));
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open_directories(&entry.path());
        }
    }
}

/// A node and a directory of its own.
pub(crate) struct Lab {
    pub(crate) runtime: Runtime,
    pub(crate) directory: Place,
    scratch: AtomicU32,
}

impl Lab {
    pub(crate) async fn start() -> Self {
        let network = NetworkSpec {
            gateway: GATEWAY,
            prefix: 24,
        };
        Self::with(RuntimeConfig::new(network)).await
    }

    /// The node of that number among those that `fabric` connects, with one sandbox, `pod`, at
    /// 10.42.NUMBER.2.
    pub(crate) async fn connected(fabric: &Fabric, number: u8) -> Self {
        let network = NetworkSpec {
            gateway: Ipv4Addr::new(10, 42, number, 1),
            prefix: 16,
        };
        let lab = Self::with(RuntimeConfig {
            fabric: Some(fabric.clone()),
            ..RuntimeConfig::new(network)
        })
        .await;
        let spec = SandboxSpec {
            id: "pod".to_owned(),
            hostname: format!("pod-{number}"),
            address: Some(Ipv4Addr::new(10, 42, number, 2)),
            memory: Vec::new(),
            share_processes: false,
            sysctls: BTreeMap::new(),
        };
        let made = lab.runtime.create_sandbox(spec).await;
        made.expect("a fresh sandbox can be made");
        lab
    }

    async fn with(config: RuntimeConfig) -> Self {
        let directory = Place::new();
        make_layer(&directory.path().join("layer"));
        let runtime = Runtime::start(config).await;
        let runtime = runtime.unwrap_or_else(|error| panic!("{error}: {error:?}"));
        Self {
            runtime,
            directory,
            scratch: AtomicU32::new(0),
        }
    }

    /// With one sandbox, `pod`, at 10.42.0.2.
    pub(crate) async fn with_pod() -> Self {
        let lab = Self::start().await;
        lab.sandbox("pod", 2).await;
        lab
    }

    pub(crate) async fn sandbox(&self, id: &str, host: u8) {
        let address = Some(Ipv4Addr::new(10, 42, 0, host));
        let spec = SandboxSpec {
            id: id.to_owned(),
            hostname: format!("{id}-host"),
            address,
            memory: Vec::new(),
            share_processes: false,
            sysctls: BTreeMap::new(),
        };
        self.runtime
            .create_sandbox(spec)
            .await
            .expect("a fresh sandbox can be made");
    }

    /// A container of the sandbox `pod` that runs a shell script.
    pub(crate) fn shell(&self, id: &str, script: &str) -> ContainerSpec {
        self.program(id, &["sh", "-c", script])
    }

    pub(crate) fn program(&self, id: &str, command: &[&str]) -> ContainerSpec {
        let number = self.scratch.fetch_add(1, Ordering::Relaxed);
        let scratch = self.directory.path().join(format!("scratch-{number}"));
        fs::create_dir(&scratch).expect("the scratch directory is new");
        ContainerSpec {
            id: id.to_owned(),
            sandbox: "pod".to_owned(),
            layers: vec![self.directory.path().join("layer")],
            scratch,
            read_only_root: false,
            mounts: vec![Mount::Bind {
                source: "/usr".into(),
                target: "/usr".into(),
                read_only: true,
            }],
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            env: BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]),
            working_dir: PathBuf::from("/"),
            user: User::default(),
            no_new_privileges: false,
            capabilities: None,
            tty: false,
            pids_of: None,
            memory_limit: None,
            cpu_limit: None,
        }
    }

    /// A container that runs one of this test program's ignored tests.
    pub(crate) fn itself(&self, id: &str, which: &str) -> ContainerSpec {
        let mut spec = self.program(id, &["/test", "--ignored", "--exact", "--nocapture", which]);
        let source = std::env::current_exe().expect("/proc is there");
        spec.mounts.push(Mount::Bind {
            source,
            target: "/test".into(),
            read_only: true,
        });
        spec
    }

    pub(crate) async fn start_container(&self, spec: ContainerSpec) -> Container {
        let started = self.runtime.start_container(spec, StdioSpec::piped()).await;
        started.unwrap_or_else(|error| panic!("{error}: {error:?}"))
    }

    /// Runs a container to its end: its code and its output.
    pub(crate) async fn run(&self, spec: ContainerSpec) -> (i32, String) {
        finish(self.start_container(spec).await).await
    }

    /// Executes a shell script in a container to its end.
    pub(crate) async fn exec(&self, container: &str, script: &str) -> (i32, String) {
        let spec = exec_spec(container, script);
        let started = self.runtime.exec(spec, StdioSpec::output()).await;
        finish(started.unwrap_or_else(|error| panic!("{error}: {error:?}"))).await
    }

    /// Why a container does not start.
    pub(crate) async fn refusal(&self, spec: ContainerSpec) -> Error {
        let started = self
            .runtime
            .start_container(spec, StdioSpec::output())
            .await;
        started.expect_err("this container cannot start")
    }
}

pub(crate) fn exec_spec(container: &str, script: &str) -> ExecSpec {
    ExecSpec {
        container: container.to_owned(),
        command: ["sh", "-c", script].map(str::to_owned).to_vec(),
        tty: false,
    }
}

/// Waits for the end of a process: its code, and what it wrote and complained.
pub(crate) async fn finish(mut process: Process) -> (i32, String) {
    drop(process.stdin.take());
    let mut text = String::new();
    if let Some(mut output) = process.stdout.take() {
        output
            .read_to_string(&mut text)
            .await
            .expect("a pipe can be read");
    }
    if let Some(mut complaints) = process.stderr.take() {
        complaints
            .read_to_string(&mut text)
            .await
            .expect("a pipe can be read");
    }
    (process.wait().await.code, text)
}

/// The next line of a process's output.
pub(crate) async fn read_line(process: &mut Process) -> String {
    let output = process.stdout.as_mut().expect("its output is piped");
    let mut line = Vec::new();
    loop {
        match output.read_u8().await.expect("the process still writes") {
            b'\n' => return String::from_utf8_lossy(&line).into_owned(),
            byte => line.push(byte),
        }
    }
}

/// Reads lines until one has the text.
pub(crate) async fn read_until(process: &mut Process, text: &str) {
    while !read_line(process).await.contains(text) {}
}

/// The host's layout of programs, without the programs.
fn make_layer(layer: &Path) {
    fs::create_dir_all(layer.join("etc")).expect("the directory is new");
    fs::write(
        layer.join("etc/passwd"),
        "root:x:0:0::/root:/bin/sh\nuser:x:999:999::/home/user:/bin/sh\n",
    )
    .expect("the directory is new");
    for name in ["bin", "sbin", "lib", "lib64"] {
        let host = Path::new("/").join(name);
        let link = fs::read_link(&host).unwrap_or_else(|_| format!("usr/{name}").into());
        std::os::unix::fs::symlink(link, layer.join(name)).expect("the directory is new");
    }
}
