//! A run while it happens: a line an operation on a terminal or in a log, or a JSON object a line.
//!
//! On a terminal the operation that is being done moves, with its time. It measures nothing itself.

use std::time::Duration;

use super::{
    spinner::Spinner,
    told::{self, Told, seconds},
};
use crate::scenario::{Observer, Run, Verdict, record::OperationRecord};

/// How it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Lines for people.
    Plain,
    /// One JSON object a line: see [`Told`].
    Json,
    /// Nothing.
    Silent,
}

/// Tells of runs on standard output.
#[derive(Debug)]
pub struct Live {
    style: Style,
    step: String,
    spinner: Spinner,
}

impl Live {
    /// In this style.
    pub fn new(style: Style) -> Self {
        Self {
            style,
            step: String::new(),
            spinner: Spinner::none(),
        }
    }

    /// A scenario begins.
    pub fn begin(&mut self, name: &str, cluster: &str) {
        self.step.clear();
        self.tell(
            || format!("{name} on {cluster}"),
            &Told::RunStarted { run: name, cluster },
        );
    }

    /// A scenario has ended.
    pub fn end(&mut self, run: &Run) {
        self.spinner = Spinner::none();
        let took = run.took.as_secs_f64();
        let name = &run.name;
        let plain = || match &run.verdict {
            Verdict::Passed => format!("PASS {took:7.2} s  {name}"),
            Verdict::Failed(why) => format!("FAIL {took:7.2} s  {name}: {why}"),
            Verdict::Skipped(why) => format!("SKIP            {name}: {why}"),
            Verdict::Stopped(before) => format!("STOP {took:7.2} s  {name} before {before:?}"),
            Verdict::Interrupted => format!("STOP {took:7.2} s  {name}: interrupted"),
        };
        let (verdict, why) = told::verdict(&run.verdict);
        let told = Told::RunEnded {
            run: name,
            verdict,
            why,
            seconds: seconds(run.took),
        };
        self.tell(plain, &told);
    }

    /// A line of its own.
    pub fn say(&self, text: &str) {
        self.tell(|| text.to_owned(), &Told::Said { text });
    }

    fn tell(&self, plain: impl FnOnce() -> String, told: &Told<'_>) {
        match self.style {
            Style::Plain => self.spinner.say(&plain()),
            Style::Json => self.spinner.say(&told.line()),
            Style::Silent => {}
        }
    }
}

impl Observer for Live {
    fn step_begins(&mut self, step: &str) {
        if self.style == Style::Json {
            self.spinner.say(&Told::StepStarted { step }.line());
        }
    }

    fn step_ended(&mut self, step: &str, took: Duration, failure: Option<&str>) {
        let seconds = seconds(took);
        let told = match failure {
            Some(_) => Told::StepFailed { step, seconds },
            None => Told::StepEnded { step, seconds },
        };
        if self.style == Style::Json {
            self.spinner.say(&told.line());
        }
    }

    fn begins(&mut self, step: &str, action: &str, subject: &str) {
        let told = Told::OperationStarted {
            step,
            action,
            subject,
        };
        match self.style {
            Style::Plain => self.spinner = Spinner::of(&format!("{step}: {action} {subject}")),
            Style::Json => self.spinner.say(&told.line()),
            Style::Silent => {}
        }
    }

    fn ended(&mut self, step: &str, operation: &OperationRecord) {
        self.spinner = Spinner::none();
        if self.style == Style::Plain && step != self.step {
            step.clone_into(&mut self.step);
            self.spinner.say(&format!("  {step}"));
        }
        let OperationRecord {
            phase,
            action,
            subject,
            took,
            failure,
            ..
        } = operation;
        let plain = || {
            let mark = if failure.is_some() { "FAIL" } else { "ok  " };
            let phase = if *phase == "try" { "" } else { phase };
            let took = took.as_secs_f64();
            let line = format!("    {mark} {took:6.2} s  {phase} {action} {subject}");
            line.trim_end().to_owned()
        };
        let seconds = seconds(*took);
        let told = match failure {
            Some(_) => Told::OperationFailed {
                step,
                phase,
                action,
                subject,
                seconds,
            },
            None => Told::OperationEnded {
                step,
                phase,
                action,
                subject,
                seconds,
            },
        };
        self.tell(plain, &told);
    }
}
