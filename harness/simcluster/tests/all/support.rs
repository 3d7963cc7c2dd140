//! A cluster with one image, `app:1`, that holds this very executable and what it needs to start.

use std::{
    fmt::Debug,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, OnceLock},
    time::Duration,
};

use k8s_openapi::{NamespaceResourceScope, api::core::v1::Pod};
use kube::{
    Api, Resource,
    api::PostParams,
    runtime::wait::{Condition, await_condition},
};
use serde_json::{Value, json};
use simcluster::{Cluster, Content, ImageConfig, ImageStore, LocalFile, LocalImage, StoreConfig};

const PATIENCE: Duration = Duration::from_secs(120);

/// The images of these tests, in a cache of their own.
pub(crate) fn images() -> Arc<ImageStore> {
    static IMAGES: OnceLock<Arc<ImageStore>> = OnceLock::new();
    let made = IMAGES.get_or_init(|| {
        let store = ImageStore::open(StoreConfig {
            cache_dir: Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("cluster-images")),
            packages: false,
            ..StoreConfig::default()
        })
        .unwrap();
        store.register(image()).unwrap();
        Arc::new(store)
    });
    Arc::clone(made)
}

fn image() -> LocalImage {
    let me = std::env::current_exe().unwrap();
    let file = |path: PathBuf, from: PathBuf| LocalFile {
        path,
        content: Content::File(from),
        mode: 0o755,
    };
    let mut files = vec![file("/bin/programs".into(), me.clone())];
    for program in ["sh", "sleep"] {
        let from = Path::new("/bin").join(program);
        files.push(file(from.clone(), from));
    }
    for program in [me, "/bin/sh".into(), "/bin/sleep".into()] {
        for library in libraries(&program) {
            if !files.iter().any(|known| known.path == library) {
                files.push(file(library.clone(), library));
            }
        }
    }
    LocalImage {
        reference: "app:1".into(),
        files,
        config: ImageConfig {
            env: vec!["PATH=/bin".into()],
            ..ImageConfig::default()
        },
    }
}

pub(crate) fn libraries(program: &Path) -> Vec<PathBuf> {
    let output = Command::new("ldd").arg(program).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let words = text.split_whitespace().filter(|word| word.starts_with('/'));
    words.map(PathBuf::from).collect()
}

pub(crate) async fn cluster(nodes: u8) -> Cluster {
    let builder = Cluster::builder().images(images()).nodes(nodes);
    builder.start().await.unwrap()
}

/// A pod on the node of that name, with a container that runs one of [`super::programs`].
pub(crate) fn pod(name: &str, node: &str, program: &str, env: &[(&str, &str)]) -> Value {
    let env: Vec<Value> = env
        .iter()
        .map(|(name, value)| json!({"name": name, "value": value}))
        .collect();
    let command = [
        "/bin/programs",
        "--ignored",
        "--exact",
        "--nocapture",
        &format!("programs::{program}"),
    ];
    json!({
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "nodeSelector": {"kubernetes.io/hostname": node},
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "c", "image": "app:1", "env": env, "command": command}],
        },
    })
}

pub(crate) async fn create<K>(api: &Api<K>, object: Value) -> K
where
    K: Resource<DynamicType = ()> + Clone + Debug + serde::Serialize + serde::de::DeserializeOwned,
{
    let object = serde_json::from_value(object).unwrap();
    api.create(&PostParams::default(), &object).await.unwrap()
}

/// Waits until the object is as it shall be; says what was last seen when it never is.
pub(crate) async fn until<K>(api: Api<K>, name: &str, condition: impl Condition<K>) -> Option<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + Send + serde::de::DeserializeOwned + 'static,
{
    let waited = tokio::time::timeout(PATIENCE, await_condition(api.clone(), name, condition));
    if let Ok(found) = waited.await {
        return found.unwrap();
    }
    panic!(
        "{name} did not become what it shall be: {:#?}",
        api.get_opt(name).await
    );
}

/// The pod's phase is this one.
pub(crate) fn phase(wanted: &'static str) -> impl Condition<Pod> {
    move |pod: Option<&Pod>| {
        let phase = pod.and_then(|pod| pod.status.as_ref()?.phase.as_deref());
        phase == Some(wanted)
    }
}

/// An API of a namespace.
pub(crate) fn within<K>(cluster: &Cluster, namespace: &str) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    Api::namespaced(cluster.client(), namespace)
}
