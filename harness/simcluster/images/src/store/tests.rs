//! One cache, many users.

use std::{fs, path::PathBuf, sync::Mutex};

use super::*;
use crate::{Content, LocalFile};

fn open(dir: &Path) -> ImageStore {
    ImageStore::open(StoreConfig {
        cache_dir: Some(dir.to_owned()),
        packages: false,
        ..StoreConfig::default()
    })
    .expect("the cache opens")
}

fn image(reference: &str, content: &str) -> LocalImage {
    LocalImage {
        reference: reference.to_owned(),
        files: vec![LocalFile {
            path: PathBuf::from("/file"),
            content: Content::Bytes(content.as_bytes().to_vec()),
            mode: 0o644,
        }],
        ..LocalImage::default()
    }
}

fn fresh() -> (tempfile::TempDir, ImageStore) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store = open(dir.path());
    (dir, store)
}

#[tokio::test]
async fn what_nobody_has_says_who_was_asked_and_why_not() {
    let (_dir, store) = fresh();
    let error = store
        .ensure("absent:1", &())
        .await
        .expect_err("nobody has it");
    assert_eq!(
        error.to_string(),
        "image \"absent:1\" not found: images registered by the program: none of this name; imported archives: none \
         of this name"
    );
    let error = store
        .ensure("Not A Reference", &())
        .await
        .expect_err("it is none");
    assert_eq!(
        error.to_string(),
        "couldn't parse image name \"Not A Reference\""
    );
}

#[tokio::test]
async fn an_image_is_made_once_and_then_found() {
    let (dir, store) = fresh();
    store.register(image("a:1", "x")).expect("a valid name");
    let steps = Mutex::new(0);
    let count = |_: &str, event: &Event| {
        if matches!(event, Event::Step(_)) {
            *steps.lock().expect("nobody panicked") += 1;
        }
    };
    let first = store.ensure("a:1", &count).await.expect("it is registered");
    let again = store
        .ensure("docker.io/library/a:1", &count)
        .await
        .expect("it is registered");
    assert_eq!(
        (first.layers.clone(), first.digest.clone()),
        (again.layers, again.digest)
    );
    assert_eq!(*steps.lock().expect("nobody panicked"), 1);

    let other = open(dir.path());
    other.register(image("a:1", "x")).expect("a valid name");
    let elsewhere = other.ensure("a:1", &count).await.expect("it is registered");
    assert_eq!(first.layers, elsewhere.layers);
    assert_eq!(
        *steps.lock().expect("nobody panicked"),
        1,
        "another store of the same cache made it"
    );
}

#[tokio::test]
async fn a_newer_registration_gives_a_new_image() {
    let (_dir, store) = fresh();
    store.register(image("a:1", "x")).expect("a valid name");
    let old = store.ensure("a:1", &()).await.expect("it is registered");
    store.register(image("a:1", "y")).expect("a valid name");
    let new = store.ensure("a:1", &()).await.expect("it is registered");
    assert_ne!(old.digest, new.digest);
    assert_eq!(
        fs::read_to_string(old.layers[0].join("file")).expect("still there"),
        "x"
    );
    assert_eq!(
        fs::read_to_string(new.layers[0].join("file")).expect("there"),
        "y"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_make_it_once() {
    let (dir, _) = fresh();
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let dir = dir.path().to_owned();
            tokio::spawn(async move {
                let store = open(&dir);
                store.register(image("a:1", "x")).expect("a valid name");
                store
                    .ensure("a:1", &())
                    .await
                    .expect("it is registered")
                    .layers
            })
        })
        .collect();
    let mut layers = Vec::new();
    for task in tasks {
        layers.push(task.await.expect("no panic"));
    }
    layers.dedup();
    assert_eq!(layers.len(), 1);
}

#[tokio::test]
async fn pruning_takes_what_is_unused_and_oldest_first() {
    let (dir, store) = fresh();
    let user = open(dir.path());
    for (name, content) in [("a:1", "aaaa"), ("b:1", "bbbb"), ("c:1", "cccc")] {
        store.register(image(name, content)).expect("a valid name");
        user.register(image(name, content)).expect("a valid name");
        store.ensure(name, &()).await.expect("it is registered");
    }
    let used = user.ensure("a:1", &()).await.expect("it is registered");
    drop(store);
    assert_eq!(user.prune(8).expect("it prunes"), ["docker.io/library/b:1"]);
    assert_eq!(user.prune(0).expect("it prunes"), ["docker.io/library/c:1"]);
    assert!(used.layers[0].join("file").exists(), "what is used stays");
    let left: Vec<_> = user
        .list()
        .expect("it lists")
        .into_iter()
        .map(|image| image.reference)
        .collect();
    assert_eq!(left, ["docker.io/library/a:1"]);
}

#[tokio::test]
async fn a_removed_image_is_gone_and_can_be_made_again() {
    let (dir, store) = fresh();
    store.register(image("a:1", "x")).expect("a valid name");
    let layers = store
        .ensure("a:1", &())
        .await
        .expect("it is registered")
        .layers;
    drop(store);
    let store = open(dir.path());
    assert!(store.remove("a:1").expect("nobody uses it"));
    assert!(!store.remove("a:1").expect("nobody uses it"));
    assert!(!layers[0].exists());
    store.register(image("a:1", "x")).expect("a valid name");
    assert_eq!(
        store
            .ensure("a:1", &())
            .await
            .expect("it is registered")
            .layers,
        layers
    );
}

#[test]
fn what_a_killed_process_left_is_removed() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let left = dir.path().join("scratch/left");
    fs::create_dir_all(left.join("half")).expect("it is writable");
    let first = open(dir.path());
    assert!(!left.exists());
    let alive = Workspace::new(&first.inner.cache)
        .scratch()
        .expect("it is writable");
    open(dir.path());
    assert!(alive.path().exists(), "its maker lives");
}

#[tokio::test]
async fn a_layer_removed_by_hand_is_made_again() {
    let (_dir, store) = fresh();
    store.register(image("a:1", "x")).expect("a valid name");
    let layers = store
        .ensure("a:1", &())
        .await
        .expect("it is registered")
        .layers;
    fs::remove_dir_all(layers[0].parent().expect("it has one")).expect("it is there");
    store.ensure("a:1", &()).await.expect("it is registered");
    assert!(layers[0].join("file").exists());
}
