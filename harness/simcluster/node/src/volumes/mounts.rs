//! Which volumes and files are mounted where in a container. Pure but for looking up sub-paths.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use k8s_openapi::api::core::v1::Container;
use simcluster_runtime::spec::Mount;

use super::place;
use crate::container::expansion::expand;

/// Where a volume of the pod is, once it is in place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Placed {
    /// Its directory, or the file of a `hostPath`.
    pub(crate) path: PathBuf,
    /// Refuse writes whatever the mount says: a claim's `readOnly`, or files of the API.
    pub(crate) read_only: bool,
    /// Only containers see what is in it: it is in memory, mounted by the runtime.
    pub(crate) in_memory: bool,
}

/// The files every container of a pod gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OwnFiles {
    /// `/etc/hosts`
    pub(crate) hosts: PathBuf,
    /// `/etc/resolv.conf`
    pub(crate) resolv_conf: PathBuf,
    /// `/etc/hostname`
    pub(crate) hostname: PathBuf,
    /// The container's termination message.
    pub(crate) termination_message: PathBuf,
}

/// All mounts of a container, those nearer to the root first.
pub(crate) fn mounts(
    container: &Container,
    volumes: &BTreeMap<String, Placed>,
    files: &OwnFiles,
    environment: &BTreeMap<String, String>,
) -> Result<Vec<Mount>, String> {
    let mut all: Vec<(PathBuf, Mount)> = Vec::new();
    for mount in container.volume_mounts.iter().flatten() {
        let name = &mount.name;
        let volume = volumes
            .get(name)
            .ok_or_else(|| format!("volume {name:?} is not mounted"))?;
        let sub = match (mount.sub_path.as_deref(), mount.sub_path_expr.as_deref()) {
            (Some(path), _) if !path.is_empty() => Some(path.to_owned()),
            (_, Some(expression)) if !expression.is_empty() => {
                Some(expand(expression, |name| environment.get(name).cloned()))
            }
            _ => None,
        };
        let target = absolute(&mount.mount_path);
        let read_only = volume.read_only || mount.read_only.unwrap_or_default();
        let source = match sub {
            Some(sub) if volume.in_memory => {
                place::stays_inside(&sub)?;
                let part = Mount::BindPart {
                    source: volume.path.clone(),
                    part: sub.into(),
                    target: target.clone(),
                    read_only,
                };
                all.push((target, part));
                continue;
            }
            Some(sub) => place::sub_path(&volume.path, &sub)?,
            None => volume.path.clone(),
        };
        all.push((
            target.clone(),
            Mount::Bind {
                source,
                target,
                read_only,
            },
        ));
    }
    let message = container
        .termination_message_path
        .as_deref()
        .unwrap_or("/dev/termination-log");
    let own = [
        ("/etc/hosts", &files.hosts),
        ("/etc/resolv.conf", &files.resolv_conf),
        ("/etc/hostname", &files.hostname),
        (message, &files.termination_message),
    ];
    for (target, source) in own {
        let target = absolute(target);
        // What the pod itself mounts there comes first.
        if !all.iter().any(|(taken, _)| *taken == target) {
            let bind = Mount::Bind {
                source: source.clone(),
                target: target.clone(),
                read_only: false,
            };
            all.push((target, bind));
        }
    }
    all.sort_by_key(|(target, _)| target.components().count());
    Ok(all.into_iter().map(|(_, mount)| mount).collect())
}

fn absolute(path: &str) -> PathBuf {
    Path::new("/").join(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn files() -> OwnFiles {
        OwnFiles {
            hosts: "/p/hosts".into(),
            resolv_conf: "/p/resolv.conf".into(),
            hostname: "/p/hostname".into(),
            termination_message: "/p/message".into(),
        }
    }

    fn targets(mounts: &[Mount]) -> Vec<(&str, bool)> {
        mounts
            .iter()
            .map(|mount| match mount {
                Mount::Bind {
                    target, read_only, ..
                }
                | Mount::BindPart {
                    target, read_only, ..
                } => (target.to_str().unwrap(), *read_only),
                Mount::Tmpfs { target, .. } => (target.to_str().unwrap(), false),
            })
            .collect()
    }

    #[test]
    fn outer_mounts_come_first_and_the_pods_own_hosts_file_wins() {
        let dir = tempfile::tempdir().unwrap();
        let placed = |read_only| Placed {
            path: dir.path().to_owned(),
            read_only,
            in_memory: false,
        };
        let volumes = [
            ("rw".to_owned(), placed(false)),
            ("ro".to_owned(), placed(true)),
        ]
        .into();
        let container: Container = serde_json::from_value(json!({"name": "c", "volumeMounts": [
            {"name": "rw", "mountPath": "/data/in/side"},
            {"name": "ro", "mountPath": "/data"},
            {"name": "rw", "mountPath": "/etc/hosts", "subPathExpr": "$(WHO)/x", "readOnly": true},
        ]}))
        .unwrap();
        let environment = [("WHO".to_owned(), "me".to_owned())].into();
        let mounts = mounts(&container, &volumes, &files(), &environment).unwrap();
        assert_eq!(
            targets(&mounts),
            [
                ("/data", true),
                ("/etc/hosts", true),
                ("/etc/resolv.conf", false),
                ("/etc/hostname", false),
                ("/dev/termination-log", false),
                ("/data/in/side", false),
            ]
        );
        assert!(dir.path().join("me/x").is_dir());
    }
}
