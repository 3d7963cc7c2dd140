//! The mounts a container's spec asks for, in their order.

use std::{fs, path::Path};

use nix::{errno::Errno, mount::MsFlags};

use super::{
    child::{describe, describe_io},
    root::{Root, make_read_only},
    tree::{Kind, Tree},
};
use crate::{error::LaunchError, spec::Mount, sys};

/// Makes them all.
pub(super) fn make(root: &Root, mounts: &[Mount]) -> Result<(), LaunchError> {
    mounts.iter().try_for_each(|mount| match mount {
        Mount::Bind {
            source,
            target,
            read_only,
        } => bind(root, source, target, *read_only),
        Mount::BindPart {
            source,
            part,
            target,
            read_only,
        } => bind_part(root, source, part, target, *read_only),
        Mount::Tmpfs { target, size } => tmpfs(root, target, *size),
    })
}

fn bind(root: &Root, source: &Path, target: &Path, read_only: bool) -> Result<(), LaunchError> {
    let failed = |why: String| LaunchError::Mount {
        from: source.display().to_string(),
        target: target.to_owned(),
        why,
    };
    let refused = |errno: Errno| failed(describe(errno));
    let found = fs::metadata(source).map_err(|error| failed(describe_io(&error)))?;
    let kind = if found.is_dir() {
        Kind::Directory
    } else {
        Kind::File
    };
    let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
    root.mount(source, target, kind, None, flags, None)
        .map_err(refused)?;
    if read_only {
        // Found anew: the handle from before is what the mount now hides.
        let mounted = root.tree().find(target).map_err(refused)?;
        make_read_only(std::os::fd::AsFd::as_fd(&mounted), true).map_err(refused)?;
    }
    Ok(())
}

fn bind_part(
    root: &Root,
    source: &Path,
    part: &Path,
    target: &Path,
    read_only: bool,
) -> Result<(), LaunchError> {
    let failed = |errno: Errno| LaunchError::Mount {
        from: source.join(part).display().to_string(),
        target: target.to_owned(),
        why: describe(errno),
    };
    let volume = Tree::open(source).map_err(failed)?;
    // The tree takes paths from its root.
    let inside = Path::new("/").join(part);
    let found = match volume.find(&inside) {
        Err(Errno::ENOENT) => {
            let made = volume.make(&inside, Kind::Directory).map_err(failed)?;
            // As open as the volume itself, as a kubelet makes it.
            let like = fs::metadata(sys::path_of(volume.root()))?.permissions();
            fs::set_permissions(sys::path_of(&made), like)?;
            made
        }
        other => other.map_err(failed)?,
    };
    bind(root, &sys::path_of(&found), target, read_only)
}

fn tmpfs(root: &Root, target: &Path, size: Option<u64>) -> Result<(), LaunchError> {
    let options = match size {
        None => "mode=1777".to_owned(),
        Some(bytes) => format!("mode=1777,size={bytes}"),
    };
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    root.mount(
        Path::new("tmpfs"),
        target,
        Kind::Directory,
        Some("tmpfs"),
        flags,
        Some(&options),
    )
    .map_err(|errno| LaunchError::Mount {
        from: "tmpfs".to_owned(),
        target: target.to_owned(),
        why: describe(errno),
    })
}
