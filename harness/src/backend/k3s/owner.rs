//! Whose a container is, so that none outlives the process that started it.
//!
//! Two nets, for a process that is killed cannot clean up: a *watchdog*, a small process that waits on a
//! pipe held by us and removes the container when the pipe closes; and the *sweep* at the next start,
//! which removes containers whose owner is dead. (The reaper container that other libraries use would
//! be one more image to pull.) Processes are told apart by machine, PID namespace, PID and start time.

use std::{
    fs, io,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU64, Ordering},
};

use testcontainers::bollard::{
    Docker,
    errors::Error,
    models::ContainerSummary,
    query_parameters::{ListContainersOptionsBuilder, RemoveContainerOptionsBuilder},
};
use tracing::{info, warn};

/// The label whose value says who the owner is.
pub(super) const LABEL: &str = "harness.otus.homework/owner";

/// The label whose value is unique to one start of one container.
pub(super) const START: &str = "harness.otus.homework/start";

/// A value of [`START`] that no other start has.
pub(super) fn next_start(us: &Owner) -> String {
    static STARTS: AtomicU64 = AtomicU64::new(0);
    format!("{us}/{}", STARTS.fetch_add(1, Ordering::Relaxed))
}

/// A process of this machine, for ever distinguishable from others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    /// The boot of the machine and the PID namespace: where `pid` means something.
    place: String,
    pid: u32,
    start: u64,
}

impl Owner {
    /// This process.
    pub(super) fn this() -> io::Result<Self> {
        let pid = std::process::id();
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
        let namespace = fs::read_link("/proc/self/ns/pid")?;
        Ok(Self {
            place: format!("{}/{}", boot.trim(), namespace.display()),
            pid,
            start: start_time(&fs::read_to_string(format!("/proc/{pid}/stat"))?)
                .ok_or_else(|| io::Error::other("/proc/self/stat has no start time"))?,
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.rsplitn(3, '/');
        let start = parts.next()?.parse().ok()?;
        let pid = parts.next()?.parse().ok()?;
        let place = parts.next()?.to_owned();
        Some(Self { place, pid, start })
    }

    /// Whether it certainly does not run any more; false when that cannot be told from here.
    fn is_dead(&self, seen_from: &Self) -> bool {
        if self.place != seen_from.place {
            return false;
        }
        match fs::read_to_string(format!("/proc/{}/stat", self.pid)) {
            Ok(stat) => start_time(&stat).is_some_and(|start| start != self.start),
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        }
    }
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}", self.place, self.pid, self.start)
    }
}

/// Field 22 of `/proc/PID/stat`; the name in field 2 may hold blanks and parentheses.
fn start_time(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(") ")?;
    after_name.split(' ').nth(19)?.parse().ok()
}

/// Removes containers whose owner is dead.
pub(super) async fn sweep(docker: &Docker, us: &Owner) -> Result<(), Error> {
    for container in labelled(docker, LABEL).await? {
        let owner = container
            .labels
            .as_ref()
            .and_then(|labels| labels.get(LABEL))
            .and_then(|label| Owner::parse(label));
        let (Some(owner), Some(id)) = (owner, container.id) else {
            continue;
        };
        if !owner.is_dead(us) {
            continue;
        }
        info!(container = id, owner = %owner, "its owner is dead, so the container is removed");
        if let Err(error) = remove(docker, &id).await {
            // Another process may be sweeping too.
            warn!(container = id, %error, "could not remove a container whose owner is dead");
        }
    }
    Ok(())
}

/// Removes the container of one start, if there is one.
pub(super) async fn remove_start(docker: &Docker, start: &str) -> Result<(), Error> {
    for container in labelled(docker, &format!("{START}={start}")).await? {
        if let Some(id) = container.id {
            remove(docker, &id).await?;
        }
    }
    Ok(())
}

async fn labelled(docker: &Docker, label: &str) -> Result<Vec<ContainerSummary>, Error> {
    let filters = std::collections::HashMap::from([("label", vec![label])]);
    let options = ListContainersOptionsBuilder::default()
        .all(true)
        .filters(&filters)
        .build();
    docker.list_containers(Some(options)).await
}

async fn remove(docker: &Docker, id: &str) -> Result<(), Error> {
    let options = RemoveContainerOptionsBuilder::default()
        .force(true)
        .v(true)
        .build();
    docker.remove_container(id, Some(options)).await
}

/// A process that removes a container when this value, or this whole process, is gone.
#[derive(Debug)]
pub(super) struct Watchdog(Child);

impl Watchdog {
    /// Guards a container. It uses the command `docker`; without it only the sweep is left.
    pub(super) fn over(container: &str) -> io::Result<Self> {
        // Signals to our process group (Ctrl-C) must not reach it before its work is done.
        let script = "trap '' INT TERM HUP; read -r _; exec docker rm --force --volumes \"$0\"";
        let mut command = Command::new("sh");
        command
            .args(["-c", script, container])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        command.spawn().map(Self)
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        // It is quick: the container is gone already. A failure to wait leaves a zombie until we end.
        drop(self.0.wait());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_alive_and_found_again_by_its_label() {
        let us = Owner::this().expect("a process of Linux");
        let read = Owner::parse(&us.to_string()).expect("a label of ours");
        assert_eq!(read, us);
        assert!(!read.is_dead(&us));
    }

    #[test]
    fn another_process_with_our_number_is_not_us() {
        let us = Owner::this().expect("a process of Linux");
        let before = Owner {
            start: us.start - 1,
            ..us.clone()
        };
        assert!(before.is_dead(&us));
    }

    #[test]
    fn of_other_machines_nothing_is_known() {
        let us = Owner::this().expect("a process of Linux");
        let elsewhere = Owner {
            place: "elsewhere/pid:[1]".to_owned(),
            pid: u32::MAX,
            start: 0,
        };
        assert!(!elsewhere.is_dead(&us));
    }

    #[test]
    fn the_start_time_is_found_behind_a_strange_name() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4 1 0 0 0 0 0 0 0 20 0 1 0 4711 1 1";
        assert_eq!(start_time(stat), Some(4711));
    }
}
