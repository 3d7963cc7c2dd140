//! Where a node's images come from, as its workers see it.

use std::sync::Arc;

use futures::future::BoxFuture;
use simcluster_images::{Image, PullOptions};

/// Why there is no image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageFailure {
    /// The reference cannot be parsed.
    #[error("{0}")]
    InvalidName(String),
    /// It could not be had; the text is the source's own.
    #[error("{0}")]
    Unavailable(String),
}

/// A source of images.
pub trait Images: Send + Sync + 'static {
    /// The image, if it is at hand without any effort.
    fn present(&self, reference: &str) -> Option<Arc<Image>>;
    /// The image, made or fetched if need be, or if the options say so.
    fn ensure(
        &self,
        reference: &str,
        options: PullOptions,
    ) -> BoxFuture<'static, Result<Arc<Image>, ImageFailure>>;
}
