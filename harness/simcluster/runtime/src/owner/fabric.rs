//! What connects the nodes of one cluster: a switch in a network namespace that belongs to none of them.
//!
//! The first node to start makes it, the others join it. It ends with the last node and the last clone.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
    sync::Arc,
};

use tokio::sync::{Mutex, MutexGuard};

/// A network of nodes; clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct Fabric(Arc<Mutex<Option<Made>>>);

impl Fabric {
    pub(super) async fn lock(&self) -> MutexGuard<'_, Option<Made>> {
        self.0.lock().await
    }
}

/// A switch that exists.
#[derive(Debug)]
pub(super) struct Made {
    switch: OwnedFd,
    users: OwnedFd,
}

impl Made {
    pub(super) fn from_descriptors(descriptors: Vec<OwnedFd>) -> Option<Self> {
        let [switch, users] = <[OwnedFd; 2]>::try_from(descriptors).ok()?;
        Some(Self { switch, users })
    }

    /// What a node needs to join.
    pub(super) fn descriptors(&self) -> io::Result<Vec<OwnedFd>> {
        [&self.switch, &self.users]
            .map(|descriptor| descriptor.as_fd().try_clone_to_owned())
            .into_iter()
            .collect()
    }
}
