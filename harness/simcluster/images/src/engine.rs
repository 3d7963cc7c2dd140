//! Images that the local Docker engine has (or Podman, which speaks the same language on its socket).
//!
//! It only takes what is there: it never lets the engine pull, and starts no engine. [`api`] is what is said on
//! the socket.

use std::path::PathBuf;

use crate::{
    ImageError, Reference, blocking, error,
    oci::{self, document::architecture},
    progress::Event,
    source::{Draft, Located, Reporter, Source},
    store::Workspace,
};

mod api;

/// The name of this source.
const NAME: &str = "Docker engine";

/// The source.
#[derive(Debug)]
pub(crate) struct Engine {
    socket: Result<PathBuf, String>,
}

impl Engine {
    /// The engine that the `docker` command of this user would speak to.
    pub(crate) fn of_this_user() -> Self {
        Self::named_by(|name| std::env::var(name).ok())
    }

    fn named_by(variable: impl Fn(&str) -> Option<String>) -> Self {
        let socket = match variable("DOCKER_HOST").filter(|host| !host.is_empty()) {
            Some(host) => host
                .strip_prefix("unix://")
                .map(PathBuf::from)
                .ok_or_else(|| {
                    format!(
                        "DOCKER_HOST is {host}; only an engine on this machine (unix://…) is asked"
                    )
                }),
            None => Ok(PathBuf::from("/var/run/docker.sock")),
        };
        Self { socket }
    }

    #[cfg(test)]
    fn at(socket: &std::path::Path) -> Self {
        Self {
            socket: Ok(socket.to_owned()),
        }
    }

    fn inspect(&self, reference: &Reference) -> Result<api::Inspected, String> {
        let socket = self.socket.as_deref().map_err(Clone::clone)?;
        let asked = blocking::run(
            api::inspect(socket, &familiar(reference)),
            &crate::source::Silent,
        );
        let found = asked
            .map_err(|error| format!("no event loop could be made: {error}"))?
            .ok_or("cancelled")?
            .map_err(|error| match error {
                api::EngineError::NoSuchImage => "it has no such image".to_owned(),
                other => other.to_string(),
            })?;
        let here = architecture();
        if found.os != "linux" || found.architecture != here {
            return Err(format!(
                "its image is for {}/{}, not for linux/{here}",
                found.os, found.architecture
            ));
        }
        Ok(found)
    }
}

impl Source for Engine {
    fn name(&self) -> &'static str {
        NAME
    }

    fn locate(&self, reference: &Reference) -> Result<Located, String> {
        let found = self.inspect(reference)?;
        Ok(Located {
            key: oci::layer_key(&found.id),
        })
    }

    fn assemble(
        &self,
        reference: &Reference,
        workspace: &Workspace,
        reporter: &dyn Reporter,
    ) -> Result<Draft, ImageError> {
        let failed = |problem: String| ImageError::Assemble {
            reference: reference.to_string(),
            from: NAME,
            problem,
        };
        let socket = self.socket.as_deref().map_err(|why| failed(why.clone()))?;
        let scratch = workspace.scratch()?;
        let archive = scratch.path().join("saved.tar");
        reporter.step("saving it from the Docker engine")?;
        let name = familiar(reference);
        let progress = |done| {
            // When nobody waits any more, the whole is cancelled.
            let _ = reporter.report(Event::Bytes { done, total: None });
        };
        blocking::run(api::save(socket, &name, &archive, &progress), reporter)
            .map_err(error::io("save to", &archive))?
            .ok_or_else(|| ImageError::Cancelled {
                reference: reference.to_string(),
            })?
            .map_err(|error| failed(error.to_string()))?;
        oci::from_layout(&archive, workspace, reporter)
    }
}

/// As the engine names it.
fn familiar(reference: &Reference) -> String {
    let name = reference.familiar_name();
    match (reference.digest(), reference.tag()) {
        (Some(digest), _) => format!("{name}@{digest}"),
        (None, Some(tag)) => format!("{name}:{tag}"),
        (None, None) => name,
    }
}

#[cfg(test)]
#[path = "engine/tests.rs"]
mod tests;
