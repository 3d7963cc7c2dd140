//! `lab why`: each write to an object: when, by whom, what changed, and what the cluster says why.

use std::io::Write as _;

use harness::{Failure, history::of_object};

use crate::running::RunningArguments;

/// Arguments of `lab why`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The object, as kubectl names it: `pod/web-0`, `deploy/web`, `mysqls.otus.homework/mysql-instance`.
    #[arg(value_name = "KIND/NAME", value_parser = kind_and_name)]
    object: String,
    /// Its namespace.
    #[arg(short, long, default_value = "default")]
    namespace: String,
    #[command(flatten)]
    running: RunningArguments,
    /// JSON: each version with the whole object.
    #[arg(long)]
    json: bool,
}

/// Asks, and shows.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let client = arguments.running.client().await?;
    let explained = of_object::explained(&client, &arguments.object, &arguments.namespace).await?;
    let mut out = std::io::stdout();
    if arguments.json {
        return Ok(writeln!(
            out,
            "{}",
            serde_json::to_string_pretty(&explained)?
        )?);
    }
    for version in &explained {
        writeln!(out, "{version}\n")?;
    }
    let newest = explained.last().map_or("", |last| &last.version.revision);
    writeln!(
        out,
        "{} writes to {}. `by` is the field manager; the API keeps no users.\n\
         The cluster as it was: cargo lab at {newest}",
        explained.len(),
        arguments.object,
    )?;
    Ok(())
}

fn kind_and_name(text: &str) -> Result<String, String> {
    match text.split_once('/') {
        Some((kind, name)) if !kind.is_empty() && !name.is_empty() => Ok(text.to_owned()),
        _ => Err("an object is KIND/NAME, for example pod/web-0".to_owned()),
    }
}
