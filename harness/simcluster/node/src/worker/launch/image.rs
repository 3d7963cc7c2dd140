//! Gets the image of a container that is to start, with the events that tell of it.
//!
//! What was pulled with one pod's Secrets is there for every pod of the node afterwards.

use std::{
    fs,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use simcluster_images::{Image, Logins, PullOptions, Reference};

use super::Launch;
use crate::{
    events::{Note, pod_reference},
    images::ImageFailure,
    pod::container::StartFailure,
};

impl Launch {
    /// What the pod's Secrets for registries say. An Event tells which of them are not there: without them the image may
    /// be had, or not.
    pub(super) async fn pull_secrets(&self) -> Vec<Secret> {
        let spec = self.pod.spec.as_ref();
        let named = spec.and_then(|spec| spec.image_pull_secrets.as_deref());
        let namespace = self.pod.metadata.namespace.as_deref().unwrap_or_default();
        let secrets: Api<Secret> = Api::namespaced(self.context.client.clone(), namespace);
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        for name in named.unwrap_or_default().iter().map(|secret| &secret.name) {
            match secrets.get_opt(name).await {
                Ok(Some(secret)) => found.push(secret),
                Ok(None) | Err(_) => missing.push(name.as_str()),
            }
        }
        if missing.is_empty() {
            return found;
        }
        let message = format!(
            "Unable to retrieve some image pull secrets ({}); attempting to pull the image may not succeed.",
            missing.join(", ")
        );
        let note = Note {
            warning: true,
            reason: "FailedToRetrieveImagePullSecret".into(),
            message,
        };
        let about = pod_reference(&self.pod, None);
        self.context.recorder.record(about, note);
        found
    }

    /// Gets the image, with the events that tell of it.
    pub(super) async fn image(&self) -> Result<Arc<Image>, StartFailure> {
        let secrets = self.pull_secrets().await;
        let name = self.image_name();
        let policy = self
            .container
            .image_pull_policy
            .as_deref()
            .unwrap_or("IfNotPresent");
        if let Err(why) = name.parse::<Reference>() {
            return Err(self.invalid_name(&why.to_string()));
        }
        let present = self.context.images.present(name);
        match (present, policy) {
            (Some(image), "IfNotPresent" | "Never") => {
                let text = format!(
                    "Container image {name:?} already present on machine and can be accessed by the pod"
                );
                self.note(false, "Pulled", text);
                self.tell_substitution(&image);
                if !self.context.stock.knows(name, &image) {
                    let size = size_of(&image).await;
                    self.context.stock.has(name, &image, size);
                }
                return Ok(image);
            }
            (None, "Never") => {
                let text =
                    format!("Container image {name:?} is not present with pull policy of Never");
                self.note(true, "ErrImageNeverPull", text.clone());
                return Err(StartFailure::ImageNeverPull(text));
            }
            _ => {}
        }
        self.note(false, "Pulling", format!("Pulling image {name:?}"));
        let begun = Instant::now();
        let pulled = match logins(&secrets) {
            Err(why) => Err(ImageFailure::Unavailable(why)),
            Ok(logins) => {
                let options = PullOptions {
                    look_again: policy == "Always",
                    logins,
                };
                tokio::select! {
                    pulled = self.context.images.ensure(name, options) => pulled,
                    () = self.cancelled.cancelled() => return Err(StartFailure::Cancelled),
                }
            }
        };
        match pulled {
            Ok(image) => {
                let took = go_duration(begun.elapsed());
                let size = size_of(&image).await;
                let text = format!(
                    "Successfully pulled image {name:?} in {took} ({took} including waiting). \
                     Image size: {size} bytes."
                );
                self.note(false, "Pulled", text);
                self.tell_substitution(&image);
                self.context.stock.has(name, &image, size);
                Ok(image)
            }
            Err(ImageFailure::InvalidName(why)) => Err(self.invalid_name(&why)),
            Err(ImageFailure::Unavailable(why)) => {
                let text = format!("Failed to pull image {name:?}: {why}");
                self.note(true, "Failed", text);
                Err(StartFailure::ImagePull(why))
            }
        }
    }

    fn invalid_name(&self, why: &str) -> StartFailure {
        let name = self.image_name();
        let text = format!(
            "Failed to apply default image tag {name:?}: couldn't parse image name {name:?}: {why}"
        );
        self.note(true, "InspectFailed", text.clone());
        StartFailure::InvalidImageName(text)
    }

    fn tell_substitution(&self, image: &Image) {
        if let Some(text) = image.substitution.as_ref().filter(|_| self.run == 0) {
            self.note(false, "ImageSubstituted", text.clone());
        }
    }
}

/// The logins in Secrets of the types for that; others are passed over, as by a kubelet.
fn logins(secrets: &[Secret]) -> Result<Vec<Logins>, String> {
    let mut all = Vec::new();
    for secret in secrets {
        let part = |key: &str| Some(secret.data.as_ref()?.get(key)?.0.as_slice());
        let parsed = match secret.type_.as_deref() {
            Some("kubernetes.io/dockerconfigjson") => {
                part(".dockerconfigjson").map(Logins::from_config)
            }
            Some("kubernetes.io/dockercfg") => part(".dockercfg").map(Logins::from_legacy),
            _ => None,
        };
        let name = secret.metadata.name.as_deref().unwrap_or_default();
        match parsed {
            None => {}
            Some(Ok(logins)) => all.push(logins),
            Some(Err(why)) => {
                return Err(format!(
                    "the Secret {name:?} of imagePullSecrets cannot be used: {why}"
                ));
            }
        }
    }
    Ok(all)
}

/// How many bytes an image has.
async fn size_of(image: &Image) -> u64 {
    if image.layers.is_empty() {
        // Not to leave the thread for nothing: a model has many such.
        return 0;
    }
    let layers = image.layers.clone();
    let size = tokio::task::spawn_blocking(move || bytes_of(&layers)).await;
    size.unwrap_or_default()
}

/// How much the files of these directories hold.
fn bytes_of(layers: &[PathBuf]) -> u64 {
    let mut bytes = 0;
    let mut directories = layers.to_vec();
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(found) if found.is_dir() => directories.push(entry.path()),
                Ok(found) if found.is_file() => bytes += found.len(),
                _ => {}
            }
        }
    }
    bytes
}

/// A duration as Go prints it, to the millisecond: `1.234s`, `56ms`.
fn go_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    if millis >= 1000 {
        let text = format!("{:.3}", duration.as_secs_f64());
        format!("{}s", text.trim_end_matches('0').trim_end_matches('.'))
    } else {
        format!("{millis}ms")
    }
}
