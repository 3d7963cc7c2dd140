//! The cache on disk, shared by processes that know nothing of each other.
//!
//! ```text
//! images/KEY.json     one finished image: its layers and configuration; its time is that of the last use
//! layers/KEY/fs       one root file system tree, never written to again; layer.json beside it
//! names/HASH.json     a reference and the image it was answered with
//! locks/KEY           locked shared by who uses the image, exclusively by who removes it
//! locks/KEY.making    locked exclusively by who makes it
//! locks/cache         locked shared by who makes any image, exclusively by who removes any
//! scratch/            half-made things
//! packages/           state of the package tools
//! unreachable/        registries that could not be reached a moment ago
//! ```
//!
//! Everything appears by a rename, so a kill at any time leaves at most a directory in `scratch`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    ImageError, Reference,
    digest::Hasher,
    error,
    source::{Draft, Reporter},
    store::workspace::{Layer, remove_abandoned},
};

/// How often who waits for another process looks whether it still should.
const LOCK_POLL: Duration = Duration::from_millis(50);
/// The lock of the cache as a whole.
const WHOLE: &str = "cache";

/// A finished image.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The name of the source that made it.
    pub(crate) source: String,
    /// When it was made.
    pub(crate) created: jiff::Timestamp,
    #[serde(flatten)]
    pub(crate) draft: Draft,
}

/// A name that was answered with an image.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Name {
    reference: String,
    key: String,
}

/// An image in the cache, as `images ls` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachedImage {
    /// The full reference it was asked for by: `docker.io/library/mysql:5.7`.
    pub reference: String,
    /// What it truly is.
    pub resolved: String,
    /// `sha256:…` of the content.
    pub digest: String,
    /// Where it came from: `distribution packages`.
    pub source: String,
    /// Bytes on disk; layers shared with other images count in each of them.
    pub bytes: u64,
    /// When it was made.
    pub created: jiff::Timestamp,
}

/// The cache directory. Clones are the same cache.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    root: Arc<Path>,
}

impl Cache {
    pub(crate) fn open(root: PathBuf) -> Result<Self, ImageError> {
        for part in [
            "images",
            "layers",
            "names",
            "locks",
            "scratch",
            "packages",
            "unreachable",
        ] {
            let dir = root.join(part);
            fs::create_dir_all(&dir).map_err(error::io("create", dir))?;
        }
        let cache = Self { root: root.into() };
        let whole = cache.lock_file(WHOLE)?;
        if whole.try_lock().is_ok() {
            let scratch = cache.scratch_parent();
            remove_abandoned(&scratch).map_err(error::io("tidy up", scratch))?;
        }
        Ok(cache)
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn scratch_parent(&self) -> PathBuf {
        self.root.join("scratch")
    }

    pub(crate) fn package_state(&self) -> PathBuf {
        self.root.join("packages")
    }

    pub(crate) fn unreachable(&self) -> PathBuf {
        self.root.join("unreachable")
    }

    pub(crate) fn layer_root(&self, key: &str) -> PathBuf {
        self.root.join("layers").join(key).join("fs")
    }

    /// Keeps others from removing the image while the answer lives; `None` while somebody removes it.
    pub(crate) fn share(&self, key: &str) -> Result<Option<File>, ImageError> {
        let file = self.lock_file(key)?;
        match file.try_lock_shared() {
            Ok(()) => Ok(Some(file)),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(source)) => {
                Err(error::io("lock", self.lock_path(key))(source))
            }
        }
    }

    /// Waits to be the only one who makes the image; `None` as soon as somebody else has made it.
    ///
    /// Who uses an image is not waited for: the others that waited with us may use it as long as they like.
    pub(crate) fn claim(
        &self,
        key: &str,
        reporter: &dyn Reporter,
    ) -> Result<Option<File>, ImageError> {
        let making = format!("{key}.making");
        let file = self.lock_file(&making)?;
        let mut told = false;
        loop {
            match file.try_lock() {
                Ok(()) if self.record(key)?.is_some() => return Ok(None),
                Ok(()) => return Ok(Some(file)),
                Err(fs::TryLockError::Error(source)) => {
                    return Err(error::io("lock", self.lock_path(&making))(source));
                }
                Err(fs::TryLockError::WouldBlock) if self.record(key)?.is_some() => {
                    return Ok(None);
                }
                Err(fs::TryLockError::WouldBlock) => {}
            }
            if !told || reporter.is_cancelled() {
                reporter.step("waiting for another pull of the same image")?;
                told = true;
            }
            thread::sleep(LOCK_POLL);
        }
    }

    /// Keeps others from removing anything while the answer lives.
    pub(crate) fn writing(&self) -> Result<File, ImageError> {
        let file = self.lock_file(WHOLE)?;
        file.lock_shared()
            .map_err(error::io("lock", self.lock_path(WHOLE)))?;
        Ok(file)
    }

    /// The finished image of this key.
    pub(crate) fn record(&self, key: &str) -> Result<Option<Record>, ImageError> {
        let record: Option<Record> = read_json(&self.record_path(key))?;
        // Somebody may have removed a layer by hand.
        Ok(record.filter(|record| {
            record
                .draft
                .layers
                .iter()
                .all(|layer| self.layer_root(&layer.key).is_dir())
        }))
    }

    /// The key of the image that was imported under, or answered, this reference.
    pub(crate) fn key_of(&self, reference: &Reference) -> Result<Option<String>, ImageError> {
        let name: Option<Name> = read_json(&self.name_path(reference))?;
        Ok(name.map(|name| name.key))
    }

    /// Notes that this image was used now, under this name.
    pub(crate) fn used(&self, key: &str, reference: &Reference) -> Result<(), ImageError> {
        let path = self.record_path(key);
        File::open(&path)
            .and_then(|file| file.set_modified(SystemTime::now()))
            .map_err(error::io("touch", &path))?;
        self.name(key, reference)
    }

    /// Gives an image a name, and takes it from another.
    pub(crate) fn name(&self, key: &str, reference: &Reference) -> Result<(), ImageError> {
        if self.key_of(reference)?.as_deref() == Some(key) {
            return Ok(());
        }
        self.write_json(
            &self.name_path(reference),
            &Name {
                reference: reference.to_string(),
                key: key.to_owned(),
            },
        )
    }

    /// Makes a finished image known.
    pub(crate) fn keep(&self, key: &str, source: &str, draft: Draft) -> Result<(), ImageError> {
        self.write_json(
            &self.record_path(key),
            &Record {
                source: source.to_owned(),
                created: jiff::Timestamp::now(),
                draft,
            },
        )
    }

    pub(crate) fn layer(&self, key: &str) -> Result<Option<Layer>, ImageError> {
        read_json(&self.root.join("layers").join(key).join("layer.json"))
    }

    /// Moves a finished layer, `made/fs`, to its place, with what there is to know about it.
    pub(crate) fn keep_layer(&self, made: &Path, layer: &Layer) -> Result<(), ImageError> {
        let staged = made.join("layer");
        let place = self.root.join("layers").join(&layer.key);
        fs::create_dir(&staged).map_err(error::io("create", &staged))?;
        fs::rename(made.join("fs"), staged.join("fs")).map_err(error::io("move", &staged))?;
        let facts = serde_json::to_vec(layer).expect("strings and numbers become JSON");
        fs::write(staged.join("layer.json"), facts).map_err(error::io("write to", &staged))?;
        match fs::rename(&staged, &place) {
            Ok(()) => Ok(()),
            // Another image's maker had the same layer at the same time: theirs is as good.
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
            Err(error) => Err(error::io("move a layer to", place)(error)),
        }
    }

    pub(crate) fn list(&self) -> Result<Vec<CachedImage>, ImageError> {
        let mut images = Vec::new();
        for name in self.names()? {
            if let Some(record) = self.record(&name.key)? {
                images.push(CachedImage {
                    resolved: record
                        .draft
                        .resolved
                        .clone()
                        .unwrap_or_else(|| name.reference.clone()),
                    digest: record.draft.digest(),
                    source: record.source,
                    bytes: record.draft.layers.iter().map(|layer| layer.bytes).sum(),
                    created: record.created,
                    reference: name.reference,
                });
            }
        }
        images.sort_by(|a, b| a.reference.cmp(&b.reference));
        Ok(images)
    }

    pub(crate) fn remove(&self, reference: &Reference) -> Result<bool, ImageError> {
        let whole = self.lock_file(WHOLE)?;
        whole
            .lock()
            .map_err(error::io("lock", self.lock_path(WHOLE)))?;
        let Some(key) = self.key_of(reference)? else {
            return Ok(false);
        };
        let others = self.names()?.iter().filter(|name| name.key == key).count() > 1;
        if !others && !self.remove_image(&key)? {
            return Err(ImageError::InUse {
                reference: reference.to_string(),
            });
        }
        let name = self.name_path(reference);
        fs::remove_file(&name).map_err(error::io("remove", name))?;
        self.remove_unused_layers()?;
        Ok(true)
    }

    pub(crate) fn prune(&self, limit: u64) -> Result<Vec<String>, ImageError> {
        let whole = self.lock_file(WHOLE)?;
        // Who makes an image will prune after it.
        if whole.try_lock().is_err() {
            return Ok(Vec::new());
        }
        self.remove_unused_layers()?;
        let mut removed = Vec::new();
        for key in self.least_recently_used_first()? {
            if self.layer_bytes()? <= limit {
                break;
            }
            if self.remove_image(&key)? {
                self.remove_unused_layers()?;
                for name in self.names()?.into_iter().filter(|name| name.key == key) {
                    let path = self.root.join("names").join(name_file(&name.reference));
                    fs::remove_file(&path).map_err(error::io("remove", path))?;
                    removed.push(name.reference);
                }
            }
        }
        Ok(removed)
    }

    /// Removes the record of an image that nobody uses; answers false if somebody does.
    fn remove_image(&self, key: &str) -> Result<bool, ImageError> {
        let lock = self.lock_file(key)?;
        if lock.try_lock().is_err() {
            return Ok(false);
        }
        let path = self.record_path(key);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error::io("remove", path)(error))
            }
            _ => Ok(true),
        }
    }

    fn remove_unused_layers(&self) -> Result<(), ImageError> {
        let mut used = BTreeSet::new();
        for key in self.least_recently_used_first()? {
            let record: Option<Record> = read_json(&self.record_path(&key))?;
            used.extend(
                record
                    .into_iter()
                    .flat_map(|record| record.draft.layers)
                    .map(|layer| layer.key),
            );
        }
        for (key, path) in self.entries("layers")? {
            if !used.contains(&key) {
                // First out of sight, so that a kill in between leaves no layer with half of its files.
                let doomed = self.scratch_parent().join(format!("removed-{key}"));
                fs::rename(&path, &doomed).map_err(error::io("move", &path))?;
                fs::remove_dir_all(&doomed).map_err(error::io("remove", &doomed))?;
            }
        }
        Ok(())
    }

    fn layer_bytes(&self) -> Result<u64, ImageError> {
        let mut bytes = 0;
        for (key, _) in self.entries("layers")? {
            bytes += self.layer(&key)?.map_or(0, |layer| layer.bytes);
        }
        Ok(bytes)
    }

    fn least_recently_used_first(&self) -> Result<Vec<String>, ImageError> {
        let mut by_time = BTreeMap::new();
        for (file, path) in self.entries("images")? {
            let used = fs::metadata(&path).and_then(|metadata| metadata.modified());
            let key = file.trim_end_matches(".json").to_owned();
            by_time.insert(
                (used.map_err(error::io("inspect", &path))?, key.clone()),
                key,
            );
        }
        Ok(by_time.into_values().collect())
    }

    fn names(&self) -> Result<Vec<Name>, ImageError> {
        let mut names = Vec::new();
        for (_, path) in self.entries("names")? {
            names.extend(read_json::<Name>(&path)?);
        }
        Ok(names)
    }

    fn entries(&self, part: &str) -> Result<Vec<(String, PathBuf)>, ImageError> {
        let dir = self.root.join(part);
        let read = || -> io::Result<Vec<_>> {
            fs::read_dir(&dir)?
                .map(|entry| {
                    entry.map(|entry| {
                        (
                            entry.file_name().to_string_lossy().into_owned(),
                            entry.path(),
                        )
                    })
                })
                .collect()
        };
        read().map_err(error::io("read", &dir))
    }

    fn record_path(&self, key: &str) -> PathBuf {
        self.root.join("images").join(format!("{key}.json"))
    }

    fn name_path(&self, reference: &Reference) -> PathBuf {
        self.root
            .join("names")
            .join(name_file(&reference.to_string()))
    }

    fn lock_path(&self, name: &str) -> PathBuf {
        self.root.join("locks").join(name)
    }

    fn lock_file(&self, name: &str) -> Result<File, ImageError> {
        let path = self.lock_path(name);
        let open = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path);
        open.map_err(error::io("open", path))
    }

    fn write_json(&self, path: &Path, value: &impl Serialize) -> Result<(), ImageError> {
        let json = serde_json::to_vec_pretty(value).expect("strings and numbers become JSON");
        let write = || -> io::Result<()> {
            let mut file = tempfile::NamedTempFile::new_in(self.scratch_parent())?;
            file.write_all(&json)?;
            file.persist(path)?;
            Ok(())
        };
        write().map_err(error::io("write", path))
    }
}

fn name_file(reference: &str) -> String {
    format!("{}.json", Hasher::default().part(reference).hex())
}

/// The file's value; `None` when there is no such file, or it is from another version of this program.
fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, ImageError> {
    match fs::read(path) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error::io("read", path)(error)),
    }
}
