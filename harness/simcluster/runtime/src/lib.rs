//! A small container runtime: processes in namespaces of their own, without a daemon and without root.
//!
//! It knows processes, mounts and networks. It does not know Kubernetes, images or registries, and it
//! decides nothing: no restarts, no probes, no garbage collection.
//!
//! One *node* is one [`Runtime`], which is one *init process*: PID 1 of namespaces of its own, a bridge
//! in its network, started by executing the owner's program again (`sys::constructor` intercepts that
//! before `main`, so any program that links this crate will do). Closing the socket to it, by
//! [`Runtime::shutdown`], by dropping, or by the owner's death however sudden, ends it; the kernel then
//! ends every process, mount and network below it.
//!
//! The map:
//! - [`spec`]: what to run, as data; [`capabilities`]: their names; [`Error`], [`LaunchError`], [`ProbeError`]: what can go wrong
//! - `owner`: this side: [`Runtime`], [`Process`], [`Terminal`]
//! - `protocol`, `wire`: what the two sides say, and how
//! - `init`: the other side, one thread, from PID 1 to the program in its container
//! - `cgroups`: limits; `netlink`: links and addresses; `sys`: the only unsafe code
//!
//! A container's start: 1. [`Runtime::start_container`] sends the spec and the ends of three pipes. 2. The
//! init process clones a child with new pid and mount namespaces and goes on serving. 3. The child joins
//! the sandbox, assembles its root file system, pivots into it, gives up rights and executes the program,
//! or reports why not. 4. The closing of its report channel tells the init process, and that the owner.

pub mod capabilities;
mod error;
pub mod spec;

#[cfg(target_os = "linux")]
mod cgroups;
#[cfg(target_os = "linux")]
mod init;
#[cfg(target_os = "linux")]
mod netlink;
#[cfg(target_os = "linux")]
mod owner;
#[cfg(target_os = "linux")]
mod protocol;
#[cfg(target_os = "linux")]
#[expect(
    unsafe_code,
    reason = "namespaces and terminals need system calls that no crate offers safely"
)]
mod sys;
#[cfg(target_os = "linux")]
mod wire;

#[cfg(not(target_os = "linux"))]
#[path = "elsewhere.rs"]
mod owner;

pub use error::{Error, LaunchError, ProbeError};
pub use owner::{
    Container, ExitWatch, Fabric, Isolation, Process, ProcessInput, ProcessOutput, Runtime,
    RuntimeConfig, StdioSpec, Stream, Terminal,
};
