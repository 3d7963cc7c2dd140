//! The first process of a pod whose containers share their processes: it holds the namespace, and waits for orphans.
//!
//! It runs no program, reaches no file, and answers no signal but the one that ends it. It knows no container; what a
//! container leaves behind at its end is the server's to kill.

use std::{convert::Infallible, fs, io, os::unix::fs::FileExt as _, path::Path};

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
    // Only looks depend on it.
    let _ = show_as(b"/pause");
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

/// Writes over the command line of this process, which is that of the program it was cloned from.
fn show_as(name: &[u8]) -> io::Result<()> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let (at, end) = arguments(&stat).ok_or(io::ErrorKind::InvalidData)?;
    let room = usize::try_from(end.saturating_sub(at)).unwrap_or(0);
    if room <= name.len() {
        return Ok(());
    }
    let mut line = name.to_owned();
    line.resize(room, 0);
    let memory = fs::OpenOptions::new().write(true).open("/proc/self/mem")?;
    memory.write_all_at(&line, at)
}

/// Where in its memory a process keeps its command line, by its `stat`.
fn arguments(stat: &str) -> Option<(u64, u64)> {
    // The program's name, in parentheses, may hold anything.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(45);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
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
