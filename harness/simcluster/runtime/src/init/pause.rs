//! The first process of a pod whose containers share their processes: it holds the namespace, and waits for orphans.
//!
//! It runs no program, reaches no file, and answers no signal but the one that ends it. It knows no container; what a
//! container leaves behind at its end is the server's to kill.

use std::{convert::Infallible, path::Path};

use nix::{
    errno::Errno,
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::{
        signal::{SigSet, Signal},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{chdir, pivot_root, setsid},
};

use super::{child::step, network::Namespaces};
use crate::error::LaunchError;

/// A directory that is everywhere, to mount an empty root on.
const PLACE: &str = "/proc";

/// The whole life of that process.
pub(super) fn hold(sandbox: &Namespaces) -> Result<Infallible, LaunchError> {
    setsid().map_err(step("start a session"))?;
    // What `ps` shows in the containers.
    nix::sys::prctl::set_name(c"pause").map_err(step("name the pod's first process"))?;
    sandbox
        .enter()
        .map_err(step("enter the sandbox's namespaces"))?;
    let doing = || step("take the host's files from the pod's first process");
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>).map_err(doing())?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC | MsFlags::MS_RDONLY;
    let options = Some("mode=0755,size=4k");
    mount(
        Some("tmpfs"),
        Path::new(PLACE),
        Some("tmpfs"),
        flags,
        options,
    )
    .map_err(doing())?;
    chdir(PLACE)
        .and_then(|()| pivot_root(".", "."))
        .and_then(|()| umount2(".", MntFlags::MNT_DETACH))
        .and_then(|()| chdir("/"))
        .map_err(doing())?;
    let mut ended = SigSet::empty();
    ended.add(Signal::SIGCHLD);
    ended
        .thread_set_mask()
        .map_err(step("wait for the pod's orphans"))?;
    loop {
        reap();
        // Another signal, or none: it looks again in any case.
        let _ = ended.wait();
    }
}

/// Waits for all orphans that have ended.
fn reap() {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return,
            // EINVAL: a real-time signal has killed it, and it has been waited for all the same.
            Ok(_) | Err(_) => {}
        }
    }
}
