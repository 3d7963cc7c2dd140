//! How a cluster is put together and started.

use std::{io, path::PathBuf, sync::Arc};

use simcluster_controllers::HorizontalSettings;
use simcluster_images::{ImageError, ImageStore};
use simcluster_node::model::Programs;

use crate::Cluster;

/// Says what a cluster consists of; every part has a default.
#[derive(Clone, Debug)]
pub struct Builder {
    pub(crate) images: Option<Arc<ImageStore>>,
    pub(crate) image_archives: Vec<PathBuf>,
    pub(crate) nodes: u8,
    pub(crate) directory: Option<PathBuf>,
    pub(crate) names: Vec<String>,
    pub(crate) model: Option<Programs>,
    pub(crate) autoscaling: HorizontalSettings,
}

/// A cluster that could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The image cache.
    #[error("the image cache cannot be opened")]
    Images(#[source] ImageError),
    /// An archive of images.
    #[error("the images of {} cannot be offered", path.display())]
    Archive {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: ImageError,
    },
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
        source: Box<simcluster_node::StartNodeError>,
    },
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            images: None,
            image_archives: Vec::new(),
            nodes: 1,
            directory: None,
            names: Vec::new(),
            model: None,
            autoscaling: HorizontalSettings::default(),
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

    /// Images of an OCI layout or archive (plain or gzip; what `docker save` writes will do), under the names that
    /// they have in it. They count before those of any other source. The file stays where it is.
    #[must_use]
    pub fn image_archive(mut self, path: impl Into<PathBuf>) -> Self {
        self.image_archives.push(path.into());
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

    /// Names and addresses, beside loopback, that the API server's certificate is for.
    #[must_use]
    pub fn names(mut self, names: Vec<String>) -> Self {
        self.names = names;
        self
    }

    /// Runs the functions of a model instead of processes: the nodes know its images and no others, and the
    /// cluster's time is tokio's, which a test may pause.
    #[must_use]
    pub fn model(mut self, programs: Programs) -> Self {
        self.model = Some(programs);
        self
    }

    /// How autoscalers go about it: how often they look, how long they wait. Kubernetes' own way unless given.
    #[must_use]
    pub fn autoscaling(mut self, settings: HorizontalSettings) -> Self {
        self.autoscaling = settings;
        self
    }

    /// Starts it.
    pub async fn start(self) -> Result<Cluster, StartError> {
        Cluster::start(self).await
    }
}
