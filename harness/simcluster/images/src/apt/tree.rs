//! A root file system made of downloaded packages.
//!
//! It unpacks, leaves out what only people at a terminal read, and adds the few files that installing would
//! have made. No script of any package runs.

use std::{
    fs, io,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use super::tools::mortal;
use crate::{
    progress::Event,
    source::Reporter,
    unpack::{Policy, unpack},
};

/// Trees that nobody misses in a container.
const LEFT_OUT: &[&str] = &[
    "usr/share/bash-completion",
    "usr/share/bug",
    "usr/share/common-licenses",
    "usr/share/dict",
    "usr/share/doc-base",
    "usr/share/gcc",
    "usr/share/gdb",
    "usr/share/info",
    "usr/share/lintian",
    "usr/share/locale",
    "usr/share/man",
    "usr/share/menu",
    "usr/share/util-linux",
    "usr/lib/systemd",
    "lib/systemd",
    "etc/init.d",
    "etc/logrotate.d",
    // The image's own configuration takes its place.
    "etc/mysql",
    "etc/pam.d",
    "etc/update-motd.d",
];

/// Directories that every system has, with their permissions.
const DIRECTORIES: &[(&str, u32)] = &[
    ("dev", 0o755),
    ("etc", 0o755),
    ("home", 0o755),
    ("opt", 0o755),
    ("proc", 0o555),
    ("root", 0o700),
    ("run", 0o755),
    ("run/lock", 0o1777),
    ("srv", 0o755),
    ("sys", 0o555),
    ("tmp", 0o1777),
    ("usr/bin", 0o755),
    ("usr/lib", 0o755),
    ("usr/lib64", 0o755),
    ("usr/local/bin", 0o755),
    ("usr/local/sbin", 0o755),
    ("usr/sbin", 0o755),
    ("var/lib", 0o755),
    ("var/log", 0o755),
    ("var/tmp", 0o1777),
];

/// Links that every system has.
const LINKS: &[(&str, &str)] = &[
    ("bin", "usr/bin"),
    ("lib", "usr/lib"),
    ("lib64", "usr/lib64"),
    ("sbin", "usr/sbin"),
    ("var/run", "/run"),
    ("var/lock", "/run/lock"),
    ("etc/mtab", "/proc/self/mounts"),
];

/// Files that installing would have made.
const FILES: &[(&str, &str)] = &[
    (
        "etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\n\
         mysql:x:999:999:MySQL:/var/lib/mysql:/bin/sh\n\
         nobody:x:65534:65534:nobody:/nonexistent:/bin/false\n",
    ),
    ("etc/group", "root:x:0:\nmysql:x:999:\nnogroup:x:65534:\n"),
    (
        "etc/nsswitch.conf",
        "passwd: files\ngroup: files\nhosts: files dns\nservices: files\n",
    ),
    ("etc/hosts", "127.0.0.1 localhost\n::1 localhost\n"),
];

/// Why packages did not become a tree.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TreeError {
    /// A package could not be unpacked.
    #[error("package {} cannot be unpacked: {error}", package.display())]
    Unpack { package: PathBuf, error: io::Error },
    /// A file could not be made.
    #[error("cannot make {}: {error}", path.display())]
    Make { path: PathBuf, error: io::Error },
    /// Nobody waits for the result any more.
    #[error("cancelled")]
    Cancelled,
}

/// Makes the directories and links that packages expect.
pub(crate) fn foundation(root: &Path) -> Result<(), TreeError> {
    for (path, mode) in DIRECTORIES {
        directory(root, path, *mode)?;
    }
    for (path, target) in LINKS {
        link(root, path, target)?;
    }
    for (path, text) in FILES {
        file(root, path, text.as_bytes(), 0o644)?;
    }
    Ok(())
}

/// Unpacks all packages in a directory over `root`.
pub(crate) fn unpack_all(
    packages: &Path,
    root: &Path,
    reporter: &dyn Reporter,
) -> Result<(), TreeError> {
    let unreadable = |error| TreeError::Unpack {
        package: packages.to_owned(),
        error,
    };
    let mut files = Vec::new();
    let mut total = 0;
    for entry in fs::read_dir(packages).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        if entry
            .path()
            .extension()
            .is_some_and(|extension| extension == "deb")
        {
            let bytes = entry.metadata().map_err(unreadable)?.len();
            total += bytes;
            files.push((entry.path(), bytes));
        }
    }
    // The largest first: the threads then end at about the same time.
    files.sort_by_key(|(_, bytes)| *bytes);
    let queue = Mutex::new(files);
    let done = AtomicU64::new(0);
    let failure = Mutex::new(None);
    let worker = || {
        while let Some((package, bytes)) =
            queue.lock().unwrap_or_else(PoisonError::into_inner).pop()
        {
            let result = unpack_one(&package, root)
                .map_err(|error| TreeError::Unpack { package, error })
                .and_then(|()| {
                    let done = done.fetch_add(bytes, Ordering::Relaxed) + bytes;
                    let total = Some(total);
                    reporter
                        .report(Event::Bytes { done, total })
                        .map_err(|_| TreeError::Cancelled)
                });
            if let Err(error) = result {
                queue.lock().unwrap_or_else(PoisonError::into_inner).clear();
                failure
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .get_or_insert(error);
            }
        }
    };
    let threads = thread::available_parallelism()
        .map_or(1, usize::from)
        .min(4);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(worker);
        }
    });
    failure
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner)
        .map_or(Ok(()), Err)
}

/// Unpacks one package over `root`.
fn unpack_one(package: &Path, root: &Path) -> io::Result<()> {
    let mut child = mortal("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(package)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let unpacked = match child.stdout.take() {
        Some(tar) => unpack(
            tar,
            root,
            Policy {
                whiteouts: false,
                owners: false,
                wanted: &is_wanted,
            },
        ),
        None => Err(io::ErrorKind::BrokenPipe.into()),
    };
    let status = child.wait()?;
    unpacked?;
    if status.success() {
        Ok(())
    } else {
        Err(io::Error::other(format!("dpkg-deb ended with {status}")))
    }
}

fn is_wanted(path: &Path) -> bool {
    // Debian asks that the terms of each package stay with it.
    if path.starts_with("usr/share/doc") {
        return path.ends_with("copyright")
            || path.components().count() <= 4 && path.extension().is_none();
    }
    !LEFT_OUT.iter().any(|left_out| path.starts_with(left_out))
}

/// Makes a directory.
pub(crate) fn directory(root: &Path, path: &str, mode: u32) -> Result<(), TreeError> {
    let place = root.join(path);
    fs::create_dir_all(&place)
        .and_then(|()| fs::set_permissions(&place, fs::Permissions::from_mode(mode | 0o700)))
        .map_err(|error| TreeError::Make { path: place, error })
}

/// Makes a symbolic link, unless something of that name is there.
pub(crate) fn link(root: &Path, path: &str, target: &str) -> Result<(), TreeError> {
    let place = root.join(path);
    match symlink(target, &place) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(TreeError::Make { path: place, error })
        }
        _ => Ok(()),
    }
}

/// Makes a file, instead of what a package had there.
pub(crate) fn file(root: &Path, path: &str, bytes: &[u8], mode: u32) -> Result<(), TreeError> {
    let place = root.join(path);
    let make = || -> io::Result<()> {
        if let Some(parent) = place.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&place, bytes)?;
        fs::set_permissions(&place, fs::Permissions::from_mode(mode))
    };
    make().map_err(|error| TreeError::Make {
        path: place.clone(),
        error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_stay_and_manuals_go() {
        assert!(is_wanted(Path::new("usr/share/doc/bash/copyright")));
        assert!(!is_wanted(Path::new("usr/share/doc/bash/README.gz")));
        assert!(!is_wanted(Path::new("usr/share/man/man1/bash.1.gz")));
        assert!(is_wanted(Path::new("usr/bin/bash")));
    }

    #[test]
    fn the_foundation_lets_old_and_new_packages_in() {
        let root = tempfile::tempdir().expect("a temporary directory");
        foundation(root.path()).expect("it is made");
        assert!(root.path().join("bin").is_symlink());
        let mode = fs::metadata(root.path().join("tmp"))
            .expect("there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o7777, 0o1777);
        foundation(root.path()).expect("making it twice does no harm");
    }
}
