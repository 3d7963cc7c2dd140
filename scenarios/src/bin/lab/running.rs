//! The cluster that a `lab up` in another terminal serves: how `lab why` and `lab at` reach it.

use std::path::PathBuf;

use harness::Failure;
use kube::config::{KubeConfigOptions, Kubeconfig};

/// Which running cluster.
#[derive(Debug, clap::Args)]
pub(crate) struct RunningArguments {
    /// The kubeconfig that `lab up` wrote; your own configuration is never read.
    #[arg(long, default_value = "lab.kubeconfig")]
    kubeconfig: PathBuf,
}

impl RunningArguments {
    /// A client of it.
    pub(crate) async fn client(&self) -> Result<kube::Client, Failure> {
        let shown = self.kubeconfig.display();
        if !self.kubeconfig.exists() {
            return Err(format!(
                "there is no {shown}: start `cargo lab up` in another terminal, \
                 or name the file that it wrote with --kubeconfig"
            )
            .into());
        }
        let config = Kubeconfig::read_from(&self.kubeconfig)?;
        let options = KubeConfigOptions::default();
        let config = kube::Config::from_custom_kubeconfig(config, &options).await?;
        let client = kube::Client::try_from(config)?;
        client.apiserver_version().await.map_err(|error| {
            format!(
                "the cluster of {shown} does not answer; if its `lab up` has ended, start it again: {}",
                harness::proof::chain(&error)
            )
        })?;
        Ok(client)
    }
}
