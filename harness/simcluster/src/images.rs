//! The image store, as nodes see it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use futures::{FutureExt as _, future::BoxFuture};
use simcluster_images::{Image, ImageError, ImageStore, PullOptions};
use simcluster_node::{ImageFailure, Images};

/// A store, and the images that were had from it.
pub(crate) struct StoreImages {
    store: Arc<ImageStore>,
    present: Arc<Mutex<HashMap<String, Arc<Image>>>>,
}

impl StoreImages {
    pub(crate) fn new(store: Arc<ImageStore>) -> Self {
        Self {
            store,
            present: Arc::default(),
        }
    }
}

impl Images for StoreImages {
    fn present(&self, reference: &str) -> Option<Arc<Image>> {
        self.present
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(reference)
            .cloned()
    }

    fn ensure(
        &self,
        reference: &str,
        options: PullOptions,
    ) -> BoxFuture<'static, Result<Arc<Image>, ImageFailure>> {
        let (store, present) = (Arc::clone(&self.store), Arc::clone(&self.present));
        let reference = reference.to_owned();
        async move {
            let image = store
                .ensure_with(&reference, options, &())
                .await
                .map_err(|error| match error {
                    ImageError::InvalidReference { .. } => {
                        ImageFailure::InvalidName(error.to_string())
                    }
                    _ => ImageFailure::Unavailable(error.to_string()),
                })?;
            let image = Arc::new(image);
            present
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(reference, Arc::clone(&image));
            Ok(image)
        }
        .boxed()
    }
}
