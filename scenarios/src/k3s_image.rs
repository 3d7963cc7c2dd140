//! The simulated cluster as a container image that shows k3s's outer face.
//!
//! A scratch image with one static program; the engine builds it and pulls nothing. What is in it says
//! `harness/simcluster/container/Dockerfile`.

use std::{fs, os::unix::fs::symlink, path::Path, process::Stdio};

use harness::Failure;
use tokio::{process::Command, sync::OnceCell};

use crate::images;

/// The name under which it is built unless told otherwise.
pub const NAME: &str = "simcluster-k3s:latest";

const DOCKERFILE: &str = include_str!("../../harness/simcluster/container/Dockerfile");

/// Builds the image once in this process.
pub async fn build_once() -> Result<&'static str, Failure> {
    static BUILT: OnceCell<()> = OnceCell::const_new();
    BUILT.get_or_try_init(|| build(NAME)).await?;
    Ok(NAME)
}

/// Links the program and has the engine build the image.
pub async fn build(tag: &str) -> Result<(), Failure> {
    let program = images::link(&["simcluster"]).await?.remove(0).1;
    let context = tempfile::tempdir()?;
    lay_out(&program, context.path())?;
    let output = Command::new("docker")
        // The builder that every engine has, and that asks no registry.
        .env("DOCKER_BUILDKIT", "0")
        .args(["build", "--quiet", "--tag", tag])
        .arg(context.path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| format!("could not run docker: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(format!("docker could not build {tag}: {text}").into())
}

fn lay_out(program: &Path, context: &Path) -> std::io::Result<()> {
    let root = context.join("root");
    fs::create_dir_all(root.join("bin"))?;
    fs::create_dir_all(root.join("tmp"))?;
    fs::copy(program, root.join("bin/k3s"))?;
    symlink("k3s", root.join("bin/cat"))?;
    fs::write(context.join("Dockerfile"), DOCKERFILE)
}
