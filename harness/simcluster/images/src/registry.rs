//! Images from registries, over HTTPS, without any container engine.
//!
//! A tag is looked up once: what it stood for then is what it means here until the image is removed. [`pull`]
//! speaks with registries, [`credentials`] finds what they ask for, [`unreachable`] remembers which of them
//! cannot be had, so that a machine without network does not wait for each image anew.

use std::path::{Path, PathBuf};

use crate::{
    ImageError, Reference, blocking,
    digest::Hasher,
    oci,
    source::{Draft, Located, Reporter, Source},
    store::{Cache, Workspace},
};

mod credentials;
mod pull;
mod unreachable;

/// The name of this source; also what is written in the cache's records.
const NAME: &str = "registry";

/// The source.
#[derive(Debug)]
pub(crate) struct Registries {
    cache: Cache,
    /// `host` or `host:port` of registries that are asked over plain HTTP, besides those on this machine.
    insecure: Vec<String>,
    /// Where this user's credentials are.
    credentials: Vec<PathBuf>,
}

impl Registries {
    pub(crate) fn new(cache: Cache, insecure: Vec<String>) -> Self {
        Self {
            cache,
            insecure,
            credentials: credentials::files_of_this_user(),
        }
    }

    /// Registries on this machine are asked over plain HTTP, as Docker does.
    fn is_insecure(&self, registry: &str) -> bool {
        let host = registry
            .rsplit_once(':')
            .map_or(registry, |(host, _port)| host);
        let loopback = host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback());
        loopback || host == "localhost" || self.insecure.iter().any(|named| named == registry)
    }

    fn pull(
        &self,
        reference: &Reference,
        layout: &Path,
        workspace: &Workspace,
        reporter: &dyn Reporter,
    ) -> Result<(), ImageError> {
        let failed = |problem: String| ImageError::Assemble {
            reference: reference.to_string(),
            from: NAME,
            problem,
        };
        let registry = reference.registry();
        let memory = unreachable::Memory::of(&self.cache, registry);
        if let Some(why) = memory.recall() {
            return Err(failed(format!(
                "{why} (so it was a moment ago, and it is not asked again before {} s have passed)",
                unreachable::LASTS.as_secs()
            )));
        }
        let credentials = credentials::find(&self.credentials, registry);
        let pull = pull::Pull {
            reference,
            plain_http: self.is_insecure(registry),
            credentials: &credentials,
            layout,
            workspace,
            reporter,
        };
        let pulled = blocking::run(pull.run(), reporter)
            .map_err(|error| failed(format!("no event loop could be made: {error}")))?
            .ok_or_else(|| ImageError::Cancelled {
                reference: reference.to_string(),
            })?;
        match pulled {
            Ok(()) => Ok(()),
            Err(pull::PullError::Unreachable(why)) => {
                let why = format!("{registry} cannot be reached: {why}");
                memory.keep(&why);
                Err(failed(why))
            }
            Err(pull::PullError::Refused(why)) => Err(failed(match credentials.note() {
                Some(note) => format!("{why}; {note}"),
                None => why,
            })),
            Err(pull::PullError::Image(error)) => Err(error),
        }
    }
}

impl Source for Registries {
    fn name(&self) -> &'static str {
        NAME
    }

    fn locate(&self, reference: &Reference) -> Result<Located, String> {
        // Which image it is turns out when it is pulled; its tree is kept by content all the same.
        let key = Hasher::default()
            .part("registry 1")
            .part(reference.to_string())
            .hex();
        Ok(Located { key })
    }

    fn assemble(
        &self,
        reference: &Reference,
        workspace: &Workspace,
        reporter: &dyn Reporter,
    ) -> Result<Draft, ImageError> {
        let layout = workspace.scratch()?;
        self.pull(reference, layout.path(), workspace, reporter)?;
        oci::from_layout(layout.path(), workspace, reporter)
    }
}

#[cfg(test)]
#[path = "registry/tests.rs"]
mod tests;
