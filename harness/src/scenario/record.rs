//! What happened in a run, as data: for people while it runs, and for reports afterwards.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use crate::Failure;

/// One run of one scenario.
#[derive(Clone, Debug, Serialize)]
pub struct Run {
    /// The scenario's name, with the number of its variant if it has several.
    pub name: String,
    /// Which cluster it was on.
    pub cluster: &'static str,
    /// When it began.
    pub started: Timestamp,
    /// How long it took, in seconds.
    #[serde(serialize_with = "seconds")]
    pub took: Duration,
    /// Its steps, as far as it came.
    pub steps: Vec<StepRecord>,
    /// How it ended.
    pub verdict: Verdict,
    /// What the clean-up could not remove; no part of the verdict.
    pub left_behind: Vec<String>,
    /// The line that runs it again, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reproduce: Option<String>,
}

/// A run that failed, as an error: whoever keeps evidence of it finds the whole run in it.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub struct Failed {
    why: String,
    /// The run.
    pub run: Box<Run>,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// Every operation did.
    Passed,
    /// One did not; which, and why.
    Failed(String),
    /// It was not run; why.
    Skipped(String),
    /// It was stopped before a step, as asked.
    Stopped(String),
    /// Somebody ended it in the middle; it was cleaned up nevertheless.
    Interrupted,
}

/// One step.
#[derive(Clone, Debug, Serialize)]
pub struct StepRecord {
    /// Its name.
    pub name: String,
    /// Its operations, as far as it came.
    pub operations: Vec<OperationRecord>,
}

/// One operation.
#[derive(Clone, Debug, Serialize)]
pub struct OperationRecord {
    /// `try`, `catch`, `finally` or `cleanup`.
    pub phase: &'static str,
    /// `apply`, `assert`, …
    pub action: &'static str,
    /// What it was about.
    pub subject: String,
    /// How long after the beginning of the run it began, in seconds.
    #[serde(serialize_with = "seconds")]
    pub began: Duration,
    /// How long it took, in seconds.
    #[serde(serialize_with = "seconds")]
    pub took: Duration,
    /// Why it failed.
    pub failure: Option<String>,
    /// What it showed.
    pub output: Option<String>,
}

fn seconds<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64((duration.as_secs_f64() * 1000.0).round() / 1000.0)
}

impl Run {
    /// An error if it failed. Skipped is not failed.
    pub fn into_result(self) -> Result<Self, Failure> {
        match &self.verdict {
            Verdict::Failed(why) => Err(Box::new(Failed {
                why: why.clone(),
                run: Box::new(self),
            })),
            _ => Ok(self),
        }
    }
}

/// Who wants to know while it happens.
pub trait Observer: Send {
    /// A step begins.
    fn step_begins(&mut self, step: &str) {
        let _ = step;
    }

    /// It ended; if it failed, why.
    fn step_ended(&mut self, step: &str, took: Duration, failure: Option<&str>) {
        let _ = (step, took, failure);
    }

    /// An operation begins.
    fn begins(&mut self, step: &str, action: &str, subject: &str) {
        let _ = (step, action, subject);
    }

    /// It ended.
    fn ended(&mut self, step: &str, operation: &OperationRecord) {
        let _ = (step, operation);
    }
}

/// Nobody does.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {}
