//! Accounts, definers and old SQL modes on a real server.

use std::fs;

use mysql_job::arguments::Probe;
use mysql_job::report::Operation;
use mysql_job::{backup, probe, rehearse, restore};

use crate::backup_and_restore::copy_backups;
use crate::server::Server;

#[test]
fn accounts_come_back_with_their_passwords_and_privileges() {
    let server = Server::start();
    server.write_two_rows();
    server.sql(
        "CREATE USER app@'%' IDENTIFIED BY 'app''s \\\\ secret'; \
         CREATE ROLE reader; GRANT SELECT ON `otus-database`.* TO reader; GRANT reader TO app@'%'; \
         GRANT INSERT ON `otus-database`.test TO app@'%'; SET DEFAULT ROLE ALL TO app@'%'; \
         CREATE USER locked@localhost ACCOUNT LOCK",
    );
    backup::backup(&server.backup("b", true)).unwrap();
    let fresh = Server::start();
    copy_backups(&server, &fresh);
    restore::restore(&fresh.restore("r")).unwrap();
    let sql = |statement| fresh.sql_as("app", "app's \\ secret", statement);
    sql("INSERT INTO test (name) VALUES ('by app')").unwrap();
    assert!(sql("DELETE FROM test").is_err());
    assert_eq!(
        fresh.sql("SELECT account_locked FROM mysql.user WHERE user = 'locked'"),
        "Y"
    );
    // The password of the new life, not the one in the backup.
    assert!(fresh.sql_as("root", "otuspassword", "SELECT 1").is_ok());
}

#[test]
fn a_view_works_although_its_definer_did_not_exist_on_the_new_server() {
    let server = Server::start();
    server.write_two_rows();
    server.sql(
        "CREATE USER owner@localhost IDENTIFIED BY 'x'; GRANT SELECT ON `otus-database`.* TO owner@localhost; \
         CREATE DEFINER = owner@localhost VIEW v AS SELECT COUNT(*) AS n FROM test",
    );
    backup::backup(&server.backup("b", false)).unwrap();
    let fresh = Server::start();
    copy_backups(&server, &fresh);
    restore::restore(&fresh.restore("r")).unwrap();
    assert_eq!(fresh.sql("SELECT n FROM v"), "2");
}

#[test]
fn an_account_that_the_server_cannot_take_is_locked_and_told() {
    let server = Server::start();
    server.write_two_rows();
    let generation = backup::backup(&server.backup("b", false))
        .unwrap()
        .generation
        .unwrap();
    // As a backup of 5.7 has it.
    let directory = server.path("backups").join(generation);
    let accounts = serde_json::json!([{
        "name": "'old'@'%'",
        "create": "CREATE USER IF NOT EXISTS 'old'@'%' IDENTIFIED WITH 'mysql_native_password' AS '*94BDCEBE19083CE2A1F959FD02F964C7AF4CFC29'",
        "grants": ["GRANT SELECT ON `otus-database`.* TO 'old'@'%'"],
    }])
    .to_string();
    fs::write(directory.join("accounts.json"), &accounts).unwrap();
    let manifest = directory.join("manifest.json");
    let mut value: serde_json::Value =
        serde_json::from_slice(&fs::read(&manifest).unwrap()).unwrap();
    value["accounts"] =
        serde_json::to_value(mysql_job::dump::digest_of(accounts.as_bytes())).unwrap();
    fs::write(&manifest, value.to_string()).unwrap();
    server.empty_the_database();
    let success = restore::restore(&server.restore("r")).unwrap();
    assert!(success.detail.contains("'old'@'%'"), "{}", success.detail);
    assert_eq!(
        server.sql("SELECT account_locked FROM mysql.user WHERE user = 'old'"),
        "Y"
    );
}

#[test]
fn a_dump_of_5_7_with_routines_restores_on_a_newer_server() {
    let server = Server::start();
    let dump = "CREATE TABLE test (id INT);\nINSERT INTO test VALUES (1);\n\
        /*!50003 SET sql_mode              = 'STRICT_TRANS_TABLES,NO_AUTO_CREATE_USER,NO_ENGINE_SUBSTITUTION' */ ;\n\
        DELIMITER ;;\nCREATE DEFINER=`root`@`localhost` TRIGGER tr BEFORE INSERT ON test FOR EACH ROW SET NEW.id = NEW.id + 1 ;;\nDELIMITER ;\n\
        -- Dump completed on 2024-01-01\n";
    fs::write(server.path("backups").join("mysql-instance-dump.sql"), dump).unwrap();
    restore::restore(&server.restore("r")).unwrap();
    server.sql("INSERT INTO test VALUES (10)");
    assert_eq!(server.sql("SELECT MAX(id) FROM test"), "11");
}

#[test]
fn a_restore_test_leaves_the_instance_and_the_backups_alone() {
    let server = Server::start();
    server.write_two_rows();
    backup::backup(&server.backup("b", false)).unwrap();
    let scratch = Server::start();
    copy_backups(&server, &scratch);
    let listing = |server: &Server| {
        let mut names: Vec<_> = fs::read_dir(server.path("backups"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        names
    };
    let before = listing(&scratch);
    let success = rehearse::rehearse(&scratch.restore("t")).unwrap();
    assert_eq!(
        (success.reason.as_str(), success.rows),
        ("Restorable", Some(2))
    );
    assert_eq!(listing(&scratch), before);
    assert_eq!(scratch.sql("SELECT COUNT(*) FROM test"), "2");
}

#[test]
fn a_restore_test_of_a_damaged_backup_fails() {
    let server = Server::start();
    server.write_two_rows();
    let generation = backup::backup(&server.backup("b", false))
        .unwrap()
        .generation
        .unwrap();
    let dump = server.path("backups").join(generation).join("dump.sql.gz");
    let mut bytes = fs::read(&dump).unwrap();
    bytes[20] ^= 0xFF;
    fs::write(&dump, bytes).unwrap();
    let failure = rehearse::rehearse(&server.restore("t")).unwrap_err();
    assert_eq!(failure.reason, "ChecksumMismatch");
}

#[test]
fn an_image_without_a_server_is_told_from_one_with() {
    let server = Server::start();
    let task = Probe {
        job: server.job(Operation::Probe, "p"),
    };
    // The test's PATH has the client programs only, and this machine may or may not have a server.
    match probe::probe(&task) {
        Ok(success) => assert!(success.server.unwrap().contains('.')),
        Err(failure) => assert_eq!(failure.reason, "ServerProgramMissing"),
    }
}

#[test]
fn root_and_the_operator_get_a_password_that_later_versions_know() {
    let server = Server::start();
    server.write_two_rows();
    let before = server.sql("SELECT COUNT(*) FROM mysql.user WHERE plugin <> 'caching_sha2_password' AND user IN ('root', 'otus_operator')");
    assert_eq!(before, "0", "the template has other accounts than it had");
    server.sql("ALTER USER root@'%' IDENTIFIED WITH sha256_password BY 'boot'");
    let mut task = server.backup("b", false);
    task.before_upgrade = true;
    backup::backup(&task).unwrap();
    assert_eq!(
        server.sql("SELECT plugin FROM mysql.user WHERE user = 'root' AND host = '%'"),
        "caching_sha2_password"
    );
    assert!(server.sql_as("root", "otuspassword", "SELECT 1").is_ok());
}
