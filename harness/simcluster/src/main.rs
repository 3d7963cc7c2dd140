//! `simcluster`: a simulated cluster on its own, for kubectl and any other client.
//!
//! It writes a kubeconfig and runs until Ctrl-C or SIGTERM. `simcluster server …` is the same behind
//! k3s's outer face, for a container's image: see `k3s`.

mod k3s;

use std::{
    io::Write as _,
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use clap::Parser;
use simcluster::Cluster;
use tokio::signal::unix::{SignalKind, signal};

/// A simulated Kubernetes cluster.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Where to write the kubeconfig.
    #[arg(long, default_value = "simcluster.kubeconfig")]
    kubeconfig: PathBuf,
    /// Where the API server listens; port 0 is a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// How many nodes it has.
    #[arg(long, default_value_t = 1)]
    nodes: u8,
}

type Failure = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut words = std::env::args();
    let program = words.next().unwrap_or_default();
    if program.rsplit('/').next() == Some("cat") {
        return k3s::cat(words);
    }
    if words.next().as_deref() == Some("server") {
        start_logging();
        return Box::pin(k3s::server(words)).await;
    }
    start_logging();
    Box::pin(alone(Arguments::parse())).await
}

fn start_logging() {
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env()
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn")),
        )
        .with_writer(std::io::stderr)
        .init();
}

async fn alone(arguments: Arguments) -> Result<(), Failure> {
    let (mut interrupt, mut terminate) = (
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
    );
    let cluster = Cluster::builder().nodes(arguments.nodes).start().await?;
    let outcome = async {
        let kubeconfig = cluster.listen(arguments.listen).await?;
        write_private(&arguments.kubeconfig, &serde_yaml::to_string(&kubeconfig)?)?;
        writeln!(
            std::io::stdout(),
            "ready: {}",
            arguments.kubeconfig.display()
        )?;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        std::fs::remove_file(&arguments.kubeconfig)?;
        Ok(())
    };
    let outcome = outcome.await;
    cluster.shutdown().await;
    outcome
}

/// Writes a file anew that only its owner may read.
fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())
}
