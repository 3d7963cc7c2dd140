//! What the container may do to the machine.
//!
//! k3s wants a privileged container. An engine that itself lacks a capability, as in some virtual
//! machines, refuses to start any; there the container gets every capability that the machine has, and
//! the same freedom from filters and masked paths.

use simcluster::capabilities;
use testcontainers::{ContainerRequest, GenericImage, ImageExt as _, TestcontainersError};

/// The newest capabilities, which older engines do not know by name.
const UNKNOWN_TO_SOME: usize = 3;

/// How a container is given its rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rights {
    /// `--privileged`
    Privileged,
    /// All that this machine has.
    AllThereAre,
}

impl Rights {
    /// Grants them.
    pub(super) fn grant(
        self,
        image: ContainerRequest<GenericImage>,
    ) -> ContainerRequest<GenericImage> {
        match self {
            Self::Privileged => image.with_privileged(true).with_userns_mode("host"),
            Self::AllThereAre => {
                let mut image = image
                    .with_security_opt("seccomp=unconfined")
                    .with_security_opt("apparmor=unconfined")
                    .with_host_config_modifier(|host| {
                        host.masked_paths = Some(Vec::new());
                        host.readonly_paths = Some(Vec::new());
                    });
                let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
                image = image.with_cap_add("ALL");
                for capability in absent(&status) {
                    image = image.with_cap_drop(capability);
                }
                image
            }
        }
    }

    /// Whether the engine refused because it cannot start any privileged container.
    pub(super) fn are_too_many(error: &TestcontainersError) -> bool {
        let text = crate::proof::chain(error);
        text.contains("unable to apply caps") || text.contains("CAP_SYS_RESOURCE")
    }
}

/// The capabilities that are not in the bounding set that `/proc/PID/status` speaks of.
fn absent(status: &str) -> impl Iterator<Item = &'static str> {
    let set = status
        .lines()
        .find_map(|line| line.strip_prefix("CapBnd:"))
        .and_then(|set| u64::from_str_radix(set.trim(), 16).ok())
        .unwrap_or(0);
    let known = capabilities::ALL.len() - UNKNOWN_TO_SOME;
    capabilities::ALL[..known]
        .iter()
        .enumerate()
        .filter(move |(number, _)| set & (1 << number) == 0)
        .map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_machine_lacks_is_found() {
        let names: Vec<_> = absent("CapEff:\t0\nCapBnd:\t000001fffeffffff\n").collect();
        assert_eq!(names, ["SYS_RESOURCE"]);
    }
}
