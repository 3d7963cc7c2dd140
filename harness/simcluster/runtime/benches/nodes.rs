//! How long nodes, sandboxes and containers take to start and end. It prints a table and judges nothing.

#![expect(clippy::print_stdout, reason = "a bench tells its figures")]

use std::{
    collections::BTreeMap,
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use simcluster_runtime::{
    Runtime, RuntimeConfig, StdioSpec,
    spec::{ContainerSpec, ExecSpec, Mount, NetworkSpec, SandboxSpec, Target, User},
};

type Failure = Box<dyn std::error::Error>;

const ROUNDS: u32 = 50;
const NODES: usize = 200;

fn main() -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        println!("{:<44}{:>10}{:>10}{:>10}", "", "median", "p90", "worst");
        one_node().await?;
        many_nodes().await
    })
}

async fn one_node() -> Result<(), Failure> {
    let directory = tempfile::tempdir()?;
    let layer = directory.path().join("layer");
    fs::create_dir(&layer)?;
    for name in ["bin", "lib", "lib64"] {
        std::os::unix::fs::symlink(format!("usr/{name}"), layer.join(name))?;
    }

    let mut starts = Vec::new();
    let mut ends = Vec::new();
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        let node = start().await?;
        starts.push(begin.elapsed());
        let begin = Instant::now();
        node.shutdown().await;
        ends.push(begin.elapsed());
    }
    tell("node: start", starts);
    tell("node: shutdown", ends);

    let node = start().await?;
    let (mut made, mut removed) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        node.create_sandbox(sandbox("s", 3)).await?;
        made.push(begin.elapsed());
        let begin = Instant::now();
        node.remove_sandbox("s").await?;
        removed.push(begin.elapsed());
    }
    tell("sandbox: create, linked", made);
    tell("sandbox: remove", removed);

    node.create_sandbox(sandbox("pod", 2)).await?;
    let (mut started, mut whole) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let scratch = directory.path().join(format!("scratch-{round}"));
        fs::create_dir(&scratch)?;
        let begin = Instant::now();
        let container = node
            .start_container(container(&layer, scratch, "true"), StdioSpec::output())
            .await?;
        started.push(begin.elapsed());
        container.wait().await;
        whole.push(begin.elapsed());
    }
    tell("container: start (program executed)", started);
    tell("container: start to exit of `true`", whole);

    let scratch = directory.path().join("scratch-exec");
    fs::create_dir(&scratch)?;
    let holder = node
        .start_container(container(&layer, scratch, "cat"), StdioSpec::piped())
        .await?;
    let mut executed = Vec::new();
    for _ in 0..ROUNDS {
        let spec = ExecSpec {
            container: "c".to_owned(),
            command: vec!["true".to_owned()],
            tty: false,
        };
        let begin = Instant::now();
        node.exec(spec, StdioSpec::output()).await?.wait().await;
        executed.push(begin.elapsed());
    }
    tell("exec: start to exit of `true`", executed);
    drop(holder);

    let service = Ipv4Addr::new(10, 43, 0, 10);
    node.add_address(service).await?;
    let listener = node.listen(service, 80).await?;
    let accepting = tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    let mut dialled = Vec::new();
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        node.dial(Target::Sandbox("pod".to_owned()), service, 80)
            .await?;
        dialled.push(begin.elapsed());
    }
    accepting.abort();
    tell("dial: from a sandbox to a service address", dialled);
    Ok(())
}

async fn many_nodes() -> Result<(), Failure> {
    let begin = Instant::now();
    let mut nodes = Vec::new();
    for _ in 0..NODES {
        nodes.push(start().await?);
    }
    println!(
        "{NODES} nodes alive in one process after {:.1?}",
        begin.elapsed()
    );
    println!(
        "  memory of their init processes: {} KiB each (proportional set)",
        proportional_kib()? / NODES
    );
    let begin = Instant::now();
    drop(nodes);
    println!("  dropped one after another in {:.1?}", begin.elapsed());
    Ok(())
}

/// The sum over this process's children, who are the init processes.
fn proportional_kib() -> Result<usize, Failure> {
    let mut total = 0;
    for task in fs::read_dir("/proc/self/task")? {
        let children = fs::read_to_string(task?.path().join("children"))?;
        for pid in children.split_whitespace() {
            let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
            let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
            let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
            total += kib.map(str::parse::<usize>).transpose()?.unwrap_or(0);
        }
    }
    Ok(total)
}

async fn start() -> Result<Runtime, Failure> {
    let network = NetworkSpec {
        gateway: Ipv4Addr::new(10, 42, 0, 1),
        prefix: 24,
    };
    Ok(Runtime::start(RuntimeConfig::new(network)).await?)
}

fn sandbox(id: &str, host: u8) -> SandboxSpec {
    SandboxSpec {
        id: id.to_owned(),
        hostname: id.to_owned(),
        address: Some(Ipv4Addr::new(10, 42, 0, host)),
        memory: Vec::new(),
        share_processes: false,
        sysctls: BTreeMap::new(),
    }
}

fn container(layer: &Path, scratch: PathBuf, program: &str) -> ContainerSpec {
    ContainerSpec {
        id: "c".to_owned(),
        sandbox: "pod".to_owned(),
        layers: vec![layer.to_owned()],
        scratch,
        read_only_root: false,
        mounts: vec![Mount::Bind {
            source: "/usr".into(),
            target: "/usr".into(),
            read_only: true,
        }],
        command: vec![program.to_owned()],
        env: BTreeMap::new(),
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

fn tell(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |per_cent: usize| times[(times.len() - 1) * per_cent / 100];
    println!(
        "{what:<44}{:>10.1?}{:>10.1?}{:>10.1?}",
        at(50),
        at(90),
        at(100)
    );
}
