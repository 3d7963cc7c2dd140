//! One more generation on the backup volume.
//!
//! The order is what keeps the rows: everything about the new generation is written, verified and
//! brought to disk under another name before the pointer moves. The earlier generations are not
//! touched before that. Client: `mysqldump`, without `--databases`: the manifest has the database's
//! character set, and the name may differ when it is restored.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::accounts::{self, Account};
use crate::arguments::Backup;
use crate::client::{self, ClientError, Tools};
use crate::dump::{self, Written};
use crate::fence;
use crate::manifest::{Manifest, SCHEMA};
use crate::option_file::{Login, OptionFile};
use crate::password;
use crate::progress;
use crate::report::{Failure, Success};
use crate::server::{self, Server};
use crate::survey::{self, Defaults};
use crate::volume::{self, Draft, Volume};

/// Understood by every dump program since MySQL 5.7 and MariaDB 10.
const FLAGS: [&str; 11] = [
    "--single-transaction",
    "--quick",
    "--routines",
    "--events",
    "--triggers",
    "--hex-blob",
    "--no-tablespaces",
    "--tz-utc",
    "--comments",
    "--max-allowed-packet=1G",
    "--default-character-set=utf8mb4",
];
/// Only MySQL's program knows these, and not in every version.
const FLAGS_WHERE_KNOWN: [(&str, &str); 2] = [
    ("set-gtid-purged", "--set-gtid-purged=OFF"),
    ("column-statistics", "--column-statistics=0"),
];

/// The whole operation.
pub fn backup(task: &Backup) -> Result<Success, Failure> {
    let volume = Volume::open(&task.backups, task.job.patience)?;
    let mut server = server::connect(&task.job)?;
    let defaults = existing(&mut server, task)?;
    if task.before_upgrade {
        password::modernise(&mut server, &task.job)?;
    }
    // Before the fence, which locks accounts on MariaDB: they are to come back as people made them.
    let accounts = accounts::collect(&mut server).map_err(|error| failed(task, &error))?;
    let accounts = fence::as_before(&mut server, accounts).map_err(|error| failed(task, &error))?;
    if !task.fence {
        return generation(&volume, &mut server, task, &defaults, &accounts);
    }
    let fence = fence::raise(&mut server, &task.job).map_err(|error| {
        Failure::retry(
            "FenceFailed",
            format!(
                "writing could not be stopped on {}: {}",
                task.job.host,
                error.full_text()
            ),
        )
    })?;
    generation(&volume, &mut server, task, &defaults, &accounts).inspect_err(|_| {
        // The deletion is blocked now; people must be able to repair what made it fail.
        if let Ok(mut session) = server.another_session(&task.job) {
            let _ = fence.lower(&mut session);
        }
    })
}

fn existing(server: &mut Server, task: &Backup) -> Result<Defaults, Failure> {
    survey::defaults(&mut server.session, &task.database).map_err(|error| failed(task, &error))?.ok_or_else(
        || {
            Failure::permanent(
                "DatabaseMissing",
                format!(
                    "the server of {} has no database {:?}, so there is nothing to back up; make it \
                     again, or annotate the resource with otus.homework/skip-final-backup=true",
                    task.job.instance, task.database
                ),
            )
        },
    )
}

fn generation(
    volume: &Volume,
    server: &mut Server,
    task: &Backup,
    defaults: &Defaults,
    accounts: &[Account],
) -> Result<Success, Failure> {
    let started_unix = now();
    let draft = volume.begin(&task.job.operation_id)?;
    let written = match write(server, task, &draft) {
        Ok(written) => written,
        Err(failure) => {
            draft.discard();
            return Err(with_space(volume, failure));
        }
    };
    let contents = survey::contents(&mut server.session, &task.database)
        .map_err(|error| failed(task, &error))?;
    dump::verify(&draft.dump(), &written.stored)
        .map_err(|damage| Failure::retry("BackupNotVerified", damage.full_text()))?;
    let accounts = draft
        .write_accounts(accounts)
        .map_err(|failure| with_space(volume, failure))?;
    let manifest = Manifest {
        schema: SCHEMA,
        instance: task.job.instance.clone(),
        instance_uid: task.job.instance_uid.clone(),
        operation: task.job.operation_id.clone(),
        database: task.database.clone(),
        charset: defaults.charset.clone(),
        collation: defaults.collation.clone(),
        server: server.facts.clone(),
        started_unix,
        finished_unix: now(),
        raw: written.raw,
        stored: written.stored,
        contents,
        accounts: Some(accounts),
        fenced: task.fence,
    };
    let generation = volume.publish(&draft, &manifest)?;
    let removed = volume.prune(task.keep)?;
    Ok(Success {
        detail: format!(
            "{} tables, {} rows; {removed} older generations removed",
            manifest.contents.rows.len(),
            manifest.contents.total_rows()
        ),
        generation: Some(generation.name),
        bytes: Some(manifest.stored.bytes),
        sha256: Some(manifest.stored.sha256),
        tables: Some(manifest.contents.rows.len() as u64),
        rows: Some(manifest.contents.total_rows()),
        server: Some(manifest.server.text()),
        ..Success::default()
    })
}

/// Runs the dump program into the draft; every member of the pipeline must have succeeded.
fn write(server: &Server, task: &Backup, draft: &Draft) -> Result<Written, Failure> {
    let (mut child, _options) =
        start(&server.tools, &server.login, task).map_err(|error| failed(task, &error))?;
    let output = child.stdout.take().expect("stdout was asked for");
    let errors = child.stderr.take().expect("stderr was asked for");
    let errors = thread::spawn(move || client::read_all(errors));
    let written = dump::write(progress::logged(output, "dumped"), &draft.dump());
    if written.is_err() {
        // Nobody reads its output any more.
        let _ = child.kill();
    }
    let status = child.wait().map_err(|source| {
        failed(
            task,
            &ClientError::Io {
                action: "wait for the dump program",
                source,
            },
        )
    })?;
    let text = errors.join().unwrap_or_default();
    let written = written.map_err(|error| volume::unusable(&draft.dump(), &error))?;
    if !status.success() {
        let error = client::error_in(&text)
            .unwrap_or_else(|| ClientError::Ended(format!("{status} {}", text.trim())));
        return Err(failed(task, &error));
    }
    if !written.complete {
        return Err(Failure::retry(
            "BackupTruncated",
            "the dump program succeeded and its output does not end as a complete dump does",
        ));
    }
    Ok(written)
}

fn start(tools: &Tools, login: &Login, task: &Backup) -> Result<(Child, OptionFile), ClientError> {
    let io = |action| move |source| ClientError::Io { action, source };
    let known = client::options_of(&tools.dump)?;
    let options = OptionFile::write(&task.job.work, login).map_err(io("write the option file"))?;
    let child = Command::new(&tools.dump)
        .arg(defaults_file(options.path()))
        .args(FLAGS)
        .args(
            FLAGS_WHERE_KNOWN
                .iter()
                .filter(|(name, _)| known.contains(*name))
                .map(|(_, flag)| flag),
        )
        .arg("--")
        .arg(&task.database)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(io("start the dump program"))?;
    Ok((child, options))
}

fn defaults_file(path: &Path) -> String {
    format!("--defaults-file={}", path.display())
}

fn failed(task: &Backup, error: &ClientError) -> Failure {
    if error.is_unreachable() {
        return server::unavailable(&task.job, &error.full_text());
    }
    Failure::retry(
        "BackupFailed",
        format!(
            "{} could not be dumped: {}",
            task.job.instance,
            error.full_text()
        ),
    )
}

/// A full volume says how much is free.
fn with_space(volume: &Volume, mut failure: Failure) -> Failure {
    if let (true, Some(free)) = (failure.reason == "BackupVolumeFull", volume.free_bytes()) {
        failure.detail = format!("{}; {free} bytes are free", failure.detail);
    }
    failure
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_secs())
}
