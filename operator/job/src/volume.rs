//! The backup volume: generations that appear complete or not at all, and what was done with them.
//!
//! ```text
//! gen-000007-<operation>/{dump.sql.gz, accounts.json, manifest.json}   renamed into place, all on disk
//! .tmp-<operation>/                                     an attempt; swept by the next one
//! CURRENT                                               the generation to restore, replaced by rename
//! restored/<uid>.json                                   instances that were restored, and from what
//! .lock                                                 one operation at a time
//! ```
//! Numbers, not clocks, order the generations. It does not look into a dump.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::accounts::Account;
use crate::dump;
use crate::manifest::{Digest, Manifest};
use crate::report::Failure;

/// The dump inside a generation.
pub const DUMP: &str = "dump.sql.gz";
const ACCOUNTS: &str = "accounts.json";
const MANIFEST: &str = "manifest.json";
const CURRENT: &str = "CURRENT";
const LOCK: &str = ".lock";
const RESTORED: &str = "restored";
const DRAFT: &str = ".tmp-";
const GENERATION: &str = "gen-";

/// The volume, locked for this process.
#[derive(Debug)]
pub struct Volume {
    root: PathBuf,
    // Holding the file open holds the lock.
    _lock: File,
}

/// A complete generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generation {
    /// The name of its directory.
    pub name: String,
    /// What it says about itself.
    pub manifest: Manifest,
}

/// A generation that is being written.
#[derive(Debug)]
pub struct Draft {
    directory: PathBuf,
    name: String,
}

/// That an instance was restored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Restored {
    /// The generation, or the file of the old operator.
    pub generation: String,
    /// The operation that did it.
    pub operation: String,
    /// Tables then.
    pub tables: u64,
    /// Rows then.
    pub rows: u64,
}

impl Volume {
    /// Locks the volume, waiting at most `patience` for another operation, and sweeps unfinished attempts.
    pub fn open(root: &Path, patience: Duration) -> Result<Self, Failure> {
        let lock = File::create(root.join(LOCK)).map_err(|error| unusable(root, &error))?;
        let deadline = Instant::now() + patience;
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    thread::sleep(Duration::from_millis(50));
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(Failure::retry(
                        "BackupVolumeBusy",
                        format!("another process holds {}", root.join(LOCK).display()),
                    ));
                }
                Err(TryLockError::Error(error)) => return Err(unusable(root, &error)),
            }
        }
        let volume = Self {
            root: root.to_owned(),
            _lock: lock,
        };
        volume.sweep().map_err(|error| unusable(root, &error))?;
        Ok(volume)
    }

    /// The complete generations, oldest first. A directory without a readable manifest is none.
    pub fn generations(&self) -> Result<Vec<Generation>, Failure> {
        let mut generations: Vec<(u64, Generation)> = Vec::new();
        for entry in fs::read_dir(&self.root).map_err(|error| unusable(&self.root, &error))? {
            let entry = entry.map_err(|error| unusable(&self.root, &error))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(number) = number_of(&name) else {
                continue;
            };
            let Some(manifest) = self.manifest(&name) else {
                continue;
            };
            generations.push((number, Generation { name, manifest }));
        }
        generations.sort_by(|(a, one), (b, other)| (a, &one.name).cmp(&(b, &other.name)));
        Ok(generations
            .into_iter()
            .map(|(_, generation)| generation)
            .collect())
    }

    /// The generation that `CURRENT` names; the newest if it was never written. One that is not there or does not
    /// say what it is is a failure: an older one in its place would lose rows without a word.
    pub fn current(&self) -> Result<Option<Generation>, Failure> {
        let mut names: Vec<(u64, String)> = self
            .names()
            .map_err(|error| unusable(&self.root, &error))?
            .filter_map(|name| Some((number_of(&name)?, name)))
            .collect();
        names.sort();
        let Some(name) = self.named().or_else(|| Some(names.pop()?.1)) else {
            return Ok(None);
        };
        if let Some(generation) = self.generation(&name) {
            return Ok(Some(generation));
        }
        let advice = match self.generations()?.pop() {
            Some(whole) => format!(
                "to restore {0}, the newest that is there, annotate the resource with \
                 otus.homework/restore-generation={0}",
                whole.name
            ),
            None => "no other generation is there; bring the volume back, or annotate the resource with \
                     otus.homework/restore=skip to begin without rows"
                .to_owned(),
        };
        let there = self.root.join(&name).is_dir();
        let (reason, what) = if there {
            ("ManifestUnreadable", "has no manifest that can be read")
        } else {
            ("BackupExpectedButMissing", "is not on the backup volume")
        };
        let text = format!("the current backup {name} {what}; nothing was restored; {advice}");
        Err(Failure::permanent(reason, text))
    }

    /// What `CURRENT` says.
    fn named(&self) -> Option<String> {
        let name = fs::read_to_string(self.root.join(CURRENT)).ok()?;
        Some(name.trim().to_owned()).filter(|name| !name.is_empty())
    }

    /// One generation by name.
    pub fn generation(&self, name: &str) -> Option<Generation> {
        number_of(name)?;
        Some(Generation {
            name: name.to_owned(),
            manifest: self.manifest(name)?,
        })
    }

    /// Where the dump of a generation lies.
    pub fn dump_of(&self, generation: &str) -> PathBuf {
        self.root.join(generation).join(DUMP)
    }

    /// Where the accounts of a generation lie.
    pub fn accounts_of(&self, generation: &str) -> PathBuf {
        self.root.join(generation).join(ACCOUNTS)
    }

    /// The accounts of a generation; none for those of earlier operators.
    pub fn accounts(&self, generation: &Generation) -> Result<Vec<Account>, Failure> {
        if generation.manifest.accounts.is_none() {
            return Ok(Vec::new());
        }
        let path = self.accounts_of(&generation.name);
        let text = fs::read(&path).map_err(|error| unusable(&path, &error))?;
        serde_json::from_slice(&text).map_err(|error| unusable(&path, &io::Error::other(error)))
    }

    /// A file of the old operator, if it is there.
    pub fn legacy(&self, file: &Path) -> Option<PathBuf> {
        let path = self.root.join(file);
        path.is_file().then_some(path)
    }

    /// Begins a generation.
    pub fn begin(&self, operation: &str) -> Result<Draft, Failure> {
        let next = self
            .names()
            .map_err(|error| unusable(&self.root, &error))?
            .filter_map(|name| number_of(&name))
            .max()
            .unwrap_or(0)
            + 1;
        let draft = Draft {
            directory: self.root.join(format!("{DRAFT}{operation}")),
            name: format!("{GENERATION}{next:06}-{operation}"),
        };
        fs::create_dir(&draft.directory).map_err(|error| unusable(&draft.directory, &error))?;
        Ok(draft)
    }

    /// Makes the draft the current generation: from one moment to the next, also over a power cut.
    pub fn publish(&self, draft: &Draft, manifest: &Manifest) -> Result<Generation, Failure> {
        let text =
            serde_json::to_vec_pretty(manifest).expect("a manifest has only strings and numbers");
        let place = || -> io::Result<()> {
            write_synced(&draft.directory.join(MANIFEST), &text)?;
            sync(&draft.directory)?;
            fs::rename(&draft.directory, self.root.join(&draft.name))?;
            sync(&self.root)?;
            self.replace(CURRENT, draft.name.as_bytes())
        };
        place().map_err(|error| unusable(&self.root, &error))?;
        Ok(Generation {
            name: draft.name.clone(),
            manifest: manifest.clone(),
        })
    }

    /// Removes the oldest generations until `keep` are left; never the current one.
    pub fn prune(&self, keep: usize) -> Result<usize, Failure> {
        let current = self.named();
        let generations = self.generations()?;
        let surplus = generations.len().saturating_sub(keep.max(1));
        let mut removed = 0;
        for generation in generations.iter().take(surplus) {
            if Some(&generation.name) == current.as_ref() {
                continue;
            }
            fs::remove_dir_all(self.root.join(&generation.name))
                .map_err(|error| unusable(&self.root, &error))?;
            removed += 1;
        }
        Ok(removed)
    }

    /// Bytes that are free; `None` if the file system does not say.
    pub fn free_bytes(&self) -> Option<u64> {
        let stat = nix::sys::statvfs::statvfs(&self.root).ok()?;
        Some(stat.blocks_available().saturating_mul(stat.fragment_size()))
    }

    /// Records that this instance has its rows: no later restore may touch them.
    pub fn record_restored(&self, uid: &str, restored: &Restored) -> Result<(), Failure> {
        let text = serde_json::to_vec_pretty(restored).expect("it has only strings and numbers");
        let record = || -> io::Result<()> {
            fs::create_dir_all(self.root.join(RESTORED))?;
            self.replace(&format!("{RESTORED}/{uid}.json"), &text)
        };
        record().map_err(|error| unusable(&self.root, &error))
    }

    /// What this instance was restored from, if it was.
    pub fn restored(&self, uid: &str) -> Option<Restored> {
        let text = fs::read(self.root.join(RESTORED).join(format!("{uid}.json"))).ok()?;
        serde_json::from_slice(&text).ok()
    }

    fn manifest(&self, name: &str) -> Option<Manifest> {
        let text = fs::read(self.root.join(name).join(MANIFEST)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    fn names(&self) -> io::Result<impl Iterator<Item = String> + use<>> {
        let names: io::Result<Vec<_>> = fs::read_dir(&self.root)?
            .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
            .collect();
        Ok(names?.into_iter())
    }

    /// Removes what an operation that died has left.
    fn sweep(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(DRAFT) {
                if entry.file_type()?.is_dir() {
                    fs::remove_dir_all(entry.path())?;
                } else {
                    fs::remove_file(entry.path())?;
                }
            }
        }
        Ok(())
    }

    fn replace(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let fresh = self.root.join(format!("{DRAFT}{}", name.replace('/', "-")));
        write_synced(&fresh, content)?;
        let path = self.root.join(name);
        fs::rename(fresh, &path)?;
        sync(path.parent().unwrap_or(&self.root))
    }
}

impl Draft {
    /// Where the dump goes.
    pub fn dump(&self) -> PathBuf {
        self.directory.join(DUMP)
    }

    /// Puts the accounts beside the dump.
    pub fn write_accounts(&self, accounts: &[Account]) -> Result<Digest, Failure> {
        let text = serde_json::to_vec_pretty(accounts).expect("accounts are only strings");
        let path = self.directory.join(ACCOUNTS);
        write_synced(&path, &text).map_err(|error| unusable(&path, &error))?;
        Ok(dump::digest_of(&text))
    }

    /// Gives the attempt up.
    pub fn discard(self) {
        // What cannot be removed now is swept by the next operation.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// The number of a generation, from its name.
pub(crate) fn number_of(name: &str) -> Option<u64> {
    let (number, operation) = name.strip_prefix(GENERATION)?.split_once('-')?;
    if operation.is_empty() || operation.contains('/') {
        None
    } else {
        number.parse().ok()
    }
}

fn write_synced(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(content)?;
    file.sync_all()
}

fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// The failure of a volume that cannot be used. A full one is told apart: only space helps.
pub(crate) fn unusable(path: &Path, error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Failure::retry(
            "BackupVolumeFull",
            format!(
                "no space is left at {}: {error}; the earlier generations are untouched",
                path.display()
            ),
        ),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Failure::permanent(
            "BackupVolumeNotWritable",
            format!(
                "{}: {error}; the volume must be writable for user 999",
                path.display()
            ),
        ),
        _ => Failure::retry(
            "BackupVolumeUnusable",
            format!("{}: {error}", path.display()),
        ),
    }
}

#[cfg(test)]
mod tests;
