//! An image as an archive: an OCI layout that `docker load` understands too.
//!
//! The same image gives the same bytes every time: times are left out, owners are root.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
};

use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};

use super::document::{
    Configuration, Descriptor, INDEX, Index, Manifest, NAMES, Platform, RootFs, Saved, architecture,
};
use crate::{Image, ImageError, Reference, digest::hex, error};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// Writes `image` to `path`, which appears whole or not at all.
pub(crate) fn export(image: &Image, path: &Path) -> Result<(), ImageError> {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let write = || -> io::Result<()> {
        let scratch = tempfile::tempdir_in(parent)?;
        let mut file = tempfile::NamedTempFile::new_in(parent)?;
        archive(image, scratch.path(), BufWriter::new(file.as_file_mut()))?;
        file.as_file()
            .set_permissions(fs::Permissions::from_mode(0o644))?;
        file.persist(path)?;
        Ok(())
    };
    write().map_err(error::io("write", path))
}

fn archive(image: &Image, scratch: &Path, out: impl Write) -> io::Result<()> {
    let mut blobs = Vec::new();
    for (number, root) in image.layers.iter().enumerate() {
        blobs.push(layer(root, &scratch.join(number.to_string()))?);
    }
    let configuration = document(&Configuration {
        architecture: architecture().to_owned(),
        os: "linux".to_owned(),
        config: Some(image.config.clone().into()),
        rootfs: RootFs {
            kind: "layers".to_owned(),
            diff_ids: blobs
                .iter()
                .map(|blob| format!("sha256:{}", blob.sha256))
                .collect(),
        },
    });
    let config_digest = sha256(&configuration);
    let manifest = document(&Manifest {
        schema_version: 2,
        media_type: MANIFEST.to_owned(),
        config: descriptor(CONFIG, &config_digest, configuration.len() as u64),
        layers: blobs
            .iter()
            .map(|blob| descriptor(LAYER, &blob.sha256, blob.bytes))
            .collect(),
    });
    let manifest_digest = sha256(&manifest);
    let name = image
        .reference
        .parse::<Reference>()
        .map(|reference| reference.to_string());
    let names: Vec<String> = name.into_iter().collect();
    let mut entry = descriptor(MANIFEST, &manifest_digest, manifest.len() as u64);
    entry.platform = Some(Platform {
        os: "linux".to_owned(),
        architecture: architecture().to_owned(),
    });
    for name in &names {
        entry
            .annotations
            .extend(NAMES.map(|key| (key.to_owned(), name.clone())));
    }
    let index = document(&Index {
        schema_version: 2,
        media_type: INDEX.to_owned(),
        manifests: vec![entry],
    });
    let blob = |digest: &str| format!("blobs/sha256/{digest}");
    let saved = document(&[Saved {
        config: blob(&config_digest),
        repo_tags: Some(names.iter().map(|name| familiar(name)).collect()),
        layers: blobs.iter().map(|layer| blob(&layer.sha256)).collect(),
    }]);

    let mut out = Builder::new(out);
    add(&mut out, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    add(&mut out, "index.json", &index)?;
    add(&mut out, "manifest.json", &saved)?;
    add(&mut out, &blob(&manifest_digest), &manifest)?;
    add(&mut out, &blob(&config_digest), &configuration)?;
    let mut written: Vec<&str> = Vec::new();
    for (number, layer) in blobs.iter().enumerate() {
        if !written.contains(&layer.sha256.as_str()) {
            let mut header = plain_header(layer.bytes);
            let file = File::open(scratch.join(number.to_string()))?;
            out.append_data(&mut header, blob(&layer.sha256), file)?;
            written.push(&layer.sha256);
        }
    }
    out.into_inner()?.flush()
}

/// As people, and Docker, write a name.
fn familiar(name: &str) -> String {
    name.strip_prefix("docker.io/library/")
        .or_else(|| name.strip_prefix("docker.io/"))
        .unwrap_or(name)
        .to_owned()
}

struct Written {
    sha256: String,
    bytes: u64,
}

/// Writes a directory as a layer.
fn layer(root: &Path, to: &Path) -> io::Result<Written> {
    let mut out = Builder::new(Counting {
        writer: BufWriter::new(File::create_new(to)?),
        hash: Sha256::new(),
        bytes: 0,
    });
    tree(&mut out, root, Path::new(""))?;
    let mut counting = out.into_inner()?;
    counting.flush()?;
    Ok(Written {
        sha256: hex(&counting.hash.finalize()),
        bytes: counting.bytes,
    })
}

fn tree(out: &mut Builder<impl Write>, root: &Path, inside: &Path) -> io::Result<()> {
    let mut names = Vec::new();
    for entry in fs::read_dir(root.join(inside))? {
        names.push(entry?.file_name());
    }
    names.sort();
    for name in names {
        let path = inside.join(name);
        let source = root.join(&path);
        let found = fs::symlink_metadata(&source)?;
        let mut header = Header::new_gnu();
        header.set_mode(found.mode() & 0o7777);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(0);
        let kind = found.file_type();
        if kind.is_dir() {
            header.set_entry_type(EntryType::Directory);
            out.append_data(&mut header, &path, io::empty())?;
            tree(out, root, &path)?;
        } else if kind.is_symlink() {
            header.set_entry_type(EntryType::Symlink);
            out.append_link(&mut header, &path, fs::read_link(&source)?)?;
        } else if kind.is_file() {
            header.set_size(found.len());
            out.append_data(&mut header, &path, File::open(&source)?)?;
        }
    }
    Ok(())
}

fn add(out: &mut Builder<impl Write>, path: &str, bytes: &[u8]) -> io::Result<()> {
    out.append_data(&mut plain_header(bytes.len() as u64), path, bytes)
}

fn plain_header(bytes: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(bytes);
    header.set_mtime(0);
    header
}

fn descriptor(media_type: &str, sha256: &str, size: u64) -> Descriptor {
    Descriptor {
        media_type: media_type.to_owned(),
        digest: format!("sha256:{sha256}"),
        size,
        ..Descriptor::default()
    }
}

fn document(value: &(impl serde::Serialize + ?Sized)) -> Vec<u8> {
    serde_json::to_vec(value).expect("strings, numbers and lists become JSON")
}

fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Hashes and counts what is written through it.
struct Counting<W> {
    writer: W,
    hash: Sha256,
    bytes: u64,
}

impl<W: Write> Write for Counting<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.writer.write(buffer)?;
        self.hash.update(&buffer[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}
