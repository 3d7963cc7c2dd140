//! The program against a real MySQL. `tests/mariadb` has what is different there.
//!
//! The server comes out of the image that the scenarios run, or of a root file system named by
//! `MYSQL_JOB_TEST_ROOTFS`; nothing of it needs to be installed.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod accounts;
mod backup_and_restore;
mod full_volume;
#[path = "../common/image.rs"]
mod image;
mod mishaps;
mod password;
mod programs;
#[path = "../common/server.rs"]
mod server;
mod tasks;
#[path = "../common/template.rs"]
mod template;
