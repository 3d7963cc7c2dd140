//! What the layout on the backup volume promises.

use super::*;
use crate::manifest::{Contents, Digest, SCHEMA};
use crate::server::Facts;

fn manifest(operation: &str) -> Manifest {
    Manifest {
        schema: SCHEMA,
        instance: "default/mysql-instance".into(),
        instance_uid: "u".into(),
        operation: operation.into(),
        database: "otus-database".into(),
        charset: "utf8mb4".into(),
        collation: "utf8mb4_0900_ai_ci".into(),
        server: Facts::from_version("9.7.4"),
        started_unix: 1,
        finished_unix: 2,
        raw: Digest::default(),
        stored: Digest::default(),
        contents: Contents::default(),
        accounts: None,
        fenced: true,
    }
}

fn open(root: &Path) -> Volume {
    Volume::open(root, Duration::ZERO).unwrap()
}

fn write(volume: &Volume, operation: &str) -> String {
    let draft = volume.begin(operation).unwrap();
    fs::write(draft.dump(), operation).unwrap();
    volume.publish(&draft, &manifest(operation)).unwrap().name
}

#[test]
fn the_last_published_generation_is_the_current_one() {
    let root = tempfile::tempdir().unwrap();
    let volume = open(root.path());
    assert_eq!(volume.current().unwrap(), None);
    write(&volume, "a");
    let last = write(&volume, "b");
    assert_eq!(last, "gen-000002-b");
    assert_eq!(volume.current().unwrap().unwrap().name, last);
    assert_eq!(fs::read_to_string(volume.dump_of(&last)).unwrap(), "b");
}

#[test]
fn a_current_backup_that_is_damaged_or_gone_is_not_replaced_by_an_older_one() {
    let root = tempfile::tempdir().unwrap();
    let volume = open(root.path());
    let older = write(&volume, "a");
    let current = write(&volume, "b");
    let manifest = root.path().join(&current).join(MANIFEST);
    for text in ["", "{", "{\"schema\": 1}"] {
        fs::write(&manifest, text).unwrap();
        let failure = volume.current().unwrap_err();
        assert_eq!(
            (failure.reason, failure.retry),
            ("ManifestUnreadable", false)
        );
        assert!(failure.detail.contains(&current) && failure.detail.contains(&older));
    }
    // The same where the operator died before it wrote CURRENT.
    fs::remove_file(root.path().join(CURRENT)).unwrap();
    assert_eq!(volume.current().unwrap_err().reason, "ManifestUnreadable");
    fs::write(root.path().join(CURRENT), &current).unwrap();
    fs::remove_dir_all(root.path().join(&current)).unwrap();
    let failure = volume.current().unwrap_err();
    assert_eq!(failure.reason, "BackupExpectedButMissing");
    // The next backup is the current one again.
    let next = write(&volume, "c");
    assert_eq!(volume.current().unwrap().unwrap().name, next);
}

#[test]
fn an_attempt_that_died_is_never_seen_and_is_swept() {
    let root = tempfile::tempdir().unwrap();
    let volume = open(root.path());
    let good = write(&volume, "a");
    let draft = volume.begin("dies").unwrap();
    fs::write(draft.dump(), "half").unwrap();
    drop(volume);
    let volume = open(root.path());
    assert_eq!(volume.current().unwrap().unwrap().name, good);
    assert!(!root.path().join(".tmp-dies").exists());
}

#[test]
fn a_crash_at_any_step_of_publishing_leaves_a_generation_to_restore() {
    // Each step leaves one of these states behind; the earlier generation must be found in all of them.
    let states: [&dyn Fn(&Path); 4] = [
        &|root| fs::create_dir(root.join(".tmp-b")).unwrap(),
        &|root| {
            fs::create_dir(root.join(".tmp-b")).unwrap();
            fs::write(root.join(".tmp-b").join(MANIFEST), "{").unwrap();
        },
        &|root| fs::write(root.join(".tmp-CURRENT"), "gen-000009-b").unwrap(),
        &|root| fs::create_dir(root.join("gen-000002-b")).unwrap(),
    ];
    for state in states {
        let root = tempfile::tempdir().unwrap();
        let good = write(&open(root.path()), "a");
        state(root.path());
        let volume = open(root.path());
        assert_eq!(volume.current().unwrap().unwrap().name, good);
        let next = write(&volume, "c");
        assert_eq!(volume.current().unwrap().unwrap().name, next);
    }
}

#[test]
fn pruning_keeps_the_newest_and_the_current() {
    let root = tempfile::tempdir().unwrap();
    let volume = open(root.path());
    let first = write(&volume, "a");
    for operation in ["b", "c", "d"] {
        write(&volume, operation);
    }
    fs::write(root.path().join(CURRENT), &first).unwrap();
    assert_eq!(volume.prune(2).unwrap(), 1);
    let names: Vec<_> = volume
        .generations()
        .unwrap()
        .into_iter()
        .map(|one| one.name)
        .collect();
    assert_eq!(names, [first.as_str(), "gen-000003-c", "gen-000004-d"]);
    assert_eq!(volume.prune(0).unwrap(), 1);
    assert_eq!(volume.generations().unwrap().len(), 2);
}

#[test]
fn two_operations_cannot_hold_the_volume() {
    let root = tempfile::tempdir().unwrap();
    let _held = open(root.path());
    assert_eq!(
        Volume::open(root.path(), Duration::ZERO)
            .unwrap_err()
            .reason,
        "BackupVolumeBusy"
    );
}

#[test]
fn a_restore_is_remembered_for_its_instance_only() {
    let root = tempfile::tempdir().unwrap();
    let volume = open(root.path());
    let restored = Restored {
        generation: "g".into(),
        operation: "o".into(),
        tables: 1,
        rows: 2,
    };
    volume.record_restored("uid-1", &restored).unwrap();
    assert_eq!(volume.restored("uid-1"), Some(restored));
    assert_eq!(volume.restored("uid-2"), None);
}
