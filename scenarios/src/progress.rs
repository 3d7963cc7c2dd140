//! What a person sees while steps run: a line a step, with its time.
//!
//! A spinner on a terminal, plain lines elsewhere; silent in tests. It measures, it does not judge.

use std::{
    fmt::Write as _,
    io::{IsTerminal, Write as _},
    sync::Mutex,
    sync::PoisonError,
    time::{Duration, Instant},
};

use harness::Failure;
use indicatif::{ProgressBar, ProgressStyle};

/// Shows steps and remembers their times.
#[derive(Debug)]
pub struct Progress {
    loud: bool,
    times: Mutex<Vec<(String, Duration)>>,
}

impl Progress {
    /// Shows each step on standard output.
    pub fn shown() -> Self {
        Self {
            loud: true,
            times: Mutex::default(),
        }
    }

    /// Shows nothing.
    pub fn silent() -> Self {
        Self {
            loud: false,
            times: Mutex::default(),
        }
    }

    /// The steps so far and how long each took.
    pub fn times(&self) -> Vec<(String, Duration)> {
        self.times
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Runs one step; an error is given its name.
    pub async fn step<T>(
        &self,
        name: &str,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let start = Instant::now();
        let spinner = self.spinner(name);
        let outcome = Box::pin(work).await;
        let took = start.elapsed();
        if let Some(spinner) = spinner {
            spinner.finish_and_clear();
        }
        self.times
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((name.to_owned(), took));
        let mark = if outcome.is_ok() { "ok  " } else { "FAIL" };
        self.say(&format!("{mark} {:>7.2} s  {name}", took.as_secs_f64()));
        outcome.map_err(|error| {
            format!("step {name:?} failed: {}", harness::proof::chain(&*error)).into()
        })
    }

    /// A line of its own.
    pub fn say(&self, line: &str) {
        if self.loud {
            // A closed standard output is no reason to stop the verification.
            drop(writeln!(std::io::stdout(), "{line}"));
        }
    }

    fn spinner(&self, name: &str) -> Option<ProgressBar> {
        if !self.loud || !std::io::stdout().is_terminal() {
            return None;
        }
        let spinner = ProgressBar::new_spinner().with_message(name.to_owned());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed:>6}  {msg}") {
            spinner.set_style(style);
        }
        spinner.enable_steady_tick(Duration::from_millis(100));
        Some(spinner)
    }
}

/// Shows what happens while an image is made ready, a line a step.
#[derive(Debug)]
pub struct Pull<'a> {
    progress: &'a Progress,
}

impl<'a> Pull<'a> {
    /// Tells `progress`.
    pub fn new(progress: &'a Progress) -> Self {
        Self { progress }
    }
}

impl simcluster::Progress for Pull<'_> {
    fn report(&self, reference: &str, event: &simcluster::ImageEvent) {
        if let simcluster::ImageEvent::Step(step) = event {
            self.progress.say(&format!("     {reference}: {step}"));
        }
    }
}

/// Rows side by side, as text.
pub fn table(before: &[Vec<String>], after: &[Vec<String>]) -> String {
    let row = |rows: &[Vec<String>], index: usize| {
        rows.get(index)
            .map_or_else(String::new, |row| row.join(" | "))
    };
    let width = before
        .iter()
        .map(|row| row.join(" | ").len())
        .max()
        .unwrap_or(0)
        .max(20);
    let mut text = format!("{:<width$}    rows after\n", "rows before");
    for index in 0..before.len().max(after.len()) {
        let _ = writeln!(
            text,
            "{:<width$}    {}",
            row(before, index),
            row(after, index)
        );
    }
    text
}
