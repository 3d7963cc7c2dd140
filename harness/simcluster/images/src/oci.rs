//! Images in files: OCI layouts (directories and archives) and the archives of `docker save`.
//!
//! [`contents`] finds out what is in one, [`unpack`] makes an image of it, [`export`](mod@export) writes one. All
//! layers of an image become one tree, so that no trace of deleted files is left for whoever mounts it.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    ImageError, Reference, error,
    oci::contents::{Found, Stamp},
    source::{Draft, Located, Reporter, Silent, Source},
    store::{Cache, Workspace},
};

mod contents;
pub(crate) mod document;
mod export;
mod layer;
mod unpack;

pub(crate) use contents::{layer_key, sha256};
pub(crate) use export::export;

/// The name of the source that finds what was imported; also what is written in the cache's records.
const IMPORTED: &str = "imported archives";

/// An image that was taken from an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archived {
    /// The names it has now.
    pub references: Vec<String>,
    /// `sha256:…` of the image's configuration, which is what Docker calls its id.
    pub id: String,
}

/// Archives and layouts that were given by path; read when they are first asked. Clones share everything.
#[derive(Clone, Debug, Default)]
pub(crate) struct Archives {
    inner: Arc<Mutex<Offered>>,
}

#[derive(Debug, Default)]
struct Offered {
    paths: Vec<PathBuf>,
    read: HashMap<PathBuf, (Stamp, Vec<Found>)>,
}

impl Archives {
    pub(crate) fn new(paths: Vec<PathBuf>) -> Self {
        let archives = Self::default();
        archives.offered().paths = paths;
        archives
    }

    /// One more, which counts before those that were there.
    pub(crate) fn add(&self, path: &Path) -> Result<Vec<Archived>, ImageError> {
        let path = std::fs::canonicalize(path).map_err(error::io("find", path))?;
        let found = self.contents(&path)?;
        self.offered().paths.insert(0, path);
        let archived = found.into_iter().map(|found| Archived {
            references: found.references().iter().map(ToString::to_string).collect(),
            id: found.id,
        });
        Ok(archived.collect())
    }

    fn offered(&self) -> MutexGuard<'_, Offered> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The image of this name, and the file it is in.
    fn find(&self, reference: &Reference) -> Result<(PathBuf, Found), String> {
        let paths = self.offered().paths.clone();
        if paths.is_empty() {
            return Err("none was given".to_owned());
        }
        let mut names = Vec::new();
        for path in &paths {
            for found in self.contents(path).map_err(|error| error.to_string())? {
                if found.is_named(reference) {
                    return Ok((path.clone(), found));
                }
                names.extend(found.names);
            }
        }
        let paths: Vec<_> = paths
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        let offered = if names.is_empty() {
            "nothing with a name".to_owned()
        } else {
            names.join(", ")
        };
        Err(format!("{} offer {offered}", paths.join(", ")))
    }

    fn contents(&self, path: &Path) -> Result<Vec<Found>, ImageError> {
        let stamp = Stamp::of(path)?;
        let known = self.offered().read.get(path).cloned();
        if let Some((_, contents)) = known.filter(|(known, _)| *known == stamp) {
            return Ok(contents);
        }
        let contents = contents::read(path)?;
        let read = (stamp, contents.clone());
        self.offered().read.insert(path.to_owned(), read);
        Ok(contents)
    }
}

impl Source for Archives {
    fn name(&self) -> &'static str {
        "image archives on disk"
    }

    fn locate(&self, reference: &Reference) -> Result<Located, String> {
        self.find(reference)
            .map(|(_, found)| Located { key: found.key() })
    }

    fn assemble(
        &self,
        reference: &Reference,
        workspace: &Workspace,
        reporter: &dyn Reporter,
    ) -> Result<Draft, ImageError> {
        let (path, found) = self
            .find(reference)
            .map_err(|problem| ImageError::Assemble {
                reference: reference.to_string(),
                from: self.name(),
                problem,
            })?;
        unpack::unpack(&path, &found, workspace, reporter)
    }
}

/// What was imported into the cache before.
#[derive(Debug)]
pub(crate) struct Imported {
    cache: Cache,
}

impl Imported {
    pub(crate) fn new(cache: Cache) -> Self {
        Self { cache }
    }
}

impl Source for Imported {
    fn name(&self) -> &'static str {
        IMPORTED
    }

    fn locate(&self, reference: &Reference) -> Result<Located, String> {
        let known = || -> Result<Option<String>, ImageError> {
            let Some(key) = self.cache.key_of(reference)? else {
                return Ok(None);
            };
            let record = self.cache.record(&key)?;
            Ok(record
                .filter(|record| record.source == IMPORTED)
                .map(|_| key))
        };
        match known() {
            Ok(Some(key)) => Ok(Located { key }),
            Ok(None) => Err("none of this name".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn assemble(
        &self,
        reference: &Reference,
        _workspace: &Workspace,
        _reporter: &dyn Reporter,
    ) -> Result<Draft, ImageError> {
        // It was there when it was located.
        Err(ImageError::Assemble {
            reference: reference.to_string(),
            from: IMPORTED,
            problem: "it was removed a moment ago; import it again".to_owned(),
        })
    }
}

/// Makes the one image of a layout or archive that a source has fetched.
pub(crate) fn from_layout(
    path: &Path,
    workspace: &Workspace,
    reporter: &dyn Reporter,
) -> Result<Draft, ImageError> {
    let found = contents::read(path)?;
    unpack::unpack(path, &found[0], workspace, reporter)
}

/// Takes the images of an archive into the cache, with the names that they have in it or with `name`.
pub(crate) fn import(
    path: &Path,
    name: Option<&Reference>,
    cache: &Cache,
) -> Result<Vec<Archived>, ImageError> {
    let path = std::fs::canonicalize(path).map_err(error::io("find", path))?;
    let contents = contents::read(&path)?;
    let problem = |problem: &str| ImageError::Archive {
        path: path.clone(),
        problem: problem.to_owned(),
    };
    if name.is_some() && contents.len() > 1 {
        return Err(problem(
            "it has several images, so they cannot all have one name",
        ));
    }
    let mut archived = Vec::new();
    for found in contents {
        let references: Vec<Reference> = match name {
            Some(name) => vec![name.clone()],
            None => found.references(),
        };
        if references.is_empty() {
            return Err(problem("its image has no name: give one"));
        }
        let key = found.key();
        let _nobody_prunes = cache.writing()?;
        if let Some(_only_we) = cache.claim(&key, &Silent)? {
            let draft = unpack::unpack(&path, &found, &Workspace::new(cache), &Silent)?;
            cache.keep(&key, IMPORTED, draft)?;
        } else if let Some(record) = cache.record(&key)?
            && record.source != IMPORTED
        {
            // The same image came from elsewhere; it may be in use.
            cache.keep(&key, IMPORTED, record.draft)?;
        }
        for reference in &references {
            cache.name(&key, reference)?;
        }
        archived.push(Archived {
            references: references.iter().map(ToString::to_string).collect(),
            id: found.id,
        });
    }
    Ok(archived)
}

#[cfg(test)]
#[path = "oci/tests.rs"]
mod tests;
