//! One test, three clusters: what a scenario promises holds on each of them.
//!
//! The container engine's part says aloud that it is skipped where no engine answers. The genuine k3s is
//! ignored unless asked for, since its image must be pulled.

mod containers;
mod existing;
mod interrupted;
mod k3s;
mod lab_up;
mod learning;
mod red_run;
