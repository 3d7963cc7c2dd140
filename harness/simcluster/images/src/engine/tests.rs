//! What is taken from an engine, and what is said when there is none.

use std::process::Command;

use super::*;
use crate::{
    ImageStore, StoreConfig,
    testing::{gzip, tar_of},
};

fn reference(text: &str) -> Reference {
    text.parse().expect(text)
}

#[test]
fn no_engine_is_said_to_be_none() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let engine = Engine::at(&dir.path().join("docker.sock"));
    let why = engine
        .locate(&reference("thing:1"))
        .expect_err("there is none");
    assert!(why.contains("docker.sock cannot be connected to"), "{why}");
}

#[test]
fn an_engine_elsewhere_is_not_asked() {
    let engine =
        Engine::named_by(|name| (name == "DOCKER_HOST").then(|| "tcp://far:2375".to_owned()));
    let why = engine
        .locate(&reference("thing:1"))
        .expect_err("it is elsewhere");
    assert!(why.contains("DOCKER_HOST is tcp://far:2375"), "{why}");
}

#[test]
fn images_are_named_as_the_engine_names_them() {
    assert_eq!(familiar(&reference("mysql")), "mysql:latest");
    assert_eq!(familiar(&reference("docker.io/a/b:1")), "a/b:1");
    assert_eq!(familiar(&reference("host:5000/a:1")), "host:5000/a:1");
}

/// Runs where an engine answers; elsewhere the other tests must do.
#[tokio::test]
async fn an_image_built_by_docker_is_taken_from_its_engine() {
    let docker = |arguments: &[&str], input: &[u8]| -> Option<String> {
        use std::io::Write as _;
        let mut child = Command::new("docker")
            .args(arguments)
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .ok()?;
        child.stdin.take()?.write_all(input).ok()?;
        let output = child.wait_with_output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        output.status.success().then_some(text)
    };
    if docker(&["version"], b"").is_none() {
        return;
    }
    let unique = std::process::id();
    let name = format!("simcluster-images-test:{unique}");
    let context = tar_of(&[
        ("Dockerfile", b"FROM scratch\nCOPY one /etc/\nCOPY two /etc/\nUSER 7:8\nWORKDIR /w\nENTRYPOINT [\"/run\", \"it\"]\n"),
        ("one", b"1"),
        ("two", b"2"),
    ]);
    docker(&["build", "--quiet", "--tag", &name, "-"], &gzip(&context))
        .expect("an engine that answers builds");
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store = ImageStore::open(StoreConfig {
        cache_dir: Some(dir.path().to_owned()),
        registries: false,
        engine: true,
        packages: false,
        ..StoreConfig::default()
    })
    .expect("the cache opens");
    let image = store.ensure(&name, &()).await;
    docker(&["rmi", &name], b"").expect("it is there");
    let image = image.expect("the engine has it");
    let read = |path: &str| std::fs::read_to_string(image.layers[0].join(path)).ok();
    assert_eq!(read("etc/one").as_deref(), Some("1"));
    assert_eq!(read("etc/two").as_deref(), Some("2"));
    assert_eq!(image.config.entrypoint, ["/run", "it"]);
    assert_eq!(
        (&*image.config.user, &*image.config.working_dir),
        ("7:8", "/w")
    );
    assert_eq!(store.list().expect("it lists")[0].source, NAME);

    let error = store
        .ensure("simcluster-images-test:absent", &())
        .await
        .expect_err("it has no such image")
        .to_string();
    assert!(
        error.contains("Docker engine: it has no such image"),
        "{error}"
    );
}
