//! A container's root file system: its image's layers under a layer of its own.
//!
//! What is mounted into it comes from `devices` and `mounts`.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use nix::{
    errno::Errno,
    mount::{MntFlags, MsFlags, mount, umount2},
    unistd::{chdir, fchdir, pivot_root},
};

use super::{
    boot::Node,
    child::{describe_io, step},
    tree::{Kind, Tree},
};
use crate::{error::LaunchError, protocol::Report, spec::ContainerSpec, sys};

mod copy;
mod layers;

/// A root file system before it is entered.
#[derive(Debug)]
pub(super) struct Root {
    tree: Tree,
}

/// Joins the layers, and mounts the result where only this container sees it.
pub(super) fn assemble(
    spec: &ContainerSpec,
    node: &Node,
    reports: BorrowedFd<'_>,
) -> Result<Root, LaunchError> {
    let place = spec.scratch.join("root");
    if let Some(warning) = layers::join(spec, node.user_attributes, &place)? {
        // If the init process is gone, so are we.
        let _ = super::send_now(reports, &Report::Warning(warning));
    }
    let tree = Tree::open(&place).map_err(step("open the root file system"))?;
    Ok(Root { tree })
}

impl Root {
    /// Paths in it.
    pub(super) fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Makes a directory and those above it.
    pub(super) fn make_directory(&self, path: &Path) -> nix::Result<OwnedFd> {
        self.tree.make(path, Kind::Directory)
    }

    /// Mounts something at `path`, which is made if missing.
    pub(super) fn mount(
        &self,
        source: &Path,
        path: &Path,
        kind: Kind,
        filesystem: Option<&str>,
        flags: MsFlags,
        options: Option<&str>,
    ) -> nix::Result<()> {
        let target = self.tree.make(path, kind)?;
        mount(
            Some(source),
            &sys::path_of(&target),
            filesystem,
            flags,
            options,
        )
    }

    /// Makes this the root directory, and the host's unreachable.
    pub(super) fn enter(&self, read_only: bool) -> Result<(), LaunchError> {
        if read_only {
            let root = self.tree.root();
            make_read_only(root.as_fd(), false)
                .map_err(step("make the root file system read-only"))?;
        }
        fchdir(self.tree.root()).map_err(step("enter the root file system"))?;
        // Both are the same directory: the old root comes to lie on top of the new one, and is taken off.
        pivot_root(".", ".").map_err(step("pivot to the root file system"))?;
        umount2(".", MntFlags::MNT_DETACH).map_err(step("let go of the host's file systems"))?;
        chdir("/").map_err(step("enter /"))
    }
}

/// Refuses writes through a mount; with `below`, through those below it too.
pub(super) fn make_read_only(mount_point: BorrowedFd<'_>, below: bool) -> nix::Result<()> {
    if below {
        match sys::set_read_only_recursively(mount_point) {
            // Kernels before 5.12 can do it for one mount only.
            Err(Errno::ENOSYS) => {}
            other => return other,
        }
    }
    let path = sys::path_of(mount_point);
    // What the mount refuses already must be named again: in a user namespace it is locked.
    let kept = nix::sys::statvfs::statvfs(&path)?.flags();
    let mut flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    for (has, flag) in [
        (nix::sys::statvfs::FsFlags::ST_NOSUID, MsFlags::MS_NOSUID),
        (nix::sys::statvfs::FsFlags::ST_NODEV, MsFlags::MS_NODEV),
        (nix::sys::statvfs::FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
    ] {
        flags.set(flag, kept.contains(has));
    }
    mount(None::<&str>, &path, None::<&str>, flags, None::<&str>)
}

impl From<io::Error> for LaunchError {
    fn from(error: io::Error) -> Self {
        LaunchError::Step {
            step: "prepare the container".to_owned(),
            why: describe_io(&error),
        }
    }
}
