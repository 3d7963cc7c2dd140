//! A node's own directory: made at its start, removed at its end, and removed by the next node should
//! this one die without a chance to.
//!
//! A directory in use holds a locked file; the kernel lets go of the lock when the process ends, however
//! it ends.

use std::{
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

const PREFIX: &str = "simcluster-node-";
const LOCK: &str = "lock";

/// A directory in use.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    _lock: File,
}

impl Directory {
    /// Makes a new directory under `parent`.
    pub(crate) fn create(parent: &Path) -> io::Result<Self> {
        fs::create_dir_all(parent)?;
        let path = parent.join(format!("{PREFIX}{}", uuid::Uuid::new_v4().simple()));
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        let path = path.canonicalize()?;
        let lock = File::create(path.join(LOCK))?;
        lock.lock()?;
        Ok(Self { path, _lock: lock })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The directories of nodes that died without removing theirs.
    pub(crate) fn abandoned(&self) -> Vec<PathBuf> {
        let parent = self.path.parent().unwrap_or(&self.path);
        let entries = fs::read_dir(parent).into_iter().flatten().flatten();
        entries
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX))
            .map(|entry| entry.path())
            .filter(|path| *path != self.path && is_abandoned(path))
            .collect()
    }
}

/// Removes it with everything in it that this user can remove.
impl Drop for Directory {
    fn drop(&mut self) {
        if let Err(error) = remove_tree(&self.path) {
            tracing::warn!(%error, directory = %self.path.display(), "directory not removed");
        }
    }
}

fn is_abandoned(directory: &Path) -> bool {
    // Without a lock file it is just being made, or just being removed.
    File::open(directory.join(LOCK)).is_ok_and(|lock| match lock.try_lock() {
        Ok(()) => true,
        Err(TryLockError::WouldBlock | TryLockError::Error(_)) => false,
    })
}

/// Removes a tree, directories that refuse included as far as they are our own.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open_up(path)?;
            fs::remove_dir_all(path)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn open_up(directory: &Path) -> io::Result<()> {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_up(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_in_use_is_not_abandoned_and_one_of_the_dead_is() {
        let parent = tempfile::tempdir().unwrap();
        let first = Directory::create(parent.path()).unwrap();
        let second = Directory::create(parent.path()).unwrap();
        assert_eq!(second.abandoned(), Vec::<PathBuf>::new());
        let dead = parent
            .path()
            .canonicalize()
            .unwrap()
            .join(format!("{PREFIX}dead"));
        fs::create_dir(&dead).unwrap();
        fs::write(dead.join(LOCK), "").unwrap();
        assert_eq!(second.abandoned(), [dead]);
        drop(first);
    }

    #[test]
    fn a_tree_with_read_only_directories_is_removed() {
        let parent = tempfile::tempdir().unwrap();
        let directory = Directory::create(parent.path()).unwrap();
        let closed = directory.path().join("closed");
        fs::create_dir(&closed).unwrap();
        fs::write(closed.join("file"), "").unwrap();
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o500)).unwrap();
        let path = directory.path().to_owned();
        drop(directory);
        assert!(!path.exists());
    }
}
