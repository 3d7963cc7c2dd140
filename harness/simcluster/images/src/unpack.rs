//! Tar archives into directories, as container images and packages need it, by whoever runs this.
//!
//! No entry, whatever its name or the links before it, reaches outside of the directory. Owners are kept when
//! root unpacks and asked to; devices are never made.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, symlink},
    path::{Component, Path, PathBuf},
    time::{Duration, SystemTime},
};

use tar::{Archive, Entry, EntryType};

/// A chain of symbolic links longer than this is a loop.
const MAX_LINKS: usize = 40;
/// Marks a file of a lower layer as deleted, in the name.
const WHITEOUT: &str = ".wh.";
/// Marks all that lower layers have in this directory as deleted.
const OPAQUE: &str = ".wh..wh..opq";

/// What to do with the entries of an archive.
#[derive(Clone, Copy)]
pub(crate) struct Policy<'a> {
    /// Names with the meaning of layers: `.wh.x` deletes `x`.
    pub(crate) whiteouts: bool,
    /// Give files to who the archive says, if we may.
    pub(crate) owners: bool,
    /// Paths (without leading `./`) to take.
    pub(crate) wanted: &'a dyn Fn(&Path) -> bool,
}

/// Unpacks an archive over what is in `root`. Later entries replace earlier ones.
pub(crate) fn unpack(archive: impl Read, root: &Path, policy: Policy<'_>) -> io::Result<()> {
    let mut unpacker = Unpacker {
        root,
        policy,
        parents: HashSet::new(),
        made: HashSet::new(),
    };
    for entry in Archive::new(archive).entries()? {
        let mut entry = entry?;
        let path = clean(&entry.path()?);
        if path.as_os_str().is_empty() || !(policy.wanted)(&path) {
            continue;
        }
        unpacker.entry(&mut entry, &path).map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", path.display()))
        })?;
    }
    Ok(())
}

struct Unpacker<'a> {
    root: &'a Path,
    policy: Policy<'a>,
    /// Real directories already found to be inside.
    parents: HashSet<PathBuf>,
    /// What this archive itself made: an opaque mark does not delete it.
    made: HashSet<PathBuf>,
}

impl Unpacker<'_> {
    fn entry(&mut self, entry: &mut Entry<'_, impl Read>, path: &Path) -> io::Result<()> {
        let Some(name) = path.file_name() else {
            return Ok(());
        };
        let parent = self.parent(path)?;
        let place = parent.join(name);
        if self.policy.whiteouts
            && let Some(hidden) = name.to_str().and_then(|name| name.strip_prefix(WHITEOUT))
        {
            return if name == OPAQUE {
                self.clear(&parent)
            } else {
                remove(&parent.join(hidden))
            };
        }
        self.made.insert(place.clone());
        let mode = entry.header().mode()? & 0o7777;
        match entry.header().entry_type() {
            EntryType::Directory => {
                // A link to a directory (usr-merged systems have `bin -> usr/bin`) stays what it is.
                let target = self.resolve(path, 0)?;
                if directory(&target)? {
                    self.own(entry, &target)?;
                }
                // Without these bits not even its owner could fill or remove it.
                fs::set_permissions(target, fs::Permissions::from_mode(mode | 0o700))?;
            }
            EntryType::Symlink => {
                let target = entry
                    .link_name()?
                    .ok_or(io::ErrorKind::InvalidData)?
                    .into_owned();
                remove(&place)?;
                symlink(target, &place)?;
                self.own(entry, &place)?;
                // What was a directory may be a link now.
                self.parents.clear();
            }
            EntryType::Link => {
                let target = clean(&entry.link_name()?.ok_or(io::ErrorKind::InvalidData)?);
                let source = self
                    .parent(&target)?
                    .join(target.file_name().unwrap_or_default());
                if source != place {
                    remove(&place)?;
                    fs::hard_link(source, &place)?;
                }
            }
            EntryType::Fifo => {
                remove(&place)?;
                nix::unistd::mkfifo(&place, nix::sys::stat::Mode::from_bits_truncate(mode))?;
            }
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                remove(&place)?;
                let mut file = File::create_new(&place)?;
                io::copy(entry, &mut file)?;
                self.own(entry, &place)?;
                file.set_permissions(fs::Permissions::from_mode(mode))?;
                let time = SystemTime::UNIX_EPOCH + Duration::from_secs(entry.header().mtime()?);
                file.set_modified(time)?;
            }
            // Devices need privileges, and containers get theirs from the runtime.
            _ => {}
        }
        Ok(())
    }

    /// The real directory that `path` lies in, made if it is not there.
    fn parent(&mut self, path: &Path) -> io::Result<PathBuf> {
        let parent = path.parent().unwrap_or(Path::new(""));
        let real = self.resolve(parent, 0)?;
        if real != self.root && !self.parents.contains(&real) {
            // Where it really is, not where its name seems to put it.
            let inside = real.strip_prefix(self.root).unwrap_or(parent).to_owned();
            self.parent(&inside)?;
            directory(&real)?;
            self.parents.insert(real.clone());
        }
        Ok(real)
    }

    /// Where `path` leads when `root` is the root directory. The last parts need not exist.
    fn resolve(&self, path: &Path, links: usize) -> io::Result<PathBuf> {
        if links > MAX_LINKS {
            return Err(io::Error::other("too many levels of symbolic links"));
        }
        let mut inside = PathBuf::new();
        let mut rest = path.components();
        while let Some(component) = rest.next() {
            match component {
                Component::Normal(name) => {
                    let Ok(target) = fs::read_link(self.root.join(&inside).join(name)) else {
                        inside.push(name);
                        continue;
                    };
                    let from = if target.is_absolute() {
                        PathBuf::new()
                    } else {
                        inside
                    };
                    let target = from.join(target.strip_prefix("/").unwrap_or(&target));
                    return self.resolve(&target.join(rest.as_path()), links + 1);
                }
                Component::ParentDir => {
                    inside.pop();
                }
                Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
            }
        }
        Ok(self.root.join(inside))
    }

    /// Removes what lower layers have in a directory.
    fn clear(&self, dir: &Path) -> io::Result<()> {
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            if !self.made.iter().any(|made| made.starts_with(&path)) {
                remove(&path)?;
            }
        }
        Ok(())
    }

    fn own(&self, entry: &Entry<'_, impl Read>, place: &Path) -> io::Result<()> {
        if !self.policy.owners {
            return Ok(());
        }
        let header = entry.header();
        // Some archives name no owner: then it stays who unpacks.
        let id = |id: io::Result<u64>| id.ok().and_then(|id| u32::try_from(id).ok());
        match std::os::unix::fs::lchown(place, id(header.uid()), id(header.gid())) {
            // Not root, or root of a user namespace that knows only itself: then everything is ours.
            Err(error) if matches!(error.raw_os_error(), Some(1 | 22)) => Ok(()),
            result => result,
        }
    }
}

/// A relative path without `.`; a leading `..` stays for [`Unpacker::resolve`] to drop.
fn clean(path: &Path) -> PathBuf {
    path.components()
        .filter(|component| matches!(component, Component::Normal(_) | Component::ParentDir))
        .collect()
}

/// Makes a directory in place of whatever else is at `path`; answers whether it was made now. Several threads
/// may do so at once.
fn directory(path: &Path) -> io::Result<bool> {
    let make = || fs::DirBuilder::new().mode(0o755).create(path);
    match make() {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if fs::symlink_metadata(path)?.is_dir() {
                return Ok(false);
            }
            fs::remove_file(path)?;
            make().map(|()| true)
        }
        result => result.map(|()| true),
    }
}

/// Removes whatever is at `path`, if anything is.
fn remove(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
#[path = "unpack_tests.rs"]
mod tests;
