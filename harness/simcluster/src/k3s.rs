//! `k3s server`, as libraries for test containers know it: this cluster behind k3s's outer face.
//!
//! Port 6443, `/etc/rancher/k3s/k3s.yaml`, images from `/var/lib/rancher/k3s/agent/images`, and the line
//! in the log that those libraries wait for. In the container's image this program is also `cat`, for
//! libraries that read the kubeconfig with it: a scratch image has no other program. It is not k3s's
//! command line: only `server`, and no `kubectl`, `ctr` or `agent`.

mod arguments;

use std::{
    fs, io,
    io::Write as _,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::api::core::v1::{Node, ServiceAccount};
use kube::{Api, config::Kubeconfig, runtime::wait::await_condition};
use simcluster::{Cluster, ImageStore, StoreConfig};
use tokio::signal::unix::{SignalKind, signal};

use self::arguments::Server;
use crate::Failure;

/// Where k3s keeps what it must remember; a volume of the container's image.
const DATA: &str = "/var/lib/rancher/k3s";

/// What libraries for test containers wait for before they use the cluster.
const READY: &str = "Node controller sync successful";

/// Longer than this nothing takes that is not broken.
const PATIENCE: Duration = Duration::from_secs(60);

/// Writes files to standard output, as `cat` does.
pub(crate) fn cat(files: impl IntoIterator<Item = String>) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    for file in files {
        let text = fs::read(&file).map_err(|error| format!("cat: {file}: {error}"))?;
        out.write_all(&text)?;
    }
    Ok(())
}

/// Runs the cluster until SIGTERM or SIGINT.
pub(crate) async fn server(arguments: impl IntoIterator<Item = String>) -> Result<(), Failure> {
    let server = Server::parse(arguments)?;
    for flag in &server.without_effect {
        say(&format!(
            "the flag -{flag} has no effect on a simulated cluster"
        ))?;
    }
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let archives = archives(&Path::new(DATA).join("agent/images"))?;
    let directory = Path::new(DATA).join("simcluster");
    fs::create_dir_all(&directory)?;
    let images = ImageStore::open(StoreConfig {
        cache_dir: Some(directory.join("images")),
        packages: false,
        ..StoreConfig::default()
    })?;
    // As k3s does: what is not imported before the first pod asks is not there.
    for archive in archives {
        let (store, path) = (images.clone(), archive.clone());
        let import = tokio::task::spawn_blocking(move || store.import(&path, None));
        for image in import.await?? {
            let names = image.references.join(" ");
            say(&format!("imported {names} from {}", archive.display()))?;
        }
    }
    let cluster = Cluster::builder()
        .images(Arc::new(images))
        .directory(&directory)
        .names(server.tls_san.clone())
        .start()
        .await?;
    let outcome = async {
        let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, server.port));
        let kubeconfig = named_default(cluster.listen(address).await?);
        write(&server, &serde_yaml::to_string(&kubeconfig)?)?;
        ready(&cluster).await?;
        say(READY)?;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        Ok(())
    };
    let outcome = outcome.await;
    cluster.shutdown().await;
    outcome
}

/// The node is Ready and pods can be made in the namespace `default`.
async fn ready(cluster: &Cluster) -> Result<(), Failure> {
    let nodes: Api<Node> = Api::all(cluster.client());
    let is_ready = |node: Option<&Node>| {
        let conditions = node
            .and_then(|node| node.status.as_ref())
            .and_then(|status| status.conditions.as_ref());
        conditions.is_some_and(|conditions| {
            conditions
                .iter()
                .any(|condition| condition.type_ == "Ready" && condition.status == "True")
        })
    };
    let accounts: Api<ServiceAccount> = Api::namespaced(cluster.client(), "default");
    let both = async {
        await_condition(nodes, "node-1", is_ready).await?;
        let exists = |account: Option<&ServiceAccount>| account.is_some();
        await_condition(accounts, "default", exists).await?;
        Ok::<_, kube::runtime::wait::Error>(())
    };
    tokio::time::timeout(PATIENCE, both)
        .await
        .map_err(|_| format!("the node was not Ready after {PATIENCE:?}"))??;
    Ok(())
}

/// The archives in a directory, by name; none if there is no directory.
fn archives(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut paths = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<Vec<_>>>()?;
    paths.retain(|path| {
        let name = path.to_string_lossy();
        name.ends_with(".tar") || name.ends_with(".tar.gz") || name.ends_with(".tgz")
    });
    paths.sort();
    Ok(paths)
}

/// k3s calls the cluster, the context and the user `default`.
fn named_default(mut kubeconfig: Kubeconfig) -> Kubeconfig {
    let name = || "default".to_owned();
    for cluster in &mut kubeconfig.clusters {
        cluster.name = name();
    }
    for user in &mut kubeconfig.auth_infos {
        user.name = name();
    }
    for context in &mut kubeconfig.contexts {
        context.name = name();
        if let Some(context) = &mut context.context {
            context.cluster = name();
            context.user = Some(name());
        }
    }
    kubeconfig.current_context = Some(name());
    kubeconfig
}

fn write(server: &Server, text: &str) -> Result<(), Failure> {
    let path = Path::new(&server.kubeconfig);
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    crate::write_private(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(server.mode))?;
    Ok(())
}

/// k3s logs to standard error, and so do we.
fn say(line: &str) -> io::Result<()> {
    writeln!(io::stderr(), "level=info msg=\"{line}\"")
}
