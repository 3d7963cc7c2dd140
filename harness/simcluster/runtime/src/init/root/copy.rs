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
