//! `lab images`: what is in the image cache, and how to change it.
//!
//! Which sources there are, and their order, is the image store's business.

use std::{
    io::{IsTerminal as _, Write as _},
    path::PathBuf,
};

use harness::Failure;
use simcluster::{ImageEvent, ImageStore, StoreConfig};

/// What to do with the cache.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// List the cached images.
    Ls,
    /// Remove images by name. One that is in use stays.
    Rm {
        /// As `ls` shows them, or shorter: `mysql:5.7`.
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Get images into the cache, from whichever source has them.
    Pull {
        /// `mysql:5.7`, `localhost:5000/my/image:1`, …
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Take the images of an OCI layout, an OCI archive or the output of `docker save`.
    Import {
        /// A directory, or a file, plain or gzip.
        path: PathBuf,
        /// The name to give the image, if it has another or none.
        #[arg(long)]
        name: Option<String>,
    },
    /// Remove images that nobody uses, least recently used first.
    Prune {
        /// How many bytes may stay: `0`, `500M`, `2G`.
        #[arg(long, default_value = "0", value_parser = size)]
        keep: u64,
    },
}

/// Does it.
pub(crate) async fn run(command: Command) -> Result<(), Failure> {
    let store = ImageStore::open(StoreConfig::default())?;
    let mut out = std::io::stdout();
    match command {
        Command::Ls => write!(out, "{}", list(&store)?)?,
        Command::Rm { names } => {
            for name in names {
                if !store.remove(&name)? {
                    return Err(format!(
                        "no cached image is named {name}: `lab images ls` lists them"
                    )
                    .into());
                }
                writeln!(out, "removed {name}")?;
            }
        }
        Command::Pull { names } => {
            for name in names {
                let image = store.ensure(&name, &show).await?;
                clear_line();
                writeln!(out, "{name}: {}  {}", image.resolved, image.digest)?;
                if let Some(text) = image.substitution {
                    writeln!(out, "  {text}")?;
                }
            }
        }
        Command::Import { path, name } => {
            let work = move || store.import(&path, name.as_deref());
            for image in tokio::task::spawn_blocking(work).await?? {
                writeln!(
                    out,
                    "imported {}  {}",
                    image.references.join(", "),
                    image.id
                )?;
            }
        }
        Command::Prune { keep } => {
            for name in store.prune(keep)? {
                writeln!(out, "removed {name}")?;
            }
        }
    }
    Ok(())
}

fn list(store: &ImageStore) -> Result<String, Failure> {
    let images = store.list()?;
    if images.is_empty() {
        let place = store.cache_dir().display();
        return Ok(format!("no image is cached in {place}\n"));
    }
    let rows: Vec<Vec<String>> = images
        .into_iter()
        .map(|image| {
            let genuine = image.resolved == image.reference;
            vec![
                image.reference,
                if genuine {
                    "-".to_owned()
                } else {
                    image.resolved
                },
                image.source,
                in_bytes(image.bytes),
                image.created.strftime("%Y-%m-%d %H:%M").to_string(),
            ]
        })
        .collect();
    let head = ["NAME", "WHAT IT TRULY IS", "FROM", "SIZE", "MADE (UTC)"];
    let mut all = vec![head.map(str::to_owned).to_vec()];
    all.extend(rows);
    Ok(columns(&all))
}

/// Rows under one another, as wide as they need to be.
fn columns(rows: &[Vec<String>]) -> String {
    let count = rows.first().map_or(0, Vec::len);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..count).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths);
        let line: Vec<_> = cells
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        text.push_str(line.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// Steps, a line each; bytes, on a terminal only, in one line.
fn show(name: &str, event: &ImageEvent) {
    let mut out = std::io::stderr();
    let terminal = out.is_terminal();
    let _ = match event {
        ImageEvent::Step(step) => {
            clear_line();
            writeln!(out, "{name}: {step}")
        }
        ImageEvent::Bytes { done, total } if terminal => {
            let total = total.map(|total| format!(" of {}", in_bytes(total)));
            write!(
                out,
                "\r\x1b[K  {}{}",
                in_bytes(*done),
                total.unwrap_or_default()
            )
        }
        ImageEvent::Bytes { .. } => Ok(()),
    };
}

fn clear_line() {
    let mut out = std::io::stderr();
    if out.is_terminal() {
        let _ = write!(out, "\r\x1b[K");
    }
}

fn in_bytes(bytes: u64) -> String {
    const MEGA: u64 = 1 << 20;
    format!("{}.{} MiB", bytes / MEGA, bytes % MEGA * 10 / MEGA)
}

/// `500M`, `2G`, `17`: powers of 1024.
fn size(text: &str) -> Result<u64, String> {
    let text = text.trim_end_matches("iB").trim_end_matches('B');
    let (number, unit) = match text.chars().last() {
        Some(unit) if unit.is_ascii_alphabetic() => (&text[..text.len() - 1], unit),
        _ => (text, ' '),
    };
    let shift = match unit.to_ascii_uppercase() {
        ' ' => 0,
        'K' => 10,
        'M' => 20,
        'G' => 30,
        'T' => 40,
        other => return Err(format!("{other} is no unit: K, M, G and T are")),
    };
    let number: u64 = number
        .parse()
        .map_err(|_| format!("{text} is not a number of bytes"))?;
    number
        .checked_mul(1 << shift)
        .ok_or_else(|| format!("{text} is more than there can be"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_columns_written() {
        assert_eq!(size("17"), Ok(17));
        assert_eq!(size("2G"), Ok(2 << 30));
        assert_eq!(size("500MiB"), Ok(500 << 20));
        assert_eq!(
            columns(&[
                vec!["a".into(), "b".into()],
                vec!["long".into(), String::new()]
            ]),
            "a     b\nlong\n"
        );
        for wrong in ["", "x", "5X", "-1", "99999999T"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }
}
