//! What a container cannot see or do.

use crate::lab::Lab;

async fn output(script: &str) -> String {
    let lab = Lab::with_pod().await;
    lab.run(lab.shell("c", script)).await.1
}

#[tokio::test]
async fn a_container_sees_its_own_processes_only() {
    assert_eq!(output("echo $$; cd /proc; echo [0-9]*").await, "1\n1\n");
}

#[tokio::test]
async fn nothing_that_the_owner_has_open_is_open_in_a_container() {
    // The fourth is the directory that is being listed.
    assert_eq!(output("exec ls /proc/self/fd").await, "0\n1\n2\n3\n");
}

#[tokio::test]
async fn signals_are_as_a_fresh_program_expects_them() {
    let expected = "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n";
    assert_eq!(
        output("exec grep -E 'SigBlk|SigIgn' /proc/self/status").await,
        expected
    );
}

#[tokio::test]
async fn limits_are_the_owners() {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    assert_eq!(output("exec cat /proc/self/limits").await, limits);
}

#[tokio::test]
async fn the_hosts_files_are_out_of_reach() {
    let lab = Lab::with_pod().await;
    let secret = lab.directory.path().join("secret");
    std::fs::write(&secret, "host").unwrap();
    let script = format!(
        "cat {0} /../../..{0} /proc/1/root{0}; ls -d /proc/1/cwd/..",
        secret.display()
    );
    let (_, text) = lab.run(lab.shell("c", &script)).await;
    assert!(!text.contains("host\n"), "{text}");
    let (_, mounts) = lab
        .run(lab.program("c", &["cat", "/proc/self/mountinfo"]))
        .await;
    let strange = |line: &&str| line.contains(" /home") || line.contains("/scratch-0/upper ");
    assert_eq!(mounts.lines().find(strange), None);
}

#[tokio::test]
async fn the_root_user_keeps_the_default_capabilities_only() {
    assert_eq!(
        output("exec grep -E 'CapEff|CapBnd' /proc/self/status").await,
        "CapEff:\t00000000a80425fb\nCapBnd:\t00000000a80425fb\n",
    );
}

#[tokio::test]
async fn kernel_settings_cannot_be_written() {
    let script = "echo 1 > /proc/sys/kernel/panic; echo x > /sys/kernel/uevent_seqnum; \
                  cat /proc/keys | wc -c; cat /proc/kcore | wc -c";
    let text = output(script).await;
    assert_eq!(text.matches("ead-only file system").count(), 2, "{text}");
    assert!(text.contains("0\n0\n"), "{text}");
}

#[tokio::test]
async fn the_usual_devices_are_there() {
    let script = "echo lost > /dev/null && head -c 4 /dev/zero | od -An -tx1 && head -c 8 /dev/urandom | wc -c && \
                  test -w /dev/shm && test -c /dev/ptmx && echo fd > /dev/fd/1 && echo err > /dev/stderr; \
                  echo /dev/*";
    let text = output(script).await;
    let expected = " 00 00 00 00\n8\nfd\n/dev/core /dev/fd /dev/full /dev/null /dev/ptmx /dev/pts /dev/random \
                    /dev/shm /dev/stderr /dev/stdin /dev/stdout /dev/tty /dev/urandom /dev/zero\nerr\n";
    assert_eq!(text, expected);
}

#[tokio::test]
async fn host_name_and_ipc_are_the_sandboxs() {
    let lab = Lab::with_pod().await;
    lab.sandbox("other", 3).await;
    let script = "hostname; readlink /proc/self/ns/ipc /proc/self/ns/net /proc/self/ns/uts";
    let first = lab.run(lab.shell("a", script)).await.1;
    let second = lab.run(lab.shell("b", script)).await.1;
    assert_eq!(first, second);
    let mut elsewhere = lab.shell("c", script);
    elsewhere.sandbox = "other".to_owned();
    let third = lab.run(elsewhere).await.1;
    assert!(third.starts_with("other-host\n"), "{third}");
    let shared = first.lines().filter(|line| third.contains(*line)).count();
    assert_eq!(shared, 0, "{first}{third}");
}
