//! Backup and restore on a real server.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use mysql_job::arguments::{Restore, RestoreMode};
use mysql_job::{backup, restore};

use crate::server::Server;

const COUNT: &str = "SELECT COUNT(*) FROM test";

#[test]
fn rows_views_routines_triggers_and_events_come_back() {
    let server = Server::start();
    server.write_two_rows();
    server.sql(
        "ALTER DATABASE `otus-database` CHARACTER SET latin1 COLLATE latin1_bin; \
         CREATE VIEW v AS SELECT name FROM test; \
         CREATE TRIGGER tr BEFORE INSERT ON test FOR EACH ROW SET NEW.name = CONCAT(NEW.name, '!'); \
         CREATE FUNCTION f() RETURNS INT DETERMINISTIC RETURN 42; \
         CREATE EVENT ev ON SCHEDULE EVERY 1 DAY DO DELETE FROM test WHERE id > 100; \
         CREATE TABLE b (x BLOB); INSERT INTO b VALUES (0x00FF0A5C27), ('a;b\\'c')",
    );
    let success = backup::backup(&server.backup("final-1", true)).unwrap();
    assert_eq!((success.tables, success.rows), (Some(2), Some(4)));
    restore::restore(&restoring(&server, "r-1")).unwrap();

    let fresh = Server::start();
    copy_backups(&server, &fresh);
    let success = restore::restore(&fresh.restore("r-2")).unwrap();
    assert_eq!((success.no_backup, success.rows), (false, Some(4)));
    assert_eq!(
        fresh.sql("SELECT name FROM v ORDER BY 1"),
        "some data\nsome data-2"
    );
    assert_eq!(fresh.sql("SELECT f()"), "42");
    assert_eq!(
        fresh.sql("SELECT HEX(x) FROM b ORDER BY LENGTH(x)"),
        "00FF0A5C27\n613B622763"
    );
    assert_eq!(fresh.sql("SELECT @@collation_database"), "latin1_bin");
    assert_eq!(fresh.sql("SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name LIKE '%otus_restore'"), "0");
}

/// The same instance after a fence: the restore of the next life must find no fence left.
fn restoring(server: &Server, id: &str) -> Restore {
    Restore {
        mode: RestoreMode::Skip,
        ..server.restore(id)
    }
}

pub(crate) fn copy_backups(from: &Server, to: &Server) {
    let status = std::process::Command::new("cp")
        .arg("-a")
        .arg(format!("{}/.", from.path("backups").display()))
        .arg(to.path("backups"))
        .status()
        .unwrap();
    assert!(status.success());
}

#[test]
fn without_a_backup_the_job_is_done_and_root_has_its_password() {
    let server = Server::start();
    let success = restore::restore(&server.restore("r")).unwrap();
    assert_eq!(
        (success.no_backup, success.reason.as_str()),
        (true, "NoBackup")
    );
    assert!(server.sql_as("root", "otuspassword", "SELECT 1").is_ok());
}

#[test]
fn a_repeated_restore_does_not_take_later_rows_away() {
    let server = Server::start();
    server.write_two_rows();
    backup::backup(&server.backup("b", false)).unwrap();
    server.empty_the_database();
    restore::restore(&server.restore("r")).unwrap();
    server.sql("INSERT INTO test (name) VALUES ('later')");
    let success = restore::restore(&server.restore("r")).unwrap();
    assert!(!success.no_backup);
    assert_eq!(server.sql(COUNT), "3");
}

#[test]
fn rows_that_no_restore_has_put_there_are_never_overwritten() {
    let server = Server::start();
    server.write_two_rows();
    backup::backup(&server.backup("b", false)).unwrap();
    server.sql("INSERT INTO test (name) VALUES ('precious')");
    let failure = restore::restore(&server.restore("r")).unwrap_err();
    assert_eq!((failure.retry, failure.reason), (false, "TargetNotEmpty"));
    assert_eq!(server.sql(COUNT), "3");
    let kept = restore::restore(&Restore {
        adopt: true,
        ..server.restore("r")
    });
    assert_eq!(kept.unwrap().reason, "DataAdopted");
    assert_eq!(server.sql(COUNT), "3");
}

#[test]
fn a_restore_that_died_half_way_is_begun_again() {
    let server = Server::start();
    server.write_two_rows();
    backup::backup(&server.backup("b", false)).unwrap();
    server.sql(
        "DELETE FROM test WHERE id = 2; CREATE DATABASE _otus_restore; CREATE TABLE half (x INT)",
    );
    restore::restore(&server.restore("r")).unwrap();
    assert_eq!(server.sql(COUNT), "2");
    assert_eq!(server.sql("SHOW TABLES LIKE 'half'"), "");
}

#[test]
fn a_damaged_backup_is_refused_before_the_server_is_touched() {
    let server = Server::start();
    server.write_two_rows();
    let good = backup::backup(&server.backup("a", false))
        .unwrap()
        .generation
        .unwrap();
    let bad = backup::backup(&server.backup("b", false))
        .unwrap()
        .generation
        .unwrap();
    server.empty_the_database();
    let dump = server.path("backups").join(&bad).join("dump.sql.gz");
    let mut bytes = fs::read(&dump).unwrap();
    bytes[20] ^= 0xFF;
    fs::write(&dump, bytes).unwrap();
    let failure = restore::restore(&server.restore("r")).unwrap_err();
    assert_eq!(failure.reason, "ChecksumMismatch");
    assert!(failure.detail.contains(&good), "{}", failure.detail);
    assert_eq!(server.sql("SHOW TABLES"), "");
    let task = Restore {
        generation: Some(good),
        ..server.restore("r")
    };
    restore::restore(&task).unwrap();
    assert_eq!(server.sql(COUNT), "2");
}

#[test]
fn the_single_dump_of_the_old_operator_restores_and_a_cut_one_does_not() {
    let server = Server::start();
    let legacy = server.path("backups").join("mysql-instance-dump.sql");
    let dump = "CREATE TABLE test (id INT); INSERT INTO test VALUES (1),(2);\n-- Dump completed on 2024-01-01\n";
    fs::write(&legacy, &dump[..40]).unwrap();
    let failure = restore::restore(&server.restore("r")).unwrap_err();
    assert_eq!(failure.reason, "BackupTruncated");
    fs::write(&legacy, dump).unwrap();
    let success = restore::restore(&server.restore("r")).unwrap();
    assert_eq!(
        success.generation.as_deref(),
        Some("mysql-instance-dump.sql")
    );
    assert_eq!(server.sql(COUNT), "2");
}

#[test]
fn commands_in_a_dump_are_not_executed() {
    let server = Server::start();
    let proof = server.path("executed");
    let legacy = server.path("backups").join("mysql-instance-dump.sql");
    for command in [
        format!("\\! touch {}", proof.display()),
        format!("system touch {}", proof.display()),
    ] {
        fs::write(&legacy, format!("{command}\n-- Dump completed\n")).unwrap();
        let _ = restore::restore(&server.restore("r"));
        assert!(!proof.exists(), "{command}");
    }
}

#[test]
fn a_missing_database_is_blocked_and_not_an_empty_success() {
    let server = Server::start();
    server.write_two_rows();
    let good = backup::backup(&server.backup("a", false))
        .unwrap()
        .generation;
    server.sql("DROP DATABASE `otus-database`");
    let failure = backup::backup(&server.backup("b", true)).unwrap_err();
    assert_eq!((failure.retry, failure.reason), (false, "DatabaseMissing"));
    server.sql_anywhere("CREATE DATABASE `otus-database`");
    assert_eq!(
        restore::restore(&server.restore("r")).unwrap().generation,
        good
    );
}

#[test]
fn every_row_acknowledged_before_the_fence_is_in_the_backup() {
    let server = Server::start();
    server.write_two_rows();
    restore::restore(&restoring(&server, "r")).unwrap();
    let stop = AtomicBool::new(false);
    let (acknowledged, success) = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut acknowledged = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                let insert = "INSERT INTO test (name) VALUES ('w')";
                match server.sql_as("root", "otuspassword", insert) {
                    Ok(_) => acknowledged += 1,
                    Err(_) => break,
                }
            }
            acknowledged
        });
        while server.sql(COUNT).parse::<u64>().unwrap() < 5 {
            assert!(!writer.is_finished(), "the writer could not write");
        }
        let success = backup::backup(&server.backup("f", true)).unwrap();
        stop.store(true, Ordering::Relaxed);
        (writer.join().unwrap(), success)
    });
    assert_eq!(success.rows, Some(acknowledged + 2));
    let refused = server.sql_as(
        "root",
        "otuspassword",
        "INSERT INTO test (name) VALUES ('late')",
    );
    assert!(refused.is_err());
    server.sql_as("root", "otuspassword", "SELECT 1").unwrap();
}

#[test]
fn an_open_transaction_does_not_hold_the_fence_for_ever() {
    let server = Server::start();
    server.write_two_rows();
    std::thread::scope(|scope| {
        let holder = scope
            .spawn(|| server.sql_as("root", "boot", "LOCK TABLES test WRITE; SELECT SLEEP(100)"));
        while !server.sql("SHOW PROCESSLIST").contains("SLEEP") {
            assert!(!holder.is_finished(), "{:?}", holder.join());
        }
        backup::backup(&server.backup("f", true)).unwrap();
        assert!(holder.join().unwrap().is_err());
    });
}

#[test]
fn another_database_or_an_older_server_is_refused_with_the_way_out() {
    let server = Server::start();
    server.write_two_rows();
    let name = backup::backup(&server.backup("b", false))
        .unwrap()
        .generation
        .unwrap();
    let other = Restore {
        database: "other".into(),
        ..server.restore("r")
    };
    let failure = restore::restore(&other).unwrap_err();
    assert_eq!(failure.reason, "DatabaseMismatch");
    assert!(failure.detail.contains("restore-as=otus-database"));
    let renamed = Restore {
        from_database: Some("otus-database".into()),
        ..other
    };
    restore::restore(&renamed).unwrap();
    assert_eq!(server.sql("SELECT COUNT(*) FROM other.test"), "2");

    let manifest = server.path("backups").join(name).join("manifest.json");
    let text = fs::read_to_string(&manifest).unwrap();
    let version = server.sql("SELECT VERSION()");
    fs::write(&manifest, text.replace(&version, "99.1.0")).unwrap();
    server.empty_the_database();
    assert_eq!(
        restore::restore(&server.restore("r2")).unwrap_err().reason,
        "ServerMismatch"
    );
    let forced = Restore {
        mode: RestoreMode::Force,
        ..server.restore("r2")
    };
    restore::restore(&forced).unwrap();
}

#[test]
fn a_backup_that_must_be_there_and_is_not_blocks() {
    let server = Server::start();
    let task = Restore {
        expect_backup: Some("gen-000001-x".to_owned()),
        ..server.restore("r")
    };
    assert_eq!(
        restore::restore(&task).unwrap_err().reason,
        "BackupExpectedButMissing"
    );
}
