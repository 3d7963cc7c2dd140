//! Images made from real packages, run for real. They need the package archive once; then the cache serves them.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod container;
mod entrypoint;
mod images;
mod registry;
mod users;
