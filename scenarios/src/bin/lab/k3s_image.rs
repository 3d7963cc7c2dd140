//! `lab k3s-image`: the simulated cluster as a container image, for test containers in any language.

use std::{io::Write as _, time::Instant};

use harness::Failure;

/// Arguments of `lab k3s-image`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The image's name.
    #[arg(long, default_value = scenarios::k3s_image::NAME)]
    tag: String,
}

/// Builds the image with the local container engine.
pub(crate) async fn run(arguments: &Arguments) -> Result<(), Failure> {
    let start = Instant::now();
    scenarios::k3s_image::build(&arguments.tag).await?;
    writeln!(
        std::io::stdout(),
        "built {} in {:.1} s: use it where rancher/k3s is asked for",
        arguments.tag,
        start.elapsed().as_secs_f64()
    )?;
    Ok(())
}
