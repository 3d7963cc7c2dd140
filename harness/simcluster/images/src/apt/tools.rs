//! apt's and dpkg's programs, run on a state of our own.
//!
//! What the machine has installed is neither read nor touched: apt believes that it looks after an empty machine.
//! The machine's proxies, credentials and trusted keys are used as they are.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use super::{
    archive::{Stanza, render},
    closure::{Package, parse_uris},
};
use crate::{
    progress::Event,
    source::{Reporter, tree_bytes},
};

/// How often a running program is looked at.
const POLL: Duration = Duration::from_millis(25);
/// How much of a failed program's output is told.
const TOLD_LINES: usize = 6;

/// Its time is when the lists were fetched.
const FRESH: &str = "fetched";
/// Lists are not fetched again before they are this old.
const FRESH_FOR: Duration = Duration::from_secs(600);

/// Why one of the programs did not do its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ToolError {
    /// It is not installed, or cannot be started.
    #[error(
        "{program} cannot be run ({error}): it belongs to Debian, Ubuntu and their derivatives"
    )]
    Start { program: String, error: io::Error },
    /// It ended with an error of its own.
    #[error("{program} failed: {output}")]
    Failed { program: String, output: String },
    /// Its state could not be written.
    #[error("cannot write {}: {error}", path.display())]
    State { path: PathBuf, error: io::Error },
    /// Nobody waits for the result any more.
    #[error("cancelled")]
    Cancelled,
}

/// A private apt, with its own sources and an empty list of installed packages. While it lives no other process
/// uses the same state.
#[derive(Debug)]
pub(crate) struct Apt {
    dir: PathBuf,
    _only_we: File,
}

impl Apt {
    /// Prepares the state in `dir`, once nobody else uses it.
    pub(crate) fn new(
        dir: PathBuf,
        stanzas: &[Stanza],
        reporter: &dyn Reporter,
    ) -> Result<Self, ToolError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |error| ToolError::State { path, error }
        };
        for part in ["state/lists/partial", "cache/archives/partial", "tmp"] {
            let path = dir.join(part);
            fs::create_dir_all(&path).map_err(failed(&path))?;
        }
        let path = dir.join("lock");
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(failed(&path))?;
        while let Err(busy) = lock.try_lock() {
            match busy {
                TryLockError::Error(error) => return Err(failed(&path)(error)),
                TryLockError::WouldBlock if reporter.is_cancelled() => {
                    return Err(ToolError::Cancelled);
                }
                TryLockError::WouldBlock => thread::sleep(POLL),
            }
        }
        let apt = Self {
            dir,
            _only_we: lock,
        };
        apt.write("status", "")?;
        apt.write("apt.conf", &configuration(&apt.dir))?;
        let sources = render(stanzas);
        if fs::read_to_string(apt.dir.join("archive.sources"))
            .ok()
            .as_deref()
            != Some(&sources)
        {
            // The lists that are there came from elsewhere.
            let _ = fs::remove_file(apt.dir.join(FRESH));
            apt.write("archive.sources", &sources)?;
        }
        Ok(apt)
    }

    /// Fetches the lists of what the archive has, unless that was done a moment ago.
    pub(crate) fn update(&self, reporter: &dyn Reporter) -> Result<(), ToolError> {
        let age = fs::metadata(self.dir.join(FRESH))
            .and_then(|found| found.modified())
            .ok();
        if age
            .and_then(|time| time.elapsed().ok())
            .is_some_and(|age| age < FRESH_FOR)
        {
            return Ok(());
        }
        self.run("apt-get", &["update", "-q"], None, reporter)?;
        self.write(FRESH, "")
    }

    /// The names of all packages that there are.
    pub(crate) fn names(&self, reporter: &dyn Reporter) -> Result<String, ToolError> {
        self.run("apt-cache", &["pkgnames"], None, reporter)
    }

    /// These packages with all that they need, but nothing that they merely recommend; and those of `alone` without
    /// what they need.
    pub(crate) fn closure(
        &self,
        names: &[String],
        alone: &[&str],
        reporter: &dyn Reporter,
    ) -> Result<Vec<Package>, ToolError> {
        let mut arguments = vec![
            "install",
            "-qq",
            "-y",
            "--no-install-recommends",
            "--print-uris",
        ];
        arguments.extend(names.iter().map(String::as_str));
        let mut packages = parse_uris(&self.run("apt-get", &arguments, None, reporter)?);
        if !alone.is_empty() {
            let arguments = [&["download", "-qq", "--print-uris"], alone].concat();
            packages.extend(parse_uris(
                &self.run("apt-get", &arguments, None, reporter)?,
            ));
        }
        packages.sort();
        packages.dedup();
        Ok(packages)
    }

    /// Downloads exactly these packages into `into`; apt verifies the chain of signatures and checksums.
    pub(crate) fn download(
        &self,
        packages: &[Package],
        into: &Path,
        reporter: &dyn Reporter,
    ) -> Result<(), ToolError> {
        let exact: Vec<_> = packages.iter().map(Package::exact).collect();
        let mut arguments = vec!["download", "-q"];
        arguments.extend(exact.iter().map(String::as_str));
        let total = packages.iter().map(|package| package.bytes).sum();
        let watched = Watched { dir: into, total };
        self.run("apt-get", &arguments, Some(&watched), reporter)
            .map(drop)
    }

    fn run(
        &self,
        program: &str,
        arguments: &[&str],
        watched: Option<&Watched<'_>>,
        reporter: &dyn Reporter,
    ) -> Result<String, ToolError> {
        let mut command = mortal(program);
        command
            .arg("-c")
            .arg(self.dir.join("apt.conf"))
            .args(arguments)
            .env("LC_ALL", "C")
            .env("TMPDIR", self.dir.join("tmp"))
            .env("DEBIAN_FRONTEND", "noninteractive")
            .current_dir(watched.map_or(self.dir.as_path(), |watched| watched.dir));
        run(program, command, Stdio::null(), watched, reporter)
    }

    fn write(&self, name: &str, text: &str) -> Result<(), ToolError> {
        let path = self.dir.join(name);
        fs::write(&path, text).map_err(|error| ToolError::State { path, error })
    }
}

/// A directory that a running program fills.
#[derive(Debug)]
struct Watched<'a> {
    dir: &'a Path,
    total: u64,
}

/// Everything apt keeps goes below `dir`; what the machine's administrator wants done after updates is not for us.
fn configuration(dir: &Path) -> String {
    let dir = quote(&dir.to_string_lossy());
    format!(
        r#"#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Post-Invoke;
#clear DPkg::Pre-Install-Pkgs;
#clear APT::Default-Release;
#clear APT::Architectures;
Dir::State "{dir}/state";
Dir::State::status "{dir}/status";
Dir::State::extended_states "{dir}/extended_states";
Dir::Cache "{dir}/cache";
Dir::Etc::sourcelist "{dir}/archive.sources";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::Log "{dir}";
APT::Sandbox::User "";
APT::Update::Error-Mode "any";
APT::Get::AllowUnauthenticated "false";
Acquire::Check-Valid-Until "false";
Acquire::Languages "none";
Acquire::Retries "3";
Debug::NoLocking "true";
"#
    )
}

/// Inside double quotes of apt's configuration a quote cannot be written: nobody's cache directory has one.
fn quote(text: &str) -> String {
    text.replace('"', "")
}

/// A command that ends when the thread that starts it ends, where the machine has a program for that.
pub(crate) fn mortal(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let setpriv = Path::new("/usr/bin/setpriv");
    if setpriv.exists() {
        let mut command = Command::new(setpriv);
        command.args(["--pdeathsig", "KILL", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    }
}

/// Runs a program to its end and answers its standard output.
pub(crate) fn run_program(
    name: &str,
    command: Command,
    reporter: &dyn Reporter,
) -> Result<String, ToolError> {
    run(name, command, Stdio::null(), None, reporter)
}

/// Runs a program on an input to its end.
pub(crate) fn run_with_input(
    name: &str,
    command: Command,
    input: File,
    reporter: &dyn Reporter,
) -> Result<(), ToolError> {
    run(name, command, input.into(), None, reporter).map(drop)
}

fn run(
    name: &str,
    mut command: Command,
    input: Stdio,
    watched: Option<&Watched<'_>>,
    reporter: &dyn Reporter,
) -> Result<String, ToolError> {
    command
        .stdin(input)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| ToolError::Start {
        program: name.to_owned(),
        error,
    })?;
    // Both pipes are emptied while it runs: a full one would stop it.
    let stdout = reader(child.stdout.take());
    let stderr = reader(child.stderr.take());
    let status = wait(&mut child, watched, reporter).map_err(|stopped| match stopped {
        Stopped::Cancelled => ToolError::Cancelled,
        Stopped::Lost(error) => ToolError::Start {
            program: name.to_owned(),
            error,
        },
    })?;
    let stdout = stdout.join().unwrap_or_default();
    let stderr = stderr.join().unwrap_or_default();
    if status.success() {
        return Ok(stdout);
    }
    let lines: Vec<_> = stderr
        .lines()
        .chain(stdout.lines())
        .filter(|line| !line.trim().is_empty())
        .collect();
    // apt marks what matters.
    let errors: Vec<_> = lines
        .iter()
        .filter(|line| line.starts_with("E: "))
        .copied()
        .collect();
    let told = if errors.is_empty() { lines } else { errors };
    let told = &told[told.len().saturating_sub(TOLD_LINES)..];
    Err(ToolError::Failed {
        program: name.to_owned(),
        output: if told.is_empty() {
            status.to_string()
        } else {
            told.join("; ")
        },
    })
}

enum Stopped {
    Cancelled,
    Lost(io::Error),
}

fn wait(
    child: &mut Child,
    watched: Option<&Watched<'_>>,
    reporter: &dyn Reporter,
) -> Result<std::process::ExitStatus, Stopped> {
    let mut last = 0;
    loop {
        if let Some(status) = child.try_wait().map_err(Stopped::Lost)? {
            return Ok(status);
        }
        if reporter.is_cancelled() {
            child
                .kill()
                .and_then(|()| child.wait())
                .map_err(Stopped::Lost)?;
            return Err(Stopped::Cancelled);
        }
        if let Some(Watched { dir, total }) = watched {
            // A file may vanish while it is looked at: apt renames what is complete.
            let done = tree_bytes(dir).unwrap_or(last).min(*total);
            if done != last {
                last = done;
                // Who does not listen any more is noticed in the next round.
                let _ = reporter.report(Event::Bytes {
                    done,
                    total: Some(*total),
                });
            }
        }
        thread::sleep(POLL);
    }
}

fn reader(pipe: Option<impl io::Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // A broken pipe ends the text, and the exit status says the rest.
            let _ = pipe.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
