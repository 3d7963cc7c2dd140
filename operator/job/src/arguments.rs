//! What the command line asks for.
//!
//! Passwords are never here: [`Job::credentials`] names the directory that has them as files. The
//! parsing knows only `--name value` and `--flag`, which is all that the operator writes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

use crate::option_file::Login;
use crate::report::{Failure, Operation, Report, Success};

/// Shown when the command line cannot be understood.
pub const USAGE: &str = "usage:
  mysql-job install  --to FILE [--own DIR] [--owner UID:GID]
  mysql-job prepare  --volume DIR --initialized FILE [--owner UID:GID]
  mysql-job restore  JOB --database NAME --backups DIR [--legacy FILE] [--from-database NAME]
                     [--generation NAME] [--expect-backup NAME] [--skip] [--adopt] [--force]
                     [--capacity BYTES]
  mysql-job restore-test JOB (as restore)
  mysql-job backup   JOB --database NAME --backups DIR [--keep N] [--fence] [--before-upgrade]
  mysql-job password JOB
  mysql-job probe    JOB
JOB: --operation ID --instance NAMESPACE/NAME --instance-uid UID --host HOST [--port N]
     --credentials DIR --work DIR [--patience SECONDS] [--termination-log FILE]";

/// A command line that says nothing we can do.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum ArgumentError {
    /// The first word.
    #[error("there is no command {0:?}")]
    Command(String),
    /// Needed and not there.
    #[error("--{0} is missing")]
    Missing(&'static str),
    /// There and not known.
    #[error("{0} is not known here")]
    Unknown(String),
    /// Not a number, not a pair.
    #[error("--{name} cannot be {value:?}")]
    Value {
        /// Which option.
        name: &'static str,
        /// What was written.
        value: String,
    },
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Copy this program to a shared volume.
    Install(Install),
    /// Make the data volume ready for the server.
    Prepare(Prepare),
    /// Bring the rows back.
    Restore(Restore),
    /// Try whether they would come back.
    Rehearse(Restore),
    /// Write a generation.
    Backup(Backup),
    /// Set root's password.
    Password(Password),
    /// Look what server the image has.
    Probe(Probe),
}

/// `install`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Install {
    /// The copy.
    pub to: PathBuf,
    /// A directory that `owner` shall own.
    pub own: Option<PathBuf>,
    /// Who the server runs as.
    pub owner: Option<(u32, u32)>,
}

/// `prepare`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepare {
    /// The root of the data volume.
    pub volume: PathBuf,
    /// A file that exists once the instance was ready: nothing is ever wiped then.
    pub initialized: PathBuf,
    /// Who the server runs as.
    pub owner: Option<(u32, u32)>,
}

/// What all Jobs have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// The intent, for the report.
    pub operation: Operation,
    /// The operator's name for this operation.
    pub operation_id: String,
    /// `namespace/name`
    pub instance: String,
    /// The custom resource's UID.
    pub instance_uid: String,
    /// Where the server is.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// A directory with `operator-user`, `operator-password` and so on.
    pub credentials: PathBuf,
    /// A directory for option files; in memory.
    pub work: PathBuf,
    /// How long the server may take to answer.
    pub patience: Duration,
    /// Where Kubernetes reads the report.
    pub termination_log: PathBuf,
}

/// `restore`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restore {
    /// The common part.
    pub job: Job,
    /// The database of the instance.
    pub database: String,
    /// The backup volume.
    pub backups: PathBuf,
    /// The single dump that the old operator left, relative to `backups`.
    pub legacy: Option<PathBuf>,
    /// Accept a backup of this other database.
    pub from_database: Option<String>,
    /// Restore this generation instead of the current one.
    pub generation: Option<String>,
    /// This generation is known to have been good: finding none, or only older ones, is a failure.
    pub expect_backup: Option<String>,
    /// What people wish.
    pub mode: RestoreMode,
    /// The data volume was taken over with its data: rows in it are not touched and no failure.
    pub adopt: bool,
    /// Bytes that the data volume can hold; unknown if `None`.
    pub capacity: Option<u64>,
}

/// What a restore may do, by the wish of people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RestoreMode {
    /// Restore what fits.
    #[default]
    Normal,
    /// Restore nothing, only set the password.
    Skip,
    /// Restore in spite of another flavour, an older server or another instance.
    Force,
}

/// `backup`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup {
    /// The common part.
    pub job: Job,
    /// The database of the instance.
    pub database: String,
    /// The backup volume.
    pub backups: PathBuf,
    /// How many generations to keep.
    pub keep: usize,
    /// Stop all writing first and leave it stopped: the instance is about to be removed.
    pub fence: bool,
    /// Another version of the server is to come: root and the operator get a kind of password that it knows.
    pub before_upgrade: bool,
}

/// `probe`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The common part; its server is not asked.
    pub job: Job,
}

/// `password`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Password {
    /// The common part.
    pub job: Job,
}

impl Job {
    /// One of the credentials; `None` if there is no such file.
    pub fn credential(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.credentials.join(name)).ok()
    }

    /// The same, where the flow cannot do without.
    pub fn needed_credential(&self, name: &str) -> Result<String, Failure> {
        self.credential(name).ok_or_else(|| {
            Failure::retry(
                "CredentialsMissing",
                format!(
                    "{} has no readable {name}; look at the Secret that the Job mounts",
                    self.credentials.display()
                ),
            )
        })
    }

    /// Logging in to this Job's server.
    pub fn login(&self, user: &str, password: &str) -> Login {
        Login {
            host: self.host.clone(),
            port: self.port,
            user: user.to_owned(),
            password: password.to_owned(),
        }
    }

    /// The report of a flow's end, with every secret that the Job knows struck out.
    pub fn conclude(&self, end: Result<Success, Failure>) -> Report {
        let secrets: Vec<String> = [
            "operator-password",
            "root-password",
            "previous-root-password",
            "bootstrap-password",
        ]
        .iter()
        .filter_map(|name| self.credential(name))
        .collect();
        Report::new(self.operation, &self.operation_id, end)
            .without(secrets.iter().map(String::as_str))
    }
}

impl Command {
    /// Reads the words after the program's name.
    pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, ArgumentError> {
        let command = words.next().unwrap_or_default();
        let mut options = Options::read(words)?;
        let parsed = match command.as_str() {
            "install" => Self::Install(Install {
                to: options.need("to")?.into(),
                own: options.take("own").map(Into::into),
                owner: options.owner()?,
            }),
            "prepare" => Self::Prepare(Prepare {
                volume: options.need("volume")?.into(),
                initialized: options.need("initialized")?.into(),
                owner: options.owner()?,
            }),
            "restore" => Self::Restore(options.restore(Operation::Restore)?),
            "restore-test" => Self::Rehearse(options.restore(Operation::RestoreTest)?),
            "backup" => Self::Backup(Backup {
                job: options.job(Operation::Backup)?,
                database: options.need("database")?,
                backups: options.need("backups")?.into(),
                keep: options.number("keep", 3)?,
                fence: options.flag("fence"),
                before_upgrade: options.flag("before-upgrade"),
            }),
            "password" => Self::Password(Password {
                job: options.job(Operation::Password)?,
            }),
            "probe" => Self::Probe(Probe {
                job: options.job(Operation::Probe)?,
            }),
            other => return Err(ArgumentError::Command(other.to_owned())),
        };
        options.end()?;
        Ok(parsed)
    }

    /// Where the report goes.
    pub fn termination_log(&self) -> &Path {
        match self {
            Self::Restore(task) | Self::Rehearse(task) => &task.job.termination_log,
            Self::Backup(task) => &task.job.termination_log,
            Self::Password(task) => &task.job.termination_log,
            Self::Probe(task) => &task.job.termination_log,
            Self::Install(_) | Self::Prepare(_) => Path::new("/dev/null"),
        }
    }
}

/// Options that have no value.
const FLAGS: [&str; 5] = ["skip", "adopt", "force", "fence", "before-upgrade"];

struct Options(BTreeMap<String, String>);

impl Options {
    fn read(mut words: impl Iterator<Item = String>) -> Result<Self, ArgumentError> {
        let mut options = BTreeMap::new();
        while let Some(word) = words.next() {
            let Some(name) = word.strip_prefix("--") else {
                return Err(ArgumentError::Unknown(word));
            };
            let value = if FLAGS.contains(&name) {
                String::new()
            } else {
                words
                    .next()
                    .ok_or_else(|| ArgumentError::Unknown(format!("{word} without a value")))?
            };
            options.insert(name.to_owned(), value);
        }
        Ok(Self(options))
    }

    fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    fn flag(&mut self, name: &str) -> bool {
        self.take(name).is_some()
    }

    fn mode(&mut self) -> RestoreMode {
        match (self.flag("skip"), self.flag("force")) {
            (true, _) => RestoreMode::Skip,
            (false, true) => RestoreMode::Force,
            (false, false) => RestoreMode::Normal,
        }
    }

    fn need(&mut self, name: &'static str) -> Result<String, ArgumentError> {
        self.take(name).ok_or(ArgumentError::Missing(name))
    }

    fn number<N: std::str::FromStr>(
        &mut self,
        name: &'static str,
        default: N,
    ) -> Result<N, ArgumentError> {
        match self.take(name) {
            None => Ok(default),
            Some(value) => value
                .parse()
                .map_err(|_| ArgumentError::Value { name, value }),
        }
    }

    fn owner(&mut self) -> Result<Option<(u32, u32)>, ArgumentError> {
        let Some(value) = self.take("owner") else {
            return Ok(None);
        };
        value
            .split_once(':')
            .and_then(|(uid, gid)| Some((uid.parse().ok()?, gid.parse().ok()?)))
            .map(Some)
            .ok_or(ArgumentError::Value {
                name: "owner",
                value,
            })
    }

    fn restore(&mut self, operation: Operation) -> Result<Restore, ArgumentError> {
        Ok(Restore {
            job: self.job(operation)?,
            database: self.need("database")?,
            backups: self.need("backups")?.into(),
            legacy: self.take("legacy").map(Into::into),
            from_database: self.take("from-database"),
            generation: self.take("generation"),
            expect_backup: self.take("expect-backup"),
            mode: self.mode(),
            adopt: self.flag("adopt"),
            capacity: match self.number("capacity", 0)? {
                0 => None,
                bytes => Some(bytes),
            },
        })
    }

    fn job(&mut self, operation: Operation) -> Result<Job, ArgumentError> {
        Ok(Job {
            operation,
            operation_id: self.need("operation")?,
            instance: self.need("instance")?,
            instance_uid: self.need("instance-uid")?,
            host: self.need("host")?,
            port: self.number("port", 3306)?,
            credentials: self.need("credentials")?.into(),
            work: self.need("work")?.into(),
            patience: Duration::from_secs(self.number("patience", 3600)?),
            termination_log: self
                .take("termination-log")
                .unwrap_or_else(|| "/dev/termination-log".to_owned())
                .into(),
        })
    }

    fn end(self) -> Result<(), ArgumentError> {
        match self.0.into_keys().next() {
            None => Ok(()),
            Some(name) => Err(ArgumentError::Unknown(format!("--{name}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Command, ArgumentError> {
        Command::parse(line.split_whitespace().map(str::to_owned))
    }

    const JOB: &str =
        "--operation o --instance ns/n --instance-uid u --host h --credentials /c --work /w";

    #[test]
    fn a_backup_is_understood() {
        let Ok(Command::Backup(backup)) = parse(&format!(
            "backup {JOB} --database otus-database --backups /b --fence --keep 5"
        )) else {
            panic!("not a backup")
        };
        assert!(backup.fence);
        assert_eq!((backup.keep, backup.job.port), (5, 3306));
        assert_eq!(backup.job.instance, "ns/n");
    }

    #[test]
    fn what_is_not_known_is_refused() {
        assert_eq!(parse("dance"), Err(ArgumentError::Command("dance".into())));
        assert_eq!(
            parse(&format!("password {JOB} --fence")),
            Err(ArgumentError::Unknown("--fence".into()))
        );
        assert_eq!(parse("install"), Err(ArgumentError::Missing("to")));
        assert_eq!(
            parse("install --to /x --owner mysql"),
            Err(ArgumentError::Value {
                name: "owner",
                value: "mysql".into()
            })
        );
    }
}
