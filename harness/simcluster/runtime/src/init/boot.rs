//! What PID 1 of a node does before it serves: its mounts, its host name, its network.
//!
//! Nothing here is undone: it all vanishes with the process.

use std::{
    fs, io,
    os::fd::{AsFd as _, OwnedFd},
    path::{Path, PathBuf},
};

use nix::{
    mount::{MsFlags, mount},
    sys::{
        resource::{Resource, getrlimit, setrlimit},
        stat::{Mode, umask},
    },
    unistd::{chdir, sethostname, setsid},
};

use super::{Doing, Joined, StepError, network::NodeNetwork};
use crate::protocol::{Boot, Identity, Joining};

/// Directories of the host that no volume comes from.
const SPARE: [&str; 3] = ["/dev/mqueue", "/dev/hugepages", "/dev/pts"];

/// What the rest of the init process works with.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) network: NodeNetwork,
    /// What connects the nodes; held, so that it lives as long as any of them.
    pub(super) switch: Option<OwnedFd>,
    /// The number of open files that containers inherit as soft and hard limit; ours is higher.
    pub(super) open_files: (u64, u64),
    /// Overlay file systems must keep their notes in `user.*` attributes.
    pub(super) user_attributes: bool,
    /// Where the shared memory of pods is mounted, each below its id; `None` where there is no place for it.
    pub(super) shared_memory: Option<PathBuf>,
}

/// Makes this process, PID 1 of new namespaces, a node.
pub(super) fn prepare(boot: &Boot, joined: Option<Joined>) -> Result<Node, StepError> {
    setsid().doing("start a session")?;
    nix::sys::prctl::set_name(c"simcluster-init").doing("name the init process")?;
    umask(Mode::from_bits_truncate(0o022));
    chdir("/").doing("enter /")?;
    let open_files = getrlimit(Resource::RLIMIT_NOFILE).doing("read the limit of open files")?;
    setrlimit(Resource::RLIMIT_NOFILE, open_files.1, open_files.1)
        .doing("raise the limit of open files")?;

    // A slave still follows the host, so that what the host unmounts is not kept busy here; nothing goes back.
    let slave = MsFlags::MS_REC | MsFlags::MS_SLAVE;
    mount(None::<&str>, "/", None::<&str>, slave, None::<&str>)
        .doing("part the node's mounts from the host's")?;
    let plain = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), "/proc", Some("proc"), plain, None::<&str>)
        .doing("mount a /proc of the node's own")?;

    sethostname(&boot.hostname).doing("set the node's host name")?;
    let mut network = NodeNetwork::create(&boot.network)?;
    let switch = match (boot.fabric, joined) {
        (Joining::Alone, _) => None,
        (Joining::Makes, _) => Some(network.make_switch()?),
        (Joining::Joins, Some(joined)) => Some(joined.switch),
        (Joining::Joins, None) => {
            return Err(io::Error::other("its descriptors did not come"))
                .doing("join the cluster's network");
        }
    };
    if let Some(switch) = &switch {
        network.join(switch.as_fd())?;
    }
    let user_attributes = boot.identity != Identity::Root || is_in_user_namespace();
    Ok(Node {
        network,
        switch,
        open_files,
        user_attributes,
        shared_memory: shared_memory(),
    })
}

/// A file system of the node's own, on a directory that nobody misses in here.
fn shared_memory() -> Option<PathBuf> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let options = Some("mode=0755,size=1m");
    let place = SPARE
        .iter()
        .map(Path::new)
        .find(|place| mount(Some("tmpfs"), *place, Some("tmpfs"), flags, options).is_ok());
    place.map(Path::to_owned)
}

/// Root of a container that was itself started without root.
fn is_in_user_namespace() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let fields: Vec<&str> = map.split_whitespace().collect();
    fields != ["0", "0", "4294967295"]
}
