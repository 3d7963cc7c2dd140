//! The harness' own promises, on simulated clusters without pods of interest. A file is an area.

mod faults;
mod past;
mod scenarios;
