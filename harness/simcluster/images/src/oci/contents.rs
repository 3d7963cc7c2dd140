//! What images are in an archive or layout: names, configurations and where their layers are.
//!
//! Only the documents are read, not the layers.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, BufReader, Read, Seek as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::SystemTime,
};

use flate2::read::MultiGzDecoder;
use serde::de::DeserializeOwned;

use super::document::{Configuration, Descriptor, Index, Manifest, NAMES, Saved, architecture};
use crate::{
    ImageConfig, ImageError, Reference,
    digest::{Hasher, hex},
    error,
};

/// No document of an image is larger.
const MAX_DOCUMENT: u64 = 4 << 20;
/// Indexes within indexes end somewhere.
const MAX_DEPTH: usize = 4;
/// How a gzip file begins.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// One image in an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// The names that it has there.
    pub(super) names: Vec<String>,
    /// `sha256:…` of its configuration.
    pub(super) id: String,
    pub(super) config: ImageConfig,
    /// Lowest first.
    pub(super) layers: Vec<Blob>,
}

/// A file in an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Blob {
    /// Where it is in the archive.
    pub(super) path: String,
    /// SHA-256 of its bytes, where the archive says so, in hexadecimal.
    pub(super) sha256: Option<String>,
    /// SHA-256 of what is in it, uncompressed, in hexadecimal.
    pub(super) diff_id: String,
}

/// Tells whether a file changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp(u64, u64, Option<SystemTime>);

impl Stamp {
    pub(super) fn of(path: &Path) -> Result<Self, ImageError> {
        // A layout changes when its index does.
        let index = path.join("index.json");
        let file = if path.is_dir() { index.as_path() } else { path };
        let found = fs::metadata(file).map_err(error::io("read", file))?;
        Ok(Self(found.ino(), found.len(), found.modified().ok()))
    }
}

impl Found {
    /// Its name in the cache: that of its content, wherever it came from.
    pub(super) fn key(&self) -> String {
        layer_key(&self.id)
    }

    /// Those of its names that are references.
    pub(super) fn references(&self) -> Vec<Reference> {
        self.names
            .iter()
            .filter_map(|name| name.parse().ok())
            .collect()
    }

    /// Whether it goes by this name, or has this digest.
    pub(super) fn is_named(&self, reference: &Reference) -> bool {
        if let Some(digest) = reference.digest() {
            return digest == self.id;
        }
        self.names
            .iter()
            .any(|name| name.parse().is_ok_and(|name: Reference| name == *reference))
    }
}

/// The name in the cache of the image whose configuration has this digest.
pub(crate) fn layer_key(id: &str) -> String {
    Hasher::default().part("oci 1").part(id).hex()
}

/// Reads what is in an archive (plain or gzip) or a layout directory.
pub(super) fn read(path: &Path) -> Result<Vec<Found>, ImageError> {
    let problem = |problem: String| ImageError::Archive {
        path: path.to_owned(),
        problem,
    };
    let documents = if path.is_dir() {
        Documents::Directory(path.to_owned())
    } else {
        Documents::Archive(documents_of(path).map_err(|error| problem(error.to_string()))?)
    };
    let found = documents.images().map_err(problem)?;
    if found.is_empty() {
        return Err(problem(format!(
            "it has no image for linux/{}",
            architecture()
        )));
    }
    Ok(found)
}

/// A reader of an archive's tar stream.
pub(super) fn open(path: &Path) -> io::Result<Box<dyn Read>> {
    let (file, packed) = open_file(path)?;
    if packed {
        Ok(Box::new(MultiGzDecoder::new(file)))
    } else {
        Ok(Box::new(file))
    }
}

/// The file, and whether it is compressed.
fn open_file(path: &Path) -> io::Result<(BufReader<File>, bool)> {
    let mut file = File::open(path)?;
    let mut magic = [0; 2];
    let read = file.read(&mut magic)?;
    file.rewind()?;
    Ok((BufReader::new(file), read == 2 && magic == GZIP))
}

enum Documents {
    Directory(PathBuf),
    /// The small files of an archive, by name.
    Archive(HashMap<String, Vec<u8>>),
}

/// Reads the small files of a tar archive; what is large is not even read where that can be helped.
fn documents_of(path: &Path) -> io::Result<HashMap<String, Vec<u8>>> {
    let (file, packed) = open_file(path)?;
    if packed {
        small_files(tar::Archive::new(MultiGzDecoder::new(file)).entries()?)
    } else {
        small_files(tar::Archive::new(file).entries_with_seek()?)
    }
}

fn small_files<R: Read>(entries: tar::Entries<'_, R>) -> io::Result<HashMap<String, Vec<u8>>> {
    let mut documents = HashMap::new();
    for entry in entries {
        let mut entry = entry?;
        if entry.header().entry_type().is_file() && entry.size() <= MAX_DOCUMENT {
            let path = entry.path()?;
            let name = path.to_string_lossy().trim_start_matches("./").to_owned();
            drop(path);
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes)?;
            documents.insert(name, bytes);
        }
    }
    Ok(documents)
}

impl Documents {
    fn images(&self) -> Result<Vec<Found>, String> {
        // Docker writes both kinds of documents; its own has the names as people wrote them.
        if let Some(saved) = self.document::<Vec<Saved>>("manifest.json")? {
            return saved.into_iter().map(|saved| self.saved(saved)).collect();
        }
        let index: Index = self
            .document("index.json")?
            .ok_or("it has neither index.json (OCI) nor manifest.json (docker save)")?;
        let mut found = Vec::new();
        self.index(&index, &[], 0, &mut found)?;
        Ok(found)
    }

    fn saved(&self, saved: Saved) -> Result<Found, String> {
        let bytes = self.bytes(&saved.config)?;
        let layers = saved.layers.into_iter().map(|path| {
            let sha256 = path.strip_prefix("blobs/sha256/").map(str::to_owned);
            (path, sha256)
        });
        image(
            saved.repo_tags.unwrap_or_default(),
            &bytes,
            layers.collect(),
        )
    }

    fn index(
        &self,
        index: &Index,
        names: &[String],
        depth: usize,
        found: &mut Vec<Found>,
    ) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err("its indexes lead into one another".to_owned());
        }
        for descriptor in index
            .manifests
            .iter()
            .filter(|descriptor| descriptor.runs_here())
        {
            let mut names = names.to_vec();
            names.extend(name(descriptor));
            let bytes = self.blob(descriptor)?;
            if let Ok(manifest) = serde_json::from_slice::<Manifest>(&bytes) {
                let config = self.blob(&manifest.config)?;
                let layers = manifest.layers.iter().map(|layer| {
                    let sha256 = sha256(&layer.digest)?;
                    Ok((format!("blobs/sha256/{sha256}"), Some(sha256.to_owned())))
                });
                let layers: Result<Vec<_>, String> = layers.collect();
                found.push(image(names, &config, layers?)?);
            } else {
                let inner: Index = parse(&descriptor.digest, &bytes)?;
                self.index(&inner, &names, depth + 1, found)?;
            }
        }
        Ok(())
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>, String> {
        let sha256 = sha256(&descriptor.digest)?;
        let bytes = self.bytes(&format!("blobs/sha256/{sha256}"))?;
        if hex_digest(&bytes) == sha256 {
            Ok(bytes)
        } else {
            Err(format!(
                "the content of blob {} is not what its name says",
                descriptor.digest
            ))
        }
    }

    fn document<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, String> {
        match self.get(name)? {
            Some(bytes) => parse(name, &bytes).map(Some),
            None => Ok(None),
        }
    }

    fn bytes(&self, name: &str) -> Result<Vec<u8>, String> {
        self.get(name)?.ok_or_else(|| format!("{name} is missing"))
    }

    fn get(&self, name: &str) -> Result<Option<Vec<u8>>, String> {
        match self {
            Self::Archive(documents) => Ok(documents.get(name).cloned()),
            Self::Directory(root) => {
                if Path::new(name)
                    .components()
                    .any(|part| !matches!(part, std::path::Component::Normal(_)))
                {
                    return Err(format!("{name} leads out of the directory"));
                }
                match fs::read(root.join(name)) {
                    Ok(bytes) => Ok(Some(bytes)),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                    Err(error) => Err(format!("{name}: {error}")),
                }
            }
        }
    }
}

/// An image of layers, each with its place and its digest. The digest of the configuration stands for the whole
/// image, which it does because it names what is in each layer.
fn image(
    names: Vec<String>,
    config: &[u8],
    layers: Vec<(String, Option<String>)>,
) -> Result<Found, String> {
    let configuration: Configuration = parse("the configuration", config)?;
    let contents = &configuration.rootfs.diff_ids;
    if contents.len() != layers.len() {
        return Err(format!(
            "it has {} layers, but its configuration speaks of {}",
            layers.len(),
            contents.len()
        ));
    }
    let layers = layers.into_iter().zip(contents);
    let layers = layers.map(|((path, digest), content)| {
        Ok(Blob {
            path,
            sha256: digest,
            diff_id: sha256(content)?.to_owned(),
        })
    });
    Ok(Found {
        names,
        id: format!("sha256:{}", hex_digest(config)),
        layers: layers.collect::<Result<_, String>>()?,
        config: configuration.config.unwrap_or_default().into(),
    })
}

/// The name that a descriptor gives its image, if it is a whole one.
fn name(descriptor: &Descriptor) -> Option<String> {
    let annotations = &descriptor.annotations;
    // Others put the bare tag into the standard one.
    NAMES
        .iter()
        .filter_map(|key| annotations.get(*key))
        .find(|name| name.contains([':', '/', '@']))
        .cloned()
}

/// A digest's hexadecimal part, if it is one that is understood here.
pub(crate) fn sha256(digest: &str) -> Result<&str, String> {
    let hex = digest
        .strip_prefix("sha256:")
        .filter(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()));
    hex.ok_or_else(|| format!("the digest {digest} is not a SHA-256"))
}

fn hex_digest(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    hex(&sha2::Sha256::digest(bytes))
}

fn parse<T: DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T, String> {
    serde_json::from_slice(bytes).map_err(|error| format!("{name} cannot be understood: {error}"))
}
