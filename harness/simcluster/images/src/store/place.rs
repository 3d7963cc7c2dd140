//! Where the cache is on this machine.

use std::{
    env, fs, io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use crate::{ImageError, error};

/// The name of our directory among those of other programs.
const NAME: &str = "simcluster";

/// The cache directory, made if it was not there.
pub(crate) fn cache_dir(asked: Option<PathBuf>) -> Result<PathBuf, ImageError> {
    let named = asked.or_else(|| absolute("SIMCLUSTER_CACHE"));
    if let Some(dir) = named {
        // Somebody named it: another one would be a surprise, so this one must do.
        fs::create_dir_all(&dir).map_err(error::io("create", &dir))?;
        return fs::canonicalize(&dir).map_err(error::io("find", &dir));
    }
    let home =
        absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
    if let Some(dir) = home.map(|cache| cache.join(NAME))
        && fs::create_dir_all(&dir).is_ok()
        && is_writable(&dir)
    {
        return fs::canonicalize(&dir).map_err(error::io("find", &dir));
    }
    let uid = nix::unistd::geteuid().as_raw();
    private_dir(&env::temp_dir().join(format!("{NAME}-{uid}")), uid)
}

/// An absolute path in the environment; a relative one would mean another cache in each directory.
fn absolute(variable: &str) -> Option<PathBuf> {
    env::var_os(variable)
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
}

fn is_writable(dir: &Path) -> bool {
    tempfile::tempfile_in(dir).is_ok()
}

/// A directory that only we can enter, in a place where anybody may put one of this name before us.
fn private_dir(dir: &Path, uid: u32) -> Result<PathBuf, ImageError> {
    match fs::DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(error::io("create", dir)(error));
        }
        _ => {}
    }
    let found = fs::symlink_metadata(dir).map_err(error::io("inspect", dir))?;
    if !found.is_dir() || found.uid() != uid || found.mode() & 0o077 != 0 {
        let reason = "it is not a directory that only this user may enter; remove it or set SIMCLUSTER_CACHE";
        return Err(error::io("use", dir)(io::Error::new(
            io::ErrorKind::PermissionDenied,
            reason,
        )));
    }
    Ok(dir.to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_private_directory_of_somebody_else_is_refused() {
        let parent = tempfile::tempdir().expect("a temporary directory");
        let uid = nix::unistd::geteuid().as_raw();
        let dir = parent.path().join("mine");
        assert_eq!(private_dir(&dir, uid).expect("it is made"), dir);
        assert_eq!(private_dir(&dir, uid).expect("it is found again"), dir);
        private_dir(&dir, uid + 1).expect_err("another owner");
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).expect("it is ours");
        private_dir(&dir, uid).expect_err("others may enter");
        let link = parent.path().join("link");
        std::os::unix::fs::symlink(&dir, &link).expect("a new name");
        private_dir(&link, uid).expect_err("a symbolic link");
    }

    #[test]
    fn a_named_directory_is_made() {
        let parent = tempfile::tempdir().expect("a temporary directory");
        let dir = parent.path().join("a/b");
        cache_dir(Some(dir.clone())).expect("it is made");
        assert!(dir.is_dir());
    }
}
