//! What can go wrong with an image, in words for the person who asked for it.

use std::{io, path::PathBuf};

use crate::reference::ParseReferenceError;

/// Why an image could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// The text is not an image reference: `InvalidImageName` in Kubernetes' words.
    #[error("couldn't parse image name \"{reference}\"")]
    InvalidReference {
        /// What was asked for.
        reference: String,
        /// What is wrong with it.
        source: ParseReferenceError,
    },
    /// No source has it.
    #[error("image \"{reference}\" not found:{}", list(tried))]
    NotFound {
        /// What was asked for.
        reference: String,
        /// Each source that was asked, in order.
        tried: Vec<Tried>,
    },
    /// A source that should have it could not deliver.
    #[error("{problem}")]
    Assemble {
        /// What was asked for.
        reference: String,
        /// The source's name.
        from: &'static str,
        /// What happened and what to do next.
        problem: String,
    },
    /// The archive or layout on disk is not one.
    #[error("{} is not an image archive: {problem}", path.display())]
    Archive {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The image is in the cache and in use, so it cannot be removed now.
    #[error("image \"{reference}\" is in use by another process: end what uses it, then remove it")]
    InUse {
        /// What was to be removed.
        reference: String,
    },
    /// The cache directory cannot be used.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// A verb: `create`, `read`…
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The caller went away while the image was being assembled.
    #[error("assembling image \"{reference}\" was cancelled")]
    Cancelled {
        /// What was asked for.
        reference: String,
    },
}

/// One source that was asked for an image and does not have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// The source: `distribution packages`.
    pub source: &'static str,
    /// Why it does not have it, and what would change that.
    pub reason: String,
}

/// The error of an I/O operation on `path`, to be used with `map_err`.
pub(crate) fn io(
    action: &'static str,
    path: impl Into<PathBuf>,
) -> impl FnOnce(io::Error) -> ImageError {
    let path = path.into();
    move |source| ImageError::Io {
        action,
        path,
        source,
    }
}

/// An error with its causes, as one line.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

fn list(tried: &[Tried]) -> String {
    use std::fmt::Write as _;
    tried
        .iter()
        .fold(String::new(), |mut text, tried| {
            let _ = write!(text, " {}: {};", tried.source, tried.reason);
            text
        })
        .trim_end_matches(';')
        .to_owned()
}
