//! What a person sees while steps run: a line a step, with its time.
//!
//! A spinner on a terminal, plain lines elsewhere, JSON where asked for; silent in tests. It measures, it does not judge.

use std::{
    fmt::Write as _,
    sync::Mutex,
    sync::PoisonError,
    time::{Duration, Instant},
};

use harness::{
    Failure,
    report::{Spinner, Style, Told, seconds},
};

/// Shows steps and remembers their times.
#[derive(Debug)]
pub struct Progress {
    style: Style,
    /// What moves at present, so that lines are written above it.
    spinner: Mutex<Spinner>,
    times: Mutex<Vec<(String, Duration)>>,
}

impl Progress {
    /// Shows each step on standard output.
    pub fn shown() -> Self {
        Self::of(Style::Plain)
    }

    /// Shows nothing.
    pub fn silent() -> Self {
        Self::of(Style::Silent)
    }

    /// In this style, on standard output.
    pub fn of(style: Style) -> Self {
        Self {
            style,
            spinner: Mutex::new(Spinner::none()),
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
        self.begin(name);
        // However this ends, also by being given up, nothing moves any more.
        let still = Still(self);
        let outcome = Box::pin(work).await;
        let took = start.elapsed();
        drop(still);
        self.times
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((name.to_owned(), took));
        let mark = if outcome.is_ok() { "ok  " } else { "FAIL" };
        let told = match outcome {
            Ok(_) => Told::StepEnded {
                step: name,
                seconds: seconds(took),
            },
            Err(_) => Told::StepFailed {
                step: name,
                seconds: seconds(took),
            },
        };
        self.tell(
            &format!("{mark} {:>7.2} s  {name}", took.as_secs_f64()),
            &told,
        );
        outcome.map_err(|error| {
            format!("step {name:?} failed: {}", harness::proof::chain(&*error)).into()
        })
    }

    /// A line of its own.
    pub fn say(&self, line: &str) {
        self.tell(line, &Told::Said { text: line.trim() });
    }

    /// For people and for machines.
    pub fn tell(&self, plain: &str, told: &Told<'_>) {
        let spinner = self.spinner.lock().unwrap_or_else(PoisonError::into_inner);
        match self.style {
            Style::Plain => spinner.say(plain),
            Style::Json => spinner.say(&told.line()),
            Style::Silent => {}
        }
    }

    fn begin(&self, name: &str) {
        match self.style {
            Style::Plain => self.show(Spinner::of(name)),
            Style::Json => self.tell(name, &Told::StepStarted { step: name }),
            Style::Silent => {}
        }
    }

    fn show(&self, spinner: Spinner) {
        *self.spinner.lock().unwrap_or_else(PoisonError::into_inner) = spinner;
    }
}

/// Ends the spinner when it is dropped.
struct Still<'a>(&'a Progress);

impl Drop for Still<'_> {
    fn drop(&mut self) {
        self.0.show(Spinner::none());
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
