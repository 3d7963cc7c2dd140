//! What only the tests on MySQL ask of a server: backups, restores, rows.

use mysql_job::arguments::{Backup, Restore, RestoreMode};
use mysql_job::report::Operation;

use crate::server::{OPERATOR_PASSWORD, Server};

impl Server {
    pub(crate) fn restore(&self, id: &str) -> Restore {
        Restore {
            job: self.job(Operation::Restore, id),
            database: "otus-database".into(),
            backups: self.path("backups"),
            legacy: Some("mysql-instance-dump.sql".into()),
            from_database: None,
            generation: None,
            expect_backup: None,
            mode: RestoreMode::Normal,
            adopt: false,
            capacity: None,
        }
    }

    pub(crate) fn backup(&self, id: &str, fence: bool) -> Backup {
        Backup {
            job: self.job(Operation::Backup, id),
            database: "otus-database".into(),
            backups: self.path("backups"),
            keep: 3,
            fence,
            before_upgrade: false,
        }
    }

    /// Without a default database.
    pub(crate) fn sql_anywhere(&self, statement: &str) {
        let output = self
            .client("otus_operator", OPERATOR_PASSWORD, statement)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    pub(crate) fn write_two_rows(&self) {
        self.sql(
            "CREATE TABLE test (id smallint unsigned not null auto_increment, \
             name varchar(20) not null, constraint pk_example primary key (id)); \
             INSERT INTO test (name) VALUES ('some data'), ('some data-2')",
        );
    }

    pub(crate) fn empty_the_database(&self) {
        self.sql("DROP DATABASE `otus-database`; CREATE DATABASE `otus-database`");
    }
}
