//! Where volumes lie on the node, and the directories of those that are more than files.
//!
//! A `hostPath` is a path in the node's own private root, never one of the machine: pods of one node
//! share it, pods of other nodes and of other clusters do not see it.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Component, Path, PathBuf},
};

use super::write::give;

/// Where things lie on one node.
#[derive(Clone, Debug)]
pub(crate) struct NodePaths {
    root: PathBuf,
}

impl NodePaths {
    /// The paths of the node whose directory is `root`.
    pub(crate) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    /// The node's directory itself.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Everything of one pod.
    pub(crate) fn pod(&self, uid: &str) -> PathBuf {
        self.root.join("pods").join(uid)
    }

    /// The directory of one volume of a pod.
    pub(crate) fn volume(&self, uid: &str, volume: &str) -> PathBuf {
        self.pod(uid).join("volumes").join(volume)
    }

    /// What a pod calls `path` of its host. Where a kubelet keeps the volumes of pods is a path of the host, too.
    pub(crate) fn host(&self, path: &str) -> PathBuf {
        if let Some((uid, volume)) = pod_volume(path) {
            return self.volume(uid, volume);
        }
        let mut inside = self.root.join("host");
        for step in Path::new(path).components() {
            match step {
                Component::Normal(name) => inside.push(name),
                Component::ParentDir
                | Component::CurDir
                | Component::RootDir
                | Component::Prefix(_) => {}
            }
        }
        inside
    }
}

/// `/var/lib/kubelet/pods/UID/volumes/kubernetes.io~empty-dir/NAME`
fn pod_volume(path: &str) -> Option<(&str, &str)> {
    let (uid, rest) = path
        .strip_prefix("/var/lib/kubelet/pods/")?
        .split_once('/')?;
    let (plugin, volume) = rest.strip_prefix("volumes/")?.split_once('/')?;
    let is_name = |text: &str| !text.is_empty() && !text.contains('/') && !text.contains("..");
    (plugin.starts_with("kubernetes.io~") && is_name(uid) && is_name(volume))
        .then_some((uid, volume))
}

/// Makes an empty directory that any user of the pod may write to.
pub(crate) fn empty_directory(path: &Path, group: Option<u32>) -> io::Result<()> {
    fs::create_dir_all(path)?;
    give(path, group)?;
    let set_group = if group.is_some() { 0o2000 } else { 0 };
    fs::set_permissions(path, fs::Permissions::from_mode(0o777 | set_group))
}

/// Checks a `hostPath` against its `type`, and makes what the type lets make. `shown` is the path as
/// the pod wrote it.
pub(crate) fn host_path(path: &Path, kind: &str, shown: &str) -> Result<(), String> {
    let make = |result: io::Result<()>| {
        result.map_err(|error| format!("hostPath {shown} could not be made: {error}"))
    };
    let found = fs::metadata(path).ok();
    let refuse = |what: &str| {
        Err(format!(
            "hostPath type check failed: {shown} is not a {what}"
        ))
    };
    match kind {
        // Without a type, a missing directory is made by the container engine.
        "" if found.is_none() => make(fs::create_dir_all(path)),
        "DirectoryOrCreate" => match found {
            Some(meta) if !meta.is_dir() => refuse("directory"),
            Some(_) => Ok(()),
            None => make(fs::create_dir_all(path)),
        },
        "FileOrCreate" => match found {
            Some(meta) if !meta.is_file() => refuse("file"),
            Some(_) => Ok(()),
            None => make(fs::File::create(path).map(drop)),
        },
        "Directory" if !found.as_ref().is_some_and(fs::Metadata::is_dir) => refuse("directory"),
        "File" if !found.as_ref().is_some_and(fs::Metadata::is_file) => refuse("file"),
        "Socket" | "CharDevice" | "BlockDevice" if found.is_none() => {
            refuse(&kind.replace("Device", " device").to_lowercase())
        }
        _ => Ok(()),
    }
}

/// The file or directory of a `subPath`; a missing one becomes a directory.
pub(crate) fn sub_path(volume: &Path, sub: &str) -> Result<PathBuf, String> {
    let inside = |path: &Path| {
        let (real, root) = (path.canonicalize(), volume.canonicalize());
        matches!((real, root), (Ok(real), Ok(root)) if real.starts_with(&root))
    };
    let path = volume.join(sub.trim_start_matches('/'));
    stays_inside(sub)?;
    if !path.exists() {
        fs::create_dir_all(&path)
            .map_err(|error| format!("failed to create subPath directory {sub:?}: {error}"))?;
    }
    if !inside(&path) {
        return Err(format!("subPath {sub:?} leads out of its volume"));
    }
    path.canonicalize()
        .map_err(|error| format!("subPath {sub:?}: {error}"))
}

/// Refuses a `subPath` that says it leads out; links in the volume are another matter.
pub(crate) fn stays_inside(sub: &str) -> Result<(), String> {
    if sub.split('/').any(|step| step == "..") {
        return Err(format!("subPath {sub:?} must not contain '..'"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_path_stays_in_the_nodes_own_root() {
        let paths = NodePaths::new(Path::new("/n"));
        assert_eq!(paths.host("/var/lib/x"), Path::new("/n/host/var/lib/x"));
        assert_eq!(paths.host("/../../etc"), Path::new("/n/host/etc"));
    }

    #[test]
    fn a_host_path_to_a_pods_volume_is_that_volume() {
        let paths = NodePaths::new(Path::new("/n"));
        let volumes = "/var/lib/kubelet/pods/uid/volumes";
        let of = |rest: &str| paths.host(&format!("{volumes}/{rest}"));
        assert_eq!(
            of("kubernetes.io~empty-dir/scratch"),
            paths.volume("uid", "scratch")
        );
        for other in [
            "kubernetes.io~empty-dir/..",
            "kubernetes.io~empty-dir/a/b",
            "elsewhere/a",
        ] {
            assert!(of(other).starts_with("/n/host"), "{other}");
        }
    }

    #[test]
    fn host_path_types_are_checked() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("d");
        assert_eq!(
            host_path(&missing, "Directory", "/d").unwrap_err(),
            "hostPath type check failed: /d is not a directory"
        );
        host_path(&missing, "DirectoryOrCreate", "/d").unwrap();
        host_path(&missing, "Directory", "/d").unwrap();
        assert!(host_path(&missing, "File", "/d").is_err());
    }

    #[test]
    fn a_sub_path_never_leaves_its_volume() {
        let dir = tempfile::tempdir().unwrap();
        let volume = dir.path().join("v");
        fs::create_dir(&volume).unwrap();
        std::os::unix::fs::symlink("/etc", volume.join("link")).unwrap();
        assert!(sub_path(&volume, "a/b").unwrap().is_dir());
        assert!(sub_path(&volume, "link").is_err());
        assert!(sub_path(&volume, "../x").is_err());
    }
}
