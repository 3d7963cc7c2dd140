//! A backup volume without space. A small file system can only be had by mounting one, and that only in a
//! mount namespace of one's own: the test runs itself again in one, as container runtimes do.

use std::path::{Path, PathBuf};
use std::process::Command;

use mysql_job::{backup, restore};

use crate::backup_and_restore::copy_backups;
use crate::server::Server;

const INSIDE: &str = "MYSQL_JOB_TEST_INSIDE";
const NAME: &str =
    "full_volume::a_full_backup_volume_keeps_what_is_there_and_space_is_all_that_it_needs";

/// A small file system in place of a directory, until it is dropped.
struct Mounted(PathBuf);

impl Mounted {
    fn new(at: PathBuf, size: &str) -> Self {
        mount(&format!("size={size}"), &at);
        Self(at)
    }

    fn resize(&self, size: &str) {
        mount(&format!("remount,size={size}"), &self.0);
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Or the directory below could not be removed.
        drop(Command::new("umount").arg("--lazy").arg(&self.0).status());
    }
}

fn mount(options: &str, at: &Path) {
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", options, "tmpfs"])
        .arg(at)
        .status();
    assert!(mounted.unwrap().success(), "{options}");
}

#[test]
fn a_full_backup_volume_keeps_what_is_there_and_space_is_all_that_it_needs() {
    if std::env::var_os(INSIDE).is_none() {
        let inside = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount"])
            .arg(std::env::current_exe().unwrap())
            .args([NAME, "--exact", "--nocapture"])
            .env(INSIDE, "1")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&inside.stdout);
        // Its own line says that it has run, and not only that nothing was found to run.
        assert!(
            inside.status.success() && text.contains("1 passed"),
            "{text}\n{}",
            String::from_utf8_lossy(&inside.stderr)
        );
        return;
    }
    let server = Server::start();
    let volume = Mounted::new(server.path("backups"), "512k");
    server.write_two_rows();
    let first = backup::backup(&server.backup("final-1", false)).unwrap();

    // More than fits, and nothing that compresses.
    server.sql("CREATE TABLE big (x VARBINARY(1024)); SET cte_max_recursion_depth = 5000; \
         INSERT INTO big WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000) \
         SELECT RANDOM_BYTES(1024) FROM n");
    let failure = backup::backup(&server.backup("final-2", true)).unwrap_err();
    assert_eq!(failure.reason, "BackupVolumeFull", "{failure:?}");
    assert!(failure.retry, "space may come back: {failure:?}");
    assert!(failure.detail.contains("bytes are free"), "{failure:?}");
    // The fence is down again: people can do something about it.
    server.sql("INSERT INTO test (name) VALUES ('written later')");

    let fresh = Server::start();
    copy_backups(&server, &fresh);
    let back = restore::restore(&fresh.restore("r-1")).unwrap();
    assert_eq!((back.generation, back.rows), (first.generation, Some(2)));

    volume.resize("64m");
    let second = backup::backup(&server.backup("final-2", true)).unwrap();
    assert_eq!(second.rows, Some(2003));
}
