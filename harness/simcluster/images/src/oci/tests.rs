//! Archives as tools write them, and archives that lie.

use std::fs;

use flate2::{Compression, write::GzEncoder};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::*;
use crate::{
    Content, Image, ImageConfig, ImageStore, LocalFile, LocalImage, StoreConfig, digest::hex,
};

/// A store of its own that has no packages.
fn store(archives: Vec<PathBuf>) -> (tempfile::TempDir, ImageStore) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store = ImageStore::open(StoreConfig {
        cache_dir: Some(dir.path().join("cache")),
        archives,
        packages: false,
        size_limit: None,
    });
    (dir, store.expect("a new cache opens"))
}

fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o755);
        header.set_size(bytes.len() as u64);
        builder
            .append_data(&mut header, path, *bytes)
            .expect("memory takes it");
    }
    builder.into_inner().expect("memory takes it")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}

fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// An OCI layout with two layers, of which the second deletes a file of the first; for this platform and another.
fn layout(dir: &Path, name: &str) {
    let blobs = dir.join("blobs/sha256");
    fs::create_dir_all(&blobs).expect("a new directory");
    let put = |bytes: &[u8]| -> serde_json::Value {
        fs::write(blobs.join(sha256(bytes)), bytes).expect("it is writable");
        json!({"digest": format!("sha256:{}", sha256(bytes)), "size": bytes.len(), "mediaType": "x"})
    };
    let base = put(&gzip(&tar_of(&[
        ("etc/old", b"1"),
        ("bin/run", b"#!/bin/sh\n"),
    ])));
    let top = put(&tar_of(&[("etc/.wh.old", b""), ("etc/new", b"2")]));
    let config = put(&serde_json::to_vec(&json!({
        "os": "linux", "architecture": document::architecture(),
        "config": {"Entrypoint": ["/bin/run"], "Env": ["A=b"], "User": "7:8", "WorkingDir": "/w", "StopSignal": "SIGINT"},
    })).expect("JSON"));
    let manifest = put(&serde_json::to_vec(&json!({
        "schemaVersion": 2, "config": config, "layers": [base, top],
    }))
    .expect("JSON"));
    let here = json!({"os": "linux", "architecture": document::architecture()});
    let mut mine = manifest.clone();
    mine["platform"] = here;
    let mut other = manifest;
    other["platform"] = json!({"os": "linux", "architecture": "s390x"});
    other["digest"] = json!(format!("sha256:{}", "0".repeat(64)));
    let inner = put(
        &serde_json::to_vec(&json!({"schemaVersion": 2, "manifests": [other, mine]}))
            .expect("JSON"),
    );
    let mut named = inner;
    named["annotations"] = json!({"io.containerd.image.name": name});
    let index = json!({"schemaVersion": 2, "manifests": [named]});
    fs::write(dir.join("index.json"), index.to_string()).expect("it is writable");
    fs::write(dir.join("oci-layout"), "{}").expect("it is writable");
}

fn read(image: &Image, path: &str) -> Option<String> {
    image
        .layers
        .iter()
        .rev()
        .find_map(|layer| fs::read_to_string(layer.join(path)).ok())
}

#[tokio::test]
async fn a_layout_offers_its_image_for_this_platform() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    layout(dir.path(), "docker.io/library/thing:1");
    let (_cache, store) = store(vec![dir.path().to_owned()]);
    let image = store.ensure("thing:1", &()).await.expect("it is there");
    assert_eq!(read(&image, "etc/new").as_deref(), Some("2"));
    assert_eq!(read(&image, "etc/old"), None, "a later layer deleted it");
    assert_eq!(
        image.config,
        ImageConfig {
            entrypoint: vec!["/bin/run".to_owned()],
            cmd: vec![],
            env: vec!["A=b".to_owned()],
            user: "7:8".to_owned(),
            working_dir: "/w".to_owned(),
            stop_signal: Some("SIGINT".to_owned()),
        }
    );
    assert_eq!(image.resolved, "thing:1");
    assert_eq!(image.substitution, None);

    let missing = store
        .ensure("thing:2", &())
        .await
        .expect_err("it is not there")
        .to_string();
    assert!(
        missing.contains("docker.io/library/thing:1"),
        "says what there is: {missing}"
    );
}

#[tokio::test]
async fn a_layer_that_is_not_what_its_name_says_is_refused() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    layout(dir.path(), "docker.io/library/thing:1");
    let layer = sha256(&tar_of(&[("etc/.wh.old", b""), ("etc/new", b"2")]));
    fs::write(
        dir.path().join("blobs/sha256").join(layer),
        tar_of(&[("etc/evil", b"3")]),
    )
    .expect("it is writable");
    let (_cache, store) = store(vec![dir.path().to_owned()]);
    let error = store
        .ensure("thing:1", &())
        .await
        .expect_err("it is broken")
        .to_string();
    assert!(error.contains("is not what its name says"), "{error}");
    assert_eq!(store.list().expect("it lists"), []);
}

#[tokio::test]
async fn an_archive_of_docker_save_is_imported_and_outlives_its_file() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("saved.tar.gz");
    let config = br#"{"os":"linux","config":{"Cmd":["/run"]}}"#;
    let manifest =
        br#"[{"Config":"c.json","RepoTags":["thing:1","other/thing:2"],"Layers":["a/layer.tar"]}]"#;
    let layer = tar_of(&[("run", b"x")]);
    let archive = tar_of(&[
        ("a/layer.tar", &layer),
        ("c.json", config),
        ("manifest.json", manifest),
    ]);
    fs::write(&file, gzip(&archive)).expect("it is writable");
    let (_cache, store) = store(vec![]);
    let imported = store.import(&file, None).expect("it is an archive");
    assert_eq!(
        imported[0].references,
        ["docker.io/library/thing:1", "docker.io/other/thing:2"]
    );
    fs::remove_file(&file).expect("it is there");
    let image = store
        .ensure("other/thing:2", &())
        .await
        .expect("it is in the cache");
    assert_eq!(image.config.cmd, ["/run"]);
    assert_eq!(read(&image, "run").as_deref(), Some("x"));

    let names: Vec<_> = store
        .list()
        .expect("it lists")
        .into_iter()
        .map(|image| image.reference)
        .collect();
    assert_eq!(
        names,
        ["docker.io/library/thing:1", "docker.io/other/thing:2"]
    );
    assert!(store.remove("thing:1").expect("another name remains"));
    let in_use = store
        .remove("other/thing:2")
        .expect_err("this store uses it");
    assert!(matches!(in_use, ImageError::InUse { .. }), "{in_use}");
}

#[tokio::test]
async fn what_is_exported_can_be_imported_elsewhere() {
    let (dir, here) = store(vec![]);
    let config = ImageConfig {
        entrypoint: vec!["/operator".to_owned()],
        env: vec!["A=b".to_owned()],
        user: "65534".to_owned(),
        ..ImageConfig::default()
    };
    here.register(LocalImage {
        reference: "mine:1".to_owned(),
        files: vec![
            LocalFile {
                path: "/operator".into(),
                content: Content::Bytes(b"binary".to_vec()),
                mode: 0o755,
            },
            LocalFile {
                path: "/bin/op".into(),
                content: Content::Link("../operator".into()),
                mode: 0,
            },
        ],
        config: config.clone(),
    })
    .expect("a valid name");
    let image = here.ensure("mine:1", &()).await.expect("it is registered");
    let (one, two) = (dir.path().join("1.tar"), dir.path().join("2.tar"));
    ImageStore::export(&image, &one).expect("it is written");
    ImageStore::export(&image, &two).expect("it is written again");
    assert_eq!(
        fs::read(&one).expect("there"),
        fs::read(&two).expect("there")
    );

    let (_elsewhere, there) = store(vec![]);
    there.import(&one, None).expect("it is an archive");
    let image = there.ensure("mine:1", &()).await.expect("it was imported");
    assert_eq!(image.config, config);
    assert_eq!(read(&image, "bin/op").as_deref(), Some("binary"));
    there
        .import(&one, Some("renamed:2"))
        .expect("it is an archive");
    there
        .ensure("renamed:2", &())
        .await
        .expect("it was imported");
}

#[test]
fn what_is_no_archive_is_said_to_be_none() {
    let (dir, store) = store(vec![]);
    let file = dir.path().join("file");
    fs::write(&file, tar_of(&[("hello", b"x")])).expect("it is writable");
    let error = store
        .import(&file, None)
        .expect_err("it has no image")
        .to_string();
    assert!(
        error.contains("neither index.json (OCI) nor manifest.json"),
        "{error}"
    );
    fs::write(&file, "text").expect("it is writable");
    store.import(&file, None).expect_err("it is no archive");
    store
        .import(&dir.path().join("absent"), None)
        .expect_err("it is not there");
}
