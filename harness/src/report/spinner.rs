//! A line that moves while something takes its time, with how long that has been; only on a terminal.
//!
//! In a log, or in a pipe, there is none: only what is done is worth a line there.

use std::{io::IsTerminal as _, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};

/// It is gone when this value is dropped.
#[derive(Debug)]
pub struct Spinner(Option<ProgressBar>);

impl Spinner {
    /// Nothing moves.
    pub fn none() -> Self {
        Self(None)
    }

    /// Shows what takes its time, if standard output is a terminal.
    pub fn of(what: &str) -> Self {
        if !std::io::stdout().is_terminal() {
            return Self::none();
        }
        let bar = ProgressBar::new_spinner().with_message(what.to_owned());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed:>6}  {wide_msg}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(100));
        Self(Some(bar))
    }

    /// Writes a line above it.
    pub fn say(&self, line: &str) {
        use std::io::Write as _;
        // A closed standard output is no reason to stop.
        let write = || drop(writeln!(std::io::stdout(), "{line}"));
        match &self.0 {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
