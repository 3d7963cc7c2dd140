//! The promises of mysql-operator, each proved on a cluster of its own. A file is an area.

mod admission;
mod create;
mod downtime;
mod password;
mod restore;
mod verification;
