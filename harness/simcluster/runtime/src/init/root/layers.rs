//! An image's layers joined under a writable one: by overlayfs, and if that is refused, by what comes nearest.
//!
//! Overlayfs cannot keep its upper layer on every file system; on overlayfs itself, for one, which is what
//! containers of other engines have everywhere. Then the upper layer is kept in memory; if even that is
//! refused, the image is copied. Volumes are no part of this and stay where they are.

use std::{
    fs, io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::fs::PermissionsExt,
    },
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, open},
    mount::{MsFlags, mount},
    sys::stat::Mode,
};

use super::copy;
use crate::{
    error::LaunchError,
    init::child::{describe, describe_io},
    spec::ContainerSpec,
};

/// Mounts the joined tree at `place`; says so if it had to be done otherwise than by overlayfs on disk.
pub(super) fn join(
    spec: &ContainerSpec,
    user_attributes: bool,
    place: &Path,
) -> Result<Option<String>, LaunchError> {
    let upper = spec.scratch.join("upper");
    let work = spec.scratch.join("work");
    for directory in [upper.as_path(), &work, place] {
        make(directory)?;
    }
    if spec.layers.is_empty() {
        return bind(&upper, place).map(|()| None).map_err(refused);
    }
    let layers = open_layers(&spec.layers)?;
    let on_disk = match overlay(&layers, &upper, &work, user_attributes, place) {
        Err(errno) if is_refusal(errno) => errno,
        other => return other.map(|()| None).map_err(refused),
    };
    let at = spec.scratch.display();
    let reason = describe(on_disk);
    let memory = spec.scratch.join("memory");
    if in_memory(&layers, &memory, user_attributes, place).is_ok() {
        return Ok(Some(format!(
            "overlayfs refuses {at} ({reason}), so what the container changes outside of its volumes is kept in memory"
        )));
    }
    copy::layers(&spec.layers, &upper).map_err(|error| LaunchError::Step {
        step: "copy the image, since overlayfs is refused".to_owned(),
        why: describe_io(&error),
    })?;
    bind(&upper, place).map_err(refused)?;
    Ok(Some(format!(
        "overlayfs refuses {at} ({reason}), so the image was copied for this container, which takes time and \
         space; a state directory on ext4, xfs, btrfs or tmpfs would help"
    )))
}

fn in_memory(
    layers: &[OwnedFd],
    memory: &Path,
    user_attributes: bool,
    place: &Path,
) -> nix::Result<()> {
    let io = |error: io::Error| Errno::from_raw(error.raw_os_error().unwrap_or(0));
    fs::create_dir_all(memory).map_err(io)?;
    let kind = Some("tmpfs");
    mount(kind, memory, kind, MsFlags::empty(), Some("mode=755"))?;
    let (upper, work) = (memory.join("upper"), memory.join("work"));
    fs::create_dir(&upper)
        .and_then(|()| fs::create_dir(&work))
        .map_err(io)?;
    overlay(layers, &upper, &work, user_attributes, place)
}

/// The top one first. Descriptors, so that neither long nor odd paths meet the limits of overlayfs's options.
fn open_layers(layers: &[PathBuf]) -> Result<Vec<OwnedFd>, LaunchError> {
    let opened = layers.iter().rev().map(|layer| {
        open_directory(layer).map_err(|errno| LaunchError::Step {
            step: format!("open the image layer {}", layer.display()),
            why: describe(errno),
        })
    });
    opened.collect()
}

fn overlay(
    layers: &[OwnedFd],
    upper: &Path,
    work: &Path,
    user_attributes: bool,
    place: &Path,
) -> nix::Result<()> {
    let (upper, work_open) = (open_directory(upper)?, open_directory(work)?);
    let name = |fd: &OwnedFd| format!("/proc/self/fd/{}", fd.as_raw_fd());
    let lower: Vec<String> = layers.iter().map(name).collect();
    let (lower, upper, work_name) = (lower.join(":"), name(&upper), name(&work_open));
    let mut options = format!("lowerdir={lower},upperdir={upper},workdir={work_name}");
    if user_attributes {
        options.push_str(",userxattr");
    }
    let kind = Some("overlay");
    mount(kind, place, kind, MsFlags::empty(), Some(options.as_str()))?;
    // The kernel closes this directory to everyone, and needs no permission itself; but an owner who is not
    // root could never remove it. If that fails, the owner still has `remove_tree`.
    let open_to_owner = fs::Permissions::from_mode(0o700);
    let _ = fs::set_permissions(work.join("work"), open_to_owner);
    Ok(())
}

/// The machine's ways to say that it will not have an overlay there.
fn is_refusal(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::EINVAL | Errno::EPERM | Errno::EOPNOTSUPP | Errno::ENODEV | Errno::EACCES
    )
}

fn refused(errno: Errno) -> LaunchError {
    LaunchError::Mount {
        from: "overlay".to_owned(),
        target: PathBuf::from("/"),
        why: describe(errno),
    }
}

fn make(directory: &Path) -> Result<(), LaunchError> {
    fs::create_dir_all(directory).map_err(|error| LaunchError::Step {
        step: format!("make {}", directory.display()),
        why: describe_io(&error),
    })
}

fn open_directory(path: &Path) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    open(path, flags, Mode::empty())
}

fn bind(source: &Path, target: &Path) -> nix::Result<()> {
    let none = None::<&str>;
    mount(Some(source), target, none, MsFlags::MS_BIND, none)
}
