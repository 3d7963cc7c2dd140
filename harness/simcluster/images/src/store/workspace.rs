//! What a source works with while it makes an image: layers that appear whole or not at all.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{ImageError, error, source::tree_bytes, store::cache::Cache};

/// Nobody takes so long to write a small file and rename it.
const FILE_LIFE: Duration = Duration::from_secs(3600);

/// A directory tree in the cache.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Layer {
    /// Its name in the cache.
    pub(crate) key: String,
    /// Of all regular files in it.
    pub(crate) bytes: u64,
    #[serde(flatten)]
    pub(crate) facts: LayerFacts,
}

/// What only the maker of a layer knows about it.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct LayerFacts {
    /// SHA-256 of what it was made of, in hexadecimal.
    pub(crate) digest: String,
    /// Distribution packages in it, `name=version`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) packages: Vec<String>,
}

/// A part of the cache that a source may write to while it makes one image.
#[derive(Clone, Debug)]
pub(crate) struct Workspace {
    cache: Cache,
}

impl Workspace {
    pub(crate) fn new(cache: &Cache) -> Self {
        Self {
            cache: cache.clone(),
        }
    }

    /// The layer of this key; made by `build` in a fresh directory if it is not there yet.
    pub(crate) fn layer(
        &self,
        key: &str,
        build: impl FnOnce(&Path) -> Result<LayerFacts, ImageError>,
    ) -> Result<Layer, ImageError> {
        if let Some(layer) = self.cache.layer(key)? {
            return Ok(layer);
        }
        let scratch = self.scratch()?;
        let root = scratch.path().join("fs");
        fs::create_dir(&root).map_err(error::io("create", &root))?;
        // Programs of any user walk through the root of a file system.
        fs::set_permissions(&root, fs::Permissions::from_mode(0o755))
            .map_err(error::io("open up", &root))?;
        let facts = build(&root)?;
        let layer = Layer {
            key: key.to_owned(),
            bytes: tree_bytes(&root).map_err(error::io("measure", &root))?,
            facts,
        };
        self.cache.keep_layer(scratch.path(), &layer)?;
        Ok(layer)
    }

    /// Whether there is a layer of this key.
    pub(crate) fn has(&self, key: &str) -> Result<bool, ImageError> {
        Ok(self.cache.layer(key)?.is_some())
    }

    /// The tree of a layer.
    pub(crate) fn root(&self, layer: &Layer) -> PathBuf {
        self.cache.layer_root(&layer.key)
    }

    /// An empty directory on the cache's file system; gone when dropped, or after a kill when a store is opened next.
    pub(crate) fn scratch(&self) -> Result<Scratch, ImageError> {
        Scratch::new(&self.cache.scratch_parent())
    }
}

/// A temporary directory whose lock says that its maker lives.
#[derive(Debug)]
pub(crate) struct Scratch {
    dir: tempfile::TempDir,
    _alive: File,
}

impl Scratch {
    fn new(parent: &Path) -> Result<Self, ImageError> {
        let dir =
            tempfile::tempdir_in(parent).map_err(error::io("create a directory in", parent))?;
        let alive = File::open(dir.path()).map_err(error::io("open", dir.path()))?;
        alive.lock_shared().map_err(error::io("lock", dir.path()))?;
        Ok(Self { dir, _alive: alive })
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }
}

/// Removes what killed makers left in `parent`. The caller sees to it that nobody makes a directory there
/// right now; files, which live for a moment only, may come and go.
pub(crate) fn remove_abandoned(parent: &Path) -> io::Result<()> {
    for entry in fs::read_dir(parent)? {
        let path = entry?.path();
        let Ok(metadata) = fs::symlink_metadata(&path) else {
            continue;
        };
        if metadata.is_dir() {
            if File::open(&path)?.try_lock().is_ok() {
                fs::remove_dir_all(&path)?;
            }
        } else if metadata
            .modified()?
            .elapsed()
            .is_ok_and(|age| age > FILE_LIFE)
        {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}
