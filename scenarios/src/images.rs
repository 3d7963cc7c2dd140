//! The operator's image, made from the programs of this workspace.
//!
//! A scratch image: static binaries and nothing else. They are linked by cargo on first use and kept
//! by cargo's own cache; no registry and no container engine take part.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Stdio,
};

use simcluster::{Content, ImageConfig, LocalFile, LocalImage};
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

/// The image could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ImageBuildError {
    /// cargo could not be run.
    #[error("could not run cargo to link {program}; run this through `cargo lab` or `cargo test`")]
    Cargo {
        /// The program to link.
        program: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// cargo ran and failed.
    #[error("could not link {program} statically:\n{output}")]
    Link {
        /// The program to link.
        program: &'static str,
        /// What cargo and the linker said.
        output: String,
    },
}

/// Links the programs and describes the image.
pub async fn operator_image(programs: Programs) -> Result<LocalImage, ImageBuildError> {
    let mut files = Vec::new();
    for program in programs.names() {
        let source = link(program).await?;
        let path = format!("/{program}").into();
        files.push(LocalFile {
            path,
            content: Content::File(source),
            mode: 0o755,
        });
    }
    Ok(LocalImage {
        reference: OPERATOR_IMAGE.to_owned(),
        files,
        config: ImageConfig {
            entrypoint: vec!["/mysql-operator".to_owned()],
            ..ImageConfig::default()
        },
    })
}

/// A statically linked program of this workspace.
///
/// Only the last link differs from the ordinary build, so all dependencies are shared with it.
async fn link(program: &'static str) -> Result<PathBuf, ImageBuildError> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsStr::new("cargo").to_owned());
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
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
    let output = command
        .current_dir(&root)
        .args(["rustc", "--quiet", "--package", program, "--bin", program])
        .args(["--message-format", "json-render-diagnostics"])
        // Without symbols: every change of a program is one more layer in the cache.
        .args([
            "--",
            "-C",
            "target-feature=+crt-static",
            "-C",
            "strip=symbols",
        ])
        .stdin(Stdio::null())
        .output()
        .await
        .map_err(|source| ImageBuildError::Cargo { program, source })?;
    let failed = |text: &str| ImageBuildError::Link {
        program,
        output: text.to_owned(),
    };
    if !output.status.success() {
        return Err(failed(&String::from_utf8_lossy(&output.stderr)));
    }
    executable(&output.stdout).ok_or_else(|| failed("cargo named no executable"))
}

/// The `executable` of the last artifact that cargo reports.
fn executable(messages: &[u8]) -> Option<PathBuf> {
    String::from_utf8_lossy(messages)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter_map(|message| message["executable"].as_str().map(PathBuf::from))
        .next_back()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_executable_is_read_from_cargos_messages() {
        let messages = b"{\"reason\":\"compiler-artifact\",\"executable\":null}\n\
            {\"reason\":\"compiler-artifact\",\"executable\":\"/t/debug/mysql-job\"}\n\
            {\"reason\":\"build-finished\",\"success\":true}\n";
        assert_eq!(
            executable(messages),
            Some(PathBuf::from("/t/debug/mysql-job"))
        );
    }
}
