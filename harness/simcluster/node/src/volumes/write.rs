//! Writes a volume's files so that a reader sees all of a change or nothing of it.
//!
//! The files lie in a directory of their own; `..data` is a symbolic link to it that is replaced in one
//! step; each visible name is a symbolic link through `..data`. It does not know where files come from.

use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::fs::{DirBuilderExt, PermissionsExt, chown, symlink},
    path::{Path, PathBuf},
};

use super::payload::Files;

const DATA: &str = "..data";

/// Writes `files` into the volume at `root`; `group` owns them, if the pod has an `fsGroup`. Answers
/// whether anything changed.
pub(crate) fn write(root: &Path, files: &Files, group: Option<u32>) -> io::Result<bool> {
    let data = root.join(DATA);
    let current = fs::read_link(&data).ok().map(|target| root.join(target));
    if current
        .as_ref()
        .is_some_and(|current| holds(current, files))
    {
        return Ok(false);
    }
    let fresh = new_directory(root, group)?;
    for (path, file) in files {
        let target = fresh.join(path);
        if let Some(parent) = target.parent() {
            directories(&fresh, parent, group)?;
        }
        fs::write(&target, &file.bytes)?;
        let mode = if group.is_some() {
            file.mode | 0o440
        } else {
            file.mode
        };
        fs::set_permissions(&target, fs::Permissions::from_mode(mode))?;
        give(&target, group)?;
    }
    let name = fresh.file_name().unwrap_or_default();
    let next = root.join("..data_next");
    let _ = fs::remove_file(&next);
    symlink(name, &next)?;
    fs::rename(&next, &data)?;
    link_names(root, files)?;
    if let Some(old) = current {
        fs::remove_dir_all(old)?;
    }
    Ok(true)
}

/// Whether the directory holds exactly these files.
fn holds(directory: &Path, files: &Files) -> bool {
    let same = files
        .iter()
        .all(|(path, file)| fs::read(directory.join(path)).is_ok_and(|bytes| bytes == file.bytes));
    same && count(directory).is_ok_and(|found| found == files.len())
}

fn count(directory: &Path) -> io::Result<usize> {
    let mut found = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        found += if entry.file_type()?.is_dir() {
            count(&entry.path())?
        } else {
            1
        };
    }
    Ok(found)
}

fn new_directory(root: &Path, group: Option<u32>) -> io::Result<PathBuf> {
    for number in 1u32.. {
        let path = root.join(format!("..{number}"));
        match fs::DirBuilder::new().mode(0o755).create(&path) {
            Ok(()) => {
                dress(&path, group)?;
                return Ok(path);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("no free directory name"))
}

/// Makes `path` and what is missing between it and `root`.
fn directories(root: &Path, path: &Path, group: Option<u32>) -> io::Result<()> {
    if path == root || path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        directories(root, parent, group)?;
    }
    fs::create_dir(path)?;
    dress(path, group)
}

fn dress(directory: &Path, group: Option<u32>) -> io::Result<()> {
    let mode = if group.is_some() { 0o2775 } else { 0o755 };
    give(directory, group)?;
    fs::set_permissions(directory, fs::Permissions::from_mode(mode))
}

/// Gives a file to a group. An ordinary user cannot, and need not: its containers see it as their own.
pub(crate) fn give(path: &Path, group: Option<u32>) -> io::Result<()> {
    match group.map(|gid| chown(path, None, Some(gid))) {
        None | Some(Ok(())) => Ok(()),
        Some(Err(error)) if unprivileged(&error) => Ok(()),
        Some(Err(error)) => Err(error),
    }
}

fn unprivileged(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidInput
    )
}

/// One link per first step of a path; links of files that are gone go too.
fn link_names(root: &Path, files: &Files) -> io::Result<()> {
    let names: BTreeSet<&str> = files
        .keys()
        .filter_map(|path| path.split('/').next())
        .collect();
    for name in &names {
        let link = root.join(name);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new(DATA).join(name), link)?;
        }
    }
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if !name.starts_with("..") && !names.contains(name.as_ref()) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volumes::payload::File;

    fn files(entries: &[(&str, &str)]) -> Files {
        entries
            .iter()
            .map(|(path, text)| {
                (
                    (*path).to_owned(),
                    File {
                        bytes: text.as_bytes().to_vec(),
                        mode: 0o640,
                    },
                )
            })
            .collect()
    }

    fn visible(root: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(root)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .filter(|n| !n.starts_with("..") && n != DATA)
            .collect();
        names.sort();
        names
    }

    #[test]
    fn files_appear_under_their_names_with_their_modes() {
        let root = tempfile::tempdir().unwrap();
        assert!(write(root.path(), &files(&[("deep/one", "1"), ("b", "2")]), None).unwrap());
        assert_eq!(visible(root.path()), ["b", "deep"]);
        assert_eq!(
            fs::read_to_string(root.path().join("deep/one")).unwrap(),
            "1"
        );
        let mode = fs::metadata(root.path().join("b"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o640);
    }

    #[test]
    fn a_change_replaces_all_at_once_and_no_change_touches_nothing() {
        let root = tempfile::tempdir().unwrap();
        let first = files(&[("a", "1"), ("b", "1")]);
        write(root.path(), &first, None).unwrap();
        let before = fs::read_link(root.path().join(DATA)).unwrap();
        assert!(!write(root.path(), &first, None).unwrap());
        assert_eq!(fs::read_link(root.path().join(DATA)).unwrap(), before);

        assert!(write(root.path(), &files(&[("a", "2"), ("c", "2")]), None).unwrap());
        assert_eq!(visible(root.path()), ["a", "c"]);
        assert_eq!(fs::read_to_string(root.path().join("a")).unwrap(), "2");
        assert!(!root.path().join(before).exists());
    }

    #[test]
    fn an_fs_group_may_read() {
        let root = tempfile::tempdir().unwrap();
        let secret: Files = [(
            "k".to_owned(),
            File {
                bytes: b"v".to_vec(),
                mode: 0o400,
            },
        )]
        .into();
        write(root.path(), &secret, Some(0)).unwrap();
        let mode = fs::metadata(root.path().join("k"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o440);
    }
}
