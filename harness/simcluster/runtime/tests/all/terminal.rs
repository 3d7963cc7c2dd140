//! Programs on a terminal.

use simcluster_runtime::{StdioSpec, Terminal, spec::User};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::lab::{Lab, exec_spec};

/// Reads until the text has come.
async fn read_until(terminal: &mut Terminal, wanted: &str) -> String {
    let mut seen = Vec::new();
    let mut chunk = [0; 1024];
    loop {
        let text = String::from_utf8_lossy(&seen).into_owned();
        if text.contains(wanted) {
            return text;
        }
        let count = terminal
            .read(&mut chunk)
            .await
            .expect("a terminal can be read");
        assert_ne!(count, 0, "the terminal closed after {text:?}");
        seen.extend_from_slice(&chunk[..count]);
    }
}

#[tokio::test]
async fn a_container_can_have_a_terminal() {
    let lab = Lab::with_pod().await;
    let script = "tty; echo $TERM; test -t 0 && test -t 2 && echo all; stty size; \
                  read line; stty size; echo console > /dev/console; exit 4";
    let mut spec = lab.shell("c", script);
    spec.tty = true;
    spec.user = User {
        uid: 999,
        gid: 999,
        additional_gids: Vec::new(),
    };
    let mut container = lab
        .runtime
        .start_container(spec, StdioSpec::default())
        .await
        .unwrap();
    assert!(container.stdin.is_none() && container.stdout.is_none());
    let mut terminal = container.terminal.take().unwrap();
    let text = read_until(&mut terminal, "all\r\n0 0\r\n").await;
    assert!(text.starts_with("/dev/pts/0\r\nxterm\r\n"), "{text:?}");
    terminal.resize(132, 43).unwrap();
    terminal.write_all(b"go\n").await.unwrap();
    let mut rest = String::new();
    terminal.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "go\r\n43 132\r\nconsole\r\n");
    assert_eq!(container.wait().await.code, 4);
}

#[tokio::test]
async fn control_c_interrupts_what_runs_on_the_terminal() {
    let lab = Lab::with_pod().await;
    let container = lab.start_container(lab.program("c", &["cat"])).await;
    let mut spec = exec_spec(
        "c",
        "trap 'echo interrupted; exit 8' INT; echo ready; while :; do sleep 0.01; done",
    );
    spec.tty = true;
    let mut executed = lab.runtime.exec(spec, StdioSpec::default()).await.unwrap();
    let mut terminal = executed.terminal.take().unwrap();
    read_until(&mut terminal, "ready").await;
    terminal.write_all(&[3]).await.unwrap();
    read_until(&mut terminal, "interrupted").await;
    assert_eq!(executed.wait().await.code, 8);
    drop(container);
}

#[tokio::test]
async fn closing_the_terminal_hangs_up_what_runs_on_it() {
    let lab = Lab::with_pod().await;
    let container = lab.start_container(lab.program("c", &["cat"])).await;
    let mut spec = exec_spec("c", "exec sleep 1000");
    spec.tty = true;
    let mut executed = lab.runtime.exec(spec, StdioSpec::default()).await.unwrap();
    drop(executed.terminal.take());
    assert_eq!(executed.wait().await.signal, Some(1));
    drop(container);
}
