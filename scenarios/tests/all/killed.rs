//! A program that is killed while a database of its cluster is written to leaves nothing of it.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use scenarios::{
    deploy::{CR, DATABASE, INSTANCE, PASSWORD},
    prove,
};

#[path = "../../../harness/simcluster/runtime/tests/all/remains.rs"]
mod remains;
use remains::{Holdings, Remains};

/// How long the kernel may take to clear away what was killed.
const PATIENCE: Duration = Duration::from_secs(120);

#[test]
#[ignore = "is killed by another test"]
fn a_database_that_is_written_to_until_the_end() {
    prove(async |lab| {
        lab.create(CR).await?;
        let table = "CREATE TABLE written (id int primary key auto_increment, at datetime)";
        lab.write(INSTANCE, PASSWORD, DATABASE, &[table]).await?;
        let mut session = lab.login(INSTANCE, PASSWORD, DATABASE).await?;
        println!("written to");
        loop {
            session
                .execute("INSERT INTO written (at) VALUES (now())")
                .await?;
        }
    });
}

/// Such a program, once its database is written to.
fn writer(directory: &Path) -> Child {
    let mut owner = Command::new(std::env::current_exe().expect("this program has a path"))
        .args(["--ignored", "--exact", "--nocapture"])
        .arg("killed::a_database_that_is_written_to_until_the_end")
        .env("TMPDIR", directory)
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut said = BufReader::new(owner.stdout.take().expect("it is piped")).lines();
    assert!(said.any(|line| line.expect("a line").ends_with("written to")));
    owner
}

/// The directories of nodes, dead or alive.
fn node_directories(directory: &Path) -> BTreeSet<String> {
    let all = fs::read_dir(directory).expect("it can be read").flatten();
    all.map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with("simcluster-node-"))
        .collect()
}

fn eventually<T: std::fmt::Debug + PartialEq>(expected: &T, look: impl Fn() -> T) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let seen = look();
        if seen == *expected {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "expected {expected:?}, last saw {seen:?}"
        );
        thread::yield_now();
    }
}

/// Once; as often as `SIMCLUSTER_KILLS` says where somebody wants to know better.
#[test]
fn nothing_of_a_running_database_survives_the_death_of_its_program() {
    let kills = std::env::var("SIMCLUSTER_KILLS").map_or(1, |text| text.parse().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let interfaces = remains::interfaces();
    let mut dead = BTreeSet::new();
    for _ in 0..kills {
        let mut owner = writer(directory.path());
        // What the one before has left on disk is gone: a new cluster sees to that.
        let alive = node_directories(directory.path());
        assert!(dead.is_disjoint(&alive), "{dead:?} {alive:?}");
        assert!(!alive.is_empty());
        let holdings = Holdings::of(owner.id(), directory.path(), &interfaces);
        assert!(!holdings.left().mounts.is_empty(), "{holdings:?}");
        owner.kill().unwrap();
        owner.wait().unwrap();
        eventually(&Remains::default(), || holdings.left());
        dead = node_directories(directory.path());
    }
    // One that ends in order leaves no directory, neither its own nor those of the dead.
    prove_in(directory.path());
    assert_eq!(node_directories(directory.path()), BTreeSet::new());
}

/// A cluster that starts and ends in order, with its files there.
fn prove_in(directory: &Path) {
    let status = Command::new(std::env::current_exe().expect("this program has a path"))
        .args([
            "--ignored",
            "--exact",
            "killed::a_cluster_that_ends_in_order",
        ])
        .env("TMPDIR", directory)
        .stdout(Stdio::null())
        .status()
        .expect("it starts");
    assert!(status.success(), "{status}");
}

#[test]
#[ignore = "is run by another test"]
fn a_cluster_that_ends_in_order() {
    prove(async |_| Ok(()));
}
