//! Limits of containers on memory and processors, kept by the kernel's control groups: version 1 as root, version 2
//! where this process may make groups (as root, or in a hierarchy that was delegated to its user).
//!
//! A node has one group for each controller's hierarchy, in it is one for each limited container. Groups do not end
//! with processes, so the init process removes them when it ends, and [`sweep`] removes those of the dead. Numbers of
//! processes are not limited. Where groups can be made is the matter of `places`; `change` is for those in use.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

mod change;
mod places;

pub(crate) use places::{Controller, NodeGroup, find, sweep};
use places::{Place, Version, remove_with_children};

/// Where a process says which group it joins; 0 is itself.
const MEMBERS: &str = "cgroup.procs";
/// For this many microseconds at a time, processors are counted out.
const PERIOD: u64 = 100_000;
/// The kernel counts out no less.
const LEAST_QUOTA: u64 = 1000;

/// What a container may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Bytes.
    pub(crate) memory: Option<u64>,
    /// Thousandths of a processor.
    pub(crate) cpu: Option<u64>,
}

impl Limits {
    fn of(&self, controller: Controller) -> Option<u64> {
        match controller {
            Controller::Memory => self.memory,
            Controller::Cpu => self.cpu,
        }
    }
}

impl NodeGroup {
    /// Whether a limit can be kept here: makes a limited group, and removes it.
    pub(crate) fn probe(&self, controller: Controller) -> Result<String, String> {
        let version = self.place(controller)?.version;
        let mut groups = Groups::new(self.clone());
        let mut group = ContainerGroup::default();
        let made = groups.limit("probe", controller, 1 << 30, &mut group);
        groups.bury(group);
        groups.end();
        made.map(|()| match version {
            Version::One => "control groups, version 1".to_owned(),
            Version::Two => "control groups, version 2".to_owned(),
        })
    }
}

/// A node's groups in use.
#[derive(Debug)]
pub(crate) struct Groups {
    group: NodeGroup,
    /// The node's own, each made with the first container that is limited in it.
    made: BTreeMap<Controller, PathBuf>,
    /// Of ended containers; processes on their way out may hold them a moment longer.
    left: Vec<PathBuf>,
}

/// One container's groups; with version 2 it is one for all controllers.
#[derive(Clone, Debug, Default)]
pub(crate) struct ContainerGroup {
    paths: BTreeSet<PathBuf>,
    /// Where its memory is limited.
    memory: Option<(PathBuf, Version)>,
    /// Where its processor time is.
    cpu: Option<(PathBuf, Version)>,
}

impl Groups {
    pub(crate) fn new(group: NodeGroup) -> Self {
        Self {
            group,
            made: BTreeMap::new(),
            left: Vec::new(),
        }
    }

    /// Makes the groups of a container; also says which limits are not kept, and why.
    pub(crate) fn limited(&mut self, id: &str, limits: Limits) -> (ContainerGroup, Vec<String>) {
        self.remove_left();
        let (mut group, mut complaints) = (ContainerGroup::default(), Vec::new());
        for controller in Controller::ALL {
            let Some(limit) = limits.of(controller) else {
                continue;
            };
            if let Err(why) = self.limit(id, controller, limit, &mut group) {
                complaints.push(not_kept(controller, &why));
            }
        }
        (group, complaints)
    }

    fn limit(
        &mut self,
        id: &str,
        controller: Controller,
        limit: u64,
        group: &mut ContainerGroup,
    ) -> Result<(), String> {
        let version = self.group.place(controller)?.version;
        let path = self.node(controller)?.join(id);
        let doing = |what: &str| {
            let what = format!("{what} {}", path.display());
            move |error: io::Error| format!("cannot {what}: {error}")
        };
        match fs::create_dir(&path) {
            // The other controller's.
            Err(error)
                if error.kind() == io::ErrorKind::AlreadyExists && group.paths.contains(&path) => {}
            other => other.map_err(doing("make"))?,
        }
        group.paths.insert(path.clone());
        let set = |file: &str, value: &str| fs::write(path.join(file), value);
        match (controller, version) {
            (Controller::Memory, Version::One) => set("memory.limit_in_bytes", &limit.to_string()),
            (Controller::Memory, Version::Two) => set("memory.max", &limit.to_string()),
            (Controller::Cpu, Version::One) => set("cpu.cfs_period_us", &PERIOD.to_string())
                .and(set("cpu.cfs_quota_us", &quota(limit).to_string())),
            (Controller::Cpu, Version::Two) => {
                set("cpu.max", &format!("{} {PERIOD}", quota(limit)))
            }
        }
        .map_err(doing("limit"))?;
        if controller == Controller::Memory {
            // Swapping is not available to pods, where it can be accounted for; and the whole container ends at
            // once, as the kubelet has it where the kernel can.
            let _ = match version {
                Version::One => set("memory.memsw.limit_in_bytes", &limit.to_string()),
                Version::Two => set("memory.swap.max", "0").and(set("memory.oom.group", "1")),
            };
            group.memory = Some((path, version));
        } else {
            group.cpu = Some((path, version));
        }
        Ok(())
    }

    /// The node's own group for a controller, made if it is not there.
    fn node(&mut self, controller: Controller) -> Result<&Path, String> {
        if !self.made.contains_key(&controller) {
            let made = self.make(self.group.place(controller)?)?;
            self.made.insert(controller, made);
        }
        let made = self.made.get(&controller).map(PathBuf::as_path);
        Ok(made.unwrap_or(Path::new("")))
    }

    fn make(&self, place: &Place) -> Result<PathBuf, String> {
        let mut why = String::new();
        for parent in &place.parents {
            let path = parent.join(&self.group.name);
            let made = match fs::create_dir(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                other => other,
            };
            match made.and_then(|()| pass_on(place, parent, &path)) {
                Ok(()) => return Ok(path),
                Err(error) => {
                    // Another controller's groups may be in it.
                    let _ = fs::remove_dir(&path);
                    why = format!("{why}{}: {error}; ", path.display());
                }
            }
        }
        Err(format!(
            "no group can be made: {}",
            why.trim_end_matches("; ")
        ))
    }

    /// Removes the groups of a container that has ended.
    pub(crate) fn bury(&mut self, group: ContainerGroup) {
        self.left.extend(group.paths);
        self.remove_left();
    }

    fn remove_left(&mut self) {
        self.left.retain(|path| {
            matches!(fs::remove_dir(path), Err(error) if error.kind() != io::ErrorKind::NotFound)
        });
    }

    /// Whether anything was made that has to be removed.
    pub(crate) fn are_used(&self) -> bool {
        !self.made.is_empty()
    }

    /// Removes all of it; no process of the node may live any more.
    pub(crate) fn end(&mut self) {
        for made in std::mem::take(&mut self.made).into_values() {
            remove_with_children(&made);
        }
    }
}

/// What to say of a limit that cannot be kept.
pub(crate) fn not_kept(controller: Controller, why: &str) -> String {
    format!("its {} limit is not kept: {why}", controller.name())
}

fn quota(thousandths: u64) -> u64 {
    (thousandths.saturating_mul(PERIOD) / 1000).max(LEAST_QUOTA)
}

/// Lets groups below `path` limit what the place is for.
fn pass_on(place: &Place, parent: &Path, path: &Path) -> io::Result<()> {
    if place.version == Version::One {
        return Ok(());
    }
    let name = place.controller.name();
    let has = |text: String| text.split_whitespace().any(|one| one == name);
    let change = format!("+{name}");
    if !has(fs::read_to_string(path.join("cgroup.controllers"))?) {
        fs::write(parent.join("cgroup.subtree_control"), &change)?;
    }
    fs::write(path.join("cgroup.subtree_control"), &change)
}

impl ContainerGroup {
    /// Where it is limited in that.
    fn place(&self, controller: Controller) -> Option<&(PathBuf, Version)> {
        match controller {
            Controller::Memory => self.memory.as_ref(),
            Controller::Cpu => self.cpu.as_ref(),
        }
    }

    /// Moves this very process into them.
    pub(crate) fn join(&self) -> io::Result<()> {
        self.paths
            .iter()
            .try_for_each(|path| fs::write(path.join(MEMBERS), "0"))
    }

    /// Whether the kernel has killed any process in it for its memory.
    pub(crate) fn was_out_of_memory(&self) -> bool {
        let Some((path, version)) = &self.memory else {
            return false;
        };
        let file = match version {
            Version::One => "memory.oom_control",
            Version::Two => "memory.events",
        };
        let text = fs::read_to_string(path.join(file)).unwrap_or_default();
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

#[cfg(test)]
mod tests {
    use super::*;

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
