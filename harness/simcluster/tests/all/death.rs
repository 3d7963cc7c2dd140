//! However the program that runs a cluster ends, nothing of the cluster outlives it.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// How long a program that was told to stop may take.
const OBEDIENCE: Duration = Duration::from_secs(2);
/// How long the kernel may take to clear away what was killed.
const PATIENCE: Duration = Duration::from_secs(120);

/// The program `simcluster` with two nodes, its files in `directory`.
struct Program {
    child: Child,
    kubeconfig: PathBuf,
    /// The network namespaces of its nodes, each with one process that is in it.
    inits: Vec<u32>,
}

impl Program {
    fn start(directory: &Path) -> Self {
        let kubeconfig = directory.join("kubeconfig");
        let mut child = Command::new(env!("CARGO_BIN_EXE_simcluster"))
            .args(["--nodes", "2", "--kubeconfig"])
            .arg(&kubeconfig)
            .env("TMPDIR", directory)
            .env("SIMCLUSTER_CACHE", directory.join("cache"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        assert!(line.starts_with("ready: "), "it said {line:?}");
        let inits = children(child.id());
        assert_eq!(inits.len(), 2, "one init process for each node");
        Self {
            child,
            kubeconfig,
            inits,
        }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    fn alive(&self) -> Vec<u32> {
        let running = |pid: &u32| fs::metadata(format!("/proc/{pid}")).is_ok();
        self.inits.iter().copied().filter(running).collect()
    }
}

/// The processes whose parent is this one.
fn children(parent: u32) -> Vec<u32> {
    let all = fs::read_dir("/proc").unwrap().flatten();
    all.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid: &u32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            // Behind the name in parentheses: the state, then the parent.
            let behind = stat
                .rsplit_once(')')
                .map(|(_, rest)| rest)
                .unwrap_or_default();
            behind.split_whitespace().nth(1) == Some(&parent.to_string())
        })
        .collect()
}

/// What of a cluster the machine shows: mounts that name the directory.
fn mounts(directory: &Path) -> usize {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let name = directory.display().to_string();
    mounts.lines().filter(|line| line.contains(&name)).count()
}

fn node_directories(directory: &Path) -> Vec<String> {
    let all = fs::read_dir(directory).unwrap().flatten();
    all.map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with("simcluster-node-"))
        .collect()
}

fn links() -> usize {
    fs::read_dir("/sys/class/net").map_or(0, Iterator::count)
}

fn eventually(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn told_to_stop_a_cluster_is_gone_within_two_seconds() {
    let directory = tempfile::tempdir().unwrap();
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        // A busy machine makes anything slow now and then, but not each time.
        let times: Vec<_> = (0..5).map(|_| obeyed(signal, directory.path())).collect();
        assert!(times.iter().min() < Some(&OBEDIENCE), "{signal}: {times:?}");
    }
}

/// How long a program takes to end at a signal; nothing is left of it.
fn obeyed(signal: Signal, directory: &Path) -> Duration {
    let before = links();
    let mut program = Program::start(directory);
    let begun = Instant::now();
    program.signal(signal);
    let status = program.child.wait().unwrap();
    let took = begun.elapsed();
    assert!(status.success(), "{status}");
    assert!(!program.kubeconfig.exists());
    assert_eq!(program.alive(), Vec::<u32>::new());
    assert_eq!(node_directories(directory), Vec::<String>::new());
    assert_eq!((mounts(directory), links()), (0, before));
    took
}

#[test]
fn killed_a_cluster_leaves_nothing_that_the_next_one_does_not_remove() {
    const KILLS: usize = 5;
    let directory = tempfile::tempdir().unwrap();
    let before = links();
    for _ in 0..KILLS {
        let mut program = Program::start(directory.path());
        program.signal(Signal::SIGKILL);
        program.child.wait().unwrap();
        eventually("its nodes end", || program.alive().is_empty());
        assert_eq!((mounts(directory.path()), links()), (0, before));
    }
    let mut last = Program::start(directory.path());
    eventually("only the living nodes have directories", || {
        node_directories(directory.path()).len() == 2
    });
    last.signal(Signal::SIGTERM);
    assert!(last.child.wait().unwrap().success());
    assert_eq!(node_directories(directory.path()), Vec::<String>::new());
}
