//! The first life of an instance: the rows come back if there are any, and root gets its password.
//!
//! What is to be restored is verified while the server still initialises itself. The dump runs in one
//! session of the client program with its own commands switched off, so that a dump is data and never
//! a program. Only when the server has what the manifest says is the restore recorded as done.

use std::io::Read;

use crate::accounts;
use crate::arguments::{Restore, RestoreMode};
use crate::choice::{self, Source};
use crate::client::{self, ClientError, FeedError, Session};
use crate::dump;
use crate::fence;
use crate::manifest;
use crate::old_modes::WithoutOldModes;
use crate::password;
use crate::progress;
use crate::report::{Failure, Success};
use crate::server::{self, Flavour, Server};
use crate::survey::{self, Defaults, named};
use crate::target::{self, MARKER, Seen, Verdict};
use crate::volume::{Restored, Volume};

/// The whole operation.
pub fn restore(task: &Restore) -> Result<Success, Failure> {
    let volume = Volume::open(&task.backups, task.job.patience)?;
    let source = choice::choose(&volume, task)?;
    let mut server = server::connect(&task.job)?;
    fence::lower_leftover(&mut server).map_err(|error| failed(task, &error))?;
    let mut success = match source {
        None => nothing(&mut server, task)?,
        Some(source) => bring_back(&volume, &source, &mut server, task)?,
    };
    password::apply(&mut server, &task.job)?;
    success.server = Some(server.facts.text());
    Ok(success)
}

/// There is no backup: the database must exist, nothing else.
fn nothing(server: &mut Server, task: &Restore) -> Result<Success, Failure> {
    let ensure = || -> Result<(), ClientError> {
        let database = named(&task.database)?;
        server
            .session
            .execute(&format!("CREATE DATABASE IF NOT EXISTS {database}"))
    };
    let mut ensure = ensure;
    ensure().map_err(|error| failed(task, &error))?;
    let (reason, detail) = if task.mode == RestoreMode::Skip {
        ("RestoreSkipped", "restoring was switched off by annotation")
    } else {
        ("NoBackup", "the backup volume has no backup")
    };
    Ok(Success {
        no_backup: true,
        reason: reason.to_owned(),
        detail: detail.to_owned(),
        ..Success::default()
    })
}

fn bring_back(
    volume: &Volume,
    source: &Source,
    server: &mut Server,
    task: &Restore,
) -> Result<Success, Failure> {
    let failure = |error: ClientError| failed(task, &error);
    let uid = &task.job.instance_uid;
    let recorded = volume.restored(uid);
    let before = survey::contents(&mut server.session, &task.database).map_err(failure)?;
    let seen = Seen {
        occupied: !before.is_empty(),
        marked: is_marked(&mut server.session).map_err(failure)?,
        recorded: recorded.is_some(),
        adopted: task.adopt,
    };
    let Filled { restored, remarks } = match (target::judge(&task.database, seen)?, recorded) {
        (Verdict::Keep, _) => {
            return Ok(Success {
                no_backup: true,
                reason: "DataAdopted".to_owned(),
                detail: "the data volume came with its rows; no backup was restored over them"
                    .to_owned(),
                ..Success::default()
            });
        }
        (Verdict::Done, Some(restored)) => Filled {
            restored,
            remarks: String::new(),
        },
        (Verdict::Restore | Verdict::Redo | Verdict::Done, _) => {
            check_server(source, server, task)?;
            check_space(source, task)?;
            run(volume, source, server, task, seen)?
        }
    };
    server
        .session
        .execute(&format!("DROP DATABASE IF EXISTS {MARKER}"))
        .map_err(failure)?;
    Ok(Success {
        reason: if restored.tables == 0 {
            "RestoredEmpty"
        } else {
            "Restored"
        }
        .to_owned(),
        detail: format!(
            "{} tables, {} rows{remarks}",
            restored.tables, restored.rows
        ),
        generation: Some(restored.generation),
        tables: Some(restored.tables),
        rows: Some(restored.rows),
        ..Success::default()
    })
}

pub(crate) fn check_server(
    source: &Source,
    server: &Server,
    task: &Restore,
) -> Result<(), Failure> {
    let Source::Generation(generation) = source else {
        return Ok(());
    };
    if task.mode == RestoreMode::Force {
        return Ok(());
    }
    manifest::compatible(&generation.manifest.server, &server.facts).map_err(|why| {
        Failure::permanent(
            "ServerMismatch",
            format!(
                "{why}; nothing was restored; use an image that fits, or annotate the resource with \
                 otus.homework/restore=force to try all the same"
            ),
        )
    })
}

/// Rows and their indexes need more room than the text they come from.
fn check_space(source: &Source, task: &Restore) -> Result<(), Failure> {
    let (Source::Generation(generation), Some(capacity)) = (source, task.capacity) else {
        return Ok(());
    };
    let needed = generation.manifest.raw.bytes;
    fits(&generation.name, needed, capacity, task.mode)
}

fn fits(name: &str, needed: u64, capacity: u64, mode: RestoreMode) -> Result<(), Failure> {
    if mode == RestoreMode::Force || needed <= capacity {
        return Ok(());
    }
    Err(Failure::permanent(
        "VolumeTooSmall",
        format!(
            "the rows of {name} are {needed} bytes of SQL and the volume is to have {capacity} bytes; raise \
             spec.storage_size, or annotate the resource with otus.homework/restore=force"
        ),
    ))
}

/// Restores, checks, records.
fn run(
    volume: &Volume,
    source: &Source,
    server: &mut Server,
    task: &Restore,
    seen: Seen,
) -> Result<Filled, Failure> {
    let filled = fill(volume, source, server, task, seen.marked)?;
    volume.record_restored(&task.job.instance_uid, &filled.restored)?;
    Ok(filled)
}

/// What a restore has brought.
#[derive(Debug)]
pub(crate) struct Filled {
    /// For the record.
    pub(crate) restored: Restored,
    /// What did not come back as it was, in words; empty if all did.
    pub(crate) remarks: String,
}

/// Accounts, rows, privileges; then it is compared with what the manifest says.
pub(crate) fn fill(
    volume: &Volume,
    source: &Source,
    server: &mut Server,
    task: &Restore,
    marked: bool,
) -> Result<Filled, Failure> {
    let failure = |error: ClientError| failed(task, &error);
    let (name, defaults, expected, accounts) = match source {
        Source::Generation(generation) => {
            let manifest = &generation.manifest;
            let defaults = Defaults {
                charset: manifest.charset.clone(),
                collation: manifest.collation.clone(),
            };
            let exact = manifest.fenced.then_some(&manifest.contents);
            let accounts = volume.accounts(generation)?;
            (generation.name.clone(), Some(defaults), exact, accounts)
        }
        Source::Plain(path) => {
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            (name, None, None, Vec::new())
        }
    };
    begin(&mut server.session, task, defaults.as_ref(), marked).map_err(failure)?;
    let locked = accounts::create(server, &task.job, &accounts).map_err(failure)?;
    let mut session = dump_session(server, task)?;
    session
        .feed(progress::logged(
            script(volume, source, server)?,
            "restored",
        ))
        .map_err(|error| match error {
            FeedError::Read(error) => Failure::permanent(
                "ChecksumMismatch",
                format!("the dump of {name} could not be read to its end: {error}"),
            ),
            FeedError::Client(error) => failed(task, &error),
        })?;
    drop(session);
    let refused = accounts::grant(server, &task.job, &accounts).map_err(failure)?;
    let there = survey::contents(&mut server.session, &task.database).map_err(failure)?;
    if let Some(difference) = expected.and_then(|expected| expected.difference(&there)) {
        return Err(Failure::retry(
            "RestoreIncomplete",
            format!("after restoring {name}: {difference}"),
        ));
    }
    Ok(Filled {
        restored: Restored {
            generation: name,
            operation: task.job.operation_id.clone(),
            tables: there.rows.len() as u64,
            rows: there.total_rows(),
        },
        remarks: remarks(&locked, refused),
    })
}

fn remarks(locked: &[String], refused: usize) -> String {
    let locked = if locked.is_empty() {
        String::new()
    } else {
        format!(
            "; locked, because this server cannot take their passwords: {}",
            locked.join(", ")
        )
    };
    if refused == 0 {
        return locked;
    }
    format!("{locked}; {refused} grants could not be repeated")
}

/// The SQL text, as this server can take it.
fn script(volume: &Volume, source: &Source, server: &Server) -> Result<Box<dyn Read>, Failure> {
    let text: Box<dyn Read> = match source {
        Source::Generation(generation) => {
            let path = volume.dump_of(&generation.name);
            Box::new(dump::read_compressed(&path).map_err(|error| unreadable(&path, &error))?)
        }
        Source::Plain(path) => {
            Box::new(std::fs::File::open(path).map_err(|error| unreadable(path, &error))?)
        }
    };
    let knows_all_modes =
        server.facts.flavour == Flavour::MariaDb || server.facts.number() < (8, 0, 0);
    if knows_all_modes {
        return Ok(text);
    }
    Ok(Box::new(WithoutOldModes::new(text)))
}

/// Leaves the mark, and an empty database with the right defaults.
fn begin(
    session: &mut Session,
    task: &Restore,
    defaults: Option<&Defaults>,
    marked: bool,
) -> Result<(), ClientError> {
    let database = named(&task.database)?;
    session.execute(&format!("CREATE DATABASE IF NOT EXISTS {MARKER}"))?;
    if marked {
        session.execute(&format!("DROP DATABASE IF EXISTS {database}"))?;
    }
    session.execute(&format!("CREATE DATABASE IF NOT EXISTS {database}"))?;
    if let Some(Defaults { charset, collation }) = defaults {
        session.execute(&format!(
            "ALTER DATABASE {database} CHARACTER SET {} COLLATE {}",
            named(charset)?,
            named(collation)?
        ))?;
    }
    Ok(())
}

/// A session that takes the dump as data: no client commands, no binary log.
fn dump_session(server: &Server, task: &Restore) -> Result<Session, Failure> {
    let failure = |error: ClientError| failed(task, &error);
    let known = client::options_of(&server.tools.client).map_err(failure)?;
    let mut options = Vec::new();
    if known.contains("commands") {
        options.push("--commands=OFF");
    }
    let mut session = Session::open_with(&server.tools, &server.login, &task.job.work, &options)
        .map_err(failure)?;
    session
        .execute("SET SESSION sql_log_bin = 0")
        .map_err(failure)?;
    session
        .execute(&format!("USE {}", named(&task.database).map_err(failure)?))
        .map_err(failure)?;
    Ok(session)
}

fn is_marked(session: &mut Session) -> Result<bool, ClientError> {
    Ok(survey::defaults(session, MARKER)?.is_some())
}

fn unreadable(path: &std::path::Path, error: &std::io::Error) -> Failure {
    Failure::retry("BackupUnreadable", format!("{}: {error}", path.display()))
}

fn failed(task: &Restore, error: &ClientError) -> Failure {
    if error.is_unreachable() {
        return server::unavailable(&task.job, &error.full_text());
    }
    Failure::retry(
        "RestoreFailed",
        format!(
            "{} could not be restored: {}",
            task.job.instance,
            error.full_text()
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_that_cannot_take_the_rows_is_refused() {
        let fits = |needed, capacity, mode| fits("gen-000001-a", needed, capacity, mode);
        assert!(fits(10, 10, RestoreMode::Normal).is_ok());
        let refused = fits(11, 10, RestoreMode::Normal).unwrap_err();
        assert_eq!((refused.reason, refused.retry), ("VolumeTooSmall", false));
        assert!(fits(11, 10, RestoreMode::Force).is_ok());
    }
}
