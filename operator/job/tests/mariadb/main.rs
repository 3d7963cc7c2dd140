//! The program against a real MariaDB, where it does something else than on MySQL. All that is the same on both
//! is in `tests/real`; a process has the client programs of one kind of server on its `PATH`, so these are apart.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]

#[path = "../common/image.rs"]
mod image;
mod password;
mod programs;
#[path = "../common/server.rs"]
mod server;
#[path = "../common/template.rs"]
mod template;
