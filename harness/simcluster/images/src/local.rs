//! Images that the program itself offers: scratch images made of a few files, such as a static binary.
//!
//! They are known to one store only. Their layers are kept in the cache as everybody's are.

use std::{
    collections::HashMap,
    fs, io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Component, Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    ImageConfig, ImageError, Reference,
    digest::{self, Hasher},
    error,
    source::{Draft, Located, Reporter, Source},
    store::{LayerFacts, Workspace},
};

/// An image made of files, to be offered with [`ImageStore::register`](crate::ImageStore::register).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalImage {
    /// The name to offer it under.
    pub reference: String,
    /// What is in it, besides the directories that these files need and an empty `/tmp`.
    pub files: Vec<LocalFile>,
    /// How to run it.
    pub config: ImageConfig,
}

/// One file of a [`LocalImage`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalFile {
    /// Where it is in the image.
    pub path: PathBuf,
    /// What is in it.
    pub content: Content,
    /// Its permission bits: `0o755`.
    pub mode: u32,
}

/// Where the bytes of a [`LocalFile`] come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A file of this machine, copied when the image is made.
    File(PathBuf),
    /// These bytes.
    Bytes(Vec<u8>),
    /// A symbolic link to this.
    Link(PathBuf),
}

/// The images that were registered with one store.
#[derive(Clone, Debug, Default)]
pub(crate) struct Registered {
    images: Arc<Mutex<HashMap<Reference, LocalImage>>>,
}

impl Registered {
    pub(crate) fn add(&self, image: LocalImage) -> Result<(), ImageError> {
        let reference = image
            .reference
            .parse()
            .map_err(|source| ImageError::InvalidReference {
                reference: image.reference.clone(),
                source,
            })?;
        self.images().insert(reference, image);
        Ok(())
    }

    fn images(&self) -> MutexGuard<'_, HashMap<Reference, LocalImage>> {
        self.images.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, reference: &Reference) -> Option<LocalImage> {
        self.images().get(reference).cloned()
    }
}

impl Source for Registered {
    fn name(&self) -> &'static str {
        "images registered by the program"
    }

    fn locate(&self, reference: &Reference) -> Result<Located, String> {
        let image = self.find(reference).ok_or("none of this name")?;
        let key = key(&image).map_err(|(path, error)| {
            format!(
                "the file {} that it is made of cannot be read: {error}",
                path.display()
            )
        })?;
        Ok(Located { key })
    }

    fn assemble(
        &self,
        reference: &Reference,
        workspace: &Workspace,
        reporter: &dyn Reporter,
    ) -> Result<Draft, ImageError> {
        let image = self.find(reference).ok_or_else(|| ImageError::NotFound {
            reference: reference.to_string(),
            tried: Vec::new(),
        })?;
        let key = key(&image).map_err(|(path, source)| error::io("read", path)(source))?;
        reporter.step(&format!("copying {} files", image.files.len()))?;
        let layer = workspace.layer(&key, |root| {
            let mut hasher = Hasher::default();
            for file in &image.files {
                let place = place(root, &file.path);
                put(file, &place).map_err(error::io("create", &file.path))?;
                hasher = hasher.part(file.path.as_os_str().as_encoded_bytes());
                hasher = hasher.part(file.mode.to_be_bytes());
                hasher = match &file.content {
                    Content::File(_) => {
                        hasher.part(digest::file(&place).map_err(error::io("read", &place))?)
                    }
                    Content::Bytes(bytes) => hasher.part(bytes),
                    Content::Link(target) => hasher.part(target.as_os_str().as_encoded_bytes()),
                };
            }
            let tmp = root.join("tmp");
            fs::create_dir_all(&tmp)
                .and_then(|()| fs::set_permissions(&tmp, fs::Permissions::from_mode(0o1777)))
                .map_err(error::io("create", tmp))?;
            Ok(LayerFacts {
                digest: hasher.hex(),
                packages: Vec::new(),
            })
        })?;
        Ok(Draft {
            resolved: None,
            version: None,
            layers: vec![layer],
            config: image.config,
        })
    }
}

/// Changes whenever the image would: the content of given bytes, the identity and time of files.
fn key(image: &LocalImage) -> Result<String, (PathBuf, io::Error)> {
    let mut hasher = Hasher::default()
        .part("local 1")
        .part(serde_json::to_vec(&image.config).expect("strings and lists become JSON"));
    for file in &image.files {
        hasher = hasher
            .part(file.path.as_os_str().as_encoded_bytes())
            .part(file.mode.to_be_bytes());
        hasher = match &file.content {
            Content::Bytes(bytes) => hasher.part("bytes").part(bytes),
            Content::Link(target) => hasher
                .part("link")
                .part(target.as_os_str().as_encoded_bytes()),
            Content::File(path) => {
                let found = fs::metadata(path).map_err(|error| (path.clone(), error))?;
                let stamp = [found.dev(), found.ino(), found.size()]
                    .map(u64::to_be_bytes)
                    .concat();
                let time = [found.mtime(), found.mtime_nsec()]
                    .map(i64::to_be_bytes)
                    .concat();
                hasher.part("file").part(stamp).part(time)
            }
        };
    }
    Ok(hasher.hex())
}

/// `path` in the tree at `root`; what would lead out of it is dropped.
fn place(root: &Path, path: &Path) -> PathBuf {
    path.components()
        .filter(|component| matches!(component, Component::Normal(_)))
        .fold(root.to_owned(), |place, component| place.join(component))
}

fn put(file: &LocalFile, place: &Path) -> io::Result<()> {
    if let Some(parent) = place.parent() {
        fs::create_dir_all(parent)?;
    }
    match &file.content {
        Content::File(source) => fs::copy(source, place).map(drop)?,
        Content::Bytes(bytes) => fs::write(place, bytes)?,
        Content::Link(target) => return std::os::unix::fs::symlink(target, place),
    }
    fs::set_permissions(place, fs::Permissions::from_mode(file.mode))
}
