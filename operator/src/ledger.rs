//! The instance's own Secret: credentials, and the record of what has been done.
//!
//! It is the one durable memory of the operator: what must not be forgotten (that the data were
//! filled, which password holds, that the final backup is good) is here and not in the status, which a
//! restored cluster may lack. Passwords are kept under keys that are written once
//! (`root-password-7`), so that a Job can never see another one than it was started for.
//!
//! Pure: [`crate::controller::apply`] writes it.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use mysql_job::report::Report;
use mysql_job::server::account_statements;
use rand::Rng;
use rand::distr::Alphanumeric;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::names::OPERATOR_USER;

/// Key: what the image initialises root with; nobody uses it afterwards.
pub const BOOTSTRAP_PASSWORD: &str = "bootstrap-password";
/// Key: the operator's account.
pub const OPERATOR_USER_KEY: &str = "operator-user";
/// Key: its password.
pub const OPERATOR_PASSWORD: &str = "operator-password";
/// Key: makes the operator's account while the image initialises.
pub const ACCOUNT_SCRIPT: &str = "10-operator-account.sql";
/// Key: leaves the mark that the initialisation ran to its end.
pub const MARK_SCRIPT: &str = "99-initialized.sh";
/// Key: the default user of client programs inside the pod.
pub const CLIENT_OPTIONS: &str = "my.cnf";
/// Key: not empty once the instance was ready.
pub const INITIALIZED: &str = "initialized";
const RECORD: &str = "record";
const PASSWORD_PREFIX: &str = "root-password-";

/// Long enough that guessing is hopeless; letters and digits only, so that no image can misquote it.
const GENERATED_LENGTH: usize = 32;

/// A Secret that is not what we wrote.
#[derive(Debug, Error)]
pub enum LedgerError {
    /// A key is not there.
    #[error("the Secret has no usable key {0:?}")]
    Key(String),
    /// The record is not JSON of ours.
    #[error("the Secret's key {RECORD:?} cannot be understood")]
    Record(#[source] serde_json::Error),
}

/// Credentials and record.
#[derive(Clone, PartialEq, Eq)]
pub struct Ledger {
    bootstrap_password: String,
    operator_password: String,
    passwords: BTreeMap<u64, String>,
    /// What has been done.
    pub record: Record,
}

/// What has been done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// The instance that this is the record of.
    pub instance_uid: String,
    /// The image that the server runs, or is to run.
    pub image: String,
    /// Its database.
    pub database: String,
    /// Number of the password that root shall have.
    pub desired: u64,
    /// Number of the password that root is known to have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied: Option<u64>,
    /// How the data came to be; `None` until the instance was filled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored: Option<Restored>,
    /// The backup that allows the data to go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub final_backup: Option<Backup>,
    /// The data were taken over from another resource or another operator.
    #[serde(default)]
    pub adopted: bool,
    /// UID of the claim that the newest good backup is on; `None` where none is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup_claim: Option<String>,
    /// What the server said it is, the last time that a Job asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// What has been done to the instance while it served.
    #[serde(default, skip_serializing_if = "Upkeep::is_default")]
    pub upkeep: Upkeep,
}

/// What has been done to an instance while it served.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Upkeep {
    /// The newest backup that was made of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<Taken>,
    /// The schedule that backups were made by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// The moment of it, in seconds since 1970, that was last seen to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduled: Option<i64>,
    /// The wish for a backup that was last fulfilled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_backup: Option<String>,
    /// The last restore test.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore_test: Option<RestoreTest>,
    /// When root's password was last looked at, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_checked: Option<i64>,
    /// The image that the spec asks for while another one runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upgrade: Option<Upgrade>,
}

impl Upkeep {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A backup of a serving instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Taken {
    /// The operation that made it.
    pub operation: String,
    /// What it made.
    pub backup: Backup,
    /// When it was complete, in seconds since 1970.
    pub at: i64,
}

/// A restore test that came to an end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RestoreTest {
    /// The wish that it fulfils.
    pub wish: String,
    /// The rows would come back.
    pub passed: bool,
    /// What was tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<String>,
    /// One word.
    pub reason: String,
    /// A sentence.
    pub detail: String,
    /// When, in seconds since 1970.
    pub at: i64,
}

/// An upgrade that is being prepared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Upgrade {
    /// The new image.
    pub image: String,
    /// What is in it.
    pub server: String,
    /// A backup of the old server is there.
    #[serde(default)]
    pub backed_up: bool,
}

/// How the data came to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Restored {
    /// The operation.
    pub operation: String,
    /// What was restored; `None` if there was no backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<String>,
    /// One word: `NoBackup`, `Restored`, `RestoredEmpty`, `DataAdopted`, `RestoreSkipped`.
    pub reason: String,
    /// The server then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// What the Job said about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// A backup known to be good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Backup {
    /// Its directory.
    pub generation: String,
    /// Bytes on the volume.
    pub bytes: u64,
    /// SHA-256 of the same.
    pub sha256: String,
    /// Rows in it.
    pub rows: u64,
}

impl Backup {
    /// From a backup Job's report; `None` if it does not name a generation.
    pub fn from_report(report: &Report) -> Option<Self> {
        Some(Self {
            generation: report.generation.clone()?,
            bytes: report.bytes?,
            sha256: report.sha256.clone()?,
            rows: report.rows.unwrap_or(0),
        })
    }
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Ledger")
            .field("record", &self.record)
            .finish_non_exhaustive()
    }
}

impl Ledger {
    /// A new one, with credentials from `random`.
    pub fn generate(random: &mut impl Rng) -> Self {
        let mut word = || {
            (0..GENERATED_LENGTH)
                .map(|_| char::from(random.sample(Alphanumeric)))
                .collect::<String>()
        };
        Self {
            bootstrap_password: word(),
            operator_password: word(),
            passwords: BTreeMap::new(),
            record: Record::default(),
        }
    }

    /// Reads it.
    pub fn from_secret(secret: &Secret) -> Result<Self, LedgerError> {
        let data = secret.data.clone().unwrap_or_default();
        let text = |key: &str| {
            data.get(key)
                .and_then(|value| String::from_utf8(value.0.clone()).ok())
                .ok_or_else(|| LedgerError::Key(key.to_owned()))
        };
        let passwords = data
            .keys()
            .filter_map(|key| key.strip_prefix(PASSWORD_PREFIX)?.parse().ok())
            .map(|sequence: u64| Ok((sequence, text(&password_key(sequence))?)))
            .collect::<Result<_, LedgerError>>()?;
        Ok(Self {
            bootstrap_password: text(BOOTSTRAP_PASSWORD)?,
            operator_password: text(OPERATOR_PASSWORD)?,
            passwords,
            record: serde_json::from_str(&text(RECORD)?).map_err(LedgerError::Record)?,
        })
    }

    /// The data of the Secret.
    pub fn to_data(&self) -> BTreeMap<String, ByteString> {
        let record =
            serde_json::to_string(&self.record).expect("a record has only strings and numbers");
        let restored = self
            .record
            .restored
            .as_ref()
            .map_or("", |restored| &restored.operation);
        let mut data: BTreeMap<String, String> = [
            (BOOTSTRAP_PASSWORD, self.bootstrap_password.clone()),
            (OPERATOR_USER_KEY, OPERATOR_USER.to_owned()),
            (OPERATOR_PASSWORD, self.operator_password.clone()),
            (ACCOUNT_SCRIPT, self.account_script()),
            (MARK_SCRIPT, mark_script()),
            (CLIENT_OPTIONS, "[client]\nuser=root\n".to_owned()),
            (INITIALIZED, restored.to_owned()),
            (RECORD, record),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into();
        for (sequence, password) in &self.passwords {
            data.insert(password_key(*sequence), password.clone());
        }
        data.into_iter()
            .map(|(key, value)| (key, ByteString(value.into_bytes())))
            .collect()
    }

    /// Makes `password` the desired one. A password that was desired before gets a new number all the
    /// same: a Job's success counts only for the number it was started for.
    pub fn want(&mut self, password: &str) {
        if self
            .passwords
            .get(&self.record.desired)
            .is_some_and(|current| current == password)
        {
            return;
        }
        self.record.desired += 1;
        self.passwords
            .insert(self.record.desired, password.to_owned());
    }

    /// Root is known to have the password of this number; passwords that nothing needs any more go.
    pub fn confirm(&mut self, sequence: u64) {
        self.record.applied = Some(sequence);
        let desired = self.record.desired;
        self.passwords
            .retain(|number, _| *number == sequence || *number == desired);
    }

    /// Root has the password it shall have.
    pub fn is_synced(&self) -> bool {
        self.record.applied == Some(self.record.desired)
    }

    /// A password by its number.
    pub fn has_password(&self, sequence: u64) -> bool {
        self.passwords.contains_key(&sequence)
    }

    /// Begins the record of another resource with the same name: its data are new unless taken over.
    pub fn begin(&mut self, uid: &str, adopted: bool) {
        uid.clone_into(&mut self.record.instance_uid);
        self.record.restored = None;
        self.record.final_backup = None;
        self.record.backup_claim = None;
        self.record.applied = self.record.applied.filter(|_| adopted);
        self.record.adopted = adopted;
        self.record.server = self.record.server.take().filter(|_| adopted);
        self.record.upkeep = Upkeep::default();
    }

    fn account_script(&self) -> String {
        let statements = account_statements(OPERATOR_USER, &self.operator_password)
            .expect("the name is a constant and the password has letters and digits only");
        statements.iter().fold(String::new(), |script, statement| {
            script + statement + ";\n"
        })
    }
}

/// The key of a password.
pub fn password_key(sequence: u64) -> String {
    format!("{PASSWORD_PREFIX}{sequence}")
}

/// Where the pod of the instance mounts the directory that the mark goes to.
pub const STATE_MOUNT: &str = "/var/lib/mysql-operator-state";

fn mark_script() -> String {
    format!(": > {STATE_MOUNT}/{}\n", mysql_job::prepare::INITIALIZED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    fn ledger() -> Ledger {
        Ledger::generate(&mut StdRng::seed_from_u64(1))
    }

    fn stored(ledger: &Ledger) -> Secret {
        Secret {
            data: Some(ledger.to_data()),
            ..Secret::default()
        }
    }

    #[test]
    fn it_comes_back_from_its_secret() {
        let mut ledger = ledger();
        ledger.want("it's \u{1f511}");
        ledger.begin("uid", false);
        assert_eq!(Ledger::from_secret(&stored(&ledger)).unwrap(), ledger);
    }

    #[test]
    fn every_change_of_the_password_has_its_own_number() {
        let mut ledger = ledger();
        ledger.want("a");
        ledger.want("a");
        assert_eq!(ledger.record.desired, 1);
        ledger.confirm(1);
        ledger.want("b");
        ledger.want("a");
        assert_eq!(ledger.record.desired, 3);
        assert!(!ledger.is_synced());
        // The success of a Job for "b" says nothing about the third.
        ledger.confirm(2);
        assert!(!ledger.is_synced());
        ledger.confirm(3);
        assert!(ledger.is_synced());
        assert!(!ledger.has_password(1) && !ledger.has_password(2));
    }

    #[test]
    fn the_password_that_holds_is_kept_until_the_next_one_does() {
        let mut ledger = ledger();
        ledger.want("a");
        ledger.confirm(1);
        ledger.want("b");
        assert!(ledger.has_password(1) && ledger.has_password(2));
    }

    #[test]
    fn nothing_secret_is_in_the_debug_text() {
        let mut ledger = ledger();
        ledger.want("hunter2");
        let text = format!("{ledger:?}");
        assert!(!text.contains("hunter2") && !text.contains(&ledger.operator_password));
    }

    #[test]
    fn data_of_another_resource_are_not_taken_for_ones_own() {
        let mut ledger = ledger();
        ledger.record.restored = Some(Restored {
            operation: "o".into(),
            generation: None,
            reason: "NoBackup".into(),
            server: None,
            detail: String::new(),
        });
        ledger.begin("uid-2", false);
        assert_eq!(ledger.record.restored, None);
        assert_eq!(ledger.to_data()[INITIALIZED].0, b"");
    }
}
