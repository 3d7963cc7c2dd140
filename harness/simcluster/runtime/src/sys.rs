//! The system calls that neither the standard library nor `nix` offers safely, each behind a safe function.
//!
//! All `unsafe` of the crate is in this file and in `sys/constructor.rs`. No policy here.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
    path::Path,
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sched::CloneFlags,
    unistd::Pid,
};
use tokio::io::{Interest, unix::AsyncFd};

use crate::spec::ExitStatus;

pub(crate) mod constructor;

/// Proof that this process has one thread only. The constructor makes it, before `main` could start others.
#[derive(Debug)]
pub(crate) struct SingleThreaded(());

/// Takes the ownership of a descriptor that was just received or inherited.
pub(crate) fn own(raw: RawFd) -> OwnedFd {
    // SAFETY: callers pass descriptors that the kernel handed to them alone: from SCM_RIGHTS, or a
    // re-executed process's own standard input. An invalid one would only make later calls fail.
    unsafe { OwnedFd::from_raw_fd(raw) }
}

/// `fork` with namespaces: `Some(pid)` in the parent, `None` in the child.
///
/// The child has all of the parent's memory and may use it freely, for there is no second thread whose
/// locks could be held.
pub(crate) fn clone_process(
    _proof: &SingleThreaded,
    flags: CloneFlags,
) -> nix::Result<Option<Pid>> {
    let bits = libc::c_long::from(flags.bits()) | libc::c_long::from(libc::SIGCHLD);
    // SAFETY: without CLONE_VM and with a null stack this is fork: the child continues on a copy of this
    // stack. The process is single-threaded, so no lock of the allocator or of libc is held by another.
    let result = unsafe { libc::syscall(libc::SYS_clone, bits, 0, 0, 0, 0) };
    let pid = Errno::result(result)?;
    let pid = libc::pid_t::try_from(pid).map_err(|_| Errno::EOVERFLOW)?;
    Ok((pid != 0).then(|| Pid::from_raw(pid)))
}

/// Ends this process at once: no destructors, no exit handlers, no flushing of the owner's buffers.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: _exit has no preconditions.
    unsafe { libc::_exit(code) }
}

/// Closes every descriptor from 3 on, except those named.
pub(crate) fn close_all_except(keep: &[RawFd]) {
    let mut keep: Vec<libc::c_uint> = keep
        .iter()
        .filter_map(|fd| libc::c_uint::try_from(*fd).ok())
        .filter(|fd| *fd > 2)
        .collect();
    keep.sort_unstable();
    let mut first: libc::c_uint = 3;
    for fd in keep {
        if fd > first {
            close_range(first, fd - 1);
        }
        first = first.max(fd + 1);
    }
    close_range(first, libc::c_uint::MAX);
}

fn close_range(first: libc::c_uint, last: libc::c_uint) {
    // SAFETY: descriptors are closed in a process that has just been started or cloned and whose code
    // never again uses, nor drops, an owner of one of them: it only executes a program or exits.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    if result == 0 {
        return;
    }
    // Kernels before 5.9.
    let open: Vec<libc::c_int> = std::fs::read_dir("/proc/self/fd")
        .map(|entries| {
            entries
                .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
                .collect()
        })
        .unwrap_or_default();
    for fd in open {
        if libc::c_uint::try_from(fd).is_ok_and(|fd| (first..=last).contains(&fd)) {
            // SAFETY: as above.
            unsafe { libc::close(fd) };
        }
    }
}

/// A descriptor for a process that is this process's child and not yet waited for.
pub(crate) fn pidfd_open(pid: Pid) -> nix::Result<OwnedFd> {
    // SAFETY: plain numbers; the result is a new descriptor or -1.
    let fd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) })?;
    Ok(own(RawFd::try_from(fd).map_err(|_| Errno::EBADF)?))
}

/// Sends a signal to the process behind a pidfd.
pub(crate) fn pidfd_signal(pidfd: BorrowedFd<'_>, signal: i32) -> nix::Result<()> {
    let null = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: a null siginfo is allowed and means "as kill does".
    Errno::result(unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            null,
            0,
        )
    })
    .map(drop)
}

/// Waits, without waiting long, for a child that has ended: `None` if none has. `nix` would lose a child that
/// a real-time signal has killed.
pub(crate) fn wait_for_any_child() -> nix::Result<Option<(Pid, ExitStatus)>> {
    loop {
        let mut status: libc::c_int = 0;
        // SAFETY: waitpid writes one int.
        let waited = Errno::result(unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) });
        let pid = match waited {
            Ok(0) | Err(Errno::ECHILD) => return Ok(None),
            Err(Errno::EINTR) => continue,
            other => Pid::from_raw(other?),
        };
        let (code, signal) = if libc::WIFEXITED(status) {
            (libc::WEXITSTATUS(status), None)
        } else if libc::WIFSIGNALED(status) {
            let signal = libc::WTERMSIG(status);
            (128 + signal, Some(signal))
        } else {
            continue;
        };
        let status = ExitStatus {
            code,
            signal,
            oom_killed: false,
        };
        return Ok(Some((pid, status)));
    }
}

/// Takes a capability out of the bounding set; `EINVAL` when the kernel has no such number.
pub(crate) fn drop_bounding_capability(number: u32) -> nix::Result<()> {
    // SAFETY: plain numbers.
    Errno::result(unsafe {
        libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(number), 0, 0, 0)
    })
    .map(drop)
}

/// Makes a mount, and all below it, read-only.
pub(crate) fn set_read_only_recursively(mount: BorrowedFd<'_>) -> nix::Result<()> {
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_RDONLY,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    // SAFETY: the structure outlives the call and its true size is given; the path is the empty C string.
    Errno::result(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | libc::AT_RECURSIVE,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    })
    .map(drop)
}

/// Makes the terminal this session's controlling terminal.
pub(crate) fn set_controlling_terminal(terminal: BorrowedFd<'_>) -> nix::Result<()> {
    // SAFETY: TIOCSCTTY takes a number.
    Errno::result(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY, 0) }).map(drop)
}

/// Unlocks a new terminal pair and opens the program's end of `master`.
pub(crate) fn open_terminal_peer(master: BorrowedFd<'_>) -> nix::Result<OwnedFd> {
    let unlocked: libc::c_int = 0;
    // SAFETY: TIOCSPTLCK reads one int.
    Errno::result(unsafe {
        libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlocked)
    })?;
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: TIOCGPTPEER takes open flags and answers a new descriptor.
    let peer = Errno::result(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags) })?;
    Ok(own(peer))
}

/// The number of a terminal under `/dev/pts`.
pub(crate) fn terminal_number(master: BorrowedFd<'_>) -> nix::Result<u32> {
    let mut number: libc::c_uint = 0;
    // SAFETY: TIOCGPTN writes one unsigned int.
    Errno::result(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTN, &raw mut number) })?;
    Ok(number)
}

/// Sets a terminal's size in characters.
pub(crate) fn set_terminal_size(
    master: BorrowedFd<'_>,
    columns: u16,
    rows: u16,
) -> nix::Result<()> {
    let size = libc::winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: TIOCSWINSZ reads one winsize.
    Errno::result(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) })
        .map(drop)
}

/// Resets every signal's disposition to the default. The standard library ignores SIGPIPE, whoever started
/// the owner may have ignored more, and programs inherit that.
pub(crate) fn default_signal_dispositions() {
    /// The kernel's `struct sigaction`, which is smaller than this everywhere; zeroes are `SIG_DFL`.
    static DEFAULT: [u64; 8] = [0; 8];
    const LAST: libc::c_int = 64;
    const SET_SIZE: usize = 8;
    for signal in 1..=LAST {
        // By the bare system call, since libc refuses to touch the signals that it keeps for itself.
        // SAFETY: the kernel reads no more than the array has, and the old action is not asked for.
        // Signals that cannot be changed answer an error, which is fine.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                DEFAULT.as_ptr(),
                std::ptr::null_mut::<libc::c_void>(),
                SET_SIZE,
            );
        }
    }
}

/// Waits until the descriptor can be read, or its other end is gone.
pub(crate) fn wait_readable(fd: BorrowedFd<'_>) -> io::Result<()> {
    wait(fd, PollFlags::POLLIN)
}

/// Waits until the descriptor can be written, or its other end is gone.
pub(crate) fn wait_writable(fd: BorrowedFd<'_>) -> io::Result<()> {
    wait(fd, PollFlags::POLLOUT)
}

fn wait(fd: BorrowedFd<'_>, flags: PollFlags) -> io::Result<()> {
    loop {
        match poll(&mut [PollFd::new(fd, flags)], PollTimeout::NONE) {
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Lets tokio watch a descriptor.
pub(crate) fn watch<T: AsFd + AsRawFd>(inner: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    // SAFETY: `T` is one of the standard library's owners or borrows of a descriptor (no other type in
    // this crate is both): its descriptor stays the same and open for as long as the value lives.
    let registered = unsafe { AsyncFd::register_with_interest(inner, interest) };
    registered.map_err(io::Error::from)
}

/// The path by which this process can name an open file, whatever its real path.
pub(crate) fn path_of(fd: impl AsFd) -> std::path::PathBuf {
    Path::new("/proc/self/fd").join(fd.as_fd().as_raw_fd().to_string())
}
