//! Which registries could not be reached a moment ago: known to all processes that share a cache.

use std::{fs, path::PathBuf, time::Duration};

use crate::{digest::Hasher, store::Cache};

/// For how long nobody tries again.
pub(super) const LASTS: Duration = Duration::from_secs(120);

/// What is remembered of one registry. A memory that cannot be written is no error.
#[derive(Debug)]
pub(super) struct Memory {
    path: PathBuf,
}

impl Memory {
    pub(super) fn of(cache: &Cache, registry: &str) -> Self {
        let name = Hasher::default().part(registry).hex();
        Self {
            path: cache.unreachable().join(name),
        }
    }

    /// Why it could not be reached, if that was a moment ago.
    pub(super) fn recall(&self) -> Option<String> {
        let since = fs::metadata(&self.path).ok()?.modified().ok()?.elapsed();
        if since.ok()? > LASTS {
            return None;
        }
        fs::read_to_string(&self.path).ok()
    }

    pub(super) fn keep(&self, why: &str) {
        if let Err(error) = fs::write(&self.path, why) {
            tracing::debug!(%error, "an unreachable registry is not remembered");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn what_was_long_ago_is_forgotten() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let cache = Cache::open(dir.path().to_owned()).expect("the cache opens");
        let memory = Memory::of(&cache, "registry.example");
        assert_eq!(memory.recall(), None);
        memory.keep("no route");
        assert_eq!(memory.recall().as_deref(), Some("no route"));
        assert_eq!(Memory::of(&cache, "other.example").recall(), None);
        let long_ago = SystemTime::now() - LASTS - Duration::from_secs(1);
        fs::File::open(&memory.path)
            .and_then(|file| file.set_modified(long_ago))
            .expect("it is there");
        assert_eq!(memory.recall(), None);
    }
}
