//! What server an image has in it, without starting it: the answer decides whether an upgrade is one.
//!
//! It runs in the new image, so that an image that cannot be pulled, or has no server in it, is noticed while
//! the old server still works. Program: `mysqld --version` or `mariadbd --version`.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::arguments::Probe;
use crate::report::{Failure, Success};
use crate::server::Facts;

/// MariaDB's own name comes first: its images may have both.
const PROGRAMS: [&str; 2] = ["mariadbd", "mysqld"];
/// Where distributions put servers, which is not in everybody's `PATH`.
const USUAL: &str = "/usr/sbin:/usr/libexec:/usr/local/sbin:/usr/bin";

/// The whole operation.
pub fn probe(task: &Probe) -> Result<Success, Failure> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let program = find(&path).ok_or_else(|| {
        Failure::permanent(
            "ServerProgramMissing",
            format!(
                "the image of {} has neither mysqld nor mariadbd; use an image of a MySQL or MariaDB server",
                task.job.instance
            ),
        )
    })?;
    let failed = |detail: String| {
        Failure::retry(
            "ProbeFailed",
            format!("{} --version: {detail}", program.display()),
        )
    };
    let output = Command::new(&program)
        .args(["--no-defaults", "--version"])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| failed(error.to_string()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let facts = version(&text).map(Facts::from_version).ok_or_else(|| {
        failed(format!(
            "{} {} {}",
            output.status,
            text.trim(),
            String::from_utf8_lossy(&output.stderr).trim()
        ))
    })?;
    Ok(Success {
        detail: format!("the image has {}", facts.text()),
        server: Some(facts.text()),
        ..Success::default()
    })
}

fn find(path: &OsStr) -> Option<PathBuf> {
    let directories: Vec<PathBuf> = std::env::split_paths(path)
        .chain(std::env::split_paths(USUAL))
        .collect();
    PROGRAMS.iter().find_map(|name| {
        directories
            .iter()
            .map(|directory| directory.join(name))
            .find(|program| program.is_file())
    })
}

/// `/usr/sbin/mysqld  Ver 9.7.4 for Linux on x86_64 (…)`
fn version(text: &str) -> Option<&str> {
    let mut words = text.split_whitespace();
    words.find(|word| *word == "Ver")?;
    words
        .next()
        .filter(|word| word.starts_with(|first: char| first.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_what_servers_say() {
        for (text, expected) in [
            (
                "/usr/sbin/mysqld  Ver 9.7.4 for Linux on x86_64 (MySQL Community)",
                Some("9.7.4"),
            ),
            ("mysqld  Ver 5.7.44 for Linux", Some("5.7.44")),
            (
                "/usr/sbin/mariadbd  Ver 10.11.19-MariaDB-0+deb12u1 for debian-linux-gnu",
                Some("10.11.19-MariaDB-0+deb12u1"),
            ),
            ("segmentation fault", None),
        ] {
            assert_eq!(version(text), expected);
        }
    }
}
