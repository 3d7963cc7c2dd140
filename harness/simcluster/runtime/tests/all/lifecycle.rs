//! Ends: of containers, of nodes, of owners. What is left is nothing.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader},
    net::Ipv4Addr,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use simcluster_runtime::{Runtime, RuntimeConfig, StdioSpec, spec::NetworkSpec};

use crate::{
    lab::{Lab, Place, finish, read_line},
    remains::{self, Holdings, Remains, control_groups, runs},
};

/// Not an address that a node has been given.
const UNKNOWN: Ipv4Addr = Ipv4Addr::new(127, 9, 9, 9);

/// Waits for something that happens soon, and says what it saw last if not.
async fn eventually<T: std::fmt::Debug + PartialEq>(expected: T, look: impl Fn() -> T) {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let seen = look();
        if seen == expected {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "expected {expected:?}, last saw {seen:?}"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A line of `/proc/<pid>/status`.
fn status(pid: u32, field: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    text.lines()
        .find_map(|line| Some(line.strip_prefix(field)?.trim().to_owned()))
}

fn network_of(pid: u32) -> String {
    fs::read_link(format!("/proc/{pid}/ns/net"))
        .expect("/proc tells about processes of ours")
        .display()
        .to_string()
}

/// The processes in one of these network namespaces.
fn processes_in(networks: &BTreeSet<String>) -> Vec<String> {
    let entries = fs::read_dir("/proc")
        .expect("/proc tells about processes of ours")
        .filter_map(Result::ok);
    let inside = entries.filter(|entry| {
        fs::read_link(entry.path().join("ns/net"))
            .is_ok_and(|network| networks.contains(&network.display().to_string()))
    });
    inside
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

/// Of this process.
fn children() -> Vec<u32> {
    let tasks = fs::read_dir("/proc/self/task").expect("/proc is there");
    let lists =
        tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("children")).ok());
    lists
        .flat_map(|list| {
            list.split_whitespace()
                .filter_map(|pid| pid.parse().ok())
                .collect::<Vec<u32>>()
        })
        .collect()
}

fn init_of(container: u32) -> u32 {
    status(container, "PPid:")
        .expect("/proc tells about processes of ours")
        .parse()
        .expect("/proc tells about processes of ours")
}

fn open_files(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd"))
        .expect("/proc tells about processes of ours")
        .count()
}

#[tokio::test]
async fn removing_a_sandbox_kills_all_that_runs_in_it() {
    let lab = Lab::with_pod().await;
    let script = "trap '' TERM; sleep 1000 & sleep 1000";
    let container = lab.start_container(lab.shell("c", script)).await;
    let network = BTreeSet::from([network_of(container.pid)]);
    lab.runtime.remove_sandbox("pod").await.unwrap();
    assert_eq!(
        container.exit_watch().status().map(|status| status.code),
        Some(137)
    );
    assert_eq!(processes_in(&network), Vec::<String>::new());
    lab.sandbox("pod", 2).await;
    assert_eq!(lab.run(lab.shell("c", "exit 1")).await.0, 1);
}

#[tokio::test]
async fn dropping_a_node_ends_everything_before_it_returns() {
    let lab = Lab::with_pod().await;
    let container = lab
        .start_container(lab.shell("c", "sleep 1000 & sleep 1000"))
        .await;
    let init = init_of(container.pid);
    let networks = BTreeSet::from([network_of(container.pid), network_of(init)]);
    drop(lab);
    assert!(!runs(init));
    assert_eq!(status(init, "State:"), None);
    assert_eq!(processes_in(&networks), Vec::<String>::new());
    assert_eq!(container.wait().await.code, 137);
}

#[tokio::test]
async fn shutting_a_node_down_ends_everything() {
    let lab = Lab::with_pod().await;
    let container = lab.start_container(lab.shell("c", "sleep 1000")).await;
    let init = init_of(container.pid);
    lab.runtime.shutdown().await;
    assert_eq!(status(init, "State:"), None);
    assert_eq!(container.wait().await.code, 137);
}

#[tokio::test]
async fn calls_after_the_init_process_died_say_so() {
    let lab = Lab::with_pod().await;
    let container = lab.start_container(lab.shell("c", "sleep 1000")).await;
    let init = init_of(container.pid).to_string();
    assert!(
        Command::new("kill")
            .args(["-9", &init])
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(container.wait().await.signal, Some(9));
    let lost = lab.runtime.signal("c", 15).await.unwrap_err();
    assert_eq!(
        lost.to_string(),
        "the node's init process has ended while it was asked to signal a container; start a new runtime",
    );
}

/// An owner with a node and two containers, one of them limited, which never ends by itself.
#[tokio::test]
#[ignore = "is killed by another test"]
async fn an_owner_that_is_killed() {
    let lab = Lab::with_pod().await;
    let one = lab
        .start_container(lab.shell("a", "sleep 1000 & sleep 1000"))
        .await;
    let mut limited = lab.shell("b", "sleep 1000");
    limited.memory_limit = Some(1 << 30);
    limited.cpu_limit = Some(500);
    let two = lab.start_container(limited).await;
    println!("running");
    std::future::pending::<()>().await;
    drop((one, two));
}

/// Kills such an owner, and sees to it that nothing of it is left.
#[expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
async fn kill_an_owner() {
    let directory = Place::new();
    let before = remains::interfaces();
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args([
            "--ignored",
            "--exact",
            "--nocapture",
            "lifecycle::an_owner_that_is_killed",
        ])
        .env("TMPDIR", directory.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(owner.stdout.take().unwrap()).lines();
    assert!(said.any(|line| line.unwrap().ends_with("running")));
    // The node's init process, two containers, and what the shell of one of them has started or is starting.
    let holdings = Holdings::of(owner.id(), directory.path(), &before);
    assert!(holdings.processes.len() >= 3, "{holdings:?}");
    for kind in ["net:", "mnt:", "pid:", "ipc:", "uts:"] {
        let of_kind = |namespace: &&String| namespace.starts_with(kind);
        assert!(
            holdings.namespaces.iter().any(|n| of_kind(&n)),
            "{kind} {holdings:?}"
        );
    }
    let alive = holdings.left();
    assert!(!alive.mounts.is_empty(), "{alive:?}");
    let expected = Runtime::memory_limits().is_ok() || Runtime::cpu_limits().is_ok();
    assert_eq!(!alive.control_groups.is_empty(), expected, "{alive:?}");
    owner.kill().unwrap();
    owner.wait().unwrap();
    eventually(Remains::default(), || holdings.left()).await;
}

/// 20 owners; as many as `SIMCLUSTER_KILLS` says where somebody wants to know better.
#[tokio::test]
async fn nothing_survives_the_sudden_death_of_any_number_of_owners() {
    let kills = std::env::var("SIMCLUSTER_KILLS").map_or(20, |text| text.parse().unwrap());
    for _ in 0..kills {
        kill_an_owner().await;
    }
}

#[tokio::test]
async fn nothing_of_a_limited_container_survives_an_orderly_end_either() {
    let lab = Lab::with_pod().await;
    let mut spec = lab.shell("orderly-end", "sleep 1000");
    spec.memory_limit = Some(1 << 30);
    let container = lab.start_container(spec).await;
    // Other tests of this process have nodes of their own at the same time.
    let group = control_groups(std::process::id())
        .into_iter()
        .find(|group| group.join("orderly-end").exists());
    assert_eq!(group.is_some(), Runtime::memory_limits().is_ok());
    lab.runtime.shutdown().await;
    drop(container);
    assert!(group.is_none_or(|group| !group.exists()));
}

#[tokio::test]
async fn a_hundred_containers_one_after_another_leave_nothing() {
    let lab = Lab::with_pod().await;
    let witness = lab.start_container(lab.program("witness", &["cat"])).await;
    let init = init_of(witness.pid);
    // The answer that told of the witness may still be on its way out.
    lab.runtime.remove_address(UNKNOWN).await.unwrap_err();
    let before = open_files(init);
    for number in 0..100 {
        assert_eq!(
            lab.run(lab.shell("c", &format!("exit {number}"))).await.0,
            number
        );
    }
    let children = || {
        let text = fs::read_to_string(format!("/proc/{init}/task/{init}/children"));
        text.unwrap_or_default().split_whitespace().count()
    };
    eventually(1, children).await;
    eventually(before, || open_files(init)).await;
    assert_eq!(finish(witness).await.0, 0);
}

#[tokio::test]
async fn a_hundred_sandboxes_one_after_another_leave_nothing() {
    let lab = Lab::with_pod().await;
    let witness = lab.start_container(lab.program("witness", &["cat"])).await;
    let init = init_of(witness.pid);
    lab.runtime.remove_address(UNKNOWN).await.unwrap_err();
    let before = open_files(init);
    for _ in 0..100 {
        lab.sandbox("short", 3).await;
        lab.runtime.remove_sandbox("short").await.unwrap();
    }
    eventually(before, || open_files(init)).await;
    let links = || {
        let text = fs::read_to_string(format!("/proc/{init}/net/dev")).unwrap_or_default();
        let bridge_or_link = |line: &&str| line.contains("pod");
        text.lines().filter(bridge_or_link).count()
    };
    eventually(2, links).await;
    assert_eq!(finish(witness).await.0, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_nodes_live_in_one_process() {
    let nodes = (0..20).map(|number| async move {
        let lab = Lab::with_pod().await;
        let (code, output) = lab
            .run(lab.shell("c", &format!("echo {number}; exit {number}")))
            .await;
        assert_eq!((code, output), (number, format!("{number}\n")));
        lab
    });
    let labs = futures::future::join_all(nodes).await;
    assert_eq!(labs.len(), 20);
}

#[tokio::test]
async fn a_probe_tells_how_nodes_are_isolated() {
    let isolation = Runtime::probe().await.unwrap();
    let lab = Lab::start().await;
    assert_eq!(&isolation, lab.runtime.isolation());
}

#[tokio::test]
async fn a_node_that_cannot_be_made_says_which_step_failed() {
    let config = RuntimeConfig {
        // Too long, so that the start fails late.
        hostname: "h".repeat(1000),
        network: NetworkSpec {
            gateway: Ipv4Addr::new(10, 42, 0, 1),
            prefix: 24,
        },
        fabric: None,
    };
    let refused = Runtime::start(config).await.unwrap_err();
    assert!(
        refused.to_string().contains("set the node's host name"),
        "{refused}"
    );
    let zombies = || children().into_iter().filter(|pid| !runs(*pid)).count();
    eventually(0, zombies).await;
}

#[tokio::test]
async fn an_abandoned_start_is_no_obstacle() {
    let lab = Lab::with_pod().await;
    {
        let start = lab
            .runtime
            .start_container(lab.program("c", &["cat"]), StdioSpec::output());
        let mut start = Box::pin(start);
        assert!(futures::poll!(&mut start).is_pending());
    }
    lab.runtime.remove_sandbox("pod").await.unwrap();
    lab.runtime.shutdown().await;
}

#[tokio::test]
async fn output_can_be_read_after_the_end() {
    let lab = Lab::with_pod().await;
    let mut container = lab.start_container(lab.shell("c", "echo last words")).await;
    assert_eq!(container.wait().await.code, 0);
    assert_eq!(read_line(&mut container).await, "last words");
}
