//! More programs in a running container.

use std::{os::unix::fs::PermissionsExt, path::PathBuf};

use simcluster_runtime::{StdioSpec, spec::User};

use crate::lab::{Lab, exec_spec, finish, read_line};

#[tokio::test]
async fn an_executed_program_shares_the_containers_world() {
    let lab = Lab::with_pod().await;
    let mut spec = lab.shell("c", "echo mine > /note; echo ready; read line; exit 0");
    spec.env.insert("COLOUR".to_owned(), "blue".to_owned());
    spec.working_dir = PathBuf::from("/etc");
    spec.user = User {
        uid: 999,
        gid: 999,
        additional_gids: Vec::new(),
    };
    // Made beforehand, since the root directory is not this user's.
    let note = lab.directory.path().join("layer/note");
    std::fs::write(&note, "").unwrap();
    std::fs::set_permissions(&note, std::fs::Permissions::from_mode(0o666)).unwrap();
    let mut container = lab.start_container(spec).await;
    assert_eq!(read_line(&mut container).await, "ready");
    let script = "cat /note; echo $COLOUR; pwd; id -u; hostname; cat /proc/1/comm; exit 9";
    let seen = lab.exec("c", script).await;
    assert_eq!(
        seen,
        (9, "mine\nblue\n/etc\n999\npod-host\nsh\n".to_owned())
    );
    assert_eq!(finish(container).await.0, 0);
}

#[tokio::test]
async fn an_executed_program_has_no_more_rights_than_the_container() {
    let lab = Lab::with_pod().await;
    let mut spec = lab.program("c", &["cat"]);
    spec.no_new_privileges = true;
    spec.capabilities = Some(vec!["CAP_KILL".to_owned()]);
    let container = lab.start_container(spec).await;
    let (_, rights) = lab
        .exec("c", "grep -E 'CapBnd|CapEff|NoNewPrivs' /proc/self/status")
        .await;
    assert_eq!(
        rights,
        "CapEff:\t0000000000000020\nCapBnd:\t0000000000000020\nNoNewPrivs:\t1\n"
    );
    drop(container);
}

#[tokio::test]
async fn an_executed_program_dies_with_the_container() {
    let lab = Lab::with_pod().await;
    let container = lab.start_container(lab.program("c", &["cat"])).await;
    let spec = exec_spec("c", "sleep 1000");
    let executed = lab.runtime.exec(spec, StdioSpec::default()).await.unwrap();
    assert_eq!(finish(container).await.0, 0);
    assert_eq!(executed.wait().await.signal, Some(9));
}

#[tokio::test]
async fn an_executed_program_can_be_signalled() {
    let lab = Lab::with_pod().await;
    let container = lab.start_container(lab.program("c", &["cat"])).await;
    let executed = lab
        .runtime
        .exec(exec_spec("c", "exec sleep 1000"), StdioSpec::default())
        .await
        .unwrap();
    executed.signal(15).await.unwrap();
    assert_eq!(executed.wait().await.signal, Some(15));
    executed.signal(15).await.unwrap();
    drop(container);
}

#[tokio::test]
async fn many_programs_run_in_one_container_at_once() {
    let lab = Lab::with_pod().await;
    let container = lab.start_container(lab.program("c", &["cat"])).await;
    let scripts: Vec<String> = (0..20).map(|number| format!("exit {number}")).collect();
    let runs = scripts.iter().map(|script| lab.exec("c", script));
    let codes: Vec<i32> = futures::future::join_all(runs)
        .await
        .into_iter()
        .map(|(code, _)| code)
        .collect();
    assert_eq!(codes, (0..20).collect::<Vec<_>>());
    drop(container);
}
