//! `lab doctor`: what this machine can do, and what to change where it cannot.

use std::{
    io::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
};

use harness::Failure;
use simcluster::{ImageStore, StoreConfig};

/// One thing looked at.
struct Finding {
    what: &'static str,
    answer: Result<String, String>,
    /// Whether `lab verify` needs it.
    needed: bool,
}

/// Prints the findings; an error if something needed is missing.
pub(crate) async fn run() -> Result<(), Failure> {
    let findings = [
        Finding {
            what: "pods as processes",
            answer: pods().await,
            needed: true,
        },
        Finding {
            what: "memory limits",
            answer: simcluster::memory_limits(),
            needed: false,
        },
        Finding {
            what: "processor limits",
            answer: simcluster::cpu_limits(),
            needed: false,
        },
        Finding {
            what: "image cache",
            answer: cache(),
            needed: true,
        },
        Finding {
            what: "image assembly",
            answer: programs(&["apt-get", "dpkg-deb"]),
            needed: true,
        },
        Finding {
            what: "linking the image",
            answer: programs(&["cargo", "cc"]),
            needed: true,
        },
        Finding {
            what: "kubectl (by hand)",
            answer: programs(&["kubectl"]),
            needed: false,
        },
    ];
    let mut out = std::io::stdout();
    for finding in &findings {
        let (mark, text) = match &finding.answer {
            Ok(text) => ("ok     ", text),
            Err(text) if finding.needed => ("MISSING", text),
            Err(text) => ("absent ", text),
        };
        writeln!(out, "{mark}  {:<18}  {text}", finding.what)?;
    }
    let missing: Vec<&str> = findings
        .iter()
        .filter(|finding| finding.needed && finding.answer.is_err())
        .map(|finding| finding.what)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(format!("this machine lacks: {}", missing.join(", ")).into())
}

async fn pods() -> Result<String, String> {
    simcluster::probe()
        .await
        .map(|isolation| isolation.to_string())
        .map_err(|error| harness::proof::chain(&error))
}

fn cache() -> Result<String, String> {
    ImageStore::open(StoreConfig::default())
        .map(|store| store.cache_dir().display().to_string())
        .map_err(|error| harness::proof::chain(&error))
}

fn programs(names: &[&str]) -> Result<String, String> {
    let found: Vec<String> = names
        .iter()
        .map(|name| {
            find(name)
                .map(|path| path.display().to_string())
                .ok_or(*name)
        })
        .collect::<Result<_, _>>()
        .map_err(|name| format!("{name} is not in PATH; install it"))?;
    Ok(found.join(", "))
}

/// The program in `PATH` that can be started; cargo says itself where it is.
fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let told = std::env::var_os(name.to_uppercase()).map(PathBuf::from);
    told.into_iter()
        .chain(std::env::split_paths(&path).map(|directory| directory.join(name)))
        .find(|candidate| {
            Command::new(candidate)
                .arg("--version")
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .is_ok()
        })
}
