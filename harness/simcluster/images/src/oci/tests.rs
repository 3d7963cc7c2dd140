//! Archives as tools write them, and archives that lie.

use std::fs;

use serde_json::json;

use super::*;
use crate::{
    Content, Image, ImageConfig, ImageStore, LocalFile, LocalImage, StoreConfig,
    testing::{Blobs, Pack, gzip, plain, sha256, tar_of, zstd, zstd_frames},
};

/// A store of its own that has no packages.
fn store(archives: Vec<PathBuf>) -> (tempfile::TempDir, ImageStore) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store = ImageStore::open(StoreConfig {
        cache_dir: Some(dir.path().join("cache")),
        archives,
        registries: false,
        engine: false,
        packages: false,
        size_limit: None,
        ..StoreConfig::default()
    });
    (dir, store.expect("a new cache opens"))
}

/// A layout with two layers, of which the second deletes a file of the first; for this platform and another.
fn layout(dir: &Path, name: &str) {
    let mut blobs = Blobs::default();
    let image = blobs.image(
        &json!({
            "Entrypoint": ["/bin/run"], "Env": ["A=b"], "User": "7:8", "WorkingDir": "/w",
            "StopSignal": "SIGINT",
        }),
        &[
            (
                gzip,
                tar_of(&[("etc/old", b"1"), ("bin/run", b"#!/bin/sh\n")]),
            ),
            (plain, tar_of(&[("etc/.wh.old", b""), ("etc/new", b"2")])),
        ],
    );
    let index = blobs.index(&image);
    blobs.layout(dir, &index, name);
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
async fn an_archive_may_be_offered_to_an_open_store() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    layout(dir.path(), "docker.io/library/thing:1");
    let (_cache, store) = store(vec![]);
    store.ensure("thing:1", &()).await.expect_err("not yet");
    let offered = store.offer_archive(dir.path()).expect("it is a layout");
    assert_eq!(offered[0].references, ["docker.io/library/thing:1"]);
    store.ensure("thing:1", &()).await.expect("now it is there");
    let error = store
        .offer_archive(&dir.path().join("absent"))
        .expect_err("it is not there");
    assert!(error.to_string().contains("absent"), "{error}");
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
    let layer = tar_of(&[("run", b"x")]);
    let config = json!({
        "os": "linux", "config": {"Cmd": ["/run"]},
        "rootfs": {"diff_ids": [format!("sha256:{}", sha256(&layer))]},
    });
    let manifest =
        br#"[{"Config":"c.json","RepoTags":["thing:1","other/thing:2"],"Layers":["a/layer.tar"]}]"#;
    let archive = tar_of(&[
        ("a/layer.tar", &layer),
        ("c.json", config.to_string().as_bytes()),
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

#[tokio::test]
async fn layers_may_be_compressed_in_any_usual_way() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut blobs = Blobs::default();
    let layers: [(Pack, _); 4] = [
        (plain, tar_of(&[("a", b"plain")])),
        (gzip, tar_of(&[("b", b"gzip")])),
        (zstd, tar_of(&[("c", b"zstd"), (".wh.a", b"")])),
        (zstd_frames, tar_of(&[("d", b"frames")])),
    ];
    let image = blobs.image(&json!({}), &layers);
    blobs.layout(dir.path(), &image, "docker.io/library/packed:1");
    let (_cache, store) = store(vec![dir.path().to_owned()]);
    let image = store.ensure("packed:1", &()).await.expect("it is there");
    assert_eq!(read(&image, "a"), None);
    assert_eq!(read(&image, "b").as_deref(), Some("gzip"));
    assert_eq!(read(&image, "c").as_deref(), Some("zstd"));
    assert_eq!(read(&image, "d").as_deref(), Some("frames"));
}

#[tokio::test]
async fn an_image_whose_configuration_is_of_other_layers_is_refused() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut blobs = Blobs::default();
    let honest = blobs.image(&json!({}), &[(plain, tar_of(&[("a", b"1")]))]);
    let manifest = &blobs.0[honest["digest"].as_str().expect("it has one")];
    let mut manifest: serde_json::Value = serde_json::from_slice(manifest).expect("JSON");
    // The cache knows images by the digest of their configuration.
    manifest["layers"] = json!([blobs.put(&tar_of(&[("a", b"evil")]))]);
    let image = blobs.put_json(&manifest);
    blobs.layout(dir.path(), &image, "docker.io/library/evil:1");
    let (_cache, store) = store(vec![dir.path().to_owned()]);
    let error = store
        .ensure("evil:1", &())
        .await
        .expect_err("it lies")
        .to_string();
    assert!(
        error.contains("not what the image's configuration says"),
        "{error}"
    );

    manifest["layers"] = json!([]);
    let image = blobs.put_json(&manifest);
    blobs.layout(dir.path(), &image, "docker.io/library/evil:1");
    let error = store
        .ensure("evil:1", &())
        .await
        .expect_err("it lies")
        .to_string();
    assert!(error.contains("0 layers"), "{error}");
}
