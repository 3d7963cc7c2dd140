//! The node's init process: PID 1 of the node, which makes sandboxes and starts containers when the owner asks.
//!
//! It has one thread, no runtime and no configuration but what the owner sends. It ends when the owner's
//! end of the socket closes, however the owner died, and the kernel then ends everything below it. It
//! decides nothing about pods: no restarts, no probes, no images.
//!
//! - [`main`]: from the re-executed program to PID 1 (`mapping`, `boot`)
//! - `server`: the loop that answers calls; `processes`: who runs; `network`: namespaces and sockets
//! - `child`: what a cloned process does until it executes its program (`root`, `mounts`, `tree`,
//!   `devices`, `terminal`, `privileges`, `program`), or for its whole life (`pause`)

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    panic,
    sync::Mutex,
};

use nix::{
    sched::{CloneFlags, setns},
    unistd::{dup2_stdin, pipe2, read, write},
};

use crate::{
    protocol::{Boot, Identity, Notice},
    sys::{self, SingleThreaded},
    wire::{Inbox, Outbox},
};

mod boot;
mod child;
mod devices;
mod leftovers;
mod mapping;
mod mounts;
mod network;
mod pause;
mod privileges;
mod processes;
mod program;
mod root;
mod server;
mod terminal;
mod tree;

/// What the last panic said; a panic here has nobody else to tell it to.
static LAST_PANIC: Mutex<String> = Mutex::new(String::new());

/// A step that failed, and why.
#[derive(Debug)]
struct StepError {
    doing: String,
    source: io::Error,
}

impl StepError {
    fn errno(&self) -> i32 {
        self.source.raw_os_error().unwrap_or(0)
    }
}

/// Names the step in which a system call failed.
trait Doing<T> {
    fn doing(self, doing: impl Into<String>) -> Result<T, StepError>;
}

impl<T, E: Into<io::Error>> Doing<T> for Result<T, E> {
    fn doing(self, doing: impl Into<String>) -> Result<T, StepError> {
        self.map_err(|source| StepError {
            doing: doing.into(),
            source: source.into(),
        })
    }
}

/// The whole life of an init process, whose standard input is the socket to the owner.
pub(crate) fn main(proof: SingleThreaded) -> ! {
    panic::set_hook(Box::new(|panic| {
        if let Ok(mut last) = LAST_PANIC.lock() {
            *last = panic.to_string();
        }
    }));
    let run = panic::AssertUnwindSafe(|| start(proof));
    let code = match panic::catch_unwind(run) {
        Ok(Ok(())) => 0,
        Ok(Err(_owner_is_gone)) => 1,
        Err(_) => 101,
    };
    sys::exit_now(code)
}

/// What the last panic said.
fn panic_text() -> String {
    LAST_PANIC
        .lock()
        .map(|text| text.clone())
        .unwrap_or_default()
}

fn start(proof: SingleThreaded) -> io::Result<()> {
    // The socket came as standard input so that the owner needs no unsafe code to pass it. The rest of
    // what the owner had open must not live on in containers.
    let socket = io::stdin().as_fd().try_clone_to_owned()?;
    let null = std::fs::File::open("/dev/null")?;
    dup2_stdin(&null)?;
    drop(null);
    sys::close_all_except(&[socket.as_raw_fd()]);

    let mut inbox = Inbox::default();
    let Some((boot, descriptors)) = inbox.receive::<Boot>(socket.as_fd())? else {
        return Ok(());
    };
    let joined = Joined::from_descriptors(descriptors);
    match become_init(&proof, &boot, joined.as_ref(), socket.as_fd()) {
        Ok(Role::Starter) => return Ok(()),
        Ok(Role::Init) => {}
        Err(error) => return tell_death(socket.as_fd(), &error),
    }
    match boot::prepare(&boot, joined) {
        Ok(node) => server::Server::new(proof, socket, inbox, boot, node)?.run(),
        Err(error) => tell_death(socket.as_fd(), &error),
    }
}

/// The fabric that another node has made.
#[derive(Debug)]
struct Joined {
    switch: OwnedFd,
    users: OwnedFd,
}

impl Joined {
    fn from_descriptors(descriptors: Vec<OwnedFd>) -> Option<Self> {
        let [switch, users] = <[OwnedFd; 2]>::try_from(descriptors).ok()?;
        Some(Self { switch, users })
    }
}

enum Role {
    /// The process the owner executed. Its work is done.
    Starter,
    /// PID 1 of the new namespaces, a child of the owner as well.
    Init,
}

/// Clones PID 1 of the node's namespaces, maps its ids, and lets it go on.
fn become_init(
    proof: &SingleThreaded,
    boot: &Boot,
    joined: Option<&Joined>,
    socket: BorrowedFd<'_>,
) -> Result<Role, StepError> {
    let (wait, go) = pipe2(nix::fcntl::OFlag::O_CLOEXEC).doing("make a pipe")?;
    let mut flags = CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS
        // So that the owner itself can wait for it, and no process stays between them.
        | CloneFlags::CLONE_PARENT;
    let own_users = boot.identity != Identity::Root && joined.is_none();
    let doing = if own_users {
        flags |= CloneFlags::CLONE_NEWUSER;
        "make the node's user namespace"
    } else {
        "make the node's namespaces"
    };
    if let Some(joined) = joined.filter(|_| boot.identity != Identity::Root) {
        // Only who is in the switch's user namespace may link to it. Its ids are mapped already.
        setns(&joined.users, CloneFlags::CLONE_NEWUSER)
            .doing("enter the user namespace of the cluster's first node")?;
    }
    let Some(pid) = sys::clone_process(proof, flags).doing(doing)? else {
        drop(go);
        return match read(&wait, &mut [0]) {
            Ok(1) => Ok(Role::Init),
            _ => sys::exit_now(1),
        };
    };
    drop(wait);
    send_now(socket, &Notice::Spawned { pid: pid.as_raw() })
        .doing("tell the owner of its child")?;
    if own_users {
        mapping::map_ids(pid, &boot.identity)?;
    }
    write(&go, &[1]).doing("release the init process")?;
    Ok(Role::Starter)
}

fn tell_death(socket: BorrowedFd<'_>, error: &StepError) -> io::Result<()> {
    let doing = match error.errno() {
        0 => format!("{}: {}", error.doing, error.source),
        _ => error.doing.clone(),
    };
    send_now(
        socket,
        &Notice::Dead {
            doing,
            errno: error.errno(),
        },
    )
}

/// Sends one message and waits until it is gone.
fn send_now<T: serde::Serialize>(socket: BorrowedFd<'_>, message: &T) -> io::Result<()> {
    send_with(socket, message, Vec::new())
}

/// As [`send_now`], with descriptors.
fn send_with<T: serde::Serialize>(
    socket: BorrowedFd<'_>,
    message: &T,
    descriptors: Vec<OwnedFd>,
) -> io::Result<()> {
    let mut outbox = Outbox::default();
    outbox.push(message, descriptors)?;
    outbox.flush_all(socket)
}
