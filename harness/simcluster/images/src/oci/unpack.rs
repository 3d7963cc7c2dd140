//! The layers of an image in a file, unpacked over one another into one tree.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::{
    contents::{Blob, Found, open},
    layer::Layer,
};
use crate::{
    ImageError, error,
    progress::Event,
    source::{Draft, Reporter},
    store::{LayerFacts, Workspace},
    unpack::{self as tree, Policy},
};

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

/// Unpacks one layer over those below it; answers how many bytes its blob had.
fn apply(blob: &Blob, path: &Path, root: &Path) -> io::Result<u64> {
    let bytes = std::fs::metadata(path)?.len();
    let mut layer = Layer::open(blob, path)?;
    let policy = Policy {
        whiteouts: true,
        owners: true,
        wanted: &|_| true,
    };
    tree::unpack(&mut layer, root, policy)?;
    layer.verify()?;
    Ok(bytes)
}
