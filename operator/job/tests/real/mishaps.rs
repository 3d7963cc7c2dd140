//! What goes wrong with dumps when nobody looks: failures that compress well, two at once, text of other servers.

use std::fs;
use std::time::Duration;

use mysql_job::arguments::Restore;
use mysql_job::{backup, restore};

use crate::backup_and_restore::copy_backups;
use crate::server::Server;

/// The names on the backup volume, but for the lock.
fn listing(server: &Server) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(server.path("backups"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != ".lock")
        .collect();
    names.sort();
    names
}

#[test]
fn a_backup_of_an_empty_database_is_told_from_none() {
    let server = Server::start();
    let success = backup::backup(&server.backup("b", true)).unwrap();
    assert_eq!((success.tables, success.rows), (Some(0), Some(0)));
    let fresh = Server::start();
    copy_backups(&server, &fresh);
    let back = restore::restore(&fresh.restore("r")).unwrap();
    assert_eq!(
        (back.no_backup, back.reason.as_str(), back.generation),
        (false, "RestoredEmpty", success.generation)
    );
}

#[test]
fn a_backup_that_cannot_log_in_leaves_the_generations_as_they_are() {
    let server = Server::start();
    server.write_two_rows();
    let good = backup::backup(&server.backup("a", false)).unwrap();
    let before = listing(&server);
    for name in ["operator-password", "root-password", "bootstrap-password"] {
        server.credential(name, "wrong");
    }
    let mut task = server.backup("b", true);
    task.job.patience = Duration::from_secs(1);
    let failure = backup::backup(&task).unwrap_err();
    assert_eq!(failure.reason, "AdminAccessLost", "{failure:?}");
    assert!(!failure.detail.contains("wrong"), "{failure:?}");
    assert_eq!(listing(&server), before);

    let fresh = Server::start();
    copy_backups(&server, &fresh);
    let back = restore::restore(&fresh.restore("r")).unwrap();
    assert_eq!((back.generation, back.rows), (good.generation, Some(2)));
}

/// The dump program writes valid SQL until it meets the view, and `gzip` is content with any text.
#[test]
fn a_dump_that_fails_half_way_is_no_generation_although_it_compresses() {
    let server = Server::start();
    server.write_two_rows();
    backup::backup(&server.backup("a", false)).unwrap();
    let before = listing(&server);
    server.sql(
        "CREATE TABLE basis (x INT); CREATE VIEW broken AS SELECT x FROM basis; DROP TABLE basis",
    );
    let failure = backup::backup(&server.backup("b", true)).unwrap_err();
    assert_eq!(failure.reason, "BackupFailed", "{failure:?}");
    assert!(
        failure.detail.contains("broken"),
        "it does not name the view: {failure:?}"
    );
    assert_eq!(listing(&server), before);
    // The fence is down again: people can repair the view, and the next attempt succeeds.
    server.sql("DROP VIEW broken");
    backup::backup(&server.backup("b", true)).unwrap();
}

/// It is of no use on the old server either, and mends there in the same way.
#[test]
fn a_view_whose_definer_was_dropped_comes_back_as_it_was() {
    let server = Server::start();
    server.write_two_rows();
    server.sql(
        "CREATE USER gone@localhost IDENTIFIED BY 'x'; GRANT SELECT ON `otus-database`.* TO gone@localhost; \
         CREATE DEFINER = gone@localhost VIEW v AS SELECT COUNT(*) AS n FROM test; DROP USER gone@localhost",
    );
    backup::backup(&server.backup("b", true)).unwrap();
    let fresh = Server::start();
    copy_backups(&server, &fresh);
    restore::restore(&fresh.restore("r")).unwrap();
    let select = |server: &Server| server.sql_as("root", "otuspassword", "SELECT n FROM v");
    let refused = select(&fresh).unwrap_err();
    assert!(refused.contains("1449"), "{refused}");
    fresh.sql(
        "CREATE USER gone@localhost ACCOUNT LOCK; GRANT SELECT ON `otus-database`.* TO gone@localhost",
    );
    assert_eq!(select(&fresh).as_deref(), Ok("2"));
}

#[test]
fn a_dump_with_the_line_of_mariadbs_sandbox_restores() {
    let server = Server::start();
    let dump = "/*M!999999\\- enable the sandbox mode */ \nCREATE TABLE test (id INT);\n\
        INSERT INTO test VALUES (1),(2);\n-- Dump completed on 2026-01-01\n";
    fs::write(server.path("backups").join("mysql-instance-dump.sql"), dump).unwrap();
    let success = restore::restore(&server.restore("r")).unwrap();
    assert_eq!(success.rows, Some(2));
}

#[test]
fn two_restores_at_once_bring_the_rows_back_once() {
    let server = Server::start();
    server.write_two_rows();
    backup::backup(&server.backup("b", false)).unwrap();
    server.empty_the_database();
    // The same volume twice: one after the other. Another volume: they meet on the server only.
    let elsewhere = server.path("elsewhere");
    let copied = std::process::Command::new("cp")
        .arg("-a")
        .arg(server.path("backups"))
        .arg(&elsewhere)
        .status();
    assert!(copied.unwrap().success());
    let tasks = [
        server.restore("r"),
        server.restore("r"),
        Restore {
            backups: elsewhere,
            ..server.restore("other")
        },
    ];
    let outcomes = std::thread::scope(|scope| {
        let running: Vec<_> = tasks
            .iter()
            .map(|task| scope.spawn(|| restore::restore(task)))
            .collect();
        let ended = running.into_iter().map(|thread| thread.join().unwrap());
        ended.collect::<Vec<_>>()
    });
    assert_eq!(server.sql("SELECT COUNT(*) FROM test"), "2");
    for outcome in &outcomes {
        match outcome {
            Ok(success) => assert_eq!(success.rows, Some(2), "{outcomes:?}"),
            Err(failure) => assert_eq!(failure.reason, "TargetNotEmpty", "{outcomes:?}"),
        }
    }
    assert!(outcomes.iter().any(Result::is_ok), "{outcomes:?}");
    assert!(outcomes.iter().any(Result::is_err), "{outcomes:?}");
}
