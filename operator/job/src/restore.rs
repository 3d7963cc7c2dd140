//! The first life of an instance: the rows come back if there are any, and root gets its password.
//!
//! What is to be restored is verified while the server still initialises itself. The dump runs in one
//! session of the client program with its own commands switched off, so that a dump is data and never
//! a program. Only when the server has what the manifest says is the restore recorded as done.

use std::io::Read;
use std::path::PathBuf;

use crate::accounts;
use crate::arguments::{Restore, RestoreMode};
use crate::client::{self, ClientError, FeedError, Session};
use crate::dump;
use crate::fence;
use crate::manifest;
use crate::old_modes::WithoutOldModes;
use crate::password;
use crate::report::{Failure, Success};
use crate::server::{self, Flavour, Server};
use crate::survey::{self, Defaults, named};
use crate::target::{self, MARKER, Seen, Verdict};
use crate::volume::{Generation, Restored, Volume};

/// What there is to restore.
#[derive(Debug)]
pub(crate) enum Source {
    /// A generation of ours.
    Generation(Box<Generation>),
    /// The single file of the old operator.
    Plain(PathBuf),
}

/// The whole operation.
pub fn restore(task: &Restore) -> Result<Success, Failure> {
    let volume = Volume::open(&task.backups, task.job.patience)?;
    let source = choose(&volume, task)?;
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

/// Chooses what to restore and verifies it, before the server is touched.
pub(crate) fn choose(volume: &Volume, task: &Restore) -> Result<Option<Source>, Failure> {
    if task.mode == RestoreMode::Skip {
        return Ok(None);
    }
    let wanted = match &task.generation {
        Some(name) => Some(volume.generation(name).ok_or_else(|| {
            Failure::permanent(
                "GenerationMissing",
                format!("the backup volume has no complete generation {name:?}"),
            )
        })?),
        None => volume.current()?,
    };
    if let Some(generation) = wanted {
        acceptable(&generation, task)?;
        dump::verify(
            &volume.dump_of(&generation.name),
            &generation.manifest.stored,
        )
        .map_err(|damage| damaged(volume, &generation, &damage))?;
        if let Some(expected) = &generation.manifest.accounts {
            dump::verify(&volume.accounts_of(&generation.name), expected)
                .map_err(|damage| damaged(volume, &generation, &damage))?;
        }
        return Ok(Some(Source::Generation(Box::new(generation))));
    }
    if let Some(path) = task.legacy.as_ref().and_then(|file| volume.legacy(file)) {
        dump::verify_plain(&path)
            .map_err(|damage| Failure::permanent(damage.reason(), damage.full_text()))?;
        return Ok(Some(Source::Plain(path)));
    }
    if task.expect_backup {
        return Err(Failure::permanent(
            "BackupExpectedButMissing",
            format!(
                "{} has had a verified backup and its backup volume has none now; bring the volume back, \
                 or annotate the resource with otus.homework/restore=skip to begin without rows",
                task.job.instance
            ),
        ));
    }
    Ok(None)
}

/// The generation belongs to this instance and to this database.
fn acceptable(generation: &Generation, task: &Restore) -> Result<(), Failure> {
    let manifest = &generation.manifest;
    if manifest.schema > manifest::SCHEMA {
        return Err(Failure::permanent(
            "BackupTooNew",
            format!(
                "{} was written by a newer operator (layout {}); restore it with that one",
                generation.name, manifest.schema
            ),
        ));
    }
    if manifest.instance != task.job.instance && task.mode != RestoreMode::Force {
        return Err(Failure::permanent(
            "ForeignBackup",
            format!(
                "{} is a backup of {}, not of {}; to restore it all the same, annotate the resource \
                 with otus.homework/restore=force",
                generation.name, manifest.instance, task.job.instance
            ),
        ));
    }
    let expected = task.from_database.as_ref().unwrap_or(&task.database);
    if manifest.database != *expected {
        return Err(Failure::permanent(
            "DatabaseMismatch",
            format!(
                "{} is a backup of the database {:?}, the resource wants {:?}; to restore it under the \
                 new name, annotate the resource with otus.homework/restore-as={}",
                generation.name, manifest.database, task.database, manifest.database
            ),
        ));
    }
    Ok(())
}

/// Names the newest older generation that is whole; which one to take is for people to decide.
fn damaged(volume: &Volume, bad: &Generation, damage: &dump::Damage) -> Failure {
    let whole = volume
        .generations()
        .unwrap_or_default()
        .into_iter()
        .rev()
        .find(|one| {
            one.name != bad.name
                && dump::verify(&volume.dump_of(&one.name), &one.manifest.stored).is_ok()
        });
    let advice = whole.map_or_else(
        || "no other generation is whole".to_owned(),
        |one| {
            format!(
                "the newest whole one is {0}: to restore it, annotate the resource with \
                 otus.homework/restore-generation={0}",
                one.name
            )
        },
    );
    Failure::permanent(
        damage.reason(),
        format!("{}; nothing was restored; {advice}", damage.full_text()),
    )
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
    if task.mode == RestoreMode::Force || needed <= capacity {
        return Ok(());
    }
    Err(Failure::permanent(
        "VolumeTooSmall",
        format!(
            "the rows of {} are {needed} bytes of SQL and the volume is to have {capacity} bytes; raise \
             spec.storage_size, or annotate the resource with otus.homework/restore=force",
            generation.name
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
        .feed(script(volume, source, server)?)
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
