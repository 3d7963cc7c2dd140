//! What a node promises, tried on this machine: once as the user who runs the tests, and once more as an
//! ordinary user if that is root.
//!
//! The containers' programs are the host's own and this test program, mounted read-only over an otherwise
//! empty layer. Tests that are ignored are such programs, or owners that die.

mod containers;
mod exec;
mod isolation;
mod lab;
mod lifecycle;
mod limits;
mod mounts;
mod network;
mod ordinary_user;
mod peers;
mod refusals;
mod remains;
mod shared;
mod terminal;
mod usage;
