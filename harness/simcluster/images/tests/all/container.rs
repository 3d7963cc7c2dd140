//! A container of the real runtime, to look at images from inside.
//!
//! It knows no pods: one network, one program, no probes.

use std::{
    collections::BTreeMap,
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use simcluster_images::{Image, ImageStore, StoreConfig};
use simcluster_runtime::{
    Process, Runtime, RuntimeConfig, StdioSpec,
    spec::{ContainerSpec, Mount, NetworkSpec, SandboxSpec, User},
};
use tokio::io::AsyncReadExt as _;

/// A run that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(120);
/// What the volumes of a few servers need.
const ENOUGH: u64 = 2 << 30;
/// The user of database images.
const SERVER: u32 = 999;

/// What scripts for database images can use.
const DATABASE_TOOLS: &str = r#"
serve() {
    docker-entrypoint.sh "$@" > /tmp/log 2>&1 &
    server=$!
    # A server opens its port before its socket; what it says last is that it has both.
    until grep -qw 'port: 3306' /tmp/log; do
        kill -0 $server 2> /dev/null || { cat /tmp/log; wait $server; return; }
        sleep 0.05
    done
}
stop() { kill $server; wait $server; }
# sql PASSWORD STATEMENT OPTION...
sql() { MYSQL_PWD=$1 mysql --batch --skip-column-names -u "${user:-root}" -e "$2" "${@:3}" 2>&1; }
"#;

/// One container; each run of it starts anew on the same volumes.
#[derive(Debug)]
pub(crate) struct Container {
    image: Image,
    /// Keeps the image where it is.
    _store: ImageStore,
    scratch: tempfile::TempDir,
    volumes: tempfile::TempDir,
    user: User,
    read_only: bool,
    env: BTreeMap<String, String>,
}

/// What a run left.
#[derive(Debug)]
pub(crate) struct Run {
    /// All output, and then all complaints.
    pub(crate) text: String,
    output: String,
    /// Its exit code.
    pub(crate) code: i32,
}

impl Container {
    pub(crate) async fn of(reference: &str) -> Self {
        let store = ImageStore::open(only_packages()).unwrap();
        let image = store.ensure(reference, &()).await.unwrap_or_else(|error| {
            panic!(
                "this test needs the package archive of the distribution, at least once: {error}"
            )
        });
        let volumes = volumes();
        for part in ["data", "initdb", "secret"] {
            fs::create_dir(volumes.path().join(part)).unwrap();
        }
        let pairs = image
            .config
            .env
            .iter()
            .filter_map(|pair| pair.split_once('='));
        let env = pairs
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        Self {
            image,
            _store: store,
            scratch: tempfile::tempdir().unwrap(),
            volumes,
            user: User::default(),
            read_only: false,
            env,
        }
    }

    /// Its program runs as the database server's own user.
    pub(crate) fn run_by_server(mut self) -> Self {
        self.user.uid = SERVER;
        self.user.gid = SERVER;
        self
    }

    /// Nothing can be written to its root file system, but to the places that are for it.
    pub(crate) fn read_only(mut self) -> Self {
        self.read_only = true;
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.insert(name.to_owned(), value.into());
        self
    }

    /// The data volume.
    pub(crate) fn data(&self) -> PathBuf {
        self.volumes.path().join("data")
    }

    /// The files for the first start.
    pub(crate) fn initdb(&self) -> PathBuf {
        self.volumes.path().join("initdb")
    }

    /// Makes a file below `/secret`.
    pub(crate) fn secret(self, name: &str, bytes: &[u8]) -> Self {
        fs::write(self.volumes.path().join("secret").join(name), bytes).unwrap();
        self
    }

    /// Runs a shell script, with [`DATABASE_TOOLS`] where there is bash.
    pub(crate) async fn run(&self, script: &str) -> Run {
        let layers = &self.image.layers;
        let has_bash = layers
            .iter()
            .any(|layer| layer.join("usr/bin/bash").exists());
        let (shell, script) = if has_bash {
            ("bash", format!("{DATABASE_TOOLS}\n{script}"))
        } else {
            ("sh", script.to_owned())
        };
        let mut running = self.launch(&[shell, "-c", &script, "container"]).await;
        let process = &mut running.process;
        let (mut output, mut complaints) = (Vec::new(), Vec::new());
        let mut stdout = process.stdout.take().unwrap();
        let mut stderr = process.stderr.take().unwrap();
        let end = tokio::time::timeout(PATIENCE, async {
            let (read, complained) = tokio::join!(
                stdout.read_to_end(&mut output),
                stderr.read_to_end(&mut complaints)
            );
            read.and(complained).unwrap();
            process.wait().await
        })
        .await;
        running.stop().await;
        let output = String::from_utf8_lossy(&output).into_owned();
        let text = format!("{output}{}", String::from_utf8_lossy(&complaints));
        let end = end.unwrap_or_else(|_| panic!("{script}\nhas not ended; so far it said: {text}"));
        Run {
            text,
            output,
            code: end.code,
        }
    }

    /// Runs what the image is made to run, until it is stopped.
    pub(crate) async fn start(self) -> Running {
        let config = &self.image.config;
        let command = [&config.entrypoint[..], &config.cmd].concat();
        let command: Vec<_> = command.iter().map(String::as_str).collect();
        let mut running = self.launch(&command).await;
        running.keep = Some(self);
        running
    }

    async fn launch(&self, command: &[&str]) -> Running {
        let runtime = Runtime::start(RuntimeConfig::new(NetworkSpec {
            gateway: Ipv4Addr::new(10, 42, 0, 1),
            prefix: 24,
        }))
        .await
        .unwrap();
        let sandbox = SandboxSpec {
            id: "pod".to_owned(),
            hostname: "pod".to_owned(),
            address: Some(Ipv4Addr::new(10, 42, 0, 2)),
            memory: Vec::new(),
            share_processes: false,
            sysctls: BTreeMap::new(),
        };
        runtime.create_sandbox(sandbox).await.unwrap();
        let scratch = tempfile::tempdir_in(self.scratch.path()).unwrap();
        let spec = self.spec(scratch.path(), command);
        let started = runtime.start_container(spec, StdioSpec::output()).await;
        Running {
            process: started.unwrap(),
            runtime: Arc::new(runtime),
            scratch,
            keep: None,
        }
    }

    fn spec(&self, scratch: &Path, command: &[&str]) -> ContainerSpec {
        let volume = |source, target: &str| Mount::Bind {
            source,
            target: target.into(),
            read_only: false,
        };
        let mut mounts = vec![
            volume(self.data(), "/var/lib/mysql"),
            volume(self.initdb(), "/docker-entrypoint-initdb.d"),
            volume(self.volumes.path().join("secret"), "/secret"),
        ];
        if self.read_only {
            mounts.extend(["/tmp", "/run/mysqld"].map(|target| Mount::Tmpfs {
                target: target.into(),
                size: None,
            }));
        }
        ContainerSpec {
            id: "container".to_owned(),
            sandbox: "pod".to_owned(),
            layers: self.image.layers.clone(),
            scratch: scratch.to_owned(),
            read_only_root: self.read_only,
            mounts,
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            env: self.env.clone(),
            working_dir: "/".into(),
            user: self.user.clone(),
            no_new_privileges: false,
            capabilities: None,
            tty: false,
            pids_of: None,
            memory_limit: None,
            cpu_limit: None,
        }
    }
}

/// A container under way.
#[derive(Debug)]
pub(crate) struct Running {
    process: Process,
    runtime: Arc<Runtime>,
    scratch: tempfile::TempDir,
    /// Its volumes, which go when it has ended.
    keep: Option<Container>,
}

impl Running {
    pub(crate) fn runtime(&self) -> Arc<Runtime> {
        Arc::clone(&self.runtime)
    }

    /// Ends it, and removes what it left.
    pub(crate) async fn stop(self) {
        self.runtime.remove_sandbox("pod").await.unwrap();
        self.runtime.remove_tree(self.scratch.path()).await.unwrap();
        Arc::into_inner(self.runtime)
            .expect("nobody else has it any more")
            .shutdown()
            .await;
        drop(self.keep);
    }
}

impl Run {
    /// Asserts that the run went well and answers its output.
    #[track_caller]
    pub(crate) fn good(self) -> String {
        assert_eq!(self.code, 0, "{}", self.text);
        self.output
    }
}

/// What is seen here is what packages give, whatever else this machine could have.
pub(crate) fn only_packages() -> StoreConfig {
    StoreConfig {
        registries: false,
        engine: false,
        packages: true,
        ..StoreConfig::default()
    }
}

/// A directory for volumes: in memory where there is room, for servers write a lot at their start.
fn volumes() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let room = nix::sys::statvfs::statvfs(memory)
        .is_ok_and(|found| found.blocks_available() * found.fragment_size() > ENOUGH);
    room.then(|| tempfile::tempdir_in(memory).ok())
        .flatten()
        .unwrap_or_else(|| tempfile::tempdir().unwrap())
}

/// Whether the test is run by root.
pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}
