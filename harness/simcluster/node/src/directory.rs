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
    time::{Duration, Instant},
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
        if let Err(error) = remove_lock_last(&self.path) {
            tracing::warn!(%error, directory = %self.path.display(), "directory not removed");
        }
    }
}

/// While anything is left, so is the lock file: the next node finds it free and goes on here.
fn remove_lock_last(directory: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(directory) {
        // A node that ended in order has removed it already.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_name() != LOCK && entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    remove_tree(directory)
}

fn is_abandoned(directory: &Path) -> bool {
    // Without a lock file it is just being made, or just being removed.
    File::open(directory.join(LOCK)).is_ok_and(|lock| match lock.try_lock() {
        Ok(()) => true,
        Err(TryLockError::WouldBlock | TryLockError::Error(_)) => false,
    })
}

/// How long the dying may go on writing to a tree that is being removed.
const PATIENCE: Duration = Duration::from_secs(5);

/// Removes a tree, directories that refuse included as far as they are our own.
///
/// A process that is being killed may write for a moment longer; what it adds is removed as well.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    let mut outcome = fs::remove_dir_all(path);
    let begin = Instant::now();
    while begin.elapsed() < PATIENCE {
        match &outcome {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => open_up(path)?,
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            _ => return outcome,
        }
        outcome = fs::remove_dir_all(path);
    }
    outcome
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
    fn a_tree_that_is_still_written_to_is_removed() {
        use std::sync::atomic::{AtomicBool, Ordering};
        let parent = tempfile::tempdir().unwrap();
        let tree = parent.path().join("tree");
        fs::create_dir(&tree).unwrap();
        let begun = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for number in 0..1_000 {
                    // Ends when the directory is gone, as a process does that is killed meanwhile.
                    if fs::write(tree.join(format!("{number}")), "").is_err() {
                        return;
                    }
                    begun.store(true, Ordering::Release);
                }
            });
            while !begun.load(Ordering::Acquire) {
                std::thread::yield_now();
            }
            remove_tree(&tree).unwrap();
            writer.join().unwrap();
        });
        assert!(!tree.exists());
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
