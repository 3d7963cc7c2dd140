//! The promises of mysql-operator, each proved on a cluster of its own. A file is an area.

mod admission;
mod create;
mod delete;
mod downtime;
mod grading;
mod hands;
mod installing;
mod kept;
mod killed;
mod leftovers;
mod maintenance;
mod password;
mod permissions;
mod restore;
mod robustness;
mod verification;
mod volumes;
