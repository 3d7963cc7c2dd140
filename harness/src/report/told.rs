//! What a run tells machines while it happens: one JSON object a line, of the same shape for scenario files
//! and for `cargo lab verify`.
//!
//! Each object has `event` and `at`; times are `seconds`. Why something failed is told once, at the end of the
//! run: only then it is known which words are secrets. It writes nothing itself.

use jiff::Timestamp;
use serde::Serialize;

use crate::scenario::Verdict;

/// Something that happened. What is not there is left out.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(
    tag = "event",
    rename_all = "kebab-case",
    rename_all_fields = "camelCase"
)]
pub enum Told<'a> {
    /// A run begins.
    RunStarted {
        /// Its name.
        run: &'a str,
        /// `simulated`, `existing` or `k3s`.
        cluster: &'a str,
    },
    /// A run has ended.
    RunEnded {
        /// Its name.
        run: &'a str,
        /// `passed`, `failed`, `skipped`, `stopped` or `interrupted`.
        verdict: &'a str,
        /// Why, if it did not pass.
        #[serde(skip_serializing_if = "Option::is_none")]
        why: Option<&'a str>,
        /// How long it took.
        seconds: f64,
    },
    /// A step begins.
    StepStarted {
        /// Its name.
        step: &'a str,
    },
    /// A step did what it should.
    StepEnded {
        /// Its name.
        step: &'a str,
        /// How long it took.
        seconds: f64,
    },
    /// A step did not.
    StepFailed {
        /// Its name.
        step: &'a str,
        /// How long it took.
        seconds: f64,
    },
    /// An operation of a step begins.
    OperationStarted {
        /// The step.
        step: &'a str,
        /// `apply`, `assert`, …
        action: &'a str,
        /// What it is about.
        subject: &'a str,
    },
    /// An operation did what it should.
    OperationEnded {
        /// The step.
        step: &'a str,
        /// `try`, `catch`, `finally` or `cleanup`.
        phase: &'a str,
        /// `apply`, `assert`, …
        action: &'a str,
        /// What it is about.
        subject: &'a str,
        /// How long it took.
        seconds: f64,
    },
    /// An operation did not.
    OperationFailed {
        /// The step.
        step: &'a str,
        /// `try`, `catch`, `finally` or `cleanup`.
        phase: &'a str,
        /// `apply`, `assert`, …
        action: &'a str,
        /// What it is about.
        subject: &'a str,
        /// How long it took.
        seconds: f64,
    },
    /// Anything else, in words.
    Said {
        /// The words.
        text: &'a str,
    },
}

impl Told<'_> {
    /// The line.
    pub fn line(&self) -> String {
        #[derive(Serialize)]
        struct Line<'a> {
            #[serde(flatten)]
            told: &'a Told<'a>,
            at: Timestamp,
        }
        let line = Line {
            told: self,
            at: Timestamp::now(),
        };
        // Text and numbers only, so nothing can go wrong.
        serde_json::to_string(&line).unwrap_or_default()
    }
}

/// A verdict as a word, and why.
pub(super) fn verdict(verdict: &Verdict) -> (&'static str, Option<&str>) {
    match verdict {
        Verdict::Passed => ("passed", None),
        Verdict::Failed(why) => ("failed", Some(why)),
        Verdict::Skipped(why) => ("skipped", Some(why)),
        Verdict::Stopped(before) => ("stopped", Some(before)),
        Verdict::Interrupted => ("interrupted", None),
    }
}

/// Seconds as people and machines want them: to the millisecond.
pub fn seconds(duration: std::time::Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn what_happens_is_one_json_object_a_line_that_says_what_and_when() {
        let told = Told::StepFailed {
            step: "fill\n\"it\"",
            seconds: seconds(std::time::Duration::from_micros(1_234_567)),
        };
        let line = told.line();
        assert_eq!(line.lines().count(), 1, "{line}");
        let object: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(object["event"], "step-failed");
        assert_eq!(object["step"], "fill\n\"it\"");
        assert_eq!(object["seconds"], 1.235);
        let at = object["at"].as_str().expect("a time");
        at.parse::<Timestamp>().expect("a time of RFC 3339");
    }
}
