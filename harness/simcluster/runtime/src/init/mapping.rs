//! The ids of a new user namespace: which number inside is which number outside.
//!
//! It runs outside the namespace, or inside for a single id. Whether there is one is the owner's decision.

use std::{fs, io, process::Command};

use nix::unistd::Pid;

use super::{Doing, StepError};
use crate::protocol::{IdRange, Identity};

/// Maps the ids of the user namespace of `pid`, our child.
pub(super) fn map_ids(pid: Pid, identity: &Identity) -> Result<(), StepError> {
    match identity {
        Identity::Root => Ok(()),
        Identity::Single { uid, gid } => map_single(&format!("/proc/{pid}"), (0, *uid), (0, *gid)),
        Identity::Range {
            uid,
            gid,
            uids,
            gids,
        } => {
            map_range(pid, *uid, uids)?;
            map_range(pid, *gid, gids)
        }
    }
}

/// Maps one user and one group, each as (inside, outside); `process` is a directory of `/proc`.
pub(super) fn map_single(
    process: &str,
    user: (u32, u32),
    group: (u32, u32),
) -> Result<(), StepError> {
    // The kernel lets an ordinary user map a group only after giving up setgroups in there.
    write_once(&format!("{process}/setgroups"), "deny")?;
    write_once(
        &format!("{process}/uid_map"),
        &format!("{} {} 1\n", user.0, user.1),
    )?;
    write_once(
        &format!("{process}/gid_map"),
        &format!("{} {} 1\n", group.0, group.1),
    )
}

/// Whether this process's user namespace has a group; what asks the kernel for another one is refused.
pub(super) fn has_group(group: u32) -> bool {
    // Where it cannot be read, the kernel's own answer is the better one.
    fs::read_to_string("/proc/self/gid_map").map_or(true, |map| maps(&map, group))
}

/// Whether an id is mapped: lines of its first inside, its first outside, and how many.
fn maps(map: &str, id: u32) -> bool {
    map.lines().any(|line| {
        let numbers: Vec<u64> = line
            .split_whitespace()
            .filter_map(|number| number.parse().ok())
            .collect();
        let id = u64::from(id);
        matches!(numbers[..], [first, _, count] if id >= first && id < first + count)
    })
}

fn write_once(path: &str, text: &str) -> Result<(), StepError> {
    fs::write(path, text).doing(format!("write {path}"))
}

fn map_range(pid: Pid, own: u32, range: &IdRange) -> Result<(), StepError> {
    let program = range.program.display();
    let output = Command::new(&range.program)
        .arg(pid.to_string())
        .args(["0".to_owned(), own.to_string(), "1".to_owned()])
        .args([
            "1".to_owned(),
            range.start.to_string(),
            range.count.to_string(),
        ])
        .output()
        .doing(format!("run {program}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(io::Error::other(said)).doing(format!("map ids with {program} ({})", output.status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_there_if_a_line_of_the_map_covers_it() {
        let root = "         0          0 4294967295\n";
        assert!(maps(root, 0) && maps(root, 65_532));
        let single = "         0      65534          1\n";
        assert!(maps(single, 0) && !maps(single, 65_532));
        let range = "0 1000 1\n1 100000 65536\n";
        assert!(maps(range, 65_536) && !maps(range, 65_537));
    }
}
