//! The command lines of what operations run: of `mysql-job`, of servers, and of all that they start.
//!
//! Pods of a simulated cluster are processes of this machine, so this machine is asked. What people start
//! in a pod themselves is theirs, and is not looked at.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

/// Programs whose command lines, and those of what they start, are the operator's doing.
const OURS: [&str; 3] = ["mysql-job", "mysqld", "mariadbd"];

/// One process.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Process {
    parent: u32,
    name: String,
}

/// All that can be seen now.
pub fn commands() -> BTreeSet<String> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let all = entries.filter_map(|entry| {
        let number: u32 = entry.file_name().to_str()?.parse().ok()?;
        Some((number, read(number)?))
    });
    of_operations(&all.collect()).filter_map(command).collect()
}

/// A process that is still there.
fn read(number: u32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{number}/stat")).ok()?;
    // The name stands in brackets and may hold anything, brackets too.
    let (before, after) = stat.rsplit_once(')')?;
    Some(Process {
        parent: after.split_whitespace().nth(1)?.parse().ok()?,
        name: before.split_once('(')?.1.to_owned(),
    })
}

/// The command line of one that is still there.
fn command(number: u32) -> Option<String> {
    let command = fs::read(format!("/proc/{number}/cmdline")).ok()?;
    Some(String::from_utf8_lossy(&command).replace('\0', " "))
}

/// The numbers of those that are the operator's doing. Pure.
fn of_operations(all: &BTreeMap<u32, Process>) -> impl Iterator<Item = u32> {
    let is_ours = |process: &Process| OURS.contains(&process.name.as_str());
    all.iter()
        .filter(move |(_, process)| {
            let mut ancestors =
                std::iter::successors(Some(*process), |process| all.get(&process.parent))
                    .take(all.len());
            ancestors.any(is_ours)
        })
        .map(|(number, _)| *number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_operation_starts_is_looked_at_and_what_people_start_is_not() {
        let process = |parent, name: &str| Process {
            parent,
            name: name.to_owned(),
        };
        let all = BTreeMap::from([
            (1, process(0, "init")),
            (2, process(1, "mysql-job")),
            (3, process(2, "mysqldump")),
            (4, process(1, "bash")),
            (5, process(4, "mysql")),
        ]);
        assert_eq!(of_operations(&all).collect::<Vec<_>>(), [2, 3]);
    }

    #[test]
    fn this_process_can_be_read() {
        let number = std::process::id();
        let own = read(number).expect("this process is there");
        assert!(own.parent > 0);
        assert!(!command(number).expect("it still is").is_empty());
    }
}
