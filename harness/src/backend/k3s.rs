//! k3s in a privileged container, or anything else that shows k3s's outer face.
//!
//! The container is ready when its node is. Its kubeconfig leads to the port that the container engine
//! chose; images come in as archives before the start. It is removed in any case: see `owner`. It
//! builds no image and pulls none itself; the engine pulls the image of k3s if it is not there.

mod owner;
mod rights;

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use k8s_openapi::api::core::v1::{Node, ServiceAccount};
use kube::{
    Api, Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use simcluster::ImageStore;
use testcontainers::{
    ContainerAsync, GenericImage, ImageExt as _, TestcontainersError,
    bollard::Docker,
    core::{IntoContainerPort as _, Mount, WaitFor},
    runners::AsyncRunner as _,
};
use tracing::warn;

use self::{
    owner::{LABEL, Owner, START, Watchdog},
    rights::Rights,
};
use super::{Backend, BackendError, Capability, Leftovers};
use crate::{
    conditions::{Condition, exists},
    wait,
};

const NAME: &str = "k3s";
const PORT: u16 = 6443;
/// What k3s writes when its node's controller runs.
const READY: &str = "Node controller sync successful";
const KUBECONFIG: &str = "/etc/rancher/k3s/k3s.yaml";
/// Where k3s looks for images to import.
const IMAGES: &str = "/var/lib/rancher/k3s/agent/images";

/// How the container is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The image, with its tag: the version of Kubernetes.
    pub image: String,
    /// Parts of k3s that tests do not need.
    pub disable: Vec<String>,
    /// How long the start may take, with the pull of the image.
    pub patience: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            image: "rancher/k3s:v1.33.1-k3s1".to_owned(),
            disable: ["traefik", "servicelb", "metrics-server"]
                .map(str::to_owned)
                .to_vec(),
            patience: Duration::from_secs(180),
        }
    }
}

/// Why there is no k3s.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No engine, no image, or the container did not get ready.
    #[error(
        "the container of {image} did not get ready; its engine must answer and have or pull the image"
    )]
    Container {
        /// The image.
        image: String,
        /// What the engine said.
        #[source]
        source: TestcontainersError,
    },
    /// The engine's API.
    #[error("the container engine does not answer")]
    Engine(#[from] testcontainers::bollard::errors::Error),
    /// An image that was to be carried in.
    #[error("the image {reference} could not be written to an archive")]
    Image {
        /// The image.
        reference: String,
        /// Why.
        #[source]
        source: simcluster::ImageError,
    },
    /// A file of ours.
    #[error("could not {action}")]
    File {
        /// What with.
        action: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What it calls its kubeconfig is none.
    #[error("{KUBECONFIG} in the container is not a kubeconfig")]
    Kubeconfig(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The cluster behind it.
    #[error("k3s runs, but its cluster did not get ready")]
    NotReady(#[source] Box<wait::WaitError>),
}

/// A container with a cluster in it.
pub struct K3s {
    container: ContainerAsync<GenericImage>,
    client: Client,
    kubeconfig: Kubeconfig,
    /// Its kubeconfig as a file.
    directory: tempfile::TempDir,
    watchdog: Option<Watchdog>,
}

impl fmt::Debug for K3s {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("K3s")
            .field("container", &self.container.id())
            .finish_non_exhaustive()
    }
}

/// Whether a container engine answers; if not, why.
pub async fn engine() -> Result<String, String> {
    let docker = Docker::connect_with_defaults().map_err(|error| error.to_string())?;
    let version = docker.version().await.map_err(|error| error.to_string())?;
    Ok(version.version.unwrap_or_else(|| "unknown".to_owned()))
}

impl K3s {
    /// Starts a container and waits until the cluster in it is ready.
    pub async fn start(
        settings: &Settings,
        images: &ImageStore,
        carried: &[&str],
    ) -> Result<Self, BackendError> {
        start(settings, images, carried)
            .await
            .map_err(|source| BackendError {
                backend: NAME,
                action: "start",
                source: Box::new(source),
            })
    }

    /// The file with its kubeconfig, in a directory of its own.
    pub fn kubeconfig_path(&self) -> PathBuf {
        self.directory.path().join("kubeconfig")
    }

    /// The container's id.
    pub fn container(&self) -> &str {
        self.container.id()
    }
}

async fn start(
    settings: &Settings,
    images: &ImageStore,
    carried: &[&str],
) -> Result<K3s, StartError> {
    let file = |action| move |source| StartError::File { action, source };
    let us = Owner::this().map_err(file("find out who we are"))?;
    let docker = Docker::connect_with_defaults()?;
    owner::sweep(&docker, &us).await?;
    let directory = tempfile::Builder::new()
        .prefix("harness-k3s-")
        .tempdir()
        .map_err(file("make a directory for the kubeconfig"))?;
    let archives = carry(images, carried).await?;
    let container = run(&docker, settings, &us, &archives).await?;
    let watchdog = Watchdog::over(container.id())
        .inspect_err(|error| {
            warn!(%error, "without a watchdog the container outlives this process if it is killed");
        })
        .ok();
    let kubeconfig = kubeconfig(&container).await?;
    write_private(&directory.path().join("kubeconfig"), &kubeconfig)
        .map_err(file("write the kubeconfig"))?;
    let client = client(&kubeconfig).await?;
    ready(&client)
        .await
        .map_err(|error| StartError::NotReady(Box::new(error)))?;
    Ok(K3s {
        container,
        client,
        kubeconfig,
        directory,
        watchdog,
    })
}

/// Writes the images to archives, which are kept for the next time, and names them.
async fn carry(images: &ImageStore, references: &[&str]) -> Result<Vec<PathBuf>, StartError> {
    let directory = crate::evidence::target_directory().join("harness-archives");
    fs::create_dir_all(&directory).map_err(|source| StartError::File {
        action: "make a directory for archives of images",
        source,
    })?;
    let mut archives = Vec::new();
    for reference in references {
        let failed = |source| StartError::Image {
            reference: (*reference).to_owned(),
            source,
        };
        let image = images.ensure(reference, &()).await.map_err(failed)?;
        let name = format!("{reference}@{}.tar", image.digest).replace(['/', ':'], "_");
        let path = directory.join(name);
        archives.push(path.clone());
        if path.exists() {
            continue;
        }
        let written = tokio::task::spawn_blocking(move || ImageStore::export(&image, &path));
        match written.await {
            Ok(written) => written.map_err(failed)?,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }
    Ok(archives)
}

async fn run(
    docker: &Docker,
    settings: &Settings,
    us: &Owner,
    archives: &[PathBuf],
) -> Result<ContainerAsync<GenericImage>, StartError> {
    let mut outcome = try_run(docker, settings, us, archives, Rights::Privileged).await;
    if let Err(error) = &outcome
        && Rights::are_too_many(error)
    {
        warn!(
            "this machine's engine cannot start privileged containers; this one gets what rights there are"
        );
        outcome = try_run(docker, settings, us, archives, Rights::AllThereAre).await;
    }
    outcome.map_err(|source| StartError::Container {
        image: settings.image.clone(),
        source,
    })
}

async fn try_run(
    docker: &Docker,
    settings: &Settings,
    us: &Owner,
    archives: &[PathBuf],
    rights: Rights,
) -> Result<ContainerAsync<GenericImage>, TestcontainersError> {
    let (name, tag) = settings
        .image
        .rsplit_once(':')
        .filter(|(_, tag)| !tag.contains('/'))
        .unwrap_or((&settings.image, "latest"));
    let command = ["server".to_owned(), "--tls-san=localhost".to_owned()]
        .into_iter()
        .chain(
            settings
                .disable
                .iter()
                .map(|part| format!("--disable={part}")),
        );
    let start = owner::next_start(us);
    let mut image = GenericImage::new(name, tag)
        .with_exposed_port(PORT.tcp())
        .with_wait_for(WaitFor::message_on_stderr(READY))
        .with_cmd(command)
        .with_label(LABEL, us.to_string())
        .with_label(START, &start)
        .with_mount(Mount::tmpfs_mount("/run"))
        .with_startup_timeout(settings.patience);
    for (number, archive) in archives.iter().enumerate() {
        let inside = format!("{IMAGES}/{number}.tar");
        image = image.with_mount(Mount::bind_mount(archive.to_string_lossy(), inside));
    }
    let outcome = rights.grant(image).start().await;
    if outcome.is_err() {
        // A container that was made but did not start, or did not get ready, has no handle here.
        if let Err(error) = owner::remove_start(docker, &start).await {
            warn!(%error, "could not remove a container that did not get ready");
        }
    }
    outcome
}

/// The kubeconfig in the container, with the address at which we reach it.
async fn kubeconfig(container: &ContainerAsync<GenericImage>) -> Result<Kubeconfig, StartError> {
    let wrong = |error: Box<dyn std::error::Error + Send + Sync>| StartError::Kubeconfig(error);
    let bytes: Vec<u8> = container
        .copy_file_from(KUBECONFIG, Vec::new())
        .await
        .map_err(|error| wrong(Box::new(error)))?;
    let mut kubeconfig: Kubeconfig =
        serde_yaml::from_slice(&bytes).map_err(|error| wrong(Box::new(error)))?;
    let host = container
        .get_host()
        .await
        .map_err(|error| wrong(Box::new(error)))?;
    let port = container
        .get_host_port_ipv4(PORT)
        .await
        .map_err(|error| wrong(Box::new(error)))?;
    for cluster in &mut kubeconfig.clusters {
        if let Some(cluster) = &mut cluster.cluster {
            cluster.server = Some(format!("https://{host}:{port}"));
        }
    }
    Ok(kubeconfig)
}

async fn client(kubeconfig: &Kubeconfig) -> Result<Client, StartError> {
    let wrong = |error: Box<dyn std::error::Error + Send + Sync>| StartError::Kubeconfig(error);
    let config = Config::from_custom_kubeconfig(kubeconfig.clone(), &KubeConfigOptions::default())
        .await
        .map_err(|error| wrong(Box::new(error)))?;
    Client::try_from(config).map_err(|error| wrong(Box::new(error)))
}

/// Waits until a node is Ready and pods can be made in the namespace `default`.
async fn ready(client: &Client) -> Result<(), wait::WaitError> {
    let nodes: Api<Node> = Api::all(client.clone());
    let is_ready = Condition::holds("to be Ready", |node: &Node| {
        let status = node.status.as_ref();
        let conditions = status.and_then(|status| status.conditions.as_ref());
        conditions.is_some_and(|conditions| {
            conditions
                .iter()
                .any(|condition| condition.type_ == "Ready" && condition.status == "True")
        })
    });
    wait::until_any(&nodes, is_ready, wait::LIMIT).await?;
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), "default");
    wait::until(&accounts, "default", exists(), wait::LIMIT).await?;
    Ok(())
}

fn write_private(path: &Path, kubeconfig: &Kubeconfig) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let text = serde_yaml::to_string(kubeconfig).map_err(io::Error::other)?;
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    io::Write::write_all(&mut file, text.as_bytes())
}

impl Backend for K3s {
    fn name(&self) -> &'static str {
        NAME
    }

    fn client(&self) -> Client {
        self.client.clone()
    }

    fn kubeconfig(&self) -> BoxFuture<'_, Result<Kubeconfig, BackendError>> {
        std::future::ready(Ok(self.kubeconfig.clone())).boxed()
    }

    fn can(&self, capability: Capability) -> bool {
        match capability {
            Capability::OwnCluster | Capability::LocalImages => true,
            Capability::History => false,
        }
    }

    fn logs(&self) -> BoxFuture<'_, Vec<(String, String)>> {
        async move {
            let text = |bytes: testcontainers::core::error::Result<Vec<u8>>| match bytes {
                Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
                Err(error) => format!("(no log: {error})\n"),
            };
            vec![
                (
                    "k3s.stdout".to_owned(),
                    text(self.container.stdout_to_vec().await),
                ),
                (
                    "k3s.stderr".to_owned(),
                    text(self.container.stderr_to_vec().await),
                ),
            ]
        }
        .boxed()
    }

    fn stop(self: Box<Self>) -> BoxFuture<'static, Leftovers> {
        async move {
            let Self {
                container,
                watchdog,
                directory,
                ..
            } = *self;
            let id = container.id().to_owned();
            let mut left = Vec::new();
            if let Err(error) = container.rm().await {
                left.push(format!("container {id}: {error}"));
            }
            // Waits for a process, so not on a thread of the runtime.
            drop(tokio::task::spawn_blocking(move || drop(watchdog)).await);
            if let Err(error) = directory.close() {
                left.push(format!("the directory of the kubeconfig: {error}"));
            }
            Leftovers(left)
        }
        .boxed()
    }
}
