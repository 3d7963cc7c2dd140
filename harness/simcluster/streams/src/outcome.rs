//! How a process ended, as the Status that clients read on the error channel. Pure.

use serde_json::{Value, json};
use simcluster_kubelet_api::{ExitStatus, TerminalSize};

/// The Status of version 4 and later of the remote-command protocol.
pub(crate) fn status(exit: &ExitStatus) -> Value {
    match exit {
        ExitStatus::Exited(0) => json!({"metadata": {}, "status": "Success"}),
        ExitStatus::Exited(code) => json!({
            "metadata": {},
            "status": "Failure",
            "message": format!("command terminated with non-zero exit code: exit status {code}"),
            "reason": "NonZeroExitCode",
            "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
        }),
        ExitStatus::Failed(why) => json!({
            "metadata": {},
            "status": "Failure",
            "message": format!("Internal error occurred: {why}"),
            "reason": "InternalError",
            "details": {"causes": [{"message": why}]},
            "code": 500,
        }),
    }
}

/// A terminal size as clients send it: `{"Width": 80, "Height": 24}`.
pub(crate) fn terminal_size(content: &[u8]) -> Option<TerminalSize> {
    let value: Value = serde_json::from_slice(content).ok()?;
    let side = |name: &str| {
        value[name]
            .as_u64()
            .and_then(|side| u16::try_from(side).ok())
    };
    Some(TerminalSize {
        width: side("Width")?,
        height: side("Height")?,
    })
}
