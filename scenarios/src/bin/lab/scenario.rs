//! `lab scenario`: scenario files run, looked through, and described for editors.

use std::{io::Write as _, path::PathBuf};

use harness::{
    Failure,
    backend::Selection,
    evidence::RunLog,
    scenario::{self, Loaded, Options, Run, Verdict},
};
use scenarios::{images::Programs, lab, report, subject};

use crate::interrupt::Interrupt;

/// Arguments of `lab scenario`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Run scenarios, each on a cluster of its own.
    Run(Box<RunArguments>),
    /// Look for mistakes without running anything.
    Lint {
        /// Files, or folders with scenarios below them.
        #[arg(required = true)]
        paths: Vec<PathBuf>,
    },
    /// Print the JSON Schema of scenario files.
    Schema,
}

#[derive(Debug, clap::Args)]
struct RunArguments {
    /// Files, or folders with scenarios below them.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// A file with what all scenarios find as `$values`.
    #[arg(long, value_name = "FILE")]
    values: Vec<PathBuf>,
    /// A value over those of the file: `image.tag=1`, read as YAML.
    #[arg(long, value_name = "PATH=VALUE", value_parser = path_and_value)]
    set: Vec<String>,
    /// The same, as text whatever it looks like.
    #[arg(long, value_name = "PATH=VALUE", value_parser = path_and_value)]
    set_string: Vec<String>,
    /// A configuration of chainsaw's, for limits, namespaces and what to look at after a failure.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    cluster: crate::cluster::ClusterArguments,
    #[command(flatten)]
    report: report::Arguments,
}

fn path_and_value(pair: &str) -> Result<String, String> {
    scenario::values::path_and_value(pair).map(|_| pair.to_owned())
}

/// Does what is asked.
pub(crate) async fn run(arguments: Arguments, log: &RunLog) -> Result<(), Failure> {
    match arguments.command {
        Command::Run(arguments) => Box::pin(run_all(*arguments, log)).await,
        Command::Lint { paths } => lint(&paths),
        Command::Schema => {
            let schema = serde_json::to_string_pretty(&scenario::schema())?;
            Ok(writeln!(std::io::stdout(), "{schema}")?)
        }
    }
}

fn discover(paths: &[PathBuf]) -> Result<Vec<Loaded>, Failure> {
    let mut all = Vec::new();
    for path in paths {
        all.extend(scenario::discover(path)?);
    }
    Ok(all)
}

fn lint(paths: &[PathBuf]) -> Result<(), Failure> {
    let mut out = std::io::stdout();
    let mut mistakes = 0;
    for loaded in discover(paths)? {
        let found = scenario::lint::lint(&loaded);
        mistakes += found.len();
        for mistake in found {
            writeln!(out, "{}: {mistake}", loaded.path.display())?;
        }
    }
    match mistakes {
        0 => Ok(writeln!(out, "nothing to complain about")?),
        _ => Err(format!("{mistakes} mistakes").into()),
    }
}

async fn run_all(arguments: RunArguments, log: &RunLog) -> Result<(), Failure> {
    let interrupt = Interrupt::listen()?;
    let loaded = discover(&arguments.paths)?;
    let selection = arguments.cluster.selection()?;
    let configuration = match &arguments.config {
        Some(path) => scenario::configuration::load(path)?,
        None => scenario::configuration::Configuration::default(),
    };
    let values = scenario::values::load(&arguments.values, &arguments.set, &arguments.set_string)?;
    let mut reporter = report::Reporter::new(&arguments.report)?;
    for loaded in &loaded {
        for variant in 0..loaded.variants() {
            let options = Options {
                variant,
                values: values.clone(),
                configuration: configuration.clone(),
                interrupt: interrupt.token(),
                ..Options::default()
            };
            let run = one(loaded, &selection, &options, &mut reporter, &interrupt, log).await;
            match run {
                Ok(run) => reporter.add(run),
                // What has run so far is worth its reports.
                Err(failure) if interrupt.so_far().is_err() => drop(failure),
                Err(failure) => return Err(failure),
            }
            if let Err(interrupted) = interrupt.so_far() {
                reporter.finish()?;
                return Err(interrupted);
            }
        }
    }
    reporter.finish()
}

async fn one(
    loaded: &Loaded,
    selection: &Selection,
    options: &Options,
    reporter: &mut report::Reporter,
    interrupt: &Interrupt,
    log: &RunLog,
) -> Result<Run, Failure> {
    let images = interrupt.or(lab::image_store(Programs::Job)).await?;
    let starting = async { Ok(selection.start(images, &lab::CARRIED).await?) };
    let cluster = interrupt.start(starting).await?;
    let name = loaded.name(options.variant);
    reporter.begin(&name, cluster.backend().name());
    let outcome = subject::run(loaded, &cluster, reporter, options).await;
    let outcome = match outcome {
        Ok(mut run) => {
            reporter.look(&cluster, &run).await;
            if let Verdict::Failed(why) = &run.verdict {
                let to = harness::evidence::directory(&name);
                let reproduce = format!(
                    "cargo lab scenario run {} --cluster {}",
                    loaded.path.display(),
                    selection.name()
                );
                let case = harness::evidence::Case {
                    failure: why,
                    reproduce: &reproduce,
                    run: Some(&run),
                    log: Some(log),
                };
                let kept = harness::evidence::collect(&cluster, case, &to).await;
                run = kept.secrets.hide_in_run(run);
                run.reproduce = Some(reproduce);
                reporter.say(&kept.to_string());
            }
            Ok(run)
        }
        Err(failure) => Err(failure),
    };
    for line in cluster.stop().await.0 {
        reporter.say(&format!("left behind: {line}"));
    }
    outcome
}
