//! `lab at`: kubectl sees the cluster of a running `lab up` as it was at a revision.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::Stdio,
};

use harness::{Failure, past::Past};
use scenarios::progress::Progress;
use tokio::signal::unix::{SignalKind, signal};

use crate::{kubeconfig_file::KubeconfigFile, running::RunningArguments};

/// Arguments of `lab at`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The revision: a `resourceVersion`, as `lab why` lists them.
    revision: u64,
    #[command(flatten)]
    running: RunningArguments,
    /// Where to write the kubeconfig of the past; `lab-at-REVISION.kubeconfig` unless given.
    #[arg(long, value_name = "FILE")]
    past_kubeconfig: Option<PathBuf>,
    /// A program to run there, with KUBECONFIG set, instead of waiting for Ctrl-C.
    #[arg(trailing_var_arg = true, value_name = "PROGRAM")]
    program: Vec<String>,
}

/// Serves it until Ctrl-C, or for as long as the program runs.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let client = arguments.running.client().await?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let past = Past::serve(client, arguments.revision, address).await?;
    let kubeconfig = serde_yaml::to_string(past.kubeconfig())?;
    if let [program, parameters @ ..] = arguments.program.as_slice() {
        return one_program(program, parameters, &kubeconfig).await;
    }
    let path = arguments
        .past_kubeconfig
        .unwrap_or_else(|| format!("lab-at-{}.kubeconfig", arguments.revision).into());
    let mut file = KubeconfigFile::claim(&path)?;
    file.write(&kubeconfig)?;
    Progress::shown().say(&format!(
        "the cluster at revision {}, read-only. In another terminal:\n  export KUBECONFIG={}\n  \
         kubectl get all\nCtrl-C ends it.",
        arguments.revision,
        std::path::absolute(&path)?.display()
    ));
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

async fn one_program(
    program: &str,
    parameters: &[String],
    kubeconfig: &str,
) -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let mut file = KubeconfigFile::claim(&folder.path().join("kubeconfig"))?;
    file.write(kubeconfig)?;
    let status = tokio::process::Command::new(program)
        .args(parameters)
        .env("KUBECONFIG", folder.path().join("kubeconfig"))
        .stdin(Stdio::inherit())
        .status()
        .await
        .map_err(|error| format!("{program} could not be started: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{program} ended with {status}").into())
    }
}
