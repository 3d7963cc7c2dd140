//! Layers joined by copying, where overlayfs is refused.
//!
//! Owners and modes are kept as far as this user may; whiteouts are honoured in overlayfs's form
//! (a character device 0:0), which is how unpacked layers have them. Devices are not copied.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt, MetadataExt, lchown, symlink},
    path::{Path, PathBuf},
};

/// Copies the layers into `target`, lowest first.
pub(super) fn layers(layers: &[PathBuf], target: &Path) -> io::Result<()> {
    layers.iter().try_for_each(|layer| directory(layer, target))
}

fn directory(source: &Path, target: &Path) -> io::Result<()> {
    for entry in fs::read_dir(source)? {
        let entry = entry?;
        let from = entry.path();
        let to = target.join(entry.file_name());
        let found = entry.metadata()?;
        let kind = found.file_type();
        let before = fs::symlink_metadata(&to).ok();
        let merges = kind.is_dir() && before.as_ref().is_some_and(fs::Metadata::is_dir);
        if let Some(before) = before
            && !merges
        {
            if before.is_dir() {
                fs::remove_dir_all(&to)?;
            } else {
                fs::remove_file(&to)?;
            }
        }
        if kind.is_dir() {
            if !merges {
                fs::create_dir(&to)?;
            }
            directory(&from, &to)?;
        } else if kind.is_symlink() {
            symlink(fs::read_link(&from)?, &to)?;
        } else if kind.is_file() {
            fs::copy(&from, &to)?;
        } else if kind.is_char_device() {
            // A whiteout has done its work above; a true device is the runtime's business.
            continue;
        } else {
            continue;
        }
        // Only root may give files away.
        let _ = lchown(&to, Some(found.uid()), Some(found.gid()));
        if !kind.is_symlink() {
            fs::set_permissions(&to, found.permissions())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn upper_layers_win_and_kinds_may_change() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        for name in [
            "low/dir/sub",
            "low/turns-file",
            "high/dir",
            "high/turns-dir",
            "target",
        ] {
            fs::create_dir_all(path(name)).unwrap();
        }
        fs::write(path("low/dir/kept"), "low").unwrap();
        fs::write(path("low/dir/changed"), "low").unwrap();
        fs::write(path("low/turns-dir"), "low").unwrap();
        fs::write(path("high/dir/changed"), "high").unwrap();
        fs::write(path("high/turns-file"), "high").unwrap();
        symlink("dir/kept", path("high/link")).unwrap();
        fs::set_permissions(path("low/dir/sub"), fs::Permissions::from_mode(0o1777)).unwrap();

        layers(&[path("low"), path("high")], &path("target")).unwrap();

        let read = |name: &str| fs::read_to_string(path("target").join(name)).unwrap();
        assert_eq!(
            (read("dir/kept"), read("dir/changed")),
            ("low".into(), "high".into())
        );
        assert_eq!(
            (read("turns-file"), read("link")),
            ("high".into(), "low".into())
        );
        assert!(path("target/turns-dir").is_dir());
        let mode = fs::metadata(path("target/dir/sub"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o7777, 0o1777);
    }
}
