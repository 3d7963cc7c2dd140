//! Images from registries, over HTTPS, without any container engine.
//!
//! A tag is looked up once, unless somebody wants it looked up again: until then, what it stood for is what it means
//! here. What it stands for later is another image in the cache, for the first may be in use. [`pull`] speaks with registries, [`credentials`] finds what they ask for, [`unreachable`] remembers which of them
//! cannot be had, so that a machine without network does not wait for each image anew.

use std::path::PathBuf;

use crate::{
    ImageError, Logins, Reference, blocking,
    digest::Hasher,
    oci,
    source::{Draft, Located, Newest, Order, Reporter, Source},
    store::{Cache, Workspace},
};

mod credentials;
mod pull;
mod unreachable;

use credentials::Credentials;

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

    /// Who to be, in turn: what was brought along for this image, then this user.
    fn credentials(&self, reference: &Reference, logins: &[Logins]) -> Vec<Credentials> {
        let brought = logins.iter().flat_map(|logins| logins.of_image(reference));
        let mut all: Vec<_> = brought.map(Credentials::from).collect();
        let own = credentials::find(&self.credentials, reference.registry());
        if all.is_empty() || !own.is_nobody() {
            all.push(own);
        }
        all
    }

    /// Speaks with the registry, as each of those in turn until it is content.
    fn ask<T>(
        &self,
        reference: &Reference,
        logins: &[Logins],
        reporter: &dyn Reporter,
        speak: &impl AsyncFn(pull::Pull<'_>) -> Result<T, pull::PullError>,
    ) -> Result<T, Refused> {
        let failed = |problem: String| ImageError::Assemble {
            reference: reference.to_string(),
            from: NAME,
            problem,
        };
        let registry = reference.registry();
        let memory = unreachable::Memory::of(&self.cache, registry);
        if let Some(why) = memory.recall() {
            return Err(Refused::Unreachable(failed(format!(
                "{why} (so it was a moment ago, and it is not asked again before {} s have passed)",
                unreachable::LASTS.as_secs()
            ))));
        }
        let mut refused = None;
        for credentials in self.credentials(reference, logins) {
            let pull = pull::Pull {
                reference,
                plain_http: self.is_insecure(registry),
                credentials: &credentials,
                reporter,
            };
            let spoken = blocking::run(speak(pull), reporter)
                .map_err(|error| failed(format!("no event loop could be made: {error}")))?
                .ok_or_else(|| ImageError::Cancelled {
                    reference: reference.to_string(),
                })?;
            match spoken {
                Ok(answer) => return Ok(answer),
                Err(pull::PullError::Unreachable(why)) => {
                    let why = format!("{registry} cannot be reached: {why}");
                    memory.keep(&why);
                    return Err(Refused::Unreachable(failed(why)));
                }
                Err(pull::PullError::Refused(why)) => {
                    let why = match credentials.note() {
                        Some(note) => format!("{why}; {note}"),
                        None => why,
                    };
                    // What the first one heard counts: it is who was meant.
                    refused.get_or_insert(why);
                }
                Err(pull::PullError::Image(error)) => return Err(error.into()),
            }
        }
        Err(failed(refused.unwrap_or_default()).into())
    }

    /// The image that a name means in the cache, if it is from here.
    fn known(&self, reference: &Reference) -> Option<String> {
        let key = self.cache.key_of(reference).ok()??;
        let record = self.cache.record(&key).ok()??;
        (record.source == NAME).then_some(key)
    }
}

/// Why a registry gave nothing.
enum Refused {
    /// It could not be asked.
    Unreachable(ImageError),
    Other(ImageError),
}

impl From<ImageError> for Refused {
    fn from(error: ImageError) -> Self {
        Self::Other(error)
    }
}

impl From<Refused> for ImageError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Unreachable(error) | Refused::Other(error) => error,
        }
    }
}

impl Source for Registries {
    fn name(&self) -> &'static str {
        NAME
    }

    fn locate(&self, reference: &Reference) -> Result<Located, String> {
        if let Some(key) = self.known(reference) {
            return Ok(Located { key });
        }
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
        self.assemble_for(reference, &Order::default(), workspace, reporter)
    }

    fn look_again(
        &self,
        reference: &Reference,
        logins: &[Logins],
        reporter: &dyn Reporter,
    ) -> Result<Option<Newest>, ImageError> {
        if reference.digest().is_some() {
            // It means the same for ever.
            return Ok(None);
        }
        let asked = self.ask(reference, logins, reporter, &async |pull: pull::Pull<
            '_,
        >| {
            pull.look_up().await
        });
        let digest = match asked {
            Ok(digest) => digest,
            Err(Refused::Unreachable(error)) => {
                tracing::debug!(%error, "a tag is not looked up again");
                return Ok(None);
            }
            Err(Refused::Other(error)) => return Err(error),
        };
        let key = Hasher::default()
            .part("registry 2")
            .part(reference.to_string())
            .part(&digest)
            .hex();
        let located = Located { key };
        Ok(Some(Newest { located, digest }))
    }

    fn assemble_for(
        &self,
        reference: &Reference,
        order: &Order<'_>,
        workspace: &Workspace,
        reporter: &dyn Reporter,
    ) -> Result<Draft, ImageError> {
        let layout = workspace.scratch()?;
        let into = pull::Destination {
            layout: layout.path(),
            workspace,
            digest: order.digest.as_deref(),
        };
        self.ask(
            reference,
            order.logins,
            reporter,
            &async |pull: pull::Pull<'_>| pull.run(&into).await,
        )?;
        oci::from_layout(layout.path(), workspace, reporter)
    }
}

#[cfg(test)]
#[path = "registry/tests.rs"]
mod tests;
