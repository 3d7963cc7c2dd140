//! Memory limits of containers, kept by the kernel's control groups: version 1 as root, version 2 where this
//! process may make groups (as root, or in a hierarchy that was delegated to its user).
//!
//! A node has one group, in it is one for each limited container. Groups do not end with processes, so the init
//! process removes them when it ends, and [`sweep`] removes those of the dead. CPU and process limits are not
//! kept.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use serde::{Deserialize, Serialize};

/// How the groups of nodes begin: `simcluster-PID-STARTED-NUMBER` of the owner.
const PREFIX: &str = "simcluster-";
/// Where a process says which group it joins; 0 is itself.
const MEMBERS: &str = "cgroup.procs";

/// Which of the kernel's two interfaces it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Version {
    One,
    Two,
}

/// The group that a node's containers are limited in; it need not be there yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NodeGroup {
    version: Version,
    /// The groups that it may be made in, the better ones first.
    parents: Vec<PathBuf>,
    name: String,
}

/// Where groups can be made by this process, for a node of its own; or why nowhere.
pub(crate) fn find() -> Result<NodeGroup, String> {
    static NODES: AtomicU32 = AtomicU32::new(0);
    let read = |path: &str| fs::read_to_string(path).map_err(|error| format!("{path}: {error}"));
    let (version, parents) = parents(&read("/proc/self/cgroup")?, &read("/proc/self/mountinfo")?)?;
    let parents: Vec<_> = parents
        .into_iter()
        .filter(|parent| is_writable(parent))
        .collect();
    if parents.is_empty() {
        return Err("no control group was delegated to this user".to_owned());
    }
    let pid = std::process::id();
    let started = started(pid).ok_or("/proc does not tell when this process started")?;
    let number = NODES.fetch_add(1, Ordering::Relaxed);
    Ok(NodeGroup {
        version,
        parents,
        name: format!("{PREFIX}{pid}-{started}-{number}"),
    })
}

/// Removes the groups of nodes whose owners are dead.
pub(crate) fn sweep(group: &NodeGroup) {
    for parent in &group.parents {
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

/// Where this process may make groups that limit memory, by the texts of `/proc/self/cgroup` and
/// `/proc/self/mountinfo`. Pure.
fn parents(own: &str, mounts: &str) -> Result<(Version, Vec<PathBuf>), String> {
    let hierarchy = |controller: &str| {
        own.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let (controllers, path) = (fields.next()?, fields.next()?);
            let found = controllers.split(',').any(|one| one == controller);
            found.then_some(path)
        })
    };
    if let Some(path) = hierarchy("memory") {
        let (root, place) = mounted(mounts, |kind, options| {
            kind == "cgroup" && options.split(',').any(|one| one == "memory")
        })
        .ok_or("the memory controller is not mounted")?;
        return Ok((Version::One, vec![below(&root, &place, path)]));
    }
    let path = hierarchy("").ok_or("this kernel has no control groups")?;
    let (root, place) = mounted(mounts, |kind, _| kind == "cgroup2")
        .ok_or("no file system of control groups is mounted")?;
    // A group with processes cannot have limited ones in it, so those above it must do.
    let own = below(&root, &place, path);
    let parents = own
        .ancestors()
        .take_while(|group| group.starts_with(&place));
    Ok((Version::Two, parents.map(Path::to_owned).collect()))
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

impl NodeGroup {
    /// Removes what a node has made; none of its processes may live any more.
    pub(crate) fn remove(&self) {
        for parent in &self.parents {
            remove_with_children(&parent.join(&self.name));
        }
    }

    /// Whether a limit can be kept here: makes a limited group, and removes it.
    pub(crate) fn probe(&self) -> Result<String, String> {
        let mut groups = Groups::new(self.clone());
        let group = groups.limited("probe", 1 << 30)?;
        groups.bury(group);
        groups.end();
        Ok(match self.version {
            Version::One => "control groups, version 1".to_owned(),
            Version::Two => "control groups, version 2".to_owned(),
        })
    }
}

/// A node's groups in use.
#[derive(Debug)]
pub(crate) struct Groups {
    group: NodeGroup,
    /// Made with the first limited container.
    made: Option<PathBuf>,
    /// Of ended containers; processes on their way out may hold them a moment longer.
    left: Vec<PathBuf>,
}

/// One container's group.
#[derive(Clone, Debug)]
pub(crate) struct ContainerGroup {
    path: PathBuf,
    version: Version,
}

impl Groups {
    pub(crate) fn new(group: NodeGroup) -> Self {
        Self {
            group,
            made: None,
            left: Vec::new(),
        }
    }

    /// Makes the group of a container whose memory is limited to so many bytes.
    pub(crate) fn limited(&mut self, id: &str, bytes: u64) -> Result<ContainerGroup, String> {
        self.remove_left();
        let version = self.group.version;
        let path = self.node()?.join(id);
        let doing = |what: &str| {
            let what = format!("{what} {}", path.display());
            move |error: io::Error| format!("cannot {what}: {error}")
        };
        fs::create_dir(&path).map_err(doing("make"))?;
        let set = |file: &str, value: &str| fs::write(path.join(file), value);
        let limited = match version {
            Version::One => set("memory.limit_in_bytes", &bytes.to_string()),
            Version::Two => set("memory.max", &bytes.to_string()),
        };
        if let Err(error) = limited {
            let _ = fs::remove_dir(&path);
            return Err(doing("limit")(error));
        }
        // Swapping is not available to pods, where it can be accounted for; and the whole container ends at once,
        // as the kubelet has it where the kernel can.
        let _ = match version {
            Version::One => set("memory.memsw.limit_in_bytes", &bytes.to_string()),
            Version::Two => set("memory.swap.max", "0").and(set("memory.oom.group", "1")),
        };
        Ok(ContainerGroup { path, version })
    }

    /// The node's own group, made if it is not there.
    fn node(&mut self) -> Result<&Path, String> {
        if self.made.is_none() {
            self.made = Some(self.make()?);
        }
        Ok(self.made.as_deref().unwrap_or(Path::new("")))
    }

    fn make(&self) -> Result<PathBuf, String> {
        let mut why = String::new();
        for parent in &self.group.parents {
            let place = parent.join(&self.group.name);
            let made = fs::create_dir(&place).and_then(|()| self.pass_on(parent, &place));
            match made {
                Ok(()) => return Ok(place),
                Err(error) => {
                    let _ = fs::remove_dir(&place);
                    why = format!("{why}{}: {error}; ", place.display());
                }
            }
        }
        Err(format!(
            "no group can be made: {}",
            why.trim_end_matches("; ")
        ))
    }

    /// Lets groups below `place` limit memory.
    fn pass_on(&self, parent: &Path, place: &Path) -> io::Result<()> {
        if self.group.version == Version::One {
            return Ok(());
        }
        let has = |text: String| text.split_whitespace().any(|one| one == "memory");
        if !has(fs::read_to_string(place.join("cgroup.controllers"))?) {
            fs::write(parent.join("cgroup.subtree_control"), "+memory")?;
        }
        fs::write(place.join("cgroup.subtree_control"), "+memory")
    }

    /// Removes the group of a container that has ended.
    pub(crate) fn bury(&mut self, group: ContainerGroup) {
        self.left.push(group.path);
        self.remove_left();
    }

    fn remove_left(&mut self) {
        self.left.retain(|path| {
            matches!(fs::remove_dir(path), Err(error) if error.kind() != io::ErrorKind::NotFound)
        });
    }

    /// Whether anything was made that has to be removed.
    pub(crate) fn are_used(&self) -> bool {
        self.made.is_some()
    }

    /// Removes all of it; no process of the node may live any more.
    pub(crate) fn end(&mut self) {
        if let Some(made) = self.made.take() {
            remove_with_children(&made);
        }
    }
}

impl ContainerGroup {
    /// Moves this very process into it.
    pub(crate) fn join(&self) -> io::Result<()> {
        fs::write(self.path.join(MEMBERS), "0")
    }

    /// Whether the kernel has killed any process in it for its memory.
    pub(crate) fn was_out_of_memory(&self) -> bool {
        let file = match self.version {
            Version::One => "memory.oom_control",
            Version::Two => "memory.events",
        };
        let text = fs::read_to_string(self.path.join(file)).unwrap_or_default();
        out_of_memory(&text) > 0
    }
}

/// How often the kernel killed, in the text of either version's file.
fn out_of_memory(text: &str) -> u64 {
    text.lines()
        .filter_map(|line| line.strip_prefix("oom_kill "))
        .find_map(|count| count.trim().parse().ok())
        .unwrap_or(0)
}

fn remove_with_children(group: &Path) {
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
    fn with_version_one_it_is_the_group_of_the_memory_controller() {
        let own = "5:devices:/\n4:cpu,memory:/a/b\n0::/\n";
        let mounts = "30 29 0:26 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
             31 29 0:27 /a /sys/fs/cgroup/memory rw,nosuid shared:9 - cgroup cgroup rw,memory\n\
             32 29 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let expected = vec![PathBuf::from("/sys/fs/cgroup/memory/b")];
        assert_eq!(parents(own, mounts), Ok((Version::One, expected)));
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
        assert_eq!(parents(own, mounts), Ok((Version::Two, expected)));
    }

    #[test]
    fn without_a_mount_it_says_so() {
        assert!(parents("0::/\n", "").is_err());
        assert!(parents("", "").is_err());
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
            version: Version::Two,
            parents: vec![parent.path().to_owned()],
            name: String::new(),
        });
        assert!(parent.path().join(mine).exists());
        assert!(!parent.path().join(dead).exists());
        assert!(parent.path().join("other").exists());
    }

    #[test]
    fn kills_are_counted_in_both_versions_words() {
        assert_eq!(
            out_of_memory("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"),
            2
        );
        assert_eq!(
            out_of_memory("max 3\noom 1\noom_kill 1\noom_group_kill 1\n"),
            1
        );
        assert_eq!(out_of_memory("low 0\n"), 0);
    }
}
