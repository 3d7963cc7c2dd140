//! A command inside a pod, as `kubectl exec` runs it.

use harness::Failure;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::AttachParams};
use tokio::io::AsyncReadExt as _;

/// What a command left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Its standard output.
    pub text: String,
    /// Its standard error.
    pub errors: String,
    /// It ended with exit code 0.
    pub success: bool,
}

/// Runs a command in a pod's container and waits for its end.
pub async fn exec(
    pods: &Api<Pod>,
    pod: &str,
    container: &str,
    command: &[&str],
) -> Result<Output, Failure> {
    let parameters = AttachParams::default()
        .container(container)
        .stdout(true)
        .stderr(true);
    let mut process = pods.exec(pod, command.iter().copied(), &parameters).await?;
    let mut stdout = process.stdout().ok_or("no standard output")?;
    let mut stderr = process.stderr().ok_or("no standard error")?;
    let status = process.take_status().ok_or("no status")?;
    let (mut text, mut errors) = (String::new(), String::new());
    let (read, wrong, status) = tokio::join!(
        stdout.read_to_string(&mut text),
        stderr.read_to_string(&mut errors),
        status,
    );
    read?;
    wrong?;
    let success = status.is_some_and(|status| status.status.as_deref() == Some("Success"));
    Ok(Output {
        text,
        errors,
        success,
    })
}
