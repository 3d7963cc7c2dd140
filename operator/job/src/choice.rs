//! What there is to restore, chosen and verified before a server is touched.
//!
//! It refuses rather than choose something else than people expect: which older generation to take is theirs to
//! decide. It changes nothing.

use std::path::PathBuf;

use crate::arguments::{Restore, RestoreMode};
use crate::dump;
use crate::manifest;
use crate::report::Failure;
use crate::volume::{self, Generation, Volume};

/// What there is to restore.
#[derive(Debug)]
pub(crate) enum Source {
    /// A generation of ours.
    Generation(Box<Generation>),
    /// The single file of the old operator.
    Plain(PathBuf),
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
    if let (Some(expected), None) = (&task.expect_backup, &task.generation) {
        is_as_new(wanted.as_ref(), expected, volume, task)?;
    }
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
    Ok(None)
}

/// A volume that somebody emptied, replaced or put back to an earlier state is not quietly restored from.
fn is_as_new(
    wanted: Option<&Generation>,
    expected: &str,
    volume: &Volume,
    task: &Restore,
) -> Result<(), Failure> {
    let number = |name: &str| volume::number_of(name).unwrap_or(0);
    let advice = match wanted {
        Some(there) if number(&there.name) >= number(expected) => return Ok(()),
        Some(there) => format!(
            "the newest there is {0}; bring the volume back, or annotate the resource with \
             otus.homework/restore-generation={0}",
            there.name
        ),
        None => {
            let old_dump = task.legacy.as_ref().and_then(|file| volume.legacy(file));
            let beside = old_dump.map_or_else(String::new, |path| {
                format!(" (there is {}, which is older)", path.display())
            });
            format!(
                "there is none now{beside}; bring the volume back, or annotate the resource with \
                 otus.homework/restore=skip to begin without rows"
            )
        }
    };
    Err(Failure::permanent(
        "BackupExpectedButMissing",
        format!(
            "{} has had the verified backup {expected}, which is not on its backup volume: {advice}",
            task.job.instance
        ),
    ))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::Job;
    use crate::manifest::{Contents, Manifest, SCHEMA};
    use crate::report::Operation;
    use crate::server::Facts;
    use std::path::Path;
    use std::time::Duration;

    fn task(root: &Path) -> Restore {
        Restore {
            job: Job {
                operation: Operation::Restore,
                operation_id: "r".into(),
                instance: "shop/db".into(),
                instance_uid: "u".into(),
                host: "h".into(),
                port: 3306,
                credentials: root.into(),
                work: root.into(),
                patience: Duration::ZERO,
                termination_log: root.join("log"),
            },
            database: "orders".into(),
            backups: root.into(),
            legacy: Some("db-dump.sql".into()),
            from_database: None,
            generation: None,
            expect_backup: None,
            mode: RestoreMode::Normal,
            adopt: false,
            capacity: None,
        }
    }

    fn backed_up(volume: &Volume, operation: &str, instance: &str) -> String {
        let draft = volume.begin(operation).unwrap();
        let written = dump::write(&b"-- Dump completed\n"[..], &draft.dump()).unwrap();
        let manifest = Manifest {
            schema: SCHEMA,
            instance: instance.into(),
            instance_uid: "u".into(),
            operation: operation.into(),
            database: "orders".into(),
            charset: "utf8mb4".into(),
            collation: "utf8mb4_bin".into(),
            server: Facts::from_version("9.7.4"),
            started_unix: 1,
            finished_unix: 2,
            raw: written.raw,
            stored: written.stored,
            contents: Contents::default(),
            accounts: None,
            fenced: true,
        };
        volume.publish(&draft, &manifest).unwrap().name
    }

    fn chosen(volume: &Volume, task: &Restore) -> Result<Option<String>, &'static str> {
        match choose(volume, task) {
            Ok(Some(Source::Generation(generation))) => Ok(Some(generation.name)),
            Ok(Some(Source::Plain(path))) => Ok(Some(path.display().to_string())),
            Ok(None) => Ok(None),
            Err(failure) => Err(failure.reason),
        }
    }

    #[test]
    fn a_backup_of_another_instance_is_restored_only_by_force() {
        let root = tempfile::tempdir().unwrap();
        let volume = Volume::open(root.path(), Duration::ZERO).unwrap();
        let name = backed_up(&volume, "a", "elsewhere/db");
        let mut task = task(root.path());
        assert_eq!(chosen(&volume, &task), Err("ForeignBackup"));
        task.mode = RestoreMode::Force;
        assert_eq!(chosen(&volume, &task), Ok(Some(name)));
    }

    #[test]
    fn a_generation_that_is_named_is_the_one_that_is_chosen() {
        let root = tempfile::tempdir().unwrap();
        let volume = Volume::open(root.path(), Duration::ZERO).unwrap();
        let first = backed_up(&volume, "a", "shop/db");
        let second = backed_up(&volume, "b", "shop/db");
        let mut task = task(root.path());
        assert_eq!(chosen(&volume, &task), Ok(Some(second)));
        task.generation = Some(first.clone());
        assert_eq!(chosen(&volume, &task), Ok(Some(first)));
        task.generation = Some("gen-000009-x".into());
        assert_eq!(chosen(&volume, &task), Err("GenerationMissing"));
        task.generation = Some("../gen-000001-a".into());
        assert_eq!(chosen(&volume, &task), Err("GenerationMissing"));
    }

    #[test]
    fn a_volume_that_was_put_back_to_an_earlier_state_is_not_restored_from_quietly() {
        let root = tempfile::tempdir().unwrap();
        let volume = Volume::open(root.path(), Duration::ZERO).unwrap();
        let mut task = task(root.path());
        task.expect_backup = Some("gen-000002-b".into());
        // The old operator's dump is older than any generation.
        std::fs::write(root.path().join("db-dump.sql"), "-- Dump completed\n").unwrap();
        assert_eq!(chosen(&volume, &task), Err("BackupExpectedButMissing"));
        let first = backed_up(&volume, "a", "shop/db");
        assert_eq!(chosen(&volume, &task), Err("BackupExpectedButMissing"));
        // By wish it is.
        let wished = Restore {
            generation: Some(first.clone()),
            ..task.clone()
        };
        assert_eq!(chosen(&volume, &wished), Ok(Some(first)));
        let second = backed_up(&volume, "b", "shop/db");
        assert_eq!(chosen(&volume, &task), Ok(Some(second)));
    }
}
