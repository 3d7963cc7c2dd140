//! A run while it happens: a line an operation on a terminal or in a log, or a JSON object a line.

use std::io::Write as _;

use serde_json::json;

use crate::scenario::{Observer, Run, Verdict, record::OperationRecord};

/// How it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Lines for people.
    Plain,
    /// One JSON object a line.
    Json,
    /// Nothing.
    Silent,
}

/// Tells of runs on standard output.
#[derive(Debug)]
pub struct Live {
    style: Style,
    step: String,
}

impl Live {
    /// In this style.
    pub fn new(style: Style) -> Self {
        Self {
            style,
            step: String::new(),
        }
    }

    /// A scenario begins.
    pub fn begin(&mut self, name: &str, cluster: &str) {
        self.step.clear();
        match self.style {
            Style::Plain => line(&format!("{name} on {cluster}")),
            Style::Json => line(&json!({"begins": name, "cluster": cluster}).to_string()),
            Style::Silent => {}
        }
    }

    /// A scenario has ended.
    pub fn end(&mut self, run: &Run) {
        let took = run.took.as_secs_f64();
        match self.style {
            Style::Plain => match &run.verdict {
                Verdict::Passed => line(&format!("PASS {took:7.2} s  {}", run.name)),
                Verdict::Failed(why) => {
                    line(&format!("FAIL {took:7.2} s  {}: {why}", run.name));
                }
                Verdict::Skipped(why) => line(&format!("SKIP            {}: {why}", run.name)),
                Verdict::Stopped(before) => {
                    line(&format!(
                        "STOP {took:7.2} s  {} before {before:?}",
                        run.name
                    ));
                }
            },
            Style::Json => {
                line(&json!({"ends": run.name, "verdict": run.verdict, "took": took}).to_string());
            }
            Style::Silent => {}
        }
    }

    /// A line of its own.
    pub fn say(&self, text: &str) {
        match self.style {
            Style::Plain => line(text),
            Style::Json => line(&json!({"says": text}).to_string()),
            Style::Silent => {}
        }
    }
}

impl Observer for Live {
    fn ended(&mut self, step: &str, operation: &OperationRecord) {
        match self.style {
            Style::Plain => {
                if step != self.step {
                    step.clone_into(&mut self.step);
                    line(&format!("  {step}"));
                }
                let mark = if operation.failure.is_some() {
                    "FAIL"
                } else {
                    "ok  "
                };
                let OperationRecord {
                    phase,
                    action,
                    subject,
                    ..
                } = operation;
                let phase = if *phase == "try" { "" } else { phase };
                let took = operation.took.as_secs_f64();
                line(format!("    {mark} {took:6.2} s  {phase} {action} {subject}").trim_end());
            }
            Style::Json => line(&json!({"step": step, "operation": operation}).to_string()),
            Style::Silent => {}
        }
    }
}

fn line(text: &str) {
    // A closed standard output is no reason to stop.
    drop(writeln!(std::io::stdout(), "{text}"));
}
