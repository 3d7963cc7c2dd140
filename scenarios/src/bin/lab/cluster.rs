//! The arguments with which one chooses a cluster; the same for every command that runs something.

use std::{fs::File, path::PathBuf};

use harness::{
    Failure,
    backend::{Selection, existing::Access},
};

/// Which cluster.
#[derive(Debug, clap::Args)]
pub(crate) struct ClusterArguments {
    /// The cluster: simulated (in this process), existing (of a kubeconfig) or k3s (in a container).
    #[arg(long, env = "HARNESS_CLUSTER", default_value = "simulated")]
    cluster: String,
    /// Kubeconfig of the existing cluster; yours is never used unless named.
    #[arg(long, env = "HARNESS_KUBECONFIG")]
    kubeconfig: Option<PathBuf>,
    /// Context of the existing cluster.
    #[arg(long, env = "HARNESS_CONTEXT")]
    context: Option<String>,
    /// Use the existing cluster although it is not on this machine.
    #[arg(long)]
    yes_this_cluster: bool,
    /// Image of the k3s container, with its tag.
    #[arg(long, env = "HARNESS_K3S_IMAGE")]
    k3s_image: Option<String>,
}

impl ClusterArguments {
    /// The chosen cluster.
    pub(crate) fn selection(&self) -> Result<Selection, Failure> {
        if let Some(file) = &self.kubeconfig {
            // Said now, and not after the minutes that images may take.
            File::open(file).map_err(|error| {
                format!(
                    "cannot read the kubeconfig {}: {error}; name the file of the cluster to be used with \
                     --kubeconfig",
                    file.display()
                )
            })?;
        }
        let access = Access {
            kubeconfig: self.kubeconfig.clone(),
            context: self.context.clone(),
            allow_remote: self.yes_this_cluster
                || std::env::var("HARNESS_ALLOW_REMOTE").as_deref() == Ok("yes"),
        };
        Ok(Selection::named(
            &self.cluster,
            access,
            self.k3s_image.as_deref(),
        )?)
    }
}
