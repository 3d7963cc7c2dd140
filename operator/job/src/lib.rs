//! Everything that touches MySQL on behalf of the operator: restore, backup, password change.
//!
//! The program runs in the image of the instance itself and drives the `mysql` and `mysqldump` (or
//! `mariadb` and `mariadb-dump`) that it finds there as child processes, without a shell. Passwords
//! come from files and go into an option file that only this process can read; statements go through
//! standard input. It does not know Kubernetes: what it is to do is in its [`arguments`], what came of
//! it is a [`report`] in the termination message and an exit code.
//!
//! One module per intent: [`restore`], [`rehearse`], [`backup`], [`password`], [`probe`], and [`prepare`] for
//! init containers.
//! They stand on
//! * [`client`]: a session with the server, one child process each;
//! * [`server`]: waiting for the server, what it is, and the account to work with;
//! * [`choice`]: which generation is restored;
//! * [`volume`]: the generations on the backup volume, [`manifest`] and [`dump`] inside of one;
//! * [`survey`]: what is in a database; [`accounts`]: who may use it;
//! * [`old_modes`]: dumps of 5.7 for newer servers;
//! * [`target`]: whether a database may be restored into (pure);
//! * [`fence`]: no write is acknowledged any more;
//! * [`progress`]: how far a long operation is, in its log;
//! * [`sql`]: the only place where names and values become SQL.

pub mod accounts;
pub mod arguments;
pub mod backup;
pub mod choice;
pub mod client;
pub mod dump;
pub mod fence;
pub mod manifest;
pub mod old_modes;
pub mod option_file;
pub mod password;
pub mod prepare;
pub mod probe;
pub mod progress;
pub mod rehearse;
pub mod report;
pub mod restore;
pub mod server;
pub mod sql;
pub mod survey;
pub mod target;
pub mod volume;

use std::path::Path;
use std::process::ExitCode;

use arguments::Command;
use report::{Failure, Report};

/// Carries out the command line; writes the report where Kubernetes looks for it.
pub fn run(arguments: impl Iterator<Item = String>) -> ExitCode {
    let command = match Command::parse(arguments) {
        Ok(command) => command,
        Err(error) => {
            say(&format!("{error}\n\n{}", arguments::USAGE));
            return ExitCode::from(report::EXIT_PERMANENT);
        }
    };
    let report = match &command {
        Command::Install(install) => return plain(prepare::install(install)),
        Command::Prepare(prepare) => return plain(prepare::prepare(prepare)),
        Command::Restore(task) => task.job.conclude(restore::restore(task)),
        Command::Rehearse(task) => task.job.conclude(rehearse::rehearse(task)),
        Command::Backup(task) => task.job.conclude(backup::backup(task)),
        Command::Password(task) => task.job.conclude(password::password(task)),
        Command::Probe(task) => task.job.conclude(probe::probe(task)),
    };
    publish(&report, command.termination_log());
    ExitCode::from(report.exit_code())
}

/// What an init container says when it fails; it has no report of its own.
fn plain(result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            say(&format!("{}: {}", failure.reason, failure.detail));
            ExitCode::from(report::EXIT_PERMANENT)
        }
    }
}

/// Writes the report to the termination log and, for people, to standard error.
fn publish(report: &Report, termination_log: &Path) {
    let text = report.to_message();
    say(&text);
    // Without a termination log (outside of Kubernetes) the line above is the report.
    if let Err(error) = std::fs::write(termination_log, &text) {
        say(&format!("{}: {error}", termination_log.display()));
    }
}

#[expect(
    clippy::print_stderr,
    reason = "the log of a Job is its standard error"
)]
pub(crate) fn say(text: &str) {
    eprintln!("{text}");
}
