//! What came of a Job: the termination message and the exit code that the operator reads.
//!
//! It does not decide anything; the flows do.

use serde::{Deserialize, Serialize};

/// Done, also when there was nothing to do.
pub const EXIT_OK: u8 = 0;
/// It may work if tried again: the Job starts another pod.
pub const EXIT_RETRY: u8 = 10;
/// Trying again cannot help: the Job's failure policy ends the Job.
pub const EXIT_PERMANENT: u8 = 20;

/// Kubernetes keeps 4096 bytes of a termination message. What is cut there is no JSON any more.
const MESSAGE_BYTES: usize = 4000;

/// Which intent the Job had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// Bring the rows back, set the password.
    Restore,
    /// Write a generation to the backup volume.
    Backup,
    /// Set root's password.
    Password,
    /// Restore into a server that nobody uses.
    RestoreTest,
    /// Look what server an image has.
    Probe,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Done.
    Ok,
    /// A restore found no backup: done, nothing was to be restored.
    NoBackup,
    /// Not done, and trying again cannot help.
    Refused,
    /// Not done; another try may work.
    Failed,
}

/// The termination message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The intent.
    pub op: Operation,
    /// The operation this is the report of, as the operator named it.
    pub op_id: String,
    /// How it ended.
    pub result: Outcome,
    /// One word for programs: `BackupVolumeFull`. Empty when there is nothing to explain.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// A sentence for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// The generation that was written or restored; the file name for a dump of the old operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<String>,
    /// Bytes of the generation's dump as it lies on the volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// SHA-256 of the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Tables in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tables: Option<u64>,
    /// Rows in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// What the server says it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
}

/// What a flow gives when it succeeds; [`crate::arguments::Job::conclude`] makes the [`Report`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Success {
    /// `true` when a restore found no backup.
    pub no_backup: bool,
    /// See [`Report::reason`].
    pub reason: String,
    /// See [`Report::detail`].
    pub detail: String,
    /// See [`Report::generation`].
    pub generation: Option<String>,
    /// See [`Report::bytes`].
    pub bytes: Option<u64>,
    /// See [`Report::sha256`].
    pub sha256: Option<String>,
    /// See [`Report::tables`].
    pub tables: Option<u64>,
    /// See [`Report::rows`].
    pub rows: Option<u64>,
    /// See [`Report::server`].
    pub server: Option<String>,
}

/// Why a flow ended early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Whether another try may work.
    pub retry: bool,
    /// One word for programs.
    pub reason: &'static str,
    /// A sentence for people: what happened, to what, what to do next.
    pub detail: String,
}

impl Failure {
    /// Another try may work.
    pub fn retry(reason: &'static str, detail: impl Into<String>) -> Self {
        Self {
            retry: true,
            reason,
            detail: detail.into(),
        }
    }

    /// Trying again cannot help.
    pub fn permanent(reason: &'static str, detail: impl Into<String>) -> Self {
        Self {
            retry: false,
            reason,
            detail: detail.into(),
        }
    }
}

impl Report {
    /// The report of a flow's end.
    pub fn new(op: Operation, op_id: &str, end: Result<Success, Failure>) -> Self {
        match end {
            Ok(success) => Self {
                op,
                op_id: op_id.to_owned(),
                result: if success.no_backup {
                    Outcome::NoBackup
                } else {
                    Outcome::Ok
                },
                reason: success.reason,
                detail: success.detail,
                generation: success.generation,
                bytes: success.bytes,
                sha256: success.sha256,
                tables: success.tables,
                rows: success.rows,
                server: success.server,
            },
            Err(failure) => Self {
                op,
                op_id: op_id.to_owned(),
                result: if failure.retry {
                    Outcome::Failed
                } else {
                    Outcome::Refused
                },
                reason: failure.reason.to_owned(),
                detail: failure.detail,
                generation: None,
                bytes: None,
                sha256: None,
                tables: None,
                rows: None,
                server: None,
            },
        }
    }

    /// The same report without any of these secrets in its detail.
    #[must_use]
    pub fn without<'a>(mut self, secrets: impl IntoIterator<Item = &'a str>) -> Self {
        for secret in secrets.into_iter().filter(|secret| !secret.is_empty()) {
            self.detail = self.detail.replace(secret, "***");
        }
        self
    }

    /// What the process exits with.
    pub fn exit_code(&self) -> u8 {
        match self.result {
            Outcome::Ok | Outcome::NoBackup => EXIT_OK,
            Outcome::Failed => EXIT_RETRY,
            Outcome::Refused => EXIT_PERMANENT,
        }
    }

    /// The JSON text, short enough for Kubernetes to keep all of it.
    pub fn to_message(&self) -> String {
        let mut short = self.clone();
        let mut end = short.detail.len();
        loop {
            let text =
                serde_json::to_string(&short).expect("a report has only strings and numbers");
            // A byte of the detail may need six in JSON, so it is shortened until the whole text fits.
            let surplus = text.len().saturating_sub(MESSAGE_BYTES).div_ceil(6);
            if surplus == 0 || end == 0 {
                return text;
            }
            end = end.saturating_sub(surplus);
            while !self.detail.is_char_boundary(end) {
                end -= 1;
            }
            short.detail = format!("{}…", &self.detail[..end]);
        }
    }

    /// Reads a termination message; `None` if it is not one of ours.
    pub fn from_message(text: &str) -> Option<Self> {
        serde_json::from_str(text.trim()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_survives_the_termination_message() {
        let report = Report::new(
            Operation::Backup,
            "final-1",
            Ok(Success {
                generation: Some("gen-1".into()),
                rows: Some(2),
                ..Success::default()
            }),
        );
        assert_eq!(Report::from_message(&report.to_message()), Some(report));
    }

    #[test]
    fn a_long_detail_is_cut_to_what_kubernetes_keeps() {
        for filling in ["ы", "\"", "\n", "\u{1}", "a"] {
            let report = Report::new(
                Operation::Restore,
                "r",
                Err(Failure::permanent("X", filling.repeat(5000))),
            );
            let message = report.to_message();
            assert!(message.len() < 4096, "{filling:?}: {}", message.len());
            let read = Report::from_message(&message).expect(filling);
            assert!(read.detail.len() > 500, "{filling:?}");
        }
    }

    #[test]
    fn secrets_are_struck_out_of_the_detail() {
        let report = Report::new(
            Operation::Password,
            "p",
            Err(Failure::permanent("X", "near 'hunter2' at line 1")),
        );
        assert_eq!(
            report.without(["hunter2", ""]).detail,
            "near '***' at line 1"
        );
    }

    #[test]
    fn exit_codes_tell_another_try_from_none() {
        let exit = |end| Report::new(Operation::Restore, "r", end).exit_code();
        assert_eq!(
            exit(Ok(Success {
                no_backup: true,
                ..Success::default()
            })),
            EXIT_OK
        );
        assert_eq!(exit(Err(Failure::retry("X", ""))), EXIT_RETRY);
        assert_eq!(exit(Err(Failure::permanent("X", ""))), EXIT_PERMANENT);
    }
}
