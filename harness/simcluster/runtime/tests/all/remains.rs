//! What an owner of nodes holds of this machine, and what is left of it once it is dead: five kinds.
//!
//! Processes, mounts, namespaces, network interfaces, and what lies on disk (control groups, files). It only looks;
//! who kills, and what may be left, is the tests' matter. Tests of several crates include this file.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    path::{Path, PathBuf},
};

/// Which process: a number may be given again, never with the same moment of its start.
type Identity = (u32, u64);

/// All that belongs to an owner while it lives.
#[derive(Debug)]
pub(crate) struct Holdings {
    owner: u32,
    directory: PathBuf,
    /// The owner itself is not among them.
    pub(crate) processes: BTreeSet<Identity>,
    /// Those of its processes that this process does not share.
    pub(crate) namespaces: BTreeSet<String>,
    /// While these are open here, the numbers of those namespaces are not given to others.
    _reserved: Vec<File>,
    /// The interfaces of this machine before the owner was started.
    interfaces: BTreeSet<String>,
}

/// What there still is of an owner's holdings.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Remains {
    pub(crate) processes: Vec<u32>,
    pub(crate) mounts: Vec<String>,
    pub(crate) namespaces: Vec<String>,
    pub(crate) interfaces: Vec<String>,
    pub(crate) control_groups: Vec<PathBuf>,
}

impl Holdings {
    /// Those of a process that keeps its files in `directory`; `interfaces` were there before it.
    pub(crate) fn of(owner: u32, directory: &Path, interfaces: &BTreeSet<String>) -> Self {
        let processes = descendants(owner);
        let own: BTreeSet<String> = namespaces("self").into_iter().collect();
        let (mut namespaces, mut reserved) = (BTreeSet::new(), Vec::new());
        for (pid, _) in &processes {
            let entries = fs::read_dir(format!("/proc/{pid}/ns"))
                .into_iter()
                .flatten();
            for path in entries.flatten().map(|entry| entry.path()) {
                let Ok(name) = fs::read_link(&path) else {
                    continue;
                };
                let name = name.display().to_string();
                if !own.contains(&name) && namespaces.insert(name) {
                    reserved.extend(File::open(&path));
                }
            }
        }
        Self {
            owner,
            directory: directory.to_owned(),
            processes,
            namespaces,
            _reserved: reserved,
            interfaces: interfaces.clone(),
        }
    }

    /// What of them there still is.
    pub(crate) fn left(&self) -> Remains {
        let name = self.directory.display().to_string();
        let (mut mounts, mut held) = (BTreeSet::new(), BTreeSet::new());
        let others = |pid: &u32| *pid != std::process::id() && runs(*pid);
        for pid in all_processes().into_iter().filter(others) {
            let of_process = namespaces(&pid.to_string());
            let is_inside = of_process.iter().any(|namespace| {
                namespace.starts_with("mnt:") && self.namespaces.contains(namespace)
            });
            let text = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
            // What is mounted in a namespace of the owner's is the owner's; elsewhere it is what names its files.
            let owned = text
                .lines()
                .filter(|line| is_inside || line.contains(&name));
            mounts.extend(owned.map(str::to_owned));
            let opened = links(&PathBuf::from(format!("/proc/{pid}/fd")));
            let known = of_process.into_iter().chain(opened);
            held.extend(known.filter(|namespace| self.namespaces.contains(namespace)));
        }
        Remains {
            processes: self
                .processes
                .iter()
                .filter(|(pid, started)| {
                    runs(*pid) && stat(*pid).is_some_and(|stat| stat.started == *started)
                })
                .map(|(pid, _)| *pid)
                .collect(),
            mounts: mounts.into_iter().collect(),
            namespaces: held.into_iter().collect(),
            interfaces: interfaces().difference(&self.interfaces).cloned().collect(),
            control_groups: control_groups(self.owner),
        }
    }
}

/// The network interfaces that this process sees.
pub(crate) fn interfaces() -> BTreeSet<String> {
    let text = fs::read_to_string("/proc/net/dev").unwrap_or_default();
    text.lines()
        .filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned()))
        .collect()
}

/// The control groups made for the nodes of an owner.
pub(crate) fn control_groups(owner: u32) -> Vec<PathBuf> {
    fn search(directory: &Path, name: &str, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if entry.file_name().to_string_lossy().starts_with(name) {
                found.push(entry.path());
            } else if is_directory {
                search(&entry.path(), name, found);
            }
        }
    }
    let mut found = Vec::new();
    search(
        Path::new("/sys/fs/cgroup"),
        &format!("simcluster-{owner}-"),
        &mut found,
    );
    found
}

/// Whether a process exists and is no zombie: that is whoever's child it was, and holds nothing.
pub(crate) fn runs(pid: u32) -> bool {
    stat(pid).is_some_and(|stat| stat.state != "Z")
}

struct Stat {
    state: String,
    parent: u32,
    started: u64,
}

fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The program's name, in parentheses, may hold anything.
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<_> = rest.split_whitespace().collect();
    Some(Stat {
        state: (*fields.first()?).to_owned(),
        parent: fields.get(1)?.parse().ok()?,
        started: fields.get(19)?.parse().ok()?,
    })
}

fn all_processes() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

fn descendants(owner: u32) -> BTreeSet<Identity> {
    let all: BTreeMap<u32, Stat> = all_processes()
        .into_iter()
        .filter_map(|pid| Some((pid, stat(pid)?)))
        .collect();
    let mut found = BTreeSet::new();
    let mut parents = vec![owner];
    while let Some(parent) = parents.pop() {
        for (pid, stat) in all.iter().filter(|(_, stat)| stat.parent == parent) {
            found.insert((*pid, stat.started));
            parents.push(*pid);
        }
    }
    found
}

/// The namespaces of a process: `net:[4026531840]`.
fn namespaces(process: &str) -> Vec<String> {
    links(&PathBuf::from(format!("/proc/{process}/ns")))
}

fn links(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .map(|target| target.display().to_string())
        .collect()
}
