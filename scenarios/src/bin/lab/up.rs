//! `lab up`: a cluster to work in with kubectl, until Ctrl-C or SIGTERM.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use harness::{Cluster, Failure, backend::simulated::Simulated};
use scenarios::{deploy, images::Programs, lab, progress::Progress};
use simcluster::StoreConfig;
use tokio::signal::unix::{SignalKind, signal};

use crate::kubeconfig_file::KubeconfigFile;

/// Arguments of `lab up`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Where to write the kubeconfig; your own configuration is never touched.
    #[arg(long, default_value = "lab.kubeconfig")]
    kubeconfig: PathBuf,
    /// Port of the API server on 127.0.0.1; a free one unless given.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Apply the CRD and the operator of deploy/ and wait until the operator is available.
    #[arg(long)]
    deploy: bool,
}

/// Starts the cluster and waits for the end.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut file = KubeconfigFile::claim(&arguments.kubeconfig)?;
    let progress = Progress::shown();
    let mut cluster = None;
    let outcome = tokio::select! {
        outcome = serve(&arguments, &progress, &mut file, &mut cluster) => outcome,
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    };
    if let Some(cluster) = cluster {
        progress.say("ending the cluster");
        cluster.stop().await;
    }
    outcome
}

/// Makes the cluster, says how to use it, and stays; it returns only when something failed.
async fn serve(
    arguments: &Arguments,
    progress: &Progress,
    file: &mut KubeconfigFile,
    cluster: &mut Option<Cluster>,
) -> Result<(), Failure> {
    let images = progress
        .step(
            "link the operator's programs, prepare its image",
            lab::image_store_from(Programs::All, StoreConfig::default()),
        )
        .await?;
    let backend = progress
        .step("start the cluster", async {
            Ok(Simulated::start(images).await?)
        })
        .await?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, arguments.port));
    let kubeconfig = backend.cluster().listen(address).await;
    let cluster = &*cluster.insert(Cluster::new(Box::new(backend), "default"));
    file.write(&serde_yaml::to_string(&kubeconfig?)?)?;
    if arguments.deploy {
        progress
            .step("apply deploy/: the operator is available", install(cluster))
            .await?;
    }
    let path = std::path::absolute(&arguments.kubeconfig)?;
    progress.say(&format!(
        "\nready. In another terminal:\n  export KUBECONFIG={}\n  kubectl get all\nCtrl-C ends it.",
        path.display()
    ));
    std::future::pending().await
}

async fn install(cluster: &Cluster) -> Result<(), Failure> {
    scenarios::Lab::new(cluster).install().await?;
    for (_, manifest) in deploy::OPERATOR {
        cluster.apply(manifest).await?;
    }
    let deployments = cluster.namespaced();
    let available = harness::conditions::deployment_available();
    cluster
        .wait(&deployments, "mysql-operator", available)
        .await?;
    Ok(())
}
