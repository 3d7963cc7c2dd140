//! Whether there is a container engine, and what runs in it.

use std::process::{Command, Output, Stdio};

/// Whether an engine answers; says aloud when not, and why.
#[expect(clippy::print_stderr, reason = "what is skipped must be seen")]
pub(crate) async fn engine_answers() -> bool {
    match harness::backend::k3s::engine().await {
        Ok(_) => true,
        Err(why) => {
            eprintln!(
                "SKIPPED: no container engine answers ({why}); start Docker and run this again"
            );
            false
        }
    }
}

/// Runs `docker`.
pub(crate) fn docker(arguments: &[&str]) -> Output {
    Command::new("docker")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("docker can be run where an engine answers")
}

/// Whether the engine knows a container, running or not.
pub(crate) fn exists(container: &str) -> bool {
    docker(&["inspect", container]).status.success()
}
