//! The operator's image, made from the programs of this workspace.
//!
//! A scratch image: static binaries and nothing else. They are linked by cargo on first use and kept
//! by cargo's own cache; no registry and no container engine take part.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Stdio,
};

use harness::Failure;
use simcluster::{Content, ImageConfig, ImageStore, LocalFile, LocalImage, StoreConfig};
use tokio::process::Command;

/// The name under which `deploy/` and the operator's settings know the image.
pub const OPERATOR_IMAGE: &str = "mysql-operator:latest";

/// What the image holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Programs {
    /// Only what Jobs run: the operator itself is a task of this process.
    Job,
    /// The operator too, to run in the cluster.
    All,
}

impl Programs {
    fn names(self) -> &'static [&'static str] {
        match self {
            Self::Job => &["mysql-job"],
            Self::All => &["mysql-job", "mysql-operator"],
        }
    }
}

/// How the programs are built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// As the tests run them.
    Dev,
    /// As users run them.
    Release,
}

/// The image could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ImageBuildError {
    /// cargo could not be run.
    #[error("could not run cargo to link {}; run this through `cargo lab` or `cargo test`", programs.join(" and "))]
    Cargo {
        /// The programs to link.
        programs: &'static [&'static str],
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// cargo ran and failed.
    #[error("could not link {} statically:\n{output}", programs.join(" and "))]
    Link {
        /// The programs to link.
        programs: &'static [&'static str],
        /// What cargo and the linker said.
        output: String,
    },
}

/// Links the programs and describes the image.
pub async fn operator_image(programs: Programs) -> Result<LocalImage, ImageBuildError> {
    operator_image_of(programs, Profile::Dev).await
}

/// Writes the operator's image as an archive: an OCI layout that `docker load` understands too.
pub async fn write_archive(profile: Profile, path: &Path) -> Result<(), Failure> {
    let image = operator_image_of(Programs::All, profile).await?;
    let store = ImageStore::open(StoreConfig::default())?;
    store.register(image)?;
    let image = store.ensure(OPERATOR_IMAGE, &()).await?;
    ImageStore::export(&image, path)?;
    Ok(())
}

async fn operator_image_of(
    programs: Programs,
    profile: Profile,
) -> Result<LocalImage, ImageBuildError> {
    let linked = link_as(programs.names(), profile).await?;
    let files = linked
        .into_iter()
        .map(|(program, source)| LocalFile {
            path: format!("/{program}").into(),
            content: Content::File(source),
            mode: 0o755,
        })
        .collect();
    Ok(LocalImage {
        reference: OPERATOR_IMAGE.to_owned(),
        files,
        config: ImageConfig {
            entrypoint: vec!["/mysql-operator".to_owned()],
            user: "65532:65532".to_owned(),
            ..ImageConfig::default()
        },
    })
}

/// Statically linked programs of this workspace, each with its path.
///
/// No package is named to cargo: features are then those of the whole workspace, and everything but our
/// own few crates is shared with the ordinary build. A wrapper around rustc makes the last link static.
pub(crate) async fn link(
    programs: &'static [&'static str],
) -> Result<Vec<(&'static str, PathBuf)>, ImageBuildError> {
    link_as(programs, Profile::Dev).await
}

async fn link_as(
    programs: &'static [&'static str],
    profile: Profile,
) -> Result<Vec<(&'static str, PathBuf)>, ImageBuildError> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsStr::new("cargo").to_owned());
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(cargo);
    // What an outer cargo says of the package it runs would make build scripts run again.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if [
            "CARGO_PKG_",
            "CARGO_MANIFEST_",
            "CARGO_BIN_",
            "CARGO_CRATE_",
            "CARGO_PRIMARY_",
        ]
        .iter()
        .any(|prefix| name.starts_with(prefix))
        {
            command.env_remove(name);
        }
    }
    command
        .current_dir(here.join(".."))
        .env(
            "RUSTC_WORKSPACE_WRAPPER",
            here.join("src/images/static-link.sh"),
        )
        .args(["build", "--quiet"])
        .args(["--message-format", "json-render-diagnostics"])
        .stdin(Stdio::null())
        .kill_on_drop(true);
    if profile == Profile::Release {
        command.arg("--release");
    }
    for program in programs {
        command.args(["--bin", program]);
    }
    let output = command
        .output()
        .await
        .map_err(|source| ImageBuildError::Cargo { programs, source })?;
    let failed = |text: &str| ImageBuildError::Link {
        programs,
        output: text.to_owned(),
    };
    if !output.status.success() {
        return Err(failed(&String::from_utf8_lossy(&output.stderr)));
    }
    programs
        .iter()
        .map(|program| {
            let path = executable(&output.stdout, program)
                .ok_or_else(|| failed("cargo named no executable"))?;
            Ok((*program, path))
        })
        .collect()
}

/// The executable of a program, as cargo reports it.
fn executable(messages: &[u8], program: &str) -> Option<PathBuf> {
    String::from_utf8_lossy(messages)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == program)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_executable_is_read_from_cargos_messages() {
        let messages = br#"{"reason":"compiler-artifact","target":{"name":"mysql-job"},"executable":null}
            {"reason":"compiler-artifact","target":{"name":"other"},"executable":"/t/debug/other"}
            {"reason":"compiler-artifact","target":{"name":"mysql-job"},"executable":"/t/debug/mysql-job"}
            {"reason":"build-finished","success":true}"#;
        assert_eq!(
            executable(messages, "mysql-job"),
            Some(PathBuf::from("/t/debug/mysql-job"))
        );
    }
}
