//! What containers use of processor and memory: from their control groups where they have any, else from `/proc`.
//!
//! A process belongs to the container whose mounts it sees. What has ended counts where somebody has waited for it.

use std::{collections::BTreeMap, fs};

use nix::unistd::{Pid, SysconfVar, sysconf};

use super::Server;
use crate::{
    init::leftovers::MountNamespace,
    spec::{NodeUsage, Usage},
};

/// What the processes of one mount namespace use, in the kernel's units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counted {
    ticks: u64,
    own_pages: u64,
    /// Of the process that has most: most of them are the same pages.
    shared_pages: u64,
    processes: u32,
}

impl Counted {
    fn add(&mut self, other: Self) {
        self.ticks += other.ticks;
        self.own_pages += other.own_pages;
        self.shared_pages = self.shared_pages.max(other.shared_pages);
        self.processes += other.processes;
    }
}

impl Server {
    /// What all processes of the node use now.
    pub(super) fn usage(&self) -> NodeUsage {
        let per_second = setting(SysconfVar::CLK_TCK, 100);
        let page = setting(SysconfVar::PAGE_SIZE, 4096);
        let in_units = |counted: Counted| Usage {
            cpu_nanos: counted.ticks * (1_000_000_000 / per_second),
            working_set: (counted.own_pages + counted.shared_pages) * page,
            rss: counted.own_pages * page,
            processes: counted.processes,
        };
        let mut counted = count();
        let containers = self.containers.iter().filter_map(|(id, container)| {
            let mut usage = in_units(counted.remove(&container.mounts?)?);
            if let Some(group) = &container.limits {
                usage.cpu_nanos = group.cpu_nanos().unwrap_or(usage.cpu_nanos);
                usage.working_set = group.working_set().unwrap_or(usage.working_set);
            }
            Some((id.clone(), usage))
        });
        let containers = containers.collect();
        let mut rest = Counted::default();
        for one in counted.into_values() {
            rest.add(one);
        }
        NodeUsage {
            containers,
            rest: in_units(rest),
        }
    }
}

fn setting(which: SysconfVar, usual: u64) -> u64 {
    let found = sysconf(which).ok().flatten();
    let found = found.and_then(|value| u64::try_from(value).ok());
    found.filter(|value| *value > 0).unwrap_or(usual)
}

/// All processes of this pid namespace, by their mounts.
fn count() -> BTreeMap<MountNamespace, Counted> {
    let mut all: BTreeMap<MountNamespace, Counted> = BTreeMap::new();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    for pid in pids {
        // What has ended meanwhile is not counted.
        let read =
            |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
        if let Some(mounts) = MountNamespace::of(Pid::from_raw(pid))
            && let Some(ticks) = ticks(&read("stat"))
            && let Some((own_pages, shared_pages)) = pages(&read("statm"))
        {
            all.entry(mounts).or_default().add(Counted {
                ticks,
                own_pages,
                shared_pages,
                processes: 1,
            });
        }
    }
    all
}

/// The processor time of a process and of those it has waited for, by its `stat`.
fn ticks(stat: &str) -> Option<u64> {
    // The program's name, in parentheses, may hold anything.
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().skip(11).take(4).collect();
    (fields.len() == 4).then(|| {
        fields
            .iter()
            .filter_map(|field| field.parse::<u64>().ok())
            .sum()
    })
}

/// The pages of a process that are its own, and those that others may have too, by its `statm`.
fn pages(statm: &str) -> Option<(u64, u64)> {
    let mut fields = statm.split_whitespace().skip(1);
    let resident: u64 = fields.next()?.parse().ok()?;
    let shared: u64 = fields.next()?.parse().ok()?;
    Some((resident.saturating_sub(shared), shared))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_children_have_used_counts_and_names_may_hold_anything() {
        let stat = "7 (a) b) (c) S 1 7 7 0 -1 4194560 100 0 0 0 5 3 20 2 20 0 1 0 900 0 0";
        assert_eq!(ticks(stat), Some(30));
        assert_eq!(ticks(""), None);
        assert_eq!(pages("1000 300 120 1 0 90 0"), Some((180, 120)));
        assert_eq!(pages("1000"), None);
    }
}
