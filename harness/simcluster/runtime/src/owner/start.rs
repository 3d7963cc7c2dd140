//! Starting an init process: this program executed once more, as the owner's child.
//!
//! What that process does from its first instruction on is in `init`.

use std::{
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::process::CommandExt,
    },
    panic,
    process::{Child, Command, Stdio},
    sync::Arc,
};

use nix::{
    sys::socket::{AddressFamily, SockFlag, SockType, socketpair},
    unistd::Pid,
};
use tokio::io::Interest;

use super::{
    InitProcess, Runtime, RuntimeConfig,
    connection::Connection,
    fabric::Made,
    isolation::{self, Isolation},
};
use crate::{
    cgroups,
    error::{Error, ProbeError},
    protocol::{Boot, Joining, Notice},
    sys::{self, constructor},
    wire::{Inbox, Outbox},
};

/// Should the constructor not run, most programs refuse this argument instead of starting a second time.
const REFUSED_ARGUMENT: &str = "--simcluster-runtime-init-was-not-linked";

/// Starts an init process and waits until it serves.
pub(super) async fn start(config: RuntimeConfig) -> Result<Runtime, Error> {
    // In a task of its own, so that a caller who stops waiting does not leave a half-made node behind.
    match tokio::spawn(start_unhurried(config)).await {
        Ok(started) => started,
        Err(failed) if failed.is_panic() => panic::resume_unwind(failed.into_panic()),
        Err(_) => Err(unable(
            "start a node: the tokio runtime is shutting down",
            None,
        )),
    }
}

async fn start_unhurried(config: RuntimeConfig) -> Result<Runtime, Error> {
    if !constructor::is_linked() {
        return Err(unable(
            "start a node: this program was linked without the runtime's constructor",
            None,
        ));
    }
    let identity = isolation::identity()?;
    let isolation = Isolation::from(&identity);
    let (ours, theirs) = socketpair(
        AddressFamily::Unix,
        SockType::Stream,
        None,
        SockFlag::SOCK_CLOEXEC,
    )
    .map_err(|errno| unable("make a socket pair", Some(errno.into())))?;
    // Until the first of several nodes has made the fabric, the others wait.
    let mut fabric = match &config.fabric {
        Some(fabric) => Some(fabric.lock().await),
        None => None,
    };
    let (joining, descriptors) = match fabric.as_deref() {
        None => (Joining::Alone, Vec::new()),
        Some(None) => (Joining::Makes, Vec::new()),
        Some(Some(made)) => {
            let descriptors = made.descriptors();
            let descriptors =
                descriptors.map_err(|error| unable("join the cluster's network", Some(error)))?;
            (Joining::Joins, descriptors)
        }
    };
    let limits = limits();
    let group = limits.clone().ok();
    let boot = Boot {
        hostname: config.hostname,
        network: config.network,
        identity,
        fabric: joining,
        limits,
    };
    let mut starter =
        spawn(theirs).map_err(|source| unable("execute this program again", Some(source)))?;
    let opened = open(&boot, descriptors, ours).await;
    // It has done its work or failed; either way it ends now.
    let ended = starter.wait();
    tracing::debug!(?ended, ?isolation, "the node's init process was started");
    let (init, connection, made) = opened?;
    if let (Some(fabric), Some(made)) = (&mut fabric, made) {
        **fabric = Some(made);
    }
    drop(fabric);
    Ok(Runtime {
        connection: Arc::new(connection),
        init: Some(init),
        isolation,
        group,
    })
}

/// Where this node's containers are limited. Once in a process it is tidied up there.
fn limits() -> Result<cgroups::NodeGroup, String> {
    static SWEPT: std::sync::Once = std::sync::Once::new();
    let found = cgroups::find();
    if let Ok(group) = &found {
        SWEPT.call_once(|| cgroups::sweep(group));
    }
    found
}

fn spawn(socket: OwnedFd) -> io::Result<Child> {
    let mut command = Command::new("/proc/self/exe");
    command
        .arg0("simcluster-init")
        .arg(REFUSED_ARGUMENT)
        .env_clear()
        .env(constructor::MARKER, "1")
        .stdin(Stdio::from(socket))
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    // Programs that are linked dynamically may need it to start at all.
    if let Some(libraries) = std::env::var_os("LD_LIBRARY_PATH") {
        command.env("LD_LIBRARY_PATH", libraries);
    }
    command.spawn()
}

async fn open(
    boot: &Boot,
    descriptors: Vec<OwnedFd>,
    socket: OwnedFd,
) -> Result<(InitProcess, Connection, Option<Made>), Error> {
    let broken = |source| unable("speak with the node's init process", Some(source));
    let mut outbox = Outbox::default();
    let mut inbox = Inbox::default();
    outbox.push(boot, descriptors).map_err(broken)?;
    // Some hundred bytes into an empty socket.
    outbox.flush(socket.as_fd()).map_err(broken)?;
    let mut init = None;
    loop {
        while let Some((notice, descriptors)) = inbox.take::<Notice>().map_err(broken)? {
            match notice {
                Notice::Spawned { pid } => {
                    let pidfd = sys::pidfd_open(Pid::from_raw(pid)).map_err(|errno| {
                        unable("open the node's init process", Some(errno.into()))
                    })?;
                    init = Some(Unready(Some(InitProcess { pidfd })));
                }
                Notice::Ready => {
                    let Some(init) = init.take().and_then(Unready::accept) else {
                        continue;
                    };
                    let connection = Connection::open(socket, inbox).map_err(broken)?;
                    return Ok((init, connection, Made::from_descriptors(descriptors)));
                }
                Notice::Dead { doing, errno } => return Err(refused(doing, errno)),
                Notice::Reply { .. } | Notice::Exited { .. } => {}
            }
        }
        let arrived = sys::watch(socket.as_fd(), Interest::READABLE).map_err(broken)?;
        let mut ready = arrived.readable().await.map_err(broken)?;
        match ready.try_io(|socket| inbox.fill(socket.as_fd())) {
            Ok(Ok(0)) => {
                return Err(unable(
                    "start the node's init process: it ended at once",
                    None,
                ));
            }
            Ok(Err(error)) => return Err(broken(error)),
            Ok(Ok(_)) | Err(_) => {}
        }
    }
}

/// An init process that is ended unless it gets ready.
struct Unready(Option<InitProcess>);

impl Unready {
    fn accept(mut self) -> Option<InitProcess> {
        self.0.take()
    }
}

impl Drop for Unready {
    fn drop(&mut self) {
        if let Some(init) = self.0.take() {
            init.kill();
            init.reap();
        }
    }
}

fn refused(doing: String, errno: i32) -> Error {
    let source = (errno != 0).then(|| io::Error::from_raw_os_error(errno));
    let advice = isolation::advise(errno, &isolation::Settings::read());
    Error::Probe(ProbeError {
        doing,
        source,
        advice,
    })
}

fn unable(doing: &str, source: Option<io::Error>) -> Error {
    Error::Probe(ProbeError {
        doing: doing.to_owned(),
        source,
        advice: Vec::new(),
    })
}
