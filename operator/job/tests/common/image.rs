//! A root file system with a server in it, whose programs run without entering it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use simcluster_images::{ImageStore, StoreConfig};

/// The file systems of an image that the scenarios run too, from the same cache. The store keeps them on disk as
/// long as it lives.
pub(crate) fn layers(reference: &str) -> (Vec<PathBuf>, ImageStore) {
    let store = ImageStore::open(StoreConfig::default()).unwrap();
    let image = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(store.ensure(reference, &()))
        .expect("these tests need a server; `cargo lab doctor` says what is missing");
    (image.layers.clone(), store)
}

/// Where a program is in a root file system.
pub(crate) fn program(root: &Path, name: &str) -> Option<PathBuf> {
    ["usr/sbin", "usr/bin", "usr/libexec"]
        .iter()
        .map(|dir| root.join(dir).join(name))
        .find(|path| path.is_file())
}

/// Runs a program of the root file system with its own libraries. It ends with the test that starts it.
pub(crate) fn command(root: &Path, program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "--"])
        .arg(root.join("lib64/ld-linux-x86-64.so.2"))
        .arg("--library-path")
        .arg(libraries(root))
        .arg(program);
    command
}

fn libraries(root: &Path) -> String {
    [
        "usr/lib/x86_64-linux-gnu",
        "usr/lib/mysql/private",
        "lib/x86_64-linux-gnu",
    ]
    .map(|path| root.join(path).display().to_string())
    .join(":")
}

/// Puts client programs of the root file system where `Tools::find` sees them. A file `fault` beside the option
/// file that a client is to read runs in its place, and is given the client's command line.
pub(crate) fn wrap(root: &Path, bin: &Path, names: &[&str]) {
    fs::create_dir(bin).unwrap();
    for name in names {
        let real = program(root, name).unwrap();
        let wrapper = bin.join(name);
        let loader = root.join("lib64/ld-linux-x86-64.so.2");
        let text = format!(
            "#!/bin/sh\nfault=${{1#--defaults-file=}}\nfault=${{fault%/*}}/fault\n\
             set -- {} --library-path {} {} \"$@\"\n\
             if [ -x \"$fault\" ]; then exec \"$fault\" \"$@\"; fi\nexec \"$@\"\n",
            loader.display(),
            libraries(root),
            real.display()
        );
        fs::write(&wrapper, text).unwrap();
        fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();
    }
}
