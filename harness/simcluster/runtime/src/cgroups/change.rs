//! Other limits for a container that runs, and what its groups say of its use.
//!
//! Whether the container is to have them is decided elsewhere; here a group takes them, or says why not.

use std::{fs, io, path::Path};

use super::{
    ContainerGroup, Controller, Groups, Limits, MEMBERS, NodeGroup, PERIOD, Version, not_kept,
    quota,
};

/// No limit, in the words of version 1, and of version 2.
const NONE: (&str, &str) = ("-1", "max");

impl Groups {
    /// Gives a running container other limits; `members` are its processes, which join groups that are new.
    /// Also says which limits are not kept, and why. What is refused leaves the former limits.
    pub(crate) fn change(
        &mut self,
        id: &str,
        limits: Limits,
        group: &mut ContainerGroup,
        members: impl Fn() -> Vec<i32>,
    ) -> Result<Vec<String>, String> {
        let mut complaints = Vec::new();
        for controller in Controller::ALL {
            match (limits.of(controller), group.place(controller).cloned()) {
                (None, None) => {}
                (limit, Some((path, version))) => set(controller, version, &path, limit)?,
                (Some(limit), None) => {
                    let before = group.paths.clone();
                    let made = self.limit(id, controller, limit, group);
                    let joined = made.and_then(|()| {
                        let fresh = group.paths.difference(&before);
                        let path = fresh.into_iter().next();
                        path.map_or(Ok(()), |path| join(path, &members()))
                    });
                    if let Err(why) = joined {
                        complaints.push(not_kept(controller, &why));
                    }
                }
            }
        }
        Ok(complaints)
    }
}

impl NodeGroup {
    /// What is said of limits that are wanted where nothing can be limited.
    pub(crate) fn complaints(limits: Limits, why: &str) -> Vec<String> {
        let wanted = Controller::ALL.into_iter();
        let wanted = wanted.filter(|controller| limits.of(*controller).is_some());
        wanted.map(|controller| not_kept(controller, why)).collect()
    }
}

/// Moves processes into a group.
fn join(group: &Path, members: &[i32]) -> Result<(), String> {
    for member in members {
        match fs::write(group.join(MEMBERS), member.to_string()) {
            // It has ended meanwhile.
            Err(error) if error.raw_os_error() == Some(nix::libc::ESRCH) => {}
            other => other.map_err(|error| {
                format!(
                    "cannot move process {member} into {}: {error}",
                    group.display()
                )
            })?,
        }
    }
    Ok(())
}

fn set(
    controller: Controller,
    version: Version,
    group: &Path,
    limit: Option<u64>,
) -> Result<(), String> {
    let write = |file: &str, value: &str| fs::write(group.join(file), value);
    let done = match (controller, version) {
        (Controller::Cpu, Version::One) => {
            let value = limit.map_or(NONE.0.to_owned(), |limit| quota(limit).to_string());
            write("cpu.cfs_quota_us", &value)
        }
        (Controller::Cpu, Version::Two) => {
            let value = limit.map_or(NONE.1.to_owned(), |limit| quota(limit).to_string());
            write("cpu.max", &format!("{value} {PERIOD}"))
        }
        (Controller::Memory, version) => {
            // Version 2 would kill what does not fit any more; version 1 refuses by itself.
            if let (Some(limit), Some(used)) = (limit, working_set(group, version))
                && used > limit
            {
                return Err(format!(
                    "attempting to set pod memory limit ({limit}) below current usage ({used})"
                ));
            }
            match version {
                Version::One => {
                    let value = limit.map_or(NONE.0.to_owned(), |limit| limit.to_string());
                    let plain = || write("memory.limit_in_bytes", &value);
                    // The limit with swap is never below the one without: which comes first depends on the direction.
                    match write("memory.memsw.limit_in_bytes", &value) {
                        Ok(()) => plain(),
                        Err(_) => plain().map(|()| {
                            let _ = write("memory.memsw.limit_in_bytes", &value);
                        }),
                    }
                }
                Version::Two => {
                    let value = limit.map_or(NONE.1.to_owned(), |limit| limit.to_string());
                    write("memory.max", &value)
                }
            }
        }
    };
    done.map_err(|error: io::Error| format!("cannot limit {}: {error}", group.display()))
}

impl ContainerGroup {
    /// Processor time that all that ever ran in it have used, in nanoseconds, where it is counted.
    pub(crate) fn cpu_nanos(&self) -> Option<u64> {
        let (path, version) = self.cpu.as_ref()?;
        let read = |file: &str| fs::read_to_string(path.join(file)).ok();
        match version {
            Version::One => read("cpuacct.usage")?.trim().parse().ok(),
            Version::Two => value(&read("cpu.stat")?, "usage_usec ").map(|micros| micros * 1000),
        }
    }

    /// The memory that its processes cannot do without, in bytes, where it is counted.
    pub(crate) fn working_set(&self) -> Option<u64> {
        let (path, version) = self.memory.as_ref()?;
        working_set(path, *version)
    }
}

/// What is used without what could be read from files again.
fn working_set(group: &Path, version: Version) -> Option<u64> {
    let (usage, inactive) = match version {
        Version::One => ("memory.usage_in_bytes", "total_inactive_file "),
        Version::Two => ("memory.current", "inactive_file "),
    };
    let usage: u64 = fs::read_to_string(group.join(usage))
        .ok()?
        .trim()
        .parse()
        .ok()?;
    let stat = fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
    Some(usage.saturating_sub(value(&stat, inactive).unwrap_or(0)))
}

/// The number behind a name at a line's beginning.
fn value(text: &str, name: &str) -> Option<u64> {
    let found = text.lines().find_map(|line| line.strip_prefix(name))?;
    found.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_files_hold_and_could_give_back_does_not_count() {
        let group = tempfile::tempdir().expect("a temporary directory");
        let write = |file: &str, text: &str| {
            fs::write(group.path().join(file), text).expect("a new file");
        };
        write("memory.usage_in_bytes", "5000\n");
        write(
            "memory.stat",
            "cache 900\ntotal_inactive_file 700\ninactive_file 500\n",
        );
        assert_eq!(working_set(group.path(), Version::One), Some(4300));
        write("memory.current", "3000\n");
        assert_eq!(working_set(group.path(), Version::Two), Some(2500));
    }
}
