//! The same work by hand, without Kubernetes: the time that no operator can beat.
//!
//! It runs the script of `benches/floor.sh` on the same MySQL that the pods run.

use std::{path::Path, process::Stdio, time::Duration};

use harness::Failure;
use simcluster::ImageStore;
use tokio::process::Command;

/// Runs the script and gives the time it needed.
pub async fn measure(images: &ImageStore) -> Result<Duration, Failure> {
    let image = images.ensure("mysql:5.7", &()).await?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/floor.sh");
    let output = Command::new("bash")
        .arg(script)
        .args(&image.layers)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await?;
    let text = String::from_utf8_lossy(&output.stdout);
    let total = text
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix("total "));
    match total.and_then(|total| total.trim_end_matches(" s").trim().parse().ok()) {
        Some(seconds) if output.status.success() => Ok(Duration::from_secs_f64(seconds)),
        _ => Err(format!(
            "the floor script failed: {}",
            String::from_utf8_lossy(&output.stderr)
        )
        .into()),
    }
}
