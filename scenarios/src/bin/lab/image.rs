//! `lab image`: the operator's image as an archive that any engine or registry tool reads. No Docker needed.

use std::{io::Write as _, path::PathBuf, time::Instant};

use harness::Failure;
use scenarios::images::{self, Profile};

/// Arguments of `lab image`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Where to write the archive.
    #[arg(long, default_value = "mysql-operator.tar")]
    output: PathBuf,
    /// Quick to build and slow to run: for trying things out.
    #[arg(long)]
    dev: bool,
}

/// Links the programs and writes the archive.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let start = Instant::now();
    let profile = if arguments.dev {
        Profile::Dev
    } else {
        Profile::Release
    };
    images::write_archive(profile, &arguments.output).await?;
    let size = std::fs::metadata(&arguments.output)?.len();
    writeln!(
        std::io::stdout(),
        "wrote {} to {} ({} MB) in {:.1} s; for example:\n  docker load -i {2}\n  skopeo copy docker-archive:{2} docker://…",
        images::OPERATOR_IMAGE,
        arguments.output.display(),
        size / 1_000_000,
        start.elapsed().as_secs_f64(),
    )?;
    Ok(())
}
