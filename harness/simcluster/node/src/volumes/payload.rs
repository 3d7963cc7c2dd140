//! The files of configMap, secret, downwardAPI and projected volumes: path, bytes, mode. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    DownwardAPIVolumeFile, KeyToPath, Pod, ServiceAccountTokenProjection, Volume, VolumeProjection,
};

use crate::container::{
    fields::{self, Facts},
    references::{Found, config_map_data, secret_data},
};

/// One file, by its path inside the volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) bytes: Vec<u8>,
    pub(crate) mode: u32,
}

/// All files of a volume.
pub(crate) type Files = BTreeMap<String, File>;

/// What the files of a volume are made of.
pub(crate) struct Inputs<'a> {
    pub(crate) pod: &'a Pod,
    pub(crate) facts: &'a Facts,
    pub(crate) found: &'a Found,
    /// Tokens of the volume's `serviceAccountToken` sources, by their path.
    pub(crate) tokens: &'a BTreeMap<String, String>,
}

const DEFAULT_MODE: i32 = 0o644;

/// Whether a volume consists of such files.
pub(crate) fn is_payload(volume: &Volume) -> bool {
    volume.config_map.is_some()
        || volume.secret.is_some()
        || volume.downward_api.is_some()
        || volume.projected.is_some()
}

/// The `serviceAccountToken` sources of a volume.
pub(crate) fn token_sources(
    volume: &Volume,
) -> impl Iterator<Item = &ServiceAccountTokenProjection> {
    let sources = volume
        .projected
        .iter()
        .flat_map(|p| p.sources.iter().flatten());
    sources.filter_map(|source| source.service_account_token.as_ref())
}

/// The files of a volume. The error is what the event `FailedMount` says after the volume's name.
pub(crate) fn files(volume: &Volume, inputs: &Inputs<'_>) -> Result<Files, String> {
    let mut files = Files::new();
    if let Some(source) = &volume.config_map {
        let picked = Picked {
            items: source.items.as_deref(),
            optional: source.optional.unwrap_or_default(),
            mode: source.default_mode.unwrap_or(DEFAULT_MODE),
        };
        config_map(&source.name, &picked, inputs, &mut files)?;
    } else if let Some(source) = &volume.secret {
        let picked = Picked {
            items: source.items.as_deref(),
            optional: source.optional.unwrap_or_default(),
            mode: source.default_mode.unwrap_or(DEFAULT_MODE),
        };
        secret(
            source.secret_name.as_deref().unwrap_or_default(),
            &picked,
            inputs,
            &mut files,
        )?;
    } else if let Some(source) = &volume.downward_api {
        let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
        downward(
            source.items.as_deref().unwrap_or_default(),
            mode,
            inputs,
            &mut files,
        )?;
    } else if let Some(source) = &volume.projected {
        let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
        for projection in source.sources.iter().flatten() {
            project(projection, mode, inputs, &mut files)?;
        }
    }
    Ok(files)
}

/// Which keys of an object become files.
struct Picked<'a> {
    items: Option<&'a [KeyToPath]>,
    optional: bool,
    mode: i32,
}

fn project(
    projection: &VolumeProjection,
    mode: i32,
    inputs: &Inputs<'_>,
    files: &mut Files,
) -> Result<(), String> {
    if let Some(source) = &projection.config_map {
        let optional = source.optional.unwrap_or_default();
        let picked = Picked {
            items: source.items.as_deref(),
            optional,
            mode,
        };
        config_map(&source.name, &picked, inputs, files)
    } else if let Some(source) = &projection.secret {
        let optional = source.optional.unwrap_or_default();
        let picked = Picked {
            items: source.items.as_deref(),
            optional,
            mode,
        };
        secret(&source.name, &picked, inputs, files)
    } else if let Some(source) = &projection.downward_api {
        downward(
            source.items.as_deref().unwrap_or_default(),
            mode,
            inputs,
            files,
        )
    } else if let Some(source) = &projection.service_account_token {
        let token = inputs.tokens.get(&source.path).ok_or_else(|| {
            format!(
                "no token was issued for the path {:?} of the projection",
                source.path
            )
        })?;
        // A token is for its owner; who else may read it is the fsGroup's matter.
        insert(files, &source.path, token.clone().into_bytes(), 0o644)
    } else {
        Err("this node supports configMap, secret, downwardAPI and serviceAccountToken projections \
             only"
            .into())
    }
}

fn config_map(
    name: &str,
    picked: &Picked<'_>,
    inputs: &Inputs<'_>,
    files: &mut Files,
) -> Result<(), String> {
    match inputs.found.config_maps.get(name) {
        Some(map) => pick(
            &config_map_data(map),
            picked,
            "configmap references non-existent config key",
            files,
        ),
        None if picked.optional => Ok(()),
        None => Err(format!("configmap {name:?} not found")),
    }
}

fn secret(
    name: &str,
    picked: &Picked<'_>,
    inputs: &Inputs<'_>,
    files: &mut Files,
) -> Result<(), String> {
    match inputs.found.secrets.get(name) {
        Some(found) => pick(
            &secret_data(found),
            picked,
            "references non-existent secret key",
            files,
        ),
        None if picked.optional => Ok(()),
        None => Err(format!("secret {name:?} not found")),
    }
}

fn pick(
    data: &BTreeMap<&str, &[u8]>,
    picked: &Picked<'_>,
    missing: &str,
    files: &mut Files,
) -> Result<(), String> {
    let Some(items) = picked.items.filter(|items| !items.is_empty()) else {
        for (key, value) in data {
            insert(files, key, value.to_vec(), picked.mode)?;
        }
        return Ok(());
    };
    for item in items {
        match data.get(item.key.as_str()) {
            Some(value) => {
                insert(
                    files,
                    &item.path,
                    value.to_vec(),
                    item.mode.unwrap_or(picked.mode),
                )?;
            }
            None if picked.optional => {}
            None => return Err(format!("{missing}: {}", item.key)),
        }
    }
    Ok(())
}

fn downward(
    items: &[DownwardAPIVolumeFile],
    mode: i32,
    inputs: &Inputs<'_>,
    files: &mut Files,
) -> Result<(), String> {
    for item in items {
        let text = match (&item.field_ref, &item.resource_field_ref) {
            (Some(selector), _) => fields::field(inputs.pod, inputs.facts, selector)?,
            (None, Some(selector)) => fields::resource(inputs.pod, inputs.facts, None, selector)?,
            (None, None) => String::new(),
        };
        insert(
            files,
            &item.path,
            text.into_bytes(),
            item.mode.unwrap_or(mode),
        )?;
    }
    Ok(())
}

fn insert(files: &mut Files, path: &str, bytes: Vec<u8>, mode: i32) -> Result<(), String> {
    let steps: Vec<&str> = path.split('/').collect();
    if path.is_empty() || steps.iter().any(|step| matches!(*step, "" | "." | "..")) {
        return Err(format!(
            "invalid path {path:?}: it must be relative and without '..'"
        ));
    }
    let mode = u32::try_from(mode).unwrap_or(0o644) & 0o777;
    files.insert(path.to_owned(), File { bytes, mode });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::{ConfigMap, Secret};
    use serde_json::{Value, json};

    fn build(volume: Value) -> Result<Files, String> {
        let volume: Volume = serde_json::from_value(volume).unwrap();
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "annotations": {"note": "hello"}},
            "spec": {"containers": []},
        }))
        .unwrap();
        let map: ConfigMap =
            serde_json::from_value(json!({"data": {"a.txt": "alpha", "b.txt": "beta"}})).unwrap();
        let secret: Secret = serde_json::from_value(json!({"data": {"pw": "aGlkZGVu"}})).unwrap();
        let found = Found {
            config_maps: [("cm".to_owned(), map)].into(),
            secrets: [("se".to_owned(), secret)].into(),
        };
        let tokens = [("token".to_owned(), "jwt".to_owned())].into();
        files(
            &volume,
            &Inputs {
                pod: &pod,
                facts: &Facts::default(),
                found: &found,
                tokens: &tokens,
            },
        )
    }

    fn list(files: &Files) -> Vec<(&str, &str, u32)> {
        let text = |file: &'_ File| -> &'static str {
            String::leak(String::from_utf8(file.bytes.clone()).unwrap())
        };
        files
            .iter()
            .map(|(path, file)| (path.as_str(), text(file), file.mode))
            .collect()
    }

    #[test]
    fn keys_become_files_and_items_choose_and_rename() {
        let all = build(json!({"name": "v", "configMap": {"name": "cm"}})).unwrap();
        assert_eq!(
            list(&all),
            [("a.txt", "alpha", 0o644), ("b.txt", "beta", 0o644)]
        );
        let one = build(json!({"name": "v", "configMap": {
            "name": "cm", "defaultMode": 0o400, "items": [{"key": "a.txt", "path": "deep/one"}],
        }}))
        .unwrap();
        assert_eq!(list(&one), [("deep/one", "alpha", 0o400)]);
    }

    #[test]
    fn a_projected_volume_joins_its_sources() {
        let files = build(json!({"name": "v", "projected": {"sources": [
            {"secret": {"name": "se"}},
            {"serviceAccountToken": {"path": "token"}},
            {"configMap": {"name": "absent", "optional": true}},
            {"downwardAPI": {"items": [
                {"path": "note", "fieldRef": {"fieldPath": "metadata.annotations['note']"}},
            ]}},
        ]}}))
        .unwrap();
        let names: Vec<_> = list(&files)
            .into_iter()
            .map(|(path, text, _)| (path, text))
            .collect();
        assert_eq!(
            names,
            [("note", "hello"), ("pw", "hidden"), ("token", "jwt")]
        );
    }

    #[test]
    fn what_is_missing_is_named_unless_it_is_optional() {
        let secret = |spec: Value| build(json!({"name": "v", "secret": spec}));
        assert_eq!(
            secret(json!({"secretName": "no"})).unwrap_err(),
            "secret \"no\" not found"
        );
        assert!(
            secret(json!({"secretName": "no", "optional": true}))
                .unwrap()
                .is_empty()
        );
        let items = json!([{"key": "zz", "path": "z"}]);
        assert_eq!(
            secret(json!({"secretName": "se", "items": items})).unwrap_err(),
            "references non-existent secret key: zz"
        );
    }

    #[test]
    fn a_path_never_leaves_the_volume() {
        let items = json!([{"key": "a.txt", "path": "../x"}]);
        assert!(build(json!({"name": "v", "configMap": {"name": "cm", "items": items}})).is_err());
    }
}
