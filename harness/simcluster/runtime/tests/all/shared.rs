//! Sandboxes whose containers share their processes, and settings of the kernel that are a sandbox's own.

use std::{collections::BTreeMap, fs, net::Ipv4Addr};

use simcluster_runtime::spec::{MemoryVolume, Mount, SandboxSpec, User};

use crate::lab::{Lab, finish, read_line};

const SIGTERM: i32 = 15;

fn sandbox() -> SandboxSpec {
    SandboxSpec {
        id: "pod".to_owned(),
        hostname: "pod".to_owned(),
        address: Some(Ipv4Addr::new(10, 42, 0, 2)),
        memory: Vec::new(),
        share_processes: false,
        sysctls: BTreeMap::new(),
    }
}

async fn with(spec: SandboxSpec) -> Lab {
    let lab = Lab::start().await;
    let made = lab.runtime.create_sandbox(spec).await;
    made.expect("a fresh sandbox can be made");
    lab
}

async fn sharing() -> Lab {
    with(SandboxSpec {
        share_processes: true,
        ..sandbox()
    })
    .await
}

#[tokio::test]
async fn containers_that_share_their_processes_see_and_signal_one_another() {
    let lab = sharing().await;
    let script = "trap 'echo told; exit 4' USR1; echo $$; while :; do sleep 0.01; done";
    let mut one = lab.start_container(lab.shell("one", script)).await;
    let number = read_line(&mut one).await;
    assert_ne!(number, "1", "the first process is no container's");
    let look = format!(
        "cat /proc/1/comm; tr -d '\\0' < /proc/1/cmdline; echo; cat /proc/{number}/comm; \
         kill -USR1 {number}"
    );
    let other = lab.run(lab.shell("two", &look)).await;
    assert_eq!(other, (0, "pause\n/pause\nsh\n".to_owned()));
    assert_eq!(finish(one).await, (4, "told\n".to_owned()));
}

#[tokio::test]
async fn containers_of_other_users_share_their_processes_too() {
    let lab = sharing().await;
    let mut ordinary = lab.shell("ordinary", "echo $$; cat; exit 3");
    ordinary.user = User {
        uid: 999,
        gid: 998,
        additional_gids: Vec::new(),
    };
    let mut ordinary = lab.start_container(ordinary).await;
    let number = read_line(&mut ordinary).await;
    let look = format!("cat /proc/{number}/comm");
    let seen = lab.run(lab.shell("root", &look)).await;
    assert_eq!(seen, (0, "sh\n".to_owned()));
    assert_eq!(lab.exec("ordinary", "id -u").await, (0, "999\n".to_owned()));
    assert_eq!(finish(ordinary).await.0, 3);
}

#[tokio::test]
async fn no_container_reaches_the_hosts_files_through_the_shared_first_process() {
    let lab = sharing().await;
    let secret = lab.directory.path().join("secret");
    fs::write(&secret, "secret").expect("the directory is ours");
    let script = format!(
        "cat /proc/1/root{} 2> /dev/null || echo nothing; kill 1; kill -9 1; echo alive",
        secret.display()
    );
    let (code, output) = lab.run(lab.shell("c", &script)).await;
    assert_eq!((code, output.as_str()), (0, "nothing\nalive\n"));
    assert_eq!(
        lab.run(lab.shell("d", "cat /proc/1/comm")).await.1,
        "pause\n"
    );
}

#[tokio::test]
async fn what_a_container_leaves_among_shared_processes_ends_with_it() {
    let lab = sharing().await;
    let mut stays = lab
        .start_container(lab.shell("stays", "echo $$; cat"))
        .await;
    let mine = read_line(&mut stays).await;
    let script =
        "sleep 1000 > /dev/null 2>&1 & sh -c 'sleep 1000 > /dev/null 2>&1 & echo $!'; echo $!";
    let (code, left) = lab.run(lab.shell("leaves", script)).await;
    assert_eq!(code, 0, "{left}");
    let left: Vec<&str> = left.lines().collect();
    assert_eq!(left.len(), 2);
    // They are killed before the container's end is told, and then only have to be waited for.
    for number in left {
        let look = format!(
            "while grep -q '^State:.[^ZX]' /proc/{number}/status 2> /dev/null; do :; done; echo gone"
        );
        assert_eq!(lab.exec("stays", &look).await, (0, "gone\n".to_owned()));
    }
    assert_eq!(
        lab.exec("stays", &format!("cat /proc/{mine}/comm")).await.1,
        "sh\n"
    );
    assert_eq!(finish(stays).await.0, 0);
}

#[tokio::test]
async fn what_programs_that_end_at_once_leave_among_shared_processes_ends_too() {
    const PROGRAMS: usize = 40;
    let lab = sharing().await;
    let stays = lab.start_container(lab.shell("stays", "cat")).await;
    for number in 0..PROGRAMS {
        let id = format!("leaves-{number}");
        let leaves = lab.shell(&id, "sleep 1000 > /dev/null 2>&1 &");
        assert_eq!(lab.run(leaves).await, (0, String::new()));
    }
    // Killed already, they only have to be waited for.
    let look = "while grep -qs '^State:.[^ZX]' $(grep -ls '^sleep$' /proc/[0-9]*/comm | sed s/comm/status/) \
                /dev/null; do :; done; echo gone";
    assert_eq!(lab.exec("stays", look).await, (0, "gone\n".to_owned()));
    assert_eq!(finish(stays).await.0, 0);
}

#[tokio::test]
async fn a_signal_ends_a_program_that_is_not_the_first_of_its_processes() {
    let lab = sharing().await;
    let container = lab
        .start_container(lab.program("c", &["sleep", "1000"]))
        .await;
    lab.runtime.signal("c", SIGTERM).await.expect("it runs");
    assert_eq!(finish(container).await.0, 128 + SIGTERM);
    lab.runtime
        .remove_sandbox("pod")
        .await
        .expect("it is there");
}

#[tokio::test]
async fn settings_of_the_kernel_are_those_of_one_sandbox() {
    let sysctls = [
        ("net.ipv4.tcp_keepalive_time", "77"),
        ("net.ipv4.ip_unprivileged_port_start", "1024"),
        ("kernel.shm_rmid_forced", "1"),
    ];
    let sysctls = sysctls.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let lab = with(SandboxSpec {
        sysctls: sysctls.into(),
        ..sandbox()
    })
    .await;
    lab.sandbox("other", 3).await;
    let script = "cd /proc/sys; cat net/ipv4/tcp_keepalive_time net/ipv4/ip_unprivileged_port_start kernel/shm_rmid_forced";
    let own = lab.run(lab.shell("a", script)).await;
    assert_eq!(own, (0, "77\n1024\n1\n".to_owned()));
    let mut elsewhere = lab.shell("b", "cat /proc/sys/net/ipv4/ip_unprivileged_port_start");
    elsewhere.sandbox = "other".to_owned();
    assert_eq!(lab.run(elsewhere).await, (0, "0\n".to_owned()));
}

#[tokio::test]
async fn a_setting_that_the_kernel_refuses_is_named() {
    let lab = Lab::start().await;
    let refused = |name: &str, value: &str| SandboxSpec {
        sysctls: BTreeMap::from([(name.to_owned(), value.to_owned())]),
        ..sandbox()
    };
    for (name, value) in [
        ("net.ipv4.tcp_keepalive_time", "long"),
        ("net.ipv4.no_such_thing", "1"),
        ("../../etc/passwd", "1"),
    ] {
        let error = lab.runtime.create_sandbox(refused(name, value)).await;
        let error = error.expect_err(name).to_string();
        assert!(
            error.contains(&format!("set {name} to {value:?}")),
            "{error}"
        );
    }
    lab.sandbox("pod", 2).await;
}

#[tokio::test]
async fn a_part_of_what_is_in_memory_can_be_mounted_and_leads_nowhere_else() {
    let directory = tempfile::tempdir().expect("the test may write to the temporary directory");
    let path = directory.path().to_owned();
    let lab = with(SandboxSpec {
        memory: vec![MemoryVolume {
            path: path.clone(),
            size: Some(1 << 20),
            group: None,
        }],
        ..sandbox()
    })
    .await;
    let part = |part: &str, read_only| Mount::BindPart {
        source: path.clone(),
        part: part.into(),
        target: "/part".into(),
        read_only,
    };
    let mut writes = lab.shell(
        "a",
        "echo hello > /part/file; ln -s / /part/out; stat -c %a /part",
    );
    writes.mounts.push(part("a/b", false));
    assert_eq!(lab.run(writes).await, (0, "777\n".to_owned()));
    let mut reads = lab.shell(
        "b",
        "cat /part; echo x 2> /dev/null > /part || echo refused",
    );
    reads.mounts.push(part("a/b/file", true));
    assert_eq!(lab.run(reads).await, (0, "hello\nrefused\n".to_owned()));
    // The link's target is looked for inside the volume.
    let mut leads = lab.shell("c", "ls /part");
    leads.mounts.push(part("a/b/out", false));
    assert_eq!(lab.run(leads).await, (0, "a\n".to_owned()));
    assert!(
        fs::read_dir(&path).expect("it is there").next().is_none(),
        "it was on disk"
    );
}
