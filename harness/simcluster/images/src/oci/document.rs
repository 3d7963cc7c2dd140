//! The JSON documents of images in files, as far as they matter here.
//!
//! Plain data: what OCI's image specification and `docker save` write.

use serde::{Deserialize, Serialize};

use crate::ImageConfig;

pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// The annotations under which tools look for an image's name, the fuller one first.
pub(crate) const NAMES: [&str; 2] = [
    "io.containerd.image.name",
    "org.opencontainers.image.ref.name",
];

/// `index.json`, or an index that it points to.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Index {
    pub(crate) schema_version: u32,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) media_type: String,
    #[serde(default)]
    pub(crate) manifests: Vec<Descriptor>,
}

impl Index {
    /// Of one image with that name.
    pub(crate) fn of(mut image: Descriptor, name: &str) -> Self {
        for key in NAMES {
            image.annotations.insert(key.to_owned(), name.to_owned());
        }
        Self {
            schema_version: 2,
            media_type: INDEX.to_owned(),
            manifests: vec![image],
        }
    }

    /// The image, or index, for this machine.
    pub(crate) fn for_this_machine(&self) -> Result<&Descriptor, String> {
        let found = self.manifests.iter().find(|image| image.runs_here());
        found.ok_or_else(|| {
            let platforms = self.manifests.iter().filter_map(|image| {
                let platform = image.platform.as_ref()?;
                Some(format!("{}/{}", platform.os, platform.architecture))
            });
            let platforms: std::collections::BTreeSet<_> = platforms.collect();
            let platforms: Vec<_> = platforms.into_iter().collect();
            format!(
                "it has no image for linux/{}, only for {}",
                architecture(),
                platforms.join(", ")
            )
        })
    }

    pub(crate) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings and numbers become JSON")
    }
}

impl Descriptor {
    /// Whether it is for this machine. Attestations say that they are for an unknown platform.
    pub(crate) fn runs_here(&self) -> bool {
        self.platform.as_ref().is_none_or(|platform| {
            (platform.os.is_empty() || platform.os == "linux")
                && (platform.architecture.is_empty() || platform.architecture == architecture())
        })
    }
}

/// A reference to a blob.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) digest: String,
    #[serde(default)]
    pub(crate) size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) platform: Option<Platform>,
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub(crate) annotations: std::collections::BTreeMap<String, String>,
}

/// What an image runs on.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Platform {
    #[serde(default)]
    pub(crate) os: String,
    #[serde(default)]
    pub(crate) architecture: String,
}

/// A manifest: one image for one platform.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    pub(crate) schema_version: u32,
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) config: Descriptor,
    #[serde(default)]
    pub(crate) layers: Vec<Descriptor>,
}

/// An element of `manifest.json` of `docker save`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Saved {
    pub(crate) config: String,
    #[serde(default)]
    pub(crate) repo_tags: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) layers: Vec<String>,
}

/// The configuration blob.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Configuration {
    #[serde(default)]
    pub(crate) architecture: String,
    #[serde(default)]
    pub(crate) os: String,
    #[serde(default)]
    pub(crate) config: Option<Process>,
    #[serde(default)]
    pub(crate) rootfs: RootFs,
}

/// How to run it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Process {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    user: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    env: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    entrypoint: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cmd: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    working_dir: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stop_signal: Option<String>,
}

/// The layers of an image, uncompressed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct RootFs {
    #[serde(default, rename = "type")]
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) diff_ids: Vec<String>,
}

impl From<Process> for ImageConfig {
    fn from(process: Process) -> Self {
        Self {
            entrypoint: process.entrypoint.unwrap_or_default(),
            cmd: process.cmd.unwrap_or_default(),
            env: process.env.unwrap_or_default(),
            user: process.user,
            working_dir: process.working_dir,
            stop_signal: process.stop_signal.filter(|signal| !signal.is_empty()),
        }
    }
}

impl From<ImageConfig> for Process {
    fn from(config: ImageConfig) -> Self {
        let some = |list: Vec<String>| (!list.is_empty()).then_some(list);
        Self {
            user: config.user,
            env: some(config.env),
            entrypoint: some(config.entrypoint),
            cmd: some(config.cmd),
            working_dir: config.working_dir,
            stop_signal: config.stop_signal,
        }
    }
}

/// This machine's processor, as images name it.
pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        other => other,
    }
}
