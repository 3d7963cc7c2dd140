//! Which ConfigMaps and Secrets a pod refers to, and what was found of them. Pure data.
//!
//! Fetching them is [`crate::objects`]'s.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{
    ByteString,
    api::core::v1::{ConfigMap, Container, Secret, Volume},
};

/// Names of objects in the pod's namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct References {
    pub(crate) config_maps: BTreeSet<String>,
    pub(crate) secrets: BTreeSet<String>,
}

/// What the API had of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    pub(crate) config_maps: BTreeMap<String, ConfigMap>,
    pub(crate) secrets: BTreeMap<String, Secret>,
}

impl References {
    /// What a container's environment refers to.
    pub(crate) fn of_environment(container: &Container) -> Self {
        let mut all = Self::default();
        for source in container.env_from.iter().flatten() {
            all.config_maps
                .extend(source.config_map_ref.as_ref().map(|r| r.name.clone()));
            all.secrets
                .extend(source.secret_ref.as_ref().map(|r| r.name.clone()));
        }
        for source in container
            .env
            .iter()
            .flatten()
            .filter_map(|e| e.value_from.as_ref())
        {
            all.config_maps
                .extend(source.config_map_key_ref.as_ref().map(|r| r.name.clone()));
            all.secrets
                .extend(source.secret_key_ref.as_ref().map(|r| r.name.clone()));
        }
        all
    }

    /// What a volume's files come from.
    pub(crate) fn of_volume(volume: &Volume) -> Self {
        let mut all = Self::default();
        all.config_maps
            .extend(volume.config_map.as_ref().map(|s| s.name.clone()));
        all.secrets
            .extend(volume.secret.as_ref().and_then(|s| s.secret_name.clone()));
        let projections = volume
            .projected
            .iter()
            .flat_map(|p| p.sources.iter().flatten());
        for source in projections {
            all.config_maps
                .extend(source.config_map.as_ref().map(|s| s.name.clone()));
            all.secrets
                .extend(source.secret.as_ref().map(|s| s.name.clone()));
        }
        all
    }

    /// Whether there is nothing to fetch.
    pub(crate) fn is_empty(&self) -> bool {
        self.config_maps.is_empty() && self.secrets.is_empty()
    }
}

/// All keys of a ConfigMap, text and binary.
pub(crate) fn config_map_data(map: &ConfigMap) -> BTreeMap<&str, &[u8]> {
    let text = map
        .data
        .iter()
        .flatten()
        .map(|(k, v)| (k.as_str(), v.as_bytes()));
    let binary = map
        .binary_data
        .iter()
        .flatten()
        .map(|(k, ByteString(v))| (k.as_str(), &v[..]));
    text.chain(binary).collect()
}

/// All keys of a Secret.
pub(crate) fn secret_data(secret: &Secret) -> BTreeMap<&str, &[u8]> {
    secret
        .data
        .iter()
        .flatten()
        .map(|(k, ByteString(v))| (k.as_str(), &v[..]))
        .collect()
}
