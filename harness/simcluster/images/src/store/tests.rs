//! One cache, many users.

use std::{fs, path::PathBuf, sync::Mutex};

use super::*;
use crate::{Content, LocalFile};

fn open(dir: &Path) -> ImageStore {
    ImageStore::open(StoreConfig {
        cache_dir: Some(dir.to_owned()),
        registries: false,
        engine: false,
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
         of this name; image archives on disk: none was given"
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
    let other = open(dir.path());
    for (name, content) in [("a:1", "aaaa"), ("b:1", "bbbb"), ("c:1", "cccc")] {
        store.register(image(name, content)).expect("a valid name");
        other.register(image(name, content)).expect("a valid name");
        store.ensure(name, &()).await.expect("it is registered");
    }
    let used = other.ensure("a:1", &()).await.expect("it is registered");
    drop(store);
    assert_eq!(
        other.prune(8).expect("it prunes"),
        ["docker.io/library/b:1"]
    );
    assert_eq!(
        other.prune(0).expect("it prunes"),
        ["docker.io/library/c:1"]
    );
    assert!(used.layers[0].join("file").exists(), "what is used stays");
    let left: Vec<_> = other
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

/// A source that has one image and makes it when it is told to.
#[derive(Debug)]
struct Gated {
    open: Mutex<std::sync::mpsc::Receiver<()>>,
}

impl Source for Gated {
    fn name(&self) -> &'static str {
        "a gate"
    }

    fn locate(&self, _reference: &Reference) -> Result<Located, String> {
        Ok(Located {
            key: "9a7e".to_owned(),
        })
    }

    fn assemble(
        &self,
        _reference: &Reference,
        workspace: &Workspace,
        reporter: &dyn Reporter,
    ) -> Result<Draft, ImageError> {
        reporter.step("making it")?;
        let open = self.open.lock().expect("nobody panicked");
        open.recv().expect("somebody opens the gate");
        let layer = workspace.layer("9a7e", |_| Ok(LayerFacts::default()))?;
        Ok(Draft {
            resolved: None,
            version: None,
            layers: vec![layer],
            config: crate::ImageConfig::default(),
        })
    }
}

/// A store with a gated source, and what opens the gate once.
fn gated(dir: &Path) -> (ImageStore, std::sync::mpsc::Sender<()>) {
    let (opener, open) = std::sync::mpsc::channel();
    let open = Mutex::new(open);
    let store = ImageStore {
        inner: Arc::new(Inner {
            cache: Cache::open(dir.to_owned()).expect("the cache opens"),
            size_limit: None,
            registered: Registered::default(),
            archives: Archives::default(),
            sources: vec![Box::new(Gated { open })],
            leases: Mutex::default(),
        }),
    };
    (store, opener)
}

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// Sends every step on.
fn steps() -> (
    impl Progress + use<>,
    tokio::sync::mpsc::UnboundedReceiver<String>,
) {
    let (sender, receiver) = unbounded_channel();
    let report = move |_: &str, event: &Event| {
        if let Event::Step(step) = event {
            let _ = sender.send(step.clone());
        }
    };
    (report, receiver)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_pods_that_pull_the_same_image_both_get_it() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (store, opener) = gated(dir.path());
    let mut pulls = Vec::new();
    for expected in ["making it", "waiting for another pull of the same image"] {
        let (report, mut steps) = steps();
        let pulling = store.clone();
        pulls.push(tokio::spawn(async move {
            pulling.ensure("slow:1", &report).await.map(|_| ())
        }));
        assert_eq!(steps.recv().await.as_deref(), Some(expected));
    }
    opener.send(()).expect("the gate is there");
    // The store lives on, and with it the first pod's hold on the image.
    for pull in pulls {
        let pulled = tokio::time::timeout(PATIENCE, pull).await;
        pulled
            .expect("it does not hang")
            .expect("no panic")
            .expect("it is made");
    }
    drop(store);
}

const OTHER_PROCESS: &str = "SIMCLUSTER_IMAGES_TEST_CACHE";

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_waited_for_anothers_pull_gets_the_image_while_that_uses_it() {
    use std::io::BufRead as _;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (store, opener) = gated(dir.path());
    let (report, mut steps) = steps();
    let pulling = store.clone();
    let ours = tokio::spawn(async move { pulling.ensure("slow:1", &report).await.map(|_| ()) });
    assert_eq!(steps.recv().await.as_deref(), Some("making it"));
    let mut other = std::process::Command::new(std::env::current_exe().expect("/proc is there"))
        .args(["--ignored", "--nocapture", "--exact"])
        .arg("store::tests::in_the_other_process")
        .env(OTHER_PROCESS, dir.path())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("this program runs");
    let output = other.stdout.take().expect("it is piped");
    let mut lines = std::io::BufReader::new(output)
        .lines()
        .map_while(Result::ok);
    assert!(
        lines.any(|line| line.contains("step: waiting for another pull of the same image")),
        "the other process waits for this one"
    );
    opener.send(()).expect("the gate is there");
    ours.await.expect("no panic").expect("it is made");
    let rest: Vec<_> = lines.collect();
    let status = other.wait().expect("it was started");
    assert!(status.success(), "{rest:?}");
    drop(store);
}

#[tokio::test]
#[ignore = "a part of another test, in a process of its own"]
async fn in_the_other_process() {
    let Some(dir) = std::env::var_os(OTHER_PROCESS) else {
        return;
    };
    let (store, opener) = gated(Path::new(&dir));
    // It would make the image if it were let: nobody opens this gate.
    drop(opener);
    let report = |_: &str, event: &Event| {
        if let Event::Step(step) = event {
            println!("step: {step}");
        }
    };
    let pulled = tokio::time::timeout(PATIENCE, store.ensure("slow:1", &report)).await;
    pulled.expect("it does not hang").expect("it was made");
}

#[tokio::test]
async fn an_image_larger_than_the_cache_may_be_can_still_be_used() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store = ImageStore::open(StoreConfig {
        cache_dir: Some(dir.path().to_owned()),
        registries: false,
        engine: false,
        packages: false,
        size_limit: Some(1),
        ..StoreConfig::default()
    })
    .expect("the cache opens");
    store.register(image("a:1", "xyz")).expect("a valid name");
    let image = store.ensure("a:1", &()).await.expect("it is registered");
    assert!(image.layers[0].join("file").exists());
}
