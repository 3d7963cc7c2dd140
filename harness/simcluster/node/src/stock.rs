//! The images that a node has, as its status lists them.
//!
//! An image counts from when a container was to start from it; nothing is removed from a node.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use k8s_openapi::api::core::v1::{ContainerImage, Node};
use kube::{Api, api::Patch};
use serde_json::json;
use simcluster_images::{Image, Reference};
use tokio::sync::Notify;

use crate::{context::Context, written};

/// A kubelet lists no more, the largest.
const MOST: usize = 50;

/// What a node has; shared by its workers.
#[derive(Debug, Default)]
pub(crate) struct Stock {
    images: Mutex<BTreeMap<String, Known>>,
    changed: Notify,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    digest: String,
    bytes: u64,
}

impl Stock {
    /// Whether that is what it has under this name.
    pub(crate) fn knows(&self, name: &str, image: &Image) -> bool {
        let images = self.images();
        images
            .get(&full(name))
            .is_some_and(|known| known.digest == image.digest)
    }

    /// It has an image under a name.
    pub(crate) fn has(&self, name: &str, image: &Image, bytes: u64) {
        let known = Known {
            digest: image.digest.clone(),
            bytes,
        };
        if self.images().insert(full(name), known.clone()) != Some(known) {
            self.changed.notify_one();
        }
    }

    /// The list for the node's status: an image with all its names, the largest first.
    fn list(&self) -> Vec<ContainerImage> {
        let mut by_digest: BTreeMap<String, (Vec<String>, u64)> = BTreeMap::new();
        for (name, known) in self.images().iter() {
            let (names, bytes) = by_digest.entry(known.digest.clone()).or_default();
            names.push(name.clone());
            *bytes = known.bytes;
        }
        let mut all: Vec<_> = by_digest.into_iter().collect();
        all.sort_by(|(_, (one, a)), (_, (other, b))| b.cmp(a).then(one.cmp(other)));
        all.truncate(MOST);
        all.into_iter()
            .map(|(digest, (names, bytes))| ContainerImage {
                names: Some(with_digests(&digest, names)),
                size_bytes: i64::try_from(bytes).ok(),
            })
            .collect()
    }

    fn images(&self) -> MutexGuard<'_, BTreeMap<String, Known>> {
        self.images.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A name as a node writes it: `docker.io/library/busybox:1.36`.
fn full(name: &str) -> String {
    let parsed = name.parse::<Reference>();
    parsed.map_or_else(|_| name.to_owned(), |reference| reference.to_string())
}

/// Names by content, and then those that were asked for.
fn with_digests(digest: &str, names: Vec<String>) -> Vec<String> {
    let repository = |name: &String| {
        let bare = name.split('@').next().unwrap_or(name);
        match bare.rsplit_once(':') {
            Some((repository, tag)) if !tag.contains('/') => repository.to_owned(),
            _ => bare.to_owned(),
        }
    };
    let mut all: Vec<String> = Vec::new();
    for repository in names.iter().map(repository) {
        let by_content = format!("{repository}@{digest}");
        if !all.contains(&by_content) {
            all.push(by_content);
        }
    }
    let tags = names.into_iter().filter(|name| !name.contains('@'));
    all.extend(tags);
    all
}

/// Writes the list into the node's status whenever it has changed, until the task is dropped.
pub(crate) async fn tell(context: Arc<Context>) {
    let nodes: Api<Node> = Api::all(context.client.clone());
    loop {
        context.stock.changed.notified().await;
        let status = json!({"status": {"images": context.stock.list()}});
        let written = nodes
            .patch_status(&context.node, &written::by_patch(), &Patch::Merge(status))
            .await;
        if let Err(error) = written {
            tracing::debug!(%error, "the node's images are not told");
        }
    }
}

#[cfg(test)]
mod tests {
    use simcluster_images::ImageConfig;

    use super::*;

    fn image(digest: &str) -> Image {
        Image {
            reference: String::new(),
            resolved: String::new(),
            digest: digest.to_owned(),
            layers: Vec::new(),
            config: ImageConfig::default(),
            substitution: None,
        }
    }

    #[test]
    fn an_image_is_listed_once_with_all_its_names_the_largest_first() {
        let stock = Stock::default();
        stock.has("busybox:1.36", &image("sha256:a"), 1);
        stock.has("registry:5000/b", &image("sha256:b"), 2);
        stock.has("busybox", &image("sha256:a"), 1);
        let list = stock.list().into_iter();
        let list: Vec<_> = list.map(|it| (it.names.unwrap(), it.size_bytes)).collect();
        let names = |all: &[&str]| {
            all.iter()
                .map(|name| (*name).to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            list,
            [
                (
                    names(&["registry:5000/b@sha256:b", "registry:5000/b:latest"]),
                    Some(2)
                ),
                (
                    names(&[
                        "docker.io/library/busybox@sha256:a",
                        "docker.io/library/busybox:1.36",
                        "docker.io/library/busybox:latest"
                    ]),
                    Some(1)
                ),
            ]
        );
    }

    #[test]
    fn a_name_that_means_another_image_now_is_the_new_ones() {
        let stock = Stock::default();
        stock.has("a:1", &image("sha256:old"), 1);
        assert!(stock.knows("docker.io/library/a:1", &image("sha256:old")));
        stock.has("a:1", &image("sha256:new"), 1);
        assert!(!stock.knows("a:1", &image("sha256:old")));
        assert_eq!(stock.list().len(), 1);
    }
}
