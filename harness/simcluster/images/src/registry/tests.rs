//! Pulls from a registry that is made here: as strict, as slow or as dishonest as a test wants it.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    fs,
    sync::{Arc, Mutex},
};

use base64::Engine as _;
use http_body_util::Full;
use hyper::{Request, Response, StatusCode, body::Bytes, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::*;
use crate::{
    Event, Image, ImageStore, PullOptions, StoreConfig,
    testing::{Blobs, Pack, gzip, tar_of},
};

/// What the registry has, and what it was asked.
#[derive(Debug, Default)]
struct Registry {
    blobs: Blobs,
    /// Digests by `repository:tag`.
    tags: Mutex<BTreeMap<String, String>>,
    /// Whom it gives tokens to, if not to everybody: `user:password`.
    only: Option<String>,
    asked: Mutex<Vec<String>>,
}

impl Registry {
    /// With `thing:1`, behind an index.
    fn with_thing() -> Self {
        let mut registry = Self::default();
        let config = json!({"Cmd": ["/run"], "User": "7"});
        let layers: [(Pack, _); 2] = [
            (gzip, tar_of(&[("run", b"x"), ("old", b"1")])),
            (gzip, tar_of(&[(".wh.old", b"")])),
        ];
        let image = registry.blobs.image(&config, &layers);
        let index = registry.blobs.index(&image);
        let digest = index["digest"].as_str().expect("it has one").to_owned();
        registry.tag("my/thing:1", digest);
        registry
    }

    /// Serves; answers its `host:port`.
    async fn serve(self) -> (String, Arc<Self>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound").to_string();
        let (registry, host) = (Arc::new(self), address.clone());
        let shared = Arc::clone(&registry);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (registry, host) = (Arc::clone(&shared), host.clone());
                let service = service_fn(move |request| {
                    let answer = registry.answer(&host, &request);
                    async move { Ok::<_, Infallible>(answer) }
                });
                let serving = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                tokio::spawn(serving);
            }
        });
        (address, registry)
    }

    fn answer(&self, host: &str, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let path = request.uri().path();
        self.asked
            .lock()
            .expect("nobody panicked")
            .push(path.to_owned());
        let header = |name: &str| {
            let value = request.headers().get(name)?;
            value.to_str().ok()
        };
        let authorization = header("authorization").unwrap_or_default();
        if path == "/token" {
            let encode = |user: &String| base64::engine::general_purpose::STANDARD.encode(user);
            let good = self
                .only
                .as_ref()
                .is_none_or(|only| authorization == format!("Basic {}", encode(only)));
            return if good {
                plain(StatusCode::OK, json!({"token": "the token"}).to_string())
            } else {
                refusal(
                    StatusCode::UNAUTHORIZED,
                    "UNAUTHORIZED",
                    "incorrect username or password",
                )
            };
        }
        // Where a redirection leads, tokens must not go.
        if let Some(digest) = path.strip_prefix("/storage/") {
            return match self.blobs.0.get(digest) {
                Some(bytes) if authorization.is_empty() => plain(StatusCode::OK, bytes.clone()),
                _ => plain(StatusCode::BAD_REQUEST, ""),
            };
        }
        if authorization != "Bearer the token" {
            let mut response = refusal(
                StatusCode::UNAUTHORIZED,
                "UNAUTHORIZED",
                "authentication required",
            );
            let challenge = format!("Bearer realm=\"http://{host}/token\",service=\"here\"");
            response
                .headers_mut()
                .insert("www-authenticate", challenge.parse().expect("a header"));
            return response;
        }
        if let Some((_, digest)) = path.split_once("/blobs/") {
            // Another name for this machine is another host, as far as tokens go.
            let port = host.rsplit_once(':').expect("a port").1;
            let mut response = plain(StatusCode::TEMPORARY_REDIRECT, "");
            let location = format!("http://localhost:{port}/storage/{digest}");
            response
                .headers_mut()
                .insert("location", location.parse().expect("a header"));
            return response;
        }
        let Some((repository, asked)) = path
            .strip_prefix("/v2/")
            .and_then(|rest| rest.split_once("/manifests/"))
        else {
            return plain(StatusCode::OK, "{}");
        };
        let digest = self.tagged(&format!("{repository}:{asked}"));
        let digest = digest.unwrap_or_else(|| asked.to_owned());
        match self.blobs.0.get(&digest) {
            Some(bytes) => {
                let mut response = plain(StatusCode::OK, bytes.clone());
                let value = digest.parse().expect("a header");
                response
                    .headers_mut()
                    .insert("docker-content-digest", value);
                response
            }
            None => refusal(
                StatusCode::NOT_FOUND,
                "MANIFEST_UNKNOWN",
                "manifest unknown",
            ),
        }
    }

    fn tag(&self, name: &str, digest: String) {
        let mut tags = self.tags.lock().expect("nobody panicked");
        tags.insert(name.to_owned(), digest);
    }

    fn tagged(&self, name: &str) -> Option<String> {
        self.tags
            .lock()
            .expect("nobody panicked")
            .get(name)
            .cloned()
    }

    fn count(&self, part: &str) -> usize {
        let asked = self.asked.lock().expect("nobody panicked");
        asked.iter().filter(|path| path.contains(part)).count()
    }
}

fn plain(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
}

fn refusal(status: StatusCode, code: &str, message: &str) -> Response<Full<Bytes>> {
    let errors: Value = json!({"errors": [{"code": code, "message": message}]});
    plain(status, errors.to_string())
}

/// A store that has only registries.
fn store() -> (tempfile::TempDir, ImageStore) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store = ImageStore::open(StoreConfig {
        cache_dir: Some(dir.path().join("cache")),
        registries: true,
        engine: false,
        packages: false,
        ..StoreConfig::default()
    });
    (dir, store.expect("a new cache opens"))
}

fn read(image: &Image, path: &str) -> Option<String> {
    let layer = image.layers.first().expect("it has one");
    fs::read_to_string(layer.join(path)).ok()
}

#[tokio::test]
async fn an_image_is_pulled_for_this_platform_with_a_token_and_through_redirections() {
    let (host, registry) = Registry::with_thing().serve().await;
    let (_dir, store) = store();
    let bytes = Mutex::new(Vec::new());
    let progress = |_: &str, event: &Event| {
        if let Event::Bytes { done, total } = event {
            bytes.lock().expect("nobody panicked").push((*done, *total));
        }
    };
    let name = format!("{host}/my/thing:1");
    let image = store.ensure(&name, &progress).await.expect("it is there");
    assert_eq!(read(&image, "run").as_deref(), Some("x"));
    assert_eq!(read(&image, "old"), None, "a later layer deleted it");
    assert_eq!(image.config.cmd, ["/run"]);
    assert_eq!(image.config.user, "7");
    assert_eq!((image.resolved, image.substitution), (name.clone(), None));
    let bytes = bytes.into_inner().expect("nobody panicked");
    let last = bytes.last().expect("progress was told");
    assert_eq!(Some(last.0), last.1, "all bytes came");

    let asked = registry.asked.lock().expect("nobody panicked").len();
    store.ensure(&name, &()).await.expect("it is in the cache");
    let again = registry.asked.lock().expect("nobody panicked").len();
    assert_eq!(asked, again, "what is in the cache is not asked for");

    // By digest it is the same image, so only its documents are fetched.
    let digest = registry.tagged("my/thing:1").expect("it is there");
    let layers = registry.count("/storage/");
    let by_digest = store
        .ensure(&format!("{host}/my/thing@{digest}"), &())
        .await
        .expect("it is there");
    assert_eq!(by_digest.layers, image.layers);
    assert_eq!(registry.count("/storage/"), layers + 1, "the configuration");
}

#[tokio::test]
async fn a_registry_that_asks_who_is_there_gets_the_users_credentials() {
    let mut registry = Registry::with_thing();
    registry.only = Some("ann:secret".to_owned());
    let (host, _registry) = registry.serve().await;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let cache = Cache::open(dir.path().join("cache")).expect("the cache opens");
    let file = dir.path().join("config.json");
    let source = Registries {
        cache: cache.clone(),
        insecure: Vec::new(),
        credentials: vec![file.clone()],
    };
    let reference: Reference = format!("{host}/my/thing:1").parse().expect("valid");
    let pull = move || source.assemble(&reference, &Workspace::new(&cache), &crate::source::Silent);
    let pull = Arc::new(pull);
    let again = Arc::clone(&pull);
    let error = tokio::task::spawn_blocking(move || again())
        .await
        .expect("no panic")
        .expect_err("nobody may not")
        .to_string();
    assert!(error.contains("incorrect username or password"), "{error}");
    assert!(error.contains("without credentials"), "{error}");

    let auth = base64::engine::general_purpose::STANDARD.encode("ann:secret");
    let login = json!({"auths": {&host: {"auth": auth}}});
    fs::write(&file, login.to_string()).expect("it is writable");
    tokio::task::spawn_blocking(move || pull())
        .await
        .expect("no panic")
        .expect("ann may");
}

#[tokio::test]
async fn a_tag_is_looked_up_again_if_somebody_wants_that_and_means_another_image_then() {
    let mut registry = Registry::with_thing();
    let layers: [(Pack, _); 1] = [(gzip, tar_of(&[("run", b"newer")]))];
    let newer = registry.blobs.image(&json!({}), &layers);
    let (host, registry) = registry.serve().await;
    let (_dir, store) = store();
    let name = format!("{host}/my/thing:1");
    let again = || PullOptions {
        look_again: true,
        ..PullOptions::default()
    };
    let first = store
        .ensure_with(&name, again(), &())
        .await
        .expect("it is there");
    let downloads = registry.count("/storage/");
    store
        .ensure_with(&name, again(), &())
        .await
        .expect("it is there");
    assert_eq!(
        registry.count("/storage/"),
        downloads,
        "it is the same image"
    );

    registry.tag(
        "my/thing:1",
        newer["digest"].as_str().expect("it has one").to_owned(),
    );
    let cached = store.ensure(&name, &()).await.expect("it is in the cache");
    assert_eq!(cached.layers, first.layers, "nobody has looked");
    let second = store
        .ensure_with(&name, again(), &())
        .await
        .expect("it is there");
    assert_eq!(read(&second, "run").as_deref(), Some("newer"));
    assert_eq!(
        read(&first, "run").as_deref(),
        Some("x"),
        "who runs it goes on"
    );
    let cached = store.ensure(&name, &()).await.expect("it is in the cache");
    assert_eq!(
        cached.layers, second.layers,
        "that is what the name means from now on"
    );

    registry.tag("my/thing:1", format!("sha256:{:064}", 0));
    let refused = store.ensure_with(&name, again(), &()).await;
    let refused = refused
        .expect_err("the registry has it no more")
        .to_string();
    assert!(refused.contains("manifest unknown"), "{refused}");
}

#[tokio::test]
async fn a_registry_that_cannot_be_reached_any_more_leaves_what_is_in_the_cache() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let host = listener.local_addr().expect("it is bound").to_string();
    drop(listener);
    let (_dir, store) = store();
    let name = format!("{host}/my/thing:1");
    let key = Hasher::default().part("registry 1").part(&name).hex();
    let draft = Draft {
        resolved: None,
        version: None,
        layers: Vec::new(),
        config: crate::ImageConfig::default(),
    };
    let cache = Cache::open(store.cache_dir().to_owned()).expect("the cache opens");
    cache.keep(&key, NAME, draft).expect("it is writable");
    let options = PullOptions {
        look_again: true,
        ..PullOptions::default()
    };
    let image = store.ensure_with(&name, options, &()).await;
    assert_eq!(image.expect("it is in the cache").reference, name);
}

#[tokio::test]
async fn logins_that_are_brought_along_count_before_this_users() {
    let mut registry = Registry::with_thing();
    registry.only = Some("ann:secret".to_owned());
    let (host, _registry) = registry.serve().await;
    let (_dir, store) = store();
    let name = format!("{host}/my/thing:1");
    let login = |server: &str, user: &str| {
        let entry = json!({"username": user, "password": "secret"});
        let config = json!({"auths": {server: entry}}).to_string();
        Logins::from_config(config.as_bytes()).expect("it is one")
    };
    let with = |logins: Vec<Logins>| PullOptions {
        look_again: false,
        logins,
    };
    for refused in [
        with(Vec::new()),
        with(vec![login("elsewhere.example", "ann")]),
        with(vec![login(&host, "bob")]),
    ] {
        let error = store.ensure_with(&name, refused, &()).await;
        let error = error.expect_err("only ann may").to_string();
        assert!(error.contains("incorrect username or password"), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
    let both = with(vec![login(&host, "bob"), login(&host, "ann")]);
    store
        .ensure_with(&name, both, &())
        .await
        .expect("one of them is ann");
}

#[tokio::test]
async fn a_blob_that_is_not_what_its_digest_says_is_refused() {
    let mut registry = Registry::with_thing();
    let layer = gzip(&tar_of(&[(".wh.old", b"")]));
    let digest = format!("sha256:{}", crate::testing::sha256(&layer));
    let evil = gzip(&tar_of(&[("evil", b"!")]));
    registry.blobs.0.insert(digest.clone(), evil);
    let (host, _registry) = registry.serve().await;
    let (_dir, store) = store();
    let error = store
        .ensure(&format!("{host}/my/thing:1"), &())
        .await
        .expect_err("it lies")
        .to_string();
    assert!(error.contains(&digest), "{error}");
    assert_eq!(store.list().expect("it lists"), []);
}

#[tokio::test]
async fn what_a_registry_does_not_have_is_said_in_its_words() {
    let (host, _registry) = Registry::with_thing().serve().await;
    let (_dir, store) = store();
    let error = store
        .ensure(&format!("{host}/my/thing:2"), &())
        .await
        .expect_err("there is no such tag")
        .to_string();
    assert!(error.contains("manifest unknown"), "{error}");
}

#[tokio::test]
async fn an_image_for_other_machines_only_is_refused() {
    let mut registry = Registry::default();
    let image = registry.blobs.image(&json!({}), &[]);
    let mut other = image.clone();
    other["platform"] = json!({"os": "linux", "architecture": "s390x"});
    let index = registry
        .blobs
        .put_json(&json!({"schemaVersion": 2, "manifests": [other]}));
    let digest = index["digest"].as_str().expect("it has one").to_owned();
    registry.tag("my/thing:1", digest);
    let (host, _registry) = registry.serve().await;
    let (_dir, store) = store();
    let error = store
        .ensure(&format!("{host}/my/thing:1"), &())
        .await
        .expect_err("it is for others")
        .to_string();
    assert!(error.contains("only for linux/s390x"), "{error}");
}

#[tokio::test]
async fn a_registry_that_cannot_be_reached_is_not_asked_by_every_pod() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let host = listener.local_addr().expect("it is bound").to_string();
    drop(listener);
    let (_dir, store) = store();
    let name = format!("{host}/my/thing:1");
    let refused = async || {
        let refused = store.ensure(&name, &()).await;
        refused.expect_err("nobody listens").to_string()
    };
    let first = refused().await;
    assert!(
        first.contains(&format!("{host} cannot be reached")),
        "{first}"
    );
    assert!(first.contains("refused"), "the system's reason: {first}");
    let second = refused().await;
    assert!(second.contains("a moment ago"), "{second}");
}
