//! The seam between the store and the places images come from.

use std::{fmt, path::Path};

use crate::{
    ImageConfig, ImageError, Logins, Reference,
    digest::Hasher,
    progress::Event,
    store::{Layer, Workspace},
};

/// A place images come from. Called on a thread that may block.
pub(crate) trait Source: fmt::Debug + Send + Sync {
    /// For error texts: `distribution packages`.
    fn name(&self) -> &'static str;

    /// What it would take for `reference`, cheaply and without network; or why it has no such image
    /// and what would change that.
    fn locate(&self, reference: &Reference) -> Result<Located, String>;

    /// Makes the image. The store calls it once per [`Located::key`], across processes.
    fn assemble(
        &self,
        reference: &Reference,
        workspace: &Workspace,
        reporter: &dyn Reporter,
    ) -> Result<Draft, ImageError>;

    /// Looks where it comes from whether `reference` now means another image than before; `None` where that cannot be
    /// or cannot be told.
    fn look_again(
        &self,
        _reference: &Reference,
        _logins: &[Logins],
        _reporter: &dyn Reporter,
    ) -> Result<Option<Newest>, ImageError> {
        Ok(None)
    }

    /// As [`Source::assemble`], for somebody who brings logins, or who has looked again.
    fn assemble_for(
        &self,
        reference: &Reference,
        _order: &Order<'_>,
        workspace: &Workspace,
        reporter: &dyn Reporter,
    ) -> Result<Draft, ImageError> {
        self.assemble(reference, workspace, reporter)
    }

    /// The configuration of the image made, as it is for this `reference`, and the sentence that says that
    /// it stands in for something else.
    fn adapt(&self, _reference: &Reference, made: &Draft) -> (ImageConfig, Option<String>) {
        (made.config.clone(), None)
    }
}

/// What somebody brings along who wants an image.
#[derive(Debug, Default)]
pub(crate) struct Order<'a> {
    /// For registries, those that count first.
    pub(crate) logins: &'a [Logins],
    /// What [`Source::look_again`] found.
    pub(crate) digest: Option<String>,
}

/// What a reference means now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Newest {
    pub(crate) located: Located,
    /// `sha256:…` of the manifest.
    pub(crate) digest: String,
}

/// An image that a source has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Located {
    /// Names the image in the cache: a change of the key means a different image. Hexadecimal.
    pub(crate) key: String,
}

/// An image as a source made it; also its record in the cache.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Draft {
    /// What it truly is; `None` when it is what was asked for.
    pub(crate) resolved: Option<String>,
    /// The version of the program in it, where known.
    pub(crate) version: Option<String>,
    /// Lowest first.
    pub(crate) layers: Vec<Layer>,
    pub(crate) config: ImageConfig,
}

/// The source's side of [`Progress`](crate::Progress): it also says when to give up.
pub(crate) trait Reporter: Send + Sync {
    /// A new step begins; fails when nobody waits for the image any more.
    fn step(&self, text: &str) -> Result<(), ImageError> {
        self.report(Event::Step(text.to_owned()))
    }

    /// Tells an event; fails when nobody waits for the image any more.
    fn report(&self, event: Event) -> Result<(), ImageError>;

    /// Whether nobody waits for the image any more.
    fn is_cancelled(&self) -> bool;
}

/// Nobody wants to know, and nobody goes away.
pub(crate) struct Silent;

impl Reporter for Silent {
    fn report(&self, _event: Event) -> Result<(), ImageError> {
        Ok(())
    }

    fn is_cancelled(&self) -> bool {
        false
    }
}

impl Draft {
    /// `sha256:…` over the layers and the configuration.
    pub(crate) fn digest(&self) -> String {
        let config = serde_json::to_vec(&self.config).expect("strings and lists become JSON");
        let layers = self.layers.iter().map(|layer| &layer.facts.digest);
        format!(
            "sha256:{}",
            Hasher::default().parts(layers).part(config).hex()
        )
    }
}

/// How many bytes the regular files below `dir` have.
pub(crate) fn tree_bytes(dir: &Path) -> std::io::Result<u64> {
    use std::os::unix::fs::MetadataExt as _;
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        if metadata.is_dir() {
            bytes += tree_bytes(&entry.path())?;
        } else if metadata.is_file() {
            bytes += metadata.len() / metadata.nlink().max(1);
        }
    }
    Ok(bytes)
}
