//! Paths inside a container's root, resolved as the container itself would: a symbolic link never leads out.
//!
//! It makes what is missing. It mounts nothing.

use std::{
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, OpenHow, ResolveFlag, open, openat, openat2, readlinkat},
    sys::stat::{Mode, mkdirat},
};

/// What to make where nothing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Directory,
    File,
}

/// A symbolic link that leads nowhere is followed so many times when its target is made.
const MOST_LINKS: u32 = 16;

/// A directory tree seen from its root.
#[derive(Debug)]
pub(super) struct Tree {
    root: OwnedFd,
}

impl Tree {
    /// The tree at `path`.
    pub(super) fn open(path: &Path) -> nix::Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        Ok(Self {
            root: open(path, flags, Mode::empty())?,
        })
    }

    /// The root itself.
    pub(super) fn root(&self) -> &OwnedFd {
        &self.root
    }

    /// What is at `path` now, as a handle without access.
    pub(super) fn find(&self, path: &Path) -> nix::Result<OwnedFd> {
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT);
        loop {
            // EAGAIN: someone renamed a directory on the way.
            match openat2(&self.root, path, how) {
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                other => return other,
            }
        }
    }

    /// As [`Tree::find`]; what is missing is made, and the directories above it.
    pub(super) fn make(&self, path: &Path, kind: Kind) -> nix::Result<OwnedFd> {
        self.make_through(path, kind, MOST_LINKS)
    }

    fn make_through(&self, path: &Path, kind: Kind, links: u32) -> nix::Result<OwnedFd> {
        match self.find(path) {
            Err(Errno::ENOENT) => {}
            other => return other,
        }
        let (Some(above), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Errno::EINVAL);
        };
        let parent = self.make_through(above, Kind::Directory, links)?;
        let made = match kind {
            Kind::Directory => mkdirat(&parent, name, Mode::from_bits_truncate(0o755)),
            Kind::File => {
                let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
                openat(&parent, name, flags, Mode::from_bits_truncate(0o644)).map(drop)
            }
        };
        match made {
            Ok(()) => self.find(path),
            Err(Errno::EEXIST) if links == 0 => Err(Errno::ELOOP),
            Err(Errno::EEXIST) => {
                // A symbolic link whose target is missing: make the target.
                let target: PathBuf = above.join(readlinkat(parent.as_fd(), name)?);
                self.make_through(&target, kind, links - 1)
            }
            Err(errno) => Err(errno),
        }
    }
}
