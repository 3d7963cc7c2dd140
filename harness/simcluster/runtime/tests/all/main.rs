//! What a node promises, tried on this machine: once as the user who runs the tests, and once more as an
//! ordinary user if that is root.
//!
//! The containers' programs are the host's own, mounted read-only over an otherwise empty layer.

mod lab;

mod containers;
