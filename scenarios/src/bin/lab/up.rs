//! `lab up`: a cluster to work in with kubectl, until Ctrl-C or SIGTERM.

use std::{
    io::Write as _,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use harness::{Cluster, Failure, backend::simulated::Simulated};
use scenarios::{deploy, images::Programs, lab, progress::Progress};
use tokio::signal::unix::{SignalKind, signal};

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
    let progress = Progress::shown();
    let images = progress
        .step("prepare the images", lab::image_store(Programs::All))
        .await?;
    let backend = progress
        .step("start the cluster", async {
            Ok(Simulated::start(images).await?)
        })
        .await?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, arguments.port));
    let kubeconfig = backend.cluster().listen(address).await;
    let cluster = Cluster::new(Box::new(backend), "default");
    let outcome = async {
        write_private(&arguments.kubeconfig, &serde_yaml::to_string(&kubeconfig?)?)?;
        if arguments.deploy {
            progress
                .step(
                    "apply deploy/: the operator is available",
                    install(&cluster),
                )
                .await?;
        }
        say_how_to_use(&arguments, &progress)?;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        Ok::<_, Failure>(())
    };
    let outcome = outcome.await;
    progress.say("ending the cluster");
    cluster.stop().await;
    if outcome.is_ok() {
        std::fs::remove_file(&arguments.kubeconfig)?;
    }
    outcome
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

fn say_how_to_use(arguments: &Arguments, progress: &Progress) -> Result<(), Failure> {
    let path = std::path::absolute(&arguments.kubeconfig)?;
    progress.say(&format!(
        "\nready. In another terminal:\n  export KUBECONFIG={}\n  kubectl get all\nCtrl-C ends it.",
        path.display()
    ));
    Ok(())
}

/// Writes a file that only its owner may read.
fn write_private(path: &Path, text: &str) -> Result<(), Failure> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let place = |error| {
        format!(
            "could not write the kubeconfig to {}: {error}",
            path.display()
        )
    };
    // A file that is already there keeps its mode, so it is made anew.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(place(error).into());
        }
        _ => {}
    }
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(place)?;
    file.write_all(text.as_bytes()).map_err(place)?;
    Ok(())
}
