//! The same, as somebody without any privilege.

use std::{
    fs, io,
    os::unix::fs::{PermissionsExt as _, chown},
    path::Path,
    process::Command,
};

use simcluster_images::{Image, ImageStore};

use crate::container::{is_root, only_packages};

/// The user and the group that own nothing.
const NOBODY: u32 = 65534;

/// Runs a part of these tests again as user `nobody`, without a home directory and with a cache of its own:
/// busybox is assembled there, and a database of which root had the image before is run.
#[tokio::test]
async fn nobody_can_do_all_this() {
    if !is_root() {
        return; // Then all these tests are run by an ordinary user already.
    }
    let store = ImageStore::open(only_packages()).unwrap();
    let image = store.ensure("mysql", &()).await.unwrap_or_else(|error| {
        panic!("this test needs the package archive of the distribution, at least once: {error}")
    });
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let cache = dir.path().join("cache");
    give(store.cache_dir(), &image, &cache).unwrap();
    let program = dir.path().join("tests");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
        .arg(&program)
        .args(["--exact", "images::busybox_goes_by_its_many_names"])
        .arg("entrypoint::data_and_passwords_survive_a_restart_whatever_the_environment_says_then::case_1_mysql")
        .arg("entrypoint::a_password_of_any_bytes_opens_the_door_and_no_other_does::case_1_mysql")
        .env("HOME", "/nonexistent")
        .env("SIMCLUSTER_CACHE", &cache)
        .env_remove("XDG_CACHE_HOME")
        .current_dir("/")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(text.contains("3 passed"), "{text}");
}

/// A cache that is nobody's, with this image and the package lists of another.
fn give(from: &Path, image: &Image, to: &Path) -> io::Result<()> {
    for part in ["images", "layers", "names", "locks", "scratch"] {
        fs::create_dir_all(to.join(part))?;
        chown(to.join(part), Some(NOBODY), Some(NOBODY))?;
    }
    chown(to, Some(NOBODY), Some(NOBODY))?;
    for root in &image.layers {
        let layer = root.parent().unwrap();
        share(layer, &to.join("layers").join(layer.file_name().unwrap()))?;
    }
    let lowest = image.layers[0].parent().unwrap().file_name().unwrap();
    for entry in fs::read_dir(from.join("images"))? {
        let record = entry?.path();
        if fs::read_to_string(&record)?.contains(lowest.to_str().unwrap()) {
            let copy = to.join("images").join(record.file_name().unwrap());
            fs::copy(&record, &copy)?;
            chown(copy, Some(NOBODY), Some(NOBODY))?;
        }
    }
    copy(&from.join("packages"), &to.join("packages"))
}

/// The same files under another name, in directories that are nobody's: without root, an overlay can change only
/// those that belong to who made it.
fn share(from: &Path, to: &Path) -> io::Result<()> {
    let found = fs::symlink_metadata(from)?;
    if found.is_dir() {
        fs::create_dir(to)?;
        fs::set_permissions(to, found.permissions())?;
        for entry in fs::read_dir(from)? {
            let name = entry?.file_name();
            share(&from.join(&name), &to.join(&name))?;
        }
        return chown(to, Some(NOBODY), Some(NOBODY));
    }
    if found.is_symlink() {
        return std::os::unix::fs::symlink(fs::read_link(from)?, to);
    }
    // Another file system takes a copy.
    fs::hard_link(from, to).or_else(|_| fs::copy(from, to).map(drop))
}

/// Copies a directory for nobody to write to.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if fs::symlink_metadata(from)?.is_dir() {
        fs::create_dir(to)?;
        for entry in fs::read_dir(from)? {
            let name = entry?.file_name();
            copy(&from.join(&name), &to.join(&name))?;
        }
    } else {
        fs::copy(from, to)?;
    }
    chown(to, Some(NOBODY), Some(NOBODY))
}
