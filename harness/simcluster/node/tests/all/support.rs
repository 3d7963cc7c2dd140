//! A cluster of one API server and one node, and words for tests to speak with it.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex, OnceLock},
    time::{Duration, SystemTime},
};

use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, future::BoxFuture};
use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{Event, Pod, ServiceAccount},
};
use kube::{
    Api, Client, Resource,
    api::{DeleteParams, ListParams, PostParams},
    runtime::watcher,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use simcluster_apiserver::{ApiServer, Config, Identity};
use simcluster_images::{Image, ImageConfig, PullOptions};
use simcluster_kubelet_api::{Kubelet, LogOptions, PodRef};
use simcluster_node::{ImageFailure, Images, Node, NodeConfig};
use tokio::net::TcpStream;

pub(crate) const NODE: &str = "node-0";
pub(crate) const NAMESPACE: &str = "default";
/// Nothing here takes longer unless it is broken.
const LIMIT: Duration = Duration::from_secs(120);

/// An API server with one node. Everything ends with it.
pub(crate) struct Cluster {
    pub(crate) client: Client,
    pub(crate) kubelet: Arc<dyn Kubelet>,
    pub(crate) node: Node,
    pub(crate) server: ApiServer,
    pub(crate) api_connections: Arc<Mutex<Vec<TcpStream>>>,
    pub(crate) parent: PathBuf,
    _directory: Option<tempfile::TempDir>,
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_owned();
        Self {
            _directory: Some(directory),
            ..Self::start_in(&path).await
        }
    }

    /// As [`Cluster::start`], with the node's directory under one that stays.
    pub(crate) async fn start_in(parent: &Path) -> Self {
        let server = ApiServer::start(Config::default());
        let client = server.client(&Identity::admin());
        // What the controllers would put into a namespace before a pod can be.
        let account = json!({"metadata": {"name": "default"}});
        Api::<ServiceAccount>::namespaced(client.clone(), NAMESPACE)
            .create(
                &PostParams::default(),
                &serde_json::from_value(account).unwrap(),
            )
            .await
            .unwrap();
        let api_connections = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::clone(&api_connections);
        let config = NodeConfig::new(
            NODE,
            client.clone(),
            Arc::new(HostImages),
            parent.to_owned(),
            Arc::new(move |stream| connections.lock().unwrap().push(stream)),
        );
        // The image is made now, so that tests can say how long pods take.
        layer();
        let begun = std::time::Instant::now();
        let node = Node::start(config).await.unwrap();
        println!("node start to Ready: {:?}", begun.elapsed());
        let kubelet = node.kubelet();
        server.register_kubelet(NODE, Arc::clone(&kubelet));
        Self {
            client,
            kubelet,
            node,
            server,
            api_connections,
            parent: parent.to_owned(),
            _directory: None,
        }
    }

    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    /// Creates an object of the namespace from JSON.
    pub(crate) async fn create<K>(&self, object: Value) -> K
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + DeserializeOwned
            + serde::Serialize
            + std::fmt::Debug,
    {
        let object: K = serde_json::from_value(object).unwrap();
        self.api::<K>()
            .create(&PostParams::default(), &object)
            .await
            .unwrap()
    }

    /// Creates a pod on the node; without a service account's token unless the spec says otherwise.
    pub(crate) async fn pod(&self, name: &str, mut spec: Value) -> Pod {
        spec["nodeName"] = json!(NODE);
        if spec.get("automountServiceAccountToken").is_none() {
            spec["automountServiceAccountToken"] = json!(false);
        }
        self.create(json!({"metadata": {"name": name, "labels": {"app": name}}, "spec": spec}))
            .await
    }

    /// Waits until the pod is as `condition` wants it; `None` means that it is gone.
    pub(crate) async fn wait_for(
        &self,
        name: &str,
        what: &str,
        condition: impl Fn(Option<&Pod>) -> bool,
    ) -> Option<Pod> {
        let mut last = None;
        let mut states = watcher::watch_object(self.api::<Pod>(), name).boxed();
        let seen = tokio::time::timeout(LIMIT, async {
            while let Some(pod) = states.try_next().await.unwrap() {
                last.clone_from(&pod);
                if condition(pod.as_ref()) {
                    return;
                }
            }
        })
        .await;
        drop(states);
        if seen.is_err() {
            let events = self.events(name).await;
            let last = last.and_then(|pod| pod.status);
            panic!(
                "pod {name} did not come to: {what}\nlast status: {}\nevents: {events:#?}",
                serde_json::to_string_pretty(&last).unwrap()
            );
        }
        last
    }

    pub(crate) async fn wait_phase(&self, name: &str, phase: &str) -> Pod {
        let pod = self
            .wait_for(name, phase, |pod| {
                pod.and_then(|p| p.status.as_ref()?.phase.as_deref()) == Some(phase)
            })
            .await;
        pod.unwrap()
    }

    pub(crate) async fn wait_ready(&self, name: &str) -> Pod {
        self.wait_for(name, "Ready", |pod| pod.is_some_and(is_ready))
            .await
            .unwrap()
    }

    pub(crate) async fn delete(&self, name: &str, grace: u32) {
        let params = DeleteParams {
            grace_period_seconds: Some(grace),
            ..DeleteParams::default()
        };
        self.api::<Pod>().delete(name, &params).await.unwrap();
    }

    pub(crate) async fn wait_gone(&self, name: &str) {
        self.wait_for(name, "gone", |pod| pod.is_none()).await;
    }

    /// `(reason, message)` of the events about an object, in order.
    pub(crate) async fn events(&self, name: &str) -> Vec<(String, String)> {
        let params = ListParams::default().fields(&format!("involvedObject.name={name}"));
        let list = self.api::<Event>().list(&params).await.unwrap();
        list.items
            .into_iter()
            .map(|e| (e.reason.unwrap_or_default(), e.message.unwrap_or_default()))
            .collect()
    }

    /// Waits for an event about an object, and answers its message.
    pub(crate) async fn wait_event(&self, name: &str, reason: &str) -> String {
        let config = watcher::Config::default().fields(&format!("involvedObject.name={name}"));
        let mut events = watcher::watcher(self.api::<Event>(), config).boxed();
        let found = tokio::time::timeout(LIMIT, async {
            loop {
                let event = events
                    .try_next()
                    .await
                    .unwrap()
                    .expect("a watch does not end");
                if let watcher::Event::Apply(event) | watcher::Event::InitApply(event) = event
                    && event.reason.as_deref() == Some(reason)
                {
                    return event.message.unwrap_or_default();
                }
            }
        });
        found
            .await
            .unwrap_or_else(|_| panic!("no event {reason} about {name}"))
    }

    pub(crate) async fn logs(&self, pod: &Pod, options: LogOptions) -> String {
        let options = LogOptions {
            container: if options.container.is_empty() {
                "c".into()
            } else {
                options.container
            },
            ..options
        };
        let stream = self.kubelet.logs(reference(pod), options).await.unwrap();
        let chunks: Vec<_> = stream.try_collect().await.unwrap();
        String::from_utf8(chunks.concat()).unwrap()
    }

    /// Runs a pod of one container `c` to its end, and answers its log.
    pub(crate) async fn run(&self, name: &str, mut spec: Value) -> (Pod, String) {
        spec["restartPolicy"] = json!("Never");
        self.pod(name, spec).await;
        let pod = self
            .wait_for(name, "its end", |pod| {
                let phase = pod.and_then(|p| p.status.as_ref()?.phase.as_deref());
                matches!(phase, Some("Succeeded" | "Failed"))
            })
            .await
            .unwrap();
        let log = self.logs(&pod, LogOptions::default()).await;
        (pod, log)
    }

    /// Whether users other than one exist in pods: only real root can give files to them.
    pub(crate) fn has_users(&self) -> bool {
        std::os::unix::fs::MetadataExt::uid(&fs::metadata(&self.parent).unwrap()) == 0
    }

    /// Ends the cluster, and checks that nothing of the node is left.
    pub(crate) async fn end(self) {
        self.node.shutdown().await;
        let left: Vec<_> = fs::read_dir(&self.parent).unwrap().collect();
        assert!(left.is_empty(), "left behind: {left:?}");
        self.server.shutdown();
    }
}

pub(crate) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .iter()
        .flat_map(|s| s.conditions.iter().flatten());
    conditions
        .into_iter()
        .any(|c| c.type_ == "Ready" && c.status == "True")
}

pub(crate) fn reference(pod: &Pod) -> PodRef {
    PodRef {
        namespace: pod.metadata.namespace.clone().unwrap(),
        name: pod.metadata.name.clone().unwrap(),
        uid: pod.metadata.uid.clone().unwrap(),
    }
}

/// The status of container `c` as JSON.
pub(crate) fn container(pod: &Pod) -> Value {
    let statuses = pod
        .status
        .as_ref()
        .unwrap()
        .container_statuses
        .as_ref()
        .unwrap();
    serde_json::to_value(&statuses[0]).unwrap()
}

/// A container `c` that runs a shell script.
pub(crate) fn shell(script: &str) -> Value {
    json!({"name": "c", "image": "host:1", "command": ["sh", "-c", script]})
}

/// A container `c` that runs one of [`super::programs`].
pub(crate) fn program(name: &str, env: &[(&str, &str)]) -> Value {
    let env: Vec<Value> = env
        .iter()
        .map(|(k, v)| json!({"name": k, "value": v}))
        .collect();
    json!({
        "name": "c", "image": "host:1", "env": env,
        "command": ["/bin/programs", "--ignored", "--exact", "--nocapture",
                    format!("programs::{name}")],
    })
}

/// Images made of this machine's programs: `host:1`, and `host:slow` which takes its time.
struct HostImages;

impl Images for HostImages {
    fn present(&self, reference: &str) -> Option<Arc<Image>> {
        reference
            .starts_with("host:")
            .then(|| Arc::new(host_image(reference)))
    }

    fn ensure(
        &self,
        reference: &str,
        _options: PullOptions,
    ) -> BoxFuture<'static, Result<Arc<Image>, ImageFailure>> {
        let reference = reference.to_owned();
        async move {
            match reference.as_str() {
                name if name.starts_with("host:") => Ok(Arc::new(host_image(name))),
                "stuck:1" => std::future::pending().await,
                "BAD" => Err(ImageFailure::InvalidName(
                    "repository name must be lowercase".into(),
                )),
                name => Err(ImageFailure::Unavailable(format!(
                    "image {name:?} not found"
                ))),
            }
        }
        .boxed()
    }
}

fn host_image(reference: &str) -> Image {
    Image {
        reference: reference.to_owned(),
        resolved: if reference == "host:other" {
            "host:1".into()
        } else {
            reference.to_owned()
        },
        digest: "sha256:0".into(),
        layers: vec![layer().to_owned()],
        config: ImageConfig {
            env: vec!["PATH=/bin".into()],
            cmd: vec!["sh".into()],
            ..ImageConfig::default()
        },
        substitution: (reference == "host:other")
            .then(|| "host:1 stands in for host:other".to_owned()),
    }
}

/// A root file system with a shell and a few tools of this machine; made once for each build of the
/// tests, shared by all of them and by the processes they start.
fn layer() -> &'static Path {
    static LAYER: OnceLock<PathBuf> = OnceLock::new();
    LAYER.get_or_init(|| {
        let me = std::env::current_exe().unwrap();
        let built = fs::metadata(&me).unwrap().modified().unwrap();
        let stamp = built
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap()
            .as_millis();
        let place = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        let root = place.join(format!("host-image-{stamp}"));
        if root.exists() {
            return root;
        }
        for old in fs::read_dir(&place).unwrap().flatten() {
            if old.file_name().to_string_lossy().starts_with("host-image-") {
                let _ = fs::remove_dir_all(old.path());
            }
        }
        let draft = place.join(format!("draft-{}", std::process::id()));
        make_layer(&draft, &me);
        if fs::rename(&draft, &root).is_err() {
            // Another process was faster.
            let _ = fs::remove_dir_all(&draft);
        }
        root
    })
}

fn make_layer(root: &Path, me: &Path) {
    for directory in ["bin", "etc", "tmp", "lib64"] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    let mut libraries = BTreeSet::new();
    let mut programs = vec![(me.to_owned(), "programs")];
    let tools = [
        "sh", "cat", "sleep", "ls", "stat", "id", "env", "mkdir", "rm", "head", "cp",
    ];
    programs.extend(tools.map(|tool| (PathBuf::from("/bin").join(tool), tool)));
    for (path, name) in programs {
        let output = Command::new("ldd").arg(&path).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let words = text.split_whitespace().filter(|word| word.starts_with('/'));
        libraries.extend(words.map(PathBuf::from));
        fs::copy(&path, root.join("bin").join(name)).unwrap();
    }
    for library in libraries {
        let target = root.join(library.strip_prefix("/").unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(&library, &target).unwrap();
    }
    let passwd = "root:x:0:0::/:/bin/sh\nme:x:1000:1001::/:/bin/sh\n";
    fs::write(root.join("etc/passwd"), passwd).unwrap();
    fs::write(
        root.join("etc/group"),
        "root:x:0:\nme:x:1001:\nextra:x:7:me\n",
    )
    .unwrap();
}
