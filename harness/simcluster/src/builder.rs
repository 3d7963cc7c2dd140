//! How a cluster is put together and started.

use std::{io, path::PathBuf, sync::Arc};

use simcluster_images::{ImageError, ImageStore};

use crate::Cluster;

/// Says what a cluster consists of; every part has a default.
#[derive(Clone, Debug)]
pub struct Builder {
    pub(crate) images: Option<Arc<ImageStore>>,
    pub(crate) nodes: u8,
    pub(crate) directory: Option<PathBuf>,
}

/// A cluster that could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The image cache.
    #[error("the image cache cannot be opened")]
    Images(#[source] ImageError),
    /// No directory for the nodes.
    #[error("no directory for the nodes could be made in {}", parent.display())]
    Directory {
        /// Where.
        parent: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The API server.
    #[error("the API server could not be started")]
    ApiServer(#[source] simcluster_apiserver::StartError),
    /// A node.
    #[error("node {name} could not be started")]
    Node {
        /// Which.
        name: String,
        /// Why.
        #[source]
        source: simcluster_node::StartNodeError,
    },
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            images: None,
            nodes: 1,
            directory: None,
        }
    }
}

impl Builder {
    /// The images that its nodes run; the ordinary cache of this user unless given.
    #[must_use]
    pub fn images(mut self, images: Arc<ImageStore>) -> Self {
        self.images = Some(images);
        self
    }

    /// How many nodes it has; one unless given. Without any, pods stay Pending.
    #[must_use]
    pub fn nodes(mut self, nodes: u8) -> Self {
        self.nodes = nodes;
        self
    }

    /// Where the nodes keep their files; the system's temporary directory unless given.
    #[must_use]
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// Starts it.
    pub async fn start(self) -> Result<Cluster, StartError> {
        Cluster::start(self).await
    }
}
