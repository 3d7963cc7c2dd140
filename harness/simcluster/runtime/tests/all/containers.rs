//! Programs in containers: what they are given, and how they end.

use std::{collections::BTreeMap, path::PathBuf};

use simcluster_runtime::{
    Error,
    spec::{ExitStatus, User},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::lab::{Lab, finish, read_line};

const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;

#[tokio::test]
async fn a_container_ends_with_its_programs_code_and_output() {
    let lab = Lab::with_pod().await;
    let (code, output) = lab
        .run(lab.shell("c", "echo out; echo err >&2; exit 42"))
        .await;
    assert_eq!((code, output.as_str()), (42, "out\nerr\n"));
}

#[tokio::test]
async fn a_killed_container_tells_the_signal() {
    let lab = Lab::with_pod().await;
    let container = lab.start_container(lab.shell("c", "exec sleep 1000")).await;
    lab.runtime.signal("c", SIGKILL).await.unwrap();
    let expected = ExitStatus {
        code: 137,
        signal: Some(SIGKILL),
        oom_killed: false,
    };
    assert_eq!(container.wait().await, expected);
    assert_eq!(container.exit_watch().status(), Some(expected));
}

#[tokio::test]
async fn a_real_time_signal_kills_like_any_other() {
    let lab = Lab::with_pod().await;
    let container = lab.start_container(lab.program("c", &["cat"])).await;
    let (code, _) = lab.exec("c", "kill -40 $$").await;
    assert_eq!(code, 128 + 40);
    assert_eq!(finish(container).await.0, 0);
}

#[tokio::test]
async fn a_program_may_handle_its_signals() {
    let lab = Lab::with_pod().await;
    let script = "trap 'echo stopping; exit 7' TERM; echo ready; while :; do sleep 0.01; done";
    let mut container = lab.start_container(lab.shell("c", script)).await;
    assert_eq!(read_line(&mut container).await, "ready");
    lab.runtime.signal("c", SIGTERM).await.unwrap();
    assert_eq!(finish(container).await, (7, "stopping\n".to_owned()));
}

#[tokio::test]
async fn the_first_process_ignores_signals_that_it_does_not_handle() {
    let lab = Lab::with_pod().await;
    let mut container = lab
        .start_container(lab.shell("c", "echo ready; read line; exit 3"))
        .await;
    assert_eq!(read_line(&mut container).await, "ready");
    lab.runtime.signal("c", SIGTERM).await.unwrap();
    assert_eq!(finish(container).await.0, 3);
}

#[tokio::test]
async fn the_environment_is_the_specs_and_a_home() {
    let lab = Lab::with_pod().await;
    let mut spec = lab.program("c", &["env"]);
    spec.env = BTreeMap::from([
        ("PATH".to_owned(), "/usr/bin".to_owned()),
        ("EMPTY".to_owned(), String::new()),
        ("LINES".to_owned(), "a\nb=c".to_owned()),
    ]);
    let (_, output) = lab.run(spec).await;
    let mut lines: Vec<&str> = output.lines().collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        ["EMPTY=", "HOME=/root", "LINES=a", "PATH=/usr/bin", "b=c"]
    );
}

#[tokio::test]
async fn a_missing_working_directory_is_made() {
    let lab = Lab::with_pod().await;
    let mut spec = lab.shell("c", "pwd");
    spec.working_dir = PathBuf::from("/made/for/it");
    assert_eq!(lab.run(spec).await, (0, "/made/for/it\n".to_owned()));
}

#[tokio::test]
async fn standard_input_reaches_the_program_and_ends() {
    let lab = Lab::with_pod().await;
    let mut container = lab.start_container(lab.program("c", &["cat"])).await;
    let mut input = container.stdin.take().unwrap();
    let sent = vec![b'x'; 300_000];
    let expected = sent.clone();
    let writer = tokio::spawn(async move {
        input.write_all(&sent).await.unwrap();
    });
    let mut received = Vec::new();
    container
        .stdout
        .as_mut()
        .unwrap()
        .read_to_end(&mut received)
        .await
        .unwrap();
    writer.await.unwrap();
    assert!(received == expected, "{} bytes came back", received.len());
    assert_eq!(container.wait().await.code, 0);
}

#[tokio::test]
async fn a_large_environment_reaches_the_program() {
    let lab = Lab::with_pod().await;
    let mut spec = lab.shell("c", "echo ${#V0} ${#V19}");
    for number in 0..20 {
        spec.env.insert(format!("V{number}"), "v".repeat(60_000));
    }
    assert_eq!(lab.run(spec).await, (0, "60000 60000\n".to_owned()));
}

#[tokio::test]
async fn the_user_is_the_one_asked_for() {
    let lab = Lab::with_pod().await;
    let mut spec = lab.shell("c", "id -u; id -g; echo $HOME; echo again > /dev/stdout");
    spec.user = User {
        uid: 999,
        gid: 998,
        additional_gids: Vec::new(),
    };
    assert_eq!(
        lab.run(spec).await,
        (0, "999\n998\n/home/user\nagain\n".to_owned())
    );
}

#[tokio::test]
async fn a_user_without_an_entry_is_at_home_at_the_root() {
    let lab = Lab::with_pod().await;
    let mut spec = lab.shell("c", "echo $HOME");
    spec.user = User {
        uid: 4711,
        gid: 0,
        additional_gids: Vec::new(),
    };
    assert_eq!(lab.run(spec).await, (0, "/\n".to_owned()));
}

#[tokio::test]
async fn an_id_is_taken_while_its_container_runs_and_free_afterwards() {
    let lab = Lab::with_pod().await;
    let container = lab.start_container(lab.program("c", &["cat"])).await;
    let refused = lab.refusal(lab.program("c", &["cat"])).await;
    assert!(
        matches!(refused, Error::ContainerExists { ref id } if id == "c"),
        "{refused:?}"
    );
    assert_eq!(finish(container).await.0, 0);
    assert_eq!(lab.run(lab.shell("c", "exit 5")).await.0, 5);
}

#[tokio::test]
async fn signals_to_a_container_that_has_ended_are_told() {
    let lab = Lab::with_pod().await;
    lab.run(lab.program("c", &["true"])).await;
    let refused = lab.runtime.signal("c", SIGTERM).await.unwrap_err();
    assert_eq!(refused.to_string(), "no such container: c");
}

#[tokio::test]
async fn orphans_are_adopted_by_the_first_process_and_die_with_it() {
    let lab = Lab::with_pod().await;
    let script = "sh -c 'sleep 1000 & echo $! > /orphan'; cat /orphan; read line; exit 0";
    let mut container = lab.start_container(lab.shell("c", script)).await;
    let orphan = read_line(&mut container).await;
    let (_, parent) = lab
        .exec("c", &format!("cut -d' ' -f4 /proc/{orphan}/stat"))
        .await;
    assert_eq!(parent, "1\n");
    assert_eq!(finish(container).await.0, 0);
    lab.runtime.remove_sandbox("pod").await.unwrap();
}
