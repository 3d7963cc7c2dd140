//! The program against a real server.
//!
//! The server comes from a root file system with MySQL or MariaDB in it, named by
//! `MYSQL_JOB_TEST_ROOTFS`; nothing of it needs to be installed. Without that variable the tests say so
//! and pass: the same promises are kept by the scenarios, which always have a server.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on stops; one that is left out says so"
)]

mod backup_and_restore;
mod password;
mod server;
