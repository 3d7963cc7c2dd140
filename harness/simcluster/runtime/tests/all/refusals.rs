//! Containers that do not start, and the text that says why.

use std::{collections::BTreeMap, fs, path::PathBuf};

use simcluster_runtime::{Error, LaunchError, StdioSpec, spec::Mount};

use crate::lab::Lab;

async fn text_of(lab: &Lab, command: &[&str]) -> String {
    lab.refusal(lab.program("c", command)).await.to_string()
}

#[tokio::test]
async fn a_program_that_cannot_be_executed_is_refused_in_runcs_words() {
    let lab = Lab::with_pod().await;
    let layer = lab.directory.path().join("layer");
    fs::write(layer.join("data"), "no program").unwrap();
    assert_eq!(
        text_of(&lab, &["no-such-program"]).await,
        "exec: \"no-such-program\": executable file not found in $PATH",
    );
    assert_eq!(
        text_of(&lab, &["/no/such"]).await,
        "exec: \"/no/such\": stat /no/such: no such file or directory",
    );
    assert_eq!(
        text_of(&lab, &["/data"]).await,
        "exec: \"/data\": permission denied"
    );
    assert_eq!(
        text_of(&lab, &["/usr"]).await,
        "exec: \"/usr\": is a directory"
    );
    assert_eq!(text_of(&lab, &[]).await, "no command specified");
}

#[tokio::test]
async fn a_program_of_a_wrong_format_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let lab = Lab::with_pod().await;
    let file = lab.directory.path().join("layer/odd");
    fs::write(&file, [0, 1, 2, 3]).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(
        text_of(&lab, &["/odd"]).await,
        "exec /odd: exec format error"
    );
}

#[tokio::test]
async fn programs_are_looked_up_in_the_containers_path_only() {
    let lab = Lab::with_pod().await;
    let mut spec = lab.program("c", &["env"]);
    spec.env = BTreeMap::from([("PATH".to_owned(), "/nowhere".to_owned())]);
    let refused = lab.refusal(spec).await;
    let Error::Start { container, reason } = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(container, "c");
    assert_eq!(
        reason,
        LaunchError::NotInPath {
            program: "env".to_owned()
        }
    );
}

#[tokio::test]
async fn a_mount_without_a_source_is_refused_and_named() {
    let lab = Lab::with_pod().await;
    let mut spec = lab.program("c", &["true"]);
    spec.mounts.push(Mount::Bind {
        source: PathBuf::from("/no/such/volume"),
        target: PathBuf::from("/data"),
        read_only: false,
    });
    assert_eq!(
        lab.refusal(spec).await.to_string(),
        "error mounting \"/no/such/volume\" to rootfs at \"/data\": no such file or directory",
    );
}

#[tokio::test]
async fn a_working_directory_that_is_a_file_is_refused() {
    let lab = Lab::with_pod().await;
    let mut spec = lab.program("c", &["true"]);
    spec.working_dir = PathBuf::from("/etc/passwd");
    assert_eq!(
        lab.refusal(spec).await.to_string(),
        "chdir to cwd (\"/etc/passwd\") failed: not a directory",
    );
}

#[tokio::test]
async fn a_refused_container_leaves_its_id_free() {
    let lab = Lab::with_pod().await;
    for _ in 0..20 {
        text_of(&lab, &["no-such-program"]).await;
        assert_eq!(lab.run(lab.shell("c", "exit 6")).await.0, 6);
    }
}

#[tokio::test]
async fn sandboxes_must_exist_and_be_new() {
    let lab = Lab::with_pod().await;
    let mut spec = lab.program("c", &["true"]);
    spec.sandbox = "other".to_owned();
    assert_eq!(
        lab.refusal(spec).await.to_string(),
        "no such sandbox: other"
    );
    let removed = lab.runtime.remove_sandbox("other").await.unwrap_err();
    assert!(
        matches!(removed, Error::NoSuchSandbox { .. }),
        "{removed:?}"
    );
    let again = simcluster_runtime::spec::SandboxSpec {
        id: "pod".to_owned(),
        hostname: "h".to_owned(),
        address: None,
        memory: Vec::new(),
        share_processes: false,
        sysctls: BTreeMap::new(),
    };
    let refused = lab.runtime.create_sandbox(again).await.unwrap_err();
    assert_eq!(refused.to_string(), "sandbox pod exists already");
}

#[tokio::test]
async fn exec_needs_a_running_container_and_a_program() {
    let lab = Lab::with_pod().await;
    let spec = |command: &str| simcluster_runtime::spec::ExecSpec {
        container: "c".to_owned(),
        command: vec![command.to_owned()],
        tty: false,
    };
    let refused = lab
        .runtime
        .exec(spec("true"), StdioSpec::output())
        .await
        .unwrap_err();
    assert_eq!(refused.to_string(), "no such container: c");
    let container = lab.start_container(lab.program("c", &["cat"])).await;
    let refused = lab
        .runtime
        .exec(spec("gone"), StdioSpec::output())
        .await
        .unwrap_err();
    assert!(matches!(refused, Error::Exec { .. }), "{refused:?}");
    assert_eq!(
        refused.to_string(),
        "exec: \"gone\": executable file not found in $PATH"
    );
    drop(container);
}
