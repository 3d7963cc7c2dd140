//! What is mounted where, and what may be written.

use std::{fs, os::unix::fs::symlink, path::PathBuf};

use simcluster_runtime::{
    Isolation,
    spec::{MemoryVolume, Mount, SandboxSpec, User},
};

use crate::lab::{Lab, finish};

fn bind(source: PathBuf, target: &str, read_only: bool) -> Mount {
    Mount::Bind {
        source,
        target: target.into(),
        read_only,
    }
}

#[tokio::test]
async fn layers_are_joined_and_never_written() {
    let lab = Lab::with_pod().await;
    let upper = lab.directory.path().join("second layer, with: odd name");
    fs::create_dir_all(upper.join("etc")).unwrap();
    fs::write(upper.join("etc/from-second"), "2\n").unwrap();
    let mut spec = lab.shell(
        "c",
        "cat /etc/from-second; head -c4 /etc/passwd; echo new > /etc/passwd",
    );
    spec.layers.push(upper);
    let scratch = spec.scratch.clone();
    assert_eq!(lab.run(spec).await, (0, "2\nroot".to_owned()));
    let kept = fs::read_to_string(lab.directory.path().join("layer/etc/passwd")).unwrap();
    assert!(kept.starts_with("root:"));
    assert_eq!(
        fs::read_to_string(scratch.join("upper/etc/passwd")).unwrap(),
        "new\n"
    );
}

#[tokio::test]
async fn a_missing_layer_is_named() {
    let lab = Lab::with_pod().await;
    let mut spec = lab.program("c", &["true"]);
    spec.layers.push("/no/such/layer".into());
    assert_eq!(
        lab.refusal(spec).await.to_string(),
        "unable to open the image layer /no/such/layer: no such file or directory",
    );
}

/// In a container whose root is an overlay, which refuses to be an upper layer itself.
#[tokio::test]
#[ignore = "runs in a container"]
async fn a_node_in_a_container() {
    let lab = Lab::with_pod().await;
    let container = lab
        .start_container(lab.shell("c", "echo x > /file; cat /file"))
        .await;
    println!("warned: {:?}", container.warnings);
    println!("said: {}", finish(container).await.1);
}

#[tokio::test]
async fn where_overlays_are_refused_changes_are_kept_in_memory() {
    let lab = Lab::with_pod().await;
    if *lab.runtime.isolation() != Isolation::Root {
        // The kernel lets nobody mount another /proc while parts of the one there are masked.
        return;
    }
    let mut spec = lab.itself("outer", "mounts::a_node_in_a_container");
    let rights = [
        "SYS_ADMIN",
        "NET_ADMIN",
        "SETUID",
        "SETGID",
        "CHOWN",
        "DAC_OVERRIDE",
        "SYS_RESOURCE",
        "SETPCAP",
    ];
    spec.capabilities = Some(rights.map(str::to_owned).to_vec());
    spec.env.insert("TMPDIR".to_owned(), "/".to_owned());
    let (_, text) = lab.run(spec).await;
    assert!(
        text.contains("outside of its volumes is kept in memory"),
        "{text}"
    );
    assert!(text.contains("said: x"), "{text}");
}

#[tokio::test]
async fn an_image_without_layers_is_an_empty_tree() {
    let lab = Lab::with_pod().await;
    let mut spec = lab.program("c", &["/usr/bin/ls", "/"]);
    spec.layers.clear();
    for name in ["lib", "lib64"] {
        spec.mounts.push(bind(
            PathBuf::from("/").join(name),
            &format!("/{name}"),
            true,
        ));
    }
    assert_eq!(
        lab.run(spec).await,
        (0, "dev\nlib\nlib64\nproc\nsys\nusr\n".to_owned())
    );
}

#[tokio::test]
async fn a_read_only_root_still_has_writable_volumes() {
    let lab = Lab::with_pod().await;
    let volume = lab.directory.path().join("volume");
    fs::create_dir(&volume).unwrap();
    let mut spec = lab.shell(
        "c",
        "echo 1 > /data/file; echo 2 > /file; echo 3 > /tmp/file; cat /tmp/file",
    );
    spec.read_only_root = true;
    spec.mounts.push(bind(volume.clone(), "/data", false));
    spec.mounts.push(Mount::Tmpfs {
        target: "/tmp".into(),
        size: None,
    });
    let (_, text) = lab.run(spec).await;
    assert!(
        text.contains("Read-only file system") && text.contains("3\n"),
        "{text}"
    );
    assert_eq!(text.matches("Read-only").count(), 1, "{text}");
    assert_eq!(fs::read_to_string(volume.join("file")).unwrap(), "1\n");
}

#[tokio::test]
async fn a_read_only_volume_refuses_writes_below_it_too() {
    let lab = Lab::with_pod().await;
    let volume = lab.directory.path().join("volume");
    fs::create_dir_all(volume.join("inner")).unwrap();
    let mut spec = lab.shell(
        "c",
        "echo 1 > /data/file || echo 2 > /data/inner/file || echo refused",
    );
    spec.mounts.push(bind(volume, "/data", true));
    let (code, text) = lab.run(spec).await;
    assert!(code == 0 && text.contains("refused"), "{text}");
}

#[tokio::test]
async fn mounts_are_made_in_their_order() {
    let lab = Lab::with_pod().await;
    let file = lab.directory.path().join("file");
    fs::write(&file, "on top\n").unwrap();
    let mut spec = lab.shell("c", "cat /a/b/c/file; ls -A /a/b");
    spec.mounts.push(Mount::Tmpfs {
        target: "/a/b".into(),
        size: Some(1 << 20),
    });
    spec.mounts.push(bind(file, "/a/b/c/file", true));
    assert_eq!(lab.run(spec).await, (0, "on top\nc\n".to_owned()));
}

#[tokio::test]
async fn a_memory_volume_has_its_size() {
    let lab = Lab::with_pod().await;
    let mut spec = lab.shell("c", "head -c 3000000 /dev/zero > /m/file; wc -c < /m/file");
    spec.mounts.push(Mount::Tmpfs {
        target: "/m".into(),
        size: Some(1 << 20),
    });
    let (_, text) = lab.run(spec).await;
    assert!(
        text.contains("No space left") && text.contains("1048576\n"),
        "{text}"
    );
}

#[tokio::test]
async fn a_sandbox_has_memory_for_a_group_that_its_user_does_not_have() {
    let lab = Lab::start().await;
    let volume = lab.directory.path().join("volume");
    fs::create_dir(&volume).unwrap();
    let spec = SandboxSpec {
        id: "pod".to_owned(),
        hostname: "pod".to_owned(),
        address: None,
        memory: vec![MemoryVolume {
            path: volume.clone(),
            size: Some(1 << 20),
            group: Some(65_532),
        }],
        share_processes: false,
        sysctls: std::collections::BTreeMap::new(),
    };
    lab.runtime.create_sandbox(spec).await.unwrap();
    let script =
        "echo kept > /m/file; cat /m/file; head -c 3000000 /dev/zero > /m/full; wc -c < /m/full";
    let mut spec = lab.shell("c", script);
    spec.mounts.push(bind(volume.clone(), "/m", false));
    let (_, text) = lab.run(spec).await;
    assert!(
        text.contains("kept\n") && text.contains("No space left"),
        "{text}"
    );
    assert!(
        fs::read_dir(volume).unwrap().next().is_none(),
        "it is on disk"
    );
}

#[tokio::test]
async fn symbolic_links_in_an_image_lead_to_places_in_the_image() {
    let lab = Lab::with_pod().await;
    let layer = lab.directory.path().join("layer");
    let outside = lab.directory.path().join("outside");
    fs::create_dir(&outside).unwrap();
    symlink("/run", layer.join("var-run")).unwrap();
    symlink(&outside, layer.join("escape")).unwrap();
    symlink(
        "../../../../missing/resolv.conf",
        layer.join("etc/resolv.conf"),
    )
    .unwrap();
    let file = lab.directory.path().join("file");
    fs::write(&file, "mounted\n").unwrap();
    let mut spec = lab.shell(
        "c",
        "cat /run/note /missing/resolv.conf /etc/resolv.conf /escape/x",
    );
    spec.mounts.push(bind(file.clone(), "/var-run/note", true));
    spec.mounts
        .push(bind(file.clone(), "/etc/resolv.conf", true));
    spec.mounts.push(bind(file, "/escape/x", true));
    assert_eq!(lab.run(spec).await, (0, "mounted\n".repeat(4)));
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}

#[tokio::test]
async fn what_a_container_leaves_can_be_removed() {
    let lab = Lab::with_pod().await;
    let mut spec = lab.shell(
        "c",
        "mkdir -p /left/behind && echo x > /left/behind/file && chmod 0 /left",
    );
    spec.user = User {
        uid: 0,
        gid: 0,
        additional_gids: Vec::new(),
    };
    let scratch = spec.scratch.clone();
    assert_eq!(lab.run(spec).await.0, 0);
    lab.runtime.remove_tree(&scratch).await.unwrap();
    assert!(!scratch.exists());
    lab.runtime.remove_tree(&scratch).await.unwrap();
}

#[tokio::test]
async fn a_scratch_directory_can_be_removed_by_its_owner() {
    let lab = Lab::with_pod().await;
    let spec = lab.shell("c", "echo x > /file");
    let scratch = spec.scratch.clone();
    assert_eq!(lab.run(spec).await.0, 0);
    fs::remove_dir_all(&scratch).unwrap();
}
