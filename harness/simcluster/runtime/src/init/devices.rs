//! What every container finds in `/proc`, `/sys` and `/dev`, and what of it is hidden.
//!
//! The lists are those of the OCI runtime specification's defaults.

use std::{
    fs,
    os::{fd::AsFd, unix::fs::symlink},
    path::Path,
};

use nix::{errno::Errno, mount::MsFlags};

use super::{
    child::describe,
    root::{Root, make_read_only},
    tree::Kind,
};
use crate::{error::LaunchError, protocol::Identity, sys};

/// Bound from the host: without root nobody can make device nodes.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
const LINKS: [(&str, &str); 6] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("core", "/proc/kcore"),
    ("ptmx", "pts/ptmx"),
];
const MASKED: [&str; 9] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/sys/firmware",
];
const READ_ONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];
/// How `/dev/shm` is mounted: a pod's is as large as container engines make it.
pub(super) const SHARED_MEMORY: &str = "mode=1777,size=65536k";
/// The group that owns terminals, by custom.
const TTY_GROUP: u32 = 5;

/// Mounts `/proc`, `/sys` and `/dev`.
pub(super) fn furnish(
    root: &Root,
    identity: &Identity,
    shared_memory: Option<&Path>,
) -> Result<(), LaunchError> {
    let quiet = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    filesystem(root, "proc", "/proc", quiet, None)?;
    sys_tree(root, quiet)?;
    let dev = MsFlags::MS_NOSUID | MsFlags::MS_STRICTATIME;
    filesystem(root, "tmpfs", "/dev", dev, Some("mode=755,size=65536k"))?;
    let terminals = match identity {
        // The group is not mapped, and a mount that names it fails.
        Identity::Single { .. } => "newinstance,ptmxmode=0666,mode=0620".to_owned(),
        Identity::Root | Identity::Range { .. } => {
            format!("newinstance,ptmxmode=0666,mode=0620,gid={TTY_GROUP}")
        }
    };
    let no_programs = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    filesystem(root, "devpts", "/dev/pts", no_programs, Some(&terminals))?;
    let place = Path::new("/dev/shm");
    match shared_memory {
        Some(shared) => root
            .mount(shared, place, Kind::Directory, None, MsFlags::MS_BIND, None)
            .map_err(failed("shared memory", place))?,
        None => filesystem(root, "tmpfs", "/dev/shm", quiet, Some(SHARED_MEMORY))?,
    }
    for name in DEVICES {
        let path = Path::new("/dev").join(name);
        root.mount(&path, &path, Kind::File, None, MsFlags::MS_BIND, None)
            .map_err(failed(&path.display().to_string(), &path))?;
    }
    let dev = root
        .tree()
        .find(Path::new("/dev"))
        .map_err(failed("tmpfs", Path::new("/dev")))?;
    let dev = sys::path_of(dev.as_fd());
    for (name, target) in LINKS {
        symlink(target, dev.join(name))?;
    }
    Ok(())
}

/// Hides what of `/proc` and `/sys` tells about the host, and refuses writes to what would change it.
pub(super) fn mask(root: &Root) -> Result<(), LaunchError> {
    for path in MASKED.map(Path::new) {
        let Some(directory) = is_directory(root, path)? else {
            continue;
        };
        let masked = if directory {
            let flags = MsFlags::MS_RDONLY;
            root.mount(
                Path::new("tmpfs"),
                path,
                Kind::Directory,
                Some("tmpfs"),
                flags,
                Some("size=0k"),
            )
        } else {
            root.mount(
                Path::new("/dev/null"),
                path,
                Kind::File,
                None,
                MsFlags::MS_BIND,
                None,
            )
        };
        masked.map_err(failed("a mask", path))?;
    }
    for path in READ_ONLY.map(Path::new) {
        let Some(directory) = is_directory(root, path)? else {
            continue;
        };
        let kind = if directory {
            Kind::Directory
        } else {
            Kind::File
        };
        let found = root.tree().find(path).map_err(failed("a mask", path))?;
        let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
        root.mount(&sys::path_of(&found), path, kind, None, flags, None)
            .map_err(failed("a mask", path))?;
        let bound = root.tree().find(path).map_err(failed("a mask", path))?;
        make_read_only(bound.as_fd(), true).map_err(failed("a mask", path))?;
    }
    Ok(())
}

fn filesystem(
    root: &Root,
    kind: &str,
    target: &str,
    flags: MsFlags,
    options: Option<&str>,
) -> Result<(), LaunchError> {
    let target = Path::new(target);
    root.mount(
        Path::new(kind),
        target,
        Kind::Directory,
        Some(kind),
        flags,
        options,
    )
    .map_err(failed(kind, target))
}

/// The container's own view, or the host's where the kernel refuses that: it does if the host's is partly covered.
fn sys_tree(root: &Root, flags: MsFlags) -> Result<(), LaunchError> {
    let path = Path::new("/sys");
    let read_only = flags | MsFlags::MS_RDONLY;
    match root.mount(
        Path::new("sysfs"),
        path,
        Kind::Directory,
        Some("sysfs"),
        read_only,
        None,
    ) {
        Err(Errno::EPERM | Errno::EBUSY) => {}
        other => return other.map_err(failed("sysfs", path)),
    }
    let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
    root.mount(path, path, Kind::Directory, None, flags, None)
        .map_err(failed("/sys", path))?;
    let bound = root.tree().find(path).map_err(failed("/sys", path))?;
    make_read_only(bound.as_fd(), true).map_err(failed("/sys", path))
}

/// `None` if there is nothing at that path.
fn is_directory(root: &Root, path: &Path) -> Result<Option<bool>, LaunchError> {
    match root.tree().find(path) {
        Ok(found) => Ok(Some(fs::metadata(sys::path_of(found.as_fd()))?.is_dir())),
        Err(Errno::ENOENT | Errno::EACCES) => Ok(None),
        Err(errno) => Err(failed("a mask", path)(errno)),
    }
}

fn failed(source: &str, target: &Path) -> impl FnOnce(Errno) -> LaunchError {
    let (from, target) = (source.to_owned(), target.to_owned());
    move |errno| LaunchError::Mount {
        from,
        target,
        why: describe(errno),
    }
}
