//! The layers of an image in a file, unpacked over one another into one tree.

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek as _},
    path::{Path, PathBuf},
};

use flate2::read::MultiGzDecoder;
use sha2::{Digest as _, Sha256};

use super::contents::{Blob, Found, open};
use crate::{
    ImageError,
    digest::hex,
    error,
    progress::Event,
    source::{Draft, Reporter},
    store::{LayerFacts, Workspace},
    unpack::{self as tree, Policy},
};

/// How compressed layers begin.
const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// Makes the image that was found in the archive or layout at `path`.
pub(super) fn unpack(
    path: &Path,
    found: &Found,
    workspace: &Workspace,
    reporter: &dyn Reporter,
) -> Result<Draft, ImageError> {
    let broken = |error: io::Error| ImageError::Archive {
        path: path.to_owned(),
        problem: error.to_string(),
    };
    let layer = workspace.layer(&found.key(), |root| {
        let scratch = workspace.scratch()?;
        let directory = if path.is_dir() {
            path.to_owned()
        } else {
            reporter.step("reading the archive")?;
            extract(path, found, scratch.path()).map_err(broken)?;
            scratch.path().to_owned()
        };
        reporter.step(&format!("unpacking {} layers", found.layers.len()))?;
        let files: Vec<PathBuf> = found
            .layers
            .iter()
            .map(|blob| directory.join(&blob.path))
            .collect();
        let mut total = 0;
        for file in &files {
            total += std::fs::metadata(file)
                .map_err(error::io("read", file))?
                .len();
        }
        let mut done = 0;
        for (blob, file) in found.layers.iter().zip(&files) {
            done += apply(blob, file, root).map_err(broken)?;
            let total = Some(total);
            reporter.report(Event::Bytes { done, total })?;
        }
        Ok(LayerFacts {
            digest: found.id.trim_start_matches("sha256:").to_owned(),
            packages: Vec::new(),
        })
    })?;
    Ok(Draft {
        resolved: None,
        version: None,
        layers: vec![layer],
        config: found.config.clone(),
    })
}

/// Takes the layers out of an archive.
fn extract(path: &Path, found: &Found, into: &Path) -> io::Result<()> {
    // Docker links layers that several images share.
    let wanted = |name: &Path| {
        name.starts_with("blobs")
            || name.extension().is_some_and(|extension| extension == "tar")
            || found
                .layers
                .iter()
                .any(|blob| name == Path::new(&blob.path))
    };
    tree::unpack(
        open(path)?,
        into,
        Policy {
            whiteouts: false,
            owners: false,
            wanted: &wanted,
        },
    )
}

/// Unpacks one layer over those below it; answers how many bytes it had.
fn apply(blob: &Blob, path: &Path, root: &Path) -> io::Result<u64> {
    let mut file = File::open(path)
        .map_err(|error| io::Error::new(error.kind(), format!("layer {}: {error}", blob.path)))?;
    let bytes = file.metadata()?.len();
    let mut magic = Vec::new();
    file.by_ref().take(4).read_to_end(&mut magic)?;
    file.rewind()?;
    let mut hashing = Hashing {
        reader: BufReader::new(file),
        hash: blob.sha256.as_ref().map(|_| Sha256::new()),
    };
    let policy = Policy {
        whiteouts: true,
        owners: true,
        wanted: &|_| true,
    };
    if magic.starts_with(GZIP) {
        tree::unpack(MultiGzDecoder::new(&mut hashing), root, policy)?;
    } else if magic.starts_with(ZSTD) {
        let decoder =
            ruzstd::decoding::StreamingDecoder::new(&mut hashing).map_err(io::Error::other)?;
        tree::unpack(decoder, root, policy)?;
    } else {
        tree::unpack(&mut hashing, root, policy)?;
    }
    // What follows the end of the archive belongs to the digest as well.
    io::copy(&mut hashing, &mut io::sink())?;
    if let (Some(hash), Some(expected)) = (hashing.hash, &blob.sha256)
        && hex(&hash.finalize()) != *expected
    {
        return Err(io::Error::other(format!(
            "the content of layer {} is not what its name says",
            blob.path
        )));
    }
    Ok(bytes)
}

/// Hashes what is read through it.
struct Hashing<R> {
    reader: R,
    hash: Option<Sha256>,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        if let Some(hash) = &mut self.hash {
            hash.update(&buffer[..read]);
        }
        Ok(read)
    }
}
