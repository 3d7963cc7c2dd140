//! What `cargo lab scenario run` leaves: lines while it runs, and files where they are asked for.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use harness::{
    Cluster, Failure,
    report::{self, Live, Style, Timeline},
    scenario::{Observer, Run, Verdict, record::OperationRecord},
};

/// Which reports.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    /// One JSON object a line instead of text.
    #[arg(long)]
    json: bool,
    /// Write a JUnit XML file.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Write one page with a picture of each run.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// Shows runs and remembers them.
#[derive(Debug)]
pub struct Reporter {
    live: Live,
    arguments: Arguments,
    runs: Vec<(Run, Timeline)>,
    timeline: Option<Timeline>,
}

impl Reporter {
    /// As the arguments say; an error if the files that are asked for could not be written later.
    pub fn new(arguments: &Arguments) -> Result<Self, Failure> {
        for path in [&arguments.junit, &arguments.html].into_iter().flatten() {
            // A run of minutes whose report is lost at its end is a waste.
            let file = std::fs::OpenOptions::new()
                .append(true)
                .create(true)
                .open(path);
            file.map_err(|error| unwritten(path, &error))?;
        }
        let style = if arguments.json {
            Style::Json
        } else {
            Style::Plain
        };
        Ok(Self {
            live: Live::new(style),
            arguments: arguments.clone(),
            runs: Vec::new(),
            timeline: None,
        })
    }

    /// A scenario begins.
    pub fn begin(&mut self, name: &str, cluster: &str) {
        self.live.begin(name, cluster);
    }

    /// A line of its own.
    pub fn say(&self, text: &str) {
        self.live.say(text);
    }

    /// Looks at the cluster while it is there, for the page.
    pub async fn look(&mut self, cluster: &Cluster, run: &Run) {
        if self.arguments.html.is_some() && !matches!(run.verdict, Verdict::Skipped(_)) {
            self.timeline = Some(Timeline::of(cluster).await);
        }
    }

    /// A scenario has ended.
    pub fn add(&mut self, run: Run) {
        self.live.end(&run);
        self.runs
            .push((run, self.timeline.take().unwrap_or_default()));
    }

    /// Writes the files; an error if any scenario failed.
    pub fn finish(self) -> Result<(), Failure> {
        let runs: Vec<Run> = self.runs.iter().map(|(run, _)| run.clone()).collect();
        if let Some(path) = &self.arguments.junit {
            write(path, &report::junit(&runs))?;
        }
        if let Some(path) = &self.arguments.html {
            write(path, &report::html(&self.runs))?;
        }
        let failed = runs
            .iter()
            .filter(|run| matches!(run.verdict, Verdict::Failed(_)))
            .count();
        match failed {
            0 => Ok(()),
            _ => Err(format!("{failed} of {} scenarios failed", runs.len()).into()),
        }
    }
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text).map_err(|error| unwritten(path, &error).into())
}

fn unwritten(path: &Path, error: &std::io::Error) -> String {
    format!("the report {} cannot be written: {error}", path.display())
}

impl Observer for Reporter {
    fn step_begins(&mut self, step: &str) {
        self.live.step_begins(step);
    }

    fn step_ended(&mut self, step: &str, took: Duration, failure: Option<&str>) {
        self.live.step_ended(step, took, failure);
    }

    fn begins(&mut self, step: &str, action: &str, subject: &str) {
        self.live.begins(step, action, subject);
    }

    fn ended(&mut self, step: &str, operation: &OperationRecord) {
        self.live.ended(step, operation);
    }
}
