//! Where control groups can be made by this process, and whose the groups are that lie there.
//!
//! It makes none; it removes those of the dead.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use serde::{Deserialize, Serialize};

/// How the groups of nodes begin: `simcluster-PID-STARTED-NUMBER` of the owner.
const PREFIX: &str = "simcluster-";

/// What can be limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Controller {
    Memory,
    Cpu,
}

impl Controller {
    pub(super) const ALL: [Self; 2] = [Self::Memory, Self::Cpu];

    /// The kernel's name for it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Cpu => "cpu",
        }
    }
}

/// Which of the kernel's two interfaces it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Version {
    One,
    Two,
}

/// The groups in which that of a node may be made, for one controller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) controller: Controller,
    pub(super) version: Version,
    /// The better ones first.
    pub(super) parents: Vec<PathBuf>,
}

/// The group that a node's containers are limited in; it need not be there yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NodeGroup {
    /// Where each controller's is, or why there is none.
    pub(super) places: Vec<Result<Place, String>>,
    pub(super) name: String,
}

/// Where groups can be made by this process, for a node of its own; or why nowhere.
pub(crate) fn find() -> Result<NodeGroup, String> {
    static NODES: AtomicU32 = AtomicU32::new(0);
    let read = |path: &str| fs::read_to_string(path).map_err(|error| format!("{path}: {error}"));
    let (own, mounts) = (read("/proc/self/cgroup")?, read("/proc/self/mountinfo")?);
    let places = Controller::ALL.map(|controller| {
        let mut place = place(controller, &own, &mounts)?;
        place.parents.retain(|parent| is_writable(parent));
        if place.parents.is_empty() {
            return Err("no control group was delegated to this user".to_owned());
        }
        Ok(place)
    });
    if let [Err(why), Err(_)] = &places {
        return Err(why.clone());
    }
    let pid = std::process::id();
    let started = started(pid).ok_or("/proc does not tell when this process started")?;
    let number = NODES.fetch_add(1, Ordering::Relaxed);
    Ok(NodeGroup {
        places: places.to_vec(),
        name: format!("{PREFIX}{pid}-{started}-{number}"),
    })
}

impl NodeGroup {
    /// Where a controller's groups are.
    pub(super) fn place(&self, controller: Controller) -> Result<&Place, String> {
        let mut reasons = self.places.iter().filter_map(|place| place.as_ref().err());
        let found = self
            .places
            .iter()
            .flatten()
            .find(|place| place.controller == controller);
        let why = || {
            reasons
                .next()
                .cloned()
                .unwrap_or_else(|| "there is no such controller".to_owned())
        };
        found.ok_or_else(why)
    }

    fn parents(&self) -> impl Iterator<Item = &PathBuf> {
        self.places
            .iter()
            .flatten()
            .flat_map(|place| &place.parents)
    }

    /// Removes what a node has made; none of its processes may live any more.
    pub(crate) fn remove(&self) {
        for parent in self.parents() {
            remove_with_children(&parent.join(&self.name));
        }
    }
}

/// Removes the groups of nodes whose owners are dead.
pub(crate) fn sweep(group: &NodeGroup) {
    for parent in group.parents() {
        for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
            let name = entry.file_name();
            if owner(&name.to_string_lossy()).is_some_and(|(pid, at)| started(pid) != Some(at)) {
                remove_with_children(&entry.path());
            }
        }
    }
}

/// The process that a group was made for, by its name: its number, and when it started.
fn owner(name: &str) -> Option<(u32, u64)> {
    let mut parts = name.strip_prefix(PREFIX)?.split('-');
    let (pid, started) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    parts.next()?.parse::<u32>().ok()?;
    Some((pid, started))
}

/// When a process started, in ticks since the machine did: no two processes of one number have the same.
fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The program's name, in parentheses, may hold anything.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(19)?.parse().ok()
}

/// Where this process may make groups of a controller, by the texts of `/proc/self/cgroup` and
/// `/proc/self/mountinfo`. Pure.
fn place(controller: Controller, own: &str, mounts: &str) -> Result<Place, String> {
    let name = controller.name();
    let hierarchy = |controller: &str| {
        own.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let (controllers, path) = (fields.next()?, fields.next()?);
            let found = controllers.split(',').any(|one| one == controller);
            found.then_some(path)
        })
    };
    if let Some(path) = hierarchy(name) {
        let (root, place) = mounted(mounts, |kind, options| {
            kind == "cgroup" && options.split(',').any(|one| one == name)
        })
        .ok_or_else(|| format!("the {name} controller is not mounted"))?;
        return Ok(Place {
            controller,
            version: Version::One,
            parents: vec![below(&root, &place, path)],
        });
    }
    let path = hierarchy("").ok_or("this kernel has no control groups")?;
    let (root, place) = mounted(mounts, |kind, _| kind == "cgroup2")
        .ok_or("no file system of control groups is mounted")?;
    // A group with processes cannot have limited ones in it, so those above it must do.
    let own = below(&root, &place, path);
    let parents = own
        .ancestors()
        .take_while(|group| group.starts_with(&place));
    Ok(Place {
        controller,
        version: Version::Two,
        parents: parents.map(Path::to_owned).collect(),
    })
}

/// The root and the place of the first mount that `wanted` knows by its type and its options.
fn mounted(mounts: &str, wanted: impl Fn(&str, &str) -> bool) -> Option<(PathBuf, PathBuf)> {
    mounts.lines().find_map(|line| {
        let (mount, about) = line.split_once(" - ")?;
        let mut about = about.split(' ');
        let (kind, options) = (about.next()?, about.nth(1)?);
        let mut fields = mount.split(' ').skip(3);
        let (root, place) = (fields.next()?, fields.next()?);
        wanted(kind, options).then(|| (root.into(), place.into()))
    })
}

/// A group's directory; a mount may show only a part of the hierarchy.
fn below(root: &Path, place: &Path, group: &str) -> PathBuf {
    let inside = Path::new(group)
        .strip_prefix(root)
        .or_else(|_| Path::new(group).strip_prefix("/"));
    place.join(inside.unwrap_or(Path::new("")))
}

fn is_writable(directory: &Path) -> bool {
    use nix::unistd::{AccessFlags, access};
    access(directory, AccessFlags::W_OK).is_ok()
}

pub(super) fn remove_with_children(group: &Path) {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let _ = fs::remove_dir(entry.path());
        }
    }
    let _ = fs::remove_dir(group);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_version_one_it_is_the_group_of_the_controller() {
        let own = "5:devices:/\n4:cpu,memory:/a/b\n0::/\n";
        let mounts = "30 29 0:26 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
             31 29 0:27 /a /sys/fs/cgroup/memory rw,nosuid shared:9 - cgroup cgroup rw,memory\n\
             32 29 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        for (controller, path) in [
            (Controller::Memory, "/sys/fs/cgroup/memory/b"),
            (Controller::Cpu, "/sys/fs/cgroup/cpu/a/b"),
        ] {
            let expected = Place {
                controller,
                version: Version::One,
                parents: vec![PathBuf::from(path)],
            };
            assert_eq!(place(controller, own, mounts), Ok(expected));
        }
    }

    #[test]
    fn with_version_two_those_above_will_do_as_well() {
        let own = "0::/user.slice/app\n";
        let mounts = "30 29 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n";
        let expected = [
            "/sys/fs/cgroup/user.slice/app",
            "/sys/fs/cgroup/user.slice",
            "/sys/fs/cgroup",
        ];
        let expected = expected.map(PathBuf::from).to_vec();
        let expected = Place {
            controller: Controller::Cpu,
            version: Version::Two,
            parents: expected,
        };
        assert_eq!(place(Controller::Cpu, own, mounts), Ok(expected));
    }

    #[test]
    fn without_a_mount_it_says_so() {
        assert!(place(Controller::Memory, "0::/\n", "").is_err());
        assert!(place(Controller::Memory, "", "").is_err());
    }

    #[test]
    fn only_groups_of_the_dead_are_swept() {
        let me = std::process::id();
        let at = started(me).expect("/proc is there");
        assert_eq!(owner(&format!("simcluster-{me}-{at}-0")), Some((me, at)));
        assert_eq!(owner("simcluster-1-2"), None);
        assert_eq!(owner("user.slice"), None);
        let parent = tempfile::tempdir().expect("a temporary directory");
        let (mine, dead) = (
            format!("simcluster-{me}-{at}-0"),
            format!("simcluster-{me}-1-0"),
        );
        for name in [mine.as_str(), &format!("{dead}/container"), "other"] {
            fs::create_dir_all(parent.path().join(name)).expect("a new directory");
        }
        sweep(&NodeGroup {
            places: vec![Ok(Place {
                controller: Controller::Memory,
                version: Version::Two,
                parents: vec![parent.path().to_owned()],
            })],
            name: String::new(),
        });
        assert!(parent.path().join(mine).exists());
        assert!(!parent.path().join(dead).exists());
        assert!(parent.path().join("other").exists());
    }
}
