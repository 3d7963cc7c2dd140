//! Puts a pod's volumes in place and keeps the files of the API in them current.
//!
//! What a volume's files are is [`super::payload`]'s to say, where directories lie [`super::place`]'s.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{HostPathVolumeSource, Pod, Volume};
use kube::Client;
use tokio::sync::Mutex;

use super::{
    in_memory,
    mounts::Placed,
    payload,
    place::{self, NodePaths},
    write,
};
use crate::{
    clock::Clock,
    container::{fields::Facts, references::References},
    objects,
};

/// Why a volume is not in place: what the event `FailedMount` says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct MountError(String);

/// One pod's volumes.
pub(crate) struct PodVolumes {
    client: Client,
    paths: NodePaths,
    clock: Clock,
    tokens: Mutex<BTreeMap<(String, String), Token>>,
}

#[derive(Clone, Debug)]
struct Token {
    value: String,
    renew_at: Timestamp,
}

impl PodVolumes {
    pub(crate) fn new(client: Client, paths: NodePaths, clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            client,
            paths,
            clock,
            tokens: Mutex::default(),
        })
    }

    /// Puts one volume in place; doing it again changes nothing but what has changed in the API.
    pub(crate) async fn place(
        &self,
        pod: &Pod,
        facts: &Facts,
        volume: &Volume,
    ) -> Result<Placed, MountError> {
        let failed = |why: String| {
            MountError(format!(
                "MountVolume.SetUp failed for volume {:?} : {why}",
                volume.name
            ))
        };
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        let path = self.paths.volume(uid, &volume.name);
        if payload::is_payload(volume) {
            self.write(pod, facts, volume, &path)
                .await
                .map_err(failed)?;
            return Ok(on_disk(path, true));
        }
        if let Some(source) = &volume.host_path {
            let path = self.host_path(source).map_err(failed)?;
            return Ok(on_disk(path, false));
        }
        if let Some(source) = &volume.persistent_volume_claim {
            let read_only = source.read_only.unwrap_or_default();
            return self
                .claimed(pod, &volume.name, &source.claim_name, read_only)
                .await;
        }
        if volume.ephemeral.is_some() {
            let pod_name = pod.metadata.name.as_deref().unwrap_or_default();
            let claim = format!("{pod_name}-{}", volume.name);
            return self.claimed(pod, &volume.name, &claim, false).await;
        }
        // A volume without any source is an emptyDir by default.
        if volume.empty_dir.is_some() || source_name(volume).is_none() {
            place::empty_directory(&path, fs_group(pod)).map_err(|e| failed(e.to_string()))?;
            return Ok(Placed {
                in_memory: in_memory::wants_memory(volume),
                ..on_disk(path, false)
            });
        }
        let kind = source_name(volume).unwrap_or_default();
        Err(failed(format!(
            "this node does not support volumes of the type {kind}"
        )))
    }

    async fn write(
        &self,
        pod: &Pod,
        facts: &Facts,
        volume: &Volume,
        path: &PathBuf,
    ) -> Result<bool, String> {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let references = References::of_volume(volume);
        let (found, tokens) = futures::join!(
            objects::find(&self.client, namespace, &references),
            self.tokens(pod, volume)
        );
        let found = found.map_err(|error| objects::text(&error))?;
        let tokens = tokens?;
        let inputs = payload::Inputs {
            pod,
            facts,
            found: &found,
            tokens: &tokens,
        };
        let files = payload::files(volume, &inputs)?;
        std::fs::create_dir_all(path)
            .and_then(|()| write::write(path, &files, fs_group(pod)))
            .map_err(|error| format!("cannot write {}: {error}", path.display()))
    }

    /// The tokens of a volume by path, asked for anew when they have used up most of their time.
    async fn tokens(&self, pod: &Pod, volume: &Volume) -> Result<BTreeMap<String, String>, String> {
        let mut all = BTreeMap::new();
        for source in payload::token_sources(volume) {
            let key = (volume.name.clone(), source.path.clone());
            let mut known = self.tokens.lock().await;
            let now = self.clock.now();
            let valid = known
                .get(&key)
                .filter(|token| token.renew_at > now)
                .cloned();
            let token = if let Some(token) = valid {
                token
            } else {
                let (value, expires) = objects::token(&self.client, pod, source).await?;
                let life = expires.duration_since(now);
                let renew_at = now + (life * 4 / 5).min(SignedDuration::from_hours(24));
                let token = Token { value, renew_at };
                known.insert(key, token.clone());
                token
            };
            all.insert(source.path.clone(), token.value);
        }
        Ok(all)
    }

    fn host_path(&self, source: &HostPathVolumeSource) -> Result<PathBuf, String> {
        let path = self.paths.host(&source.path);
        place::host_path(
            &path,
            source.type_.as_deref().unwrap_or_default(),
            &source.path,
        )?;
        Ok(path)
    }

    async fn claimed(
        &self,
        pod: &Pod,
        volume: &str,
        claim: &str,
        read_only: bool,
    ) -> Result<Placed, MountError> {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let spec = objects::volume_of_claim(&self.client, namespace, claim)
            .await
            .map_err(|why| {
                MountError(format!(
                    "Unable to attach or mount volumes: unmounted volumes=[{volume}], unattached \
                     volumes=[], failed to process volumes=[{volume}]: error processing PVC \
                     {namespace}/{claim}: {why}"
                ))
            })?;
        let failed = |why: String| {
            MountError(format!(
                "MountVolume.SetUp failed for volume {volume:?} : {why}"
            ))
        };
        if let Some(source) = &spec.host_path {
            let path = self.host_path(source).map_err(failed)?;
            return Ok(on_disk(path, read_only));
        }
        if let Some(source) = &spec.local {
            let path = self.paths.host(&source.path);
            if !path.exists() {
                return Err(failed(format!("path {:?} does not exist", source.path)));
            }
            write::give(&path, fs_group(pod)).map_err(|e| failed(e.to_string()))?;
            return Ok(on_disk(path, read_only));
        }
        Err(failed(
            "this node supports hostPath and local persistent volumes only".into(),
        ))
    }

    /// Rewrites the volumes that hold files of the API; a failure leaves the old files.
    pub(crate) async fn refresh(&self, pod: &Pod, facts: &Facts) {
        for volume in volumes(pod).filter(|volume| payload::is_payload(volume)) {
            if let Err(error) = self.place(pod, facts, volume).await {
                tracing::debug!(%error, "volume not refreshed");
            }
        }
    }
}

/// The pause before a volume is tried again; a changed ConfigMap or Secret ends it early.
pub(crate) fn retry_pause(failures: u32) -> Duration {
    Duration::from_millis(500 << failures.min(5))
}

/// The volumes of a pod.
pub(crate) fn volumes(pod: &Pod) -> impl Iterator<Item = &Volume> {
    pod.spec
        .iter()
        .flat_map(|spec| spec.volumes.iter().flatten())
}

fn on_disk(path: PathBuf, read_only: bool) -> Placed {
    Placed {
        path,
        read_only,
        in_memory: false,
    }
}

fn fs_group(pod: &Pod) -> Option<u32> {
    let context = pod.spec.as_ref()?.security_context.as_ref()?;
    context.fs_group.and_then(|gid| u32::try_from(gid).ok())
}

/// The name of a volume's source, as in its spec.
fn source_name(volume: &Volume) -> Option<String> {
    let value = serde_json::to_value(volume).ok()?;
    value
        .as_object()?
        .keys()
        .find(|key| *key != "name")
        .cloned()
}
