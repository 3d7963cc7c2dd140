//! From the node's root to the container's user: ids, capabilities, no new privileges.

use std::{collections::BTreeSet, os::fd::BorrowedFd};

use nix::{
    errno::Errno,
    sched::{CloneFlags, unshare},
    sys::prctl::set_no_new_privs,
    unistd::{Gid, Uid, fchown, setgroups, setresgid, setresuid},
};

use super::{
    child::{describe, describe_io, step},
    mapping,
    program::Program,
};
use crate::{capabilities, error::LaunchError, protocol::Identity, spec::User, sys};

/// Gives up everything but what the program may have. With `entered`, this process has joined the
/// container's own user namespace, and is its user already.
pub(super) fn become_user(
    program: &Program,
    identity: &Identity,
    entered: bool,
) -> Result<(), LaunchError> {
    let keep = kept(program.capabilities.as_deref())?;
    let User {
        uid,
        gid,
        additional_gids,
    } = &program.user;
    let refused = |why: String| LaunchError::User {
        uid: *uid,
        gid: *gid,
        why,
    };
    match identity {
        Identity::Single { .. } => {
            if (*uid, *gid) != (0, 0) && !entered {
                // There is one id only. A namespace of its own shows it to the container under the number it wants.
                unshare(CloneFlags::CLONE_NEWUSER).map_err(|errno| refused(describe(errno)))?;
                mapping::map_single("/proc/self", (*uid, 0), (*gid, 0)).map_err(|error| {
                    refused(format!("{}: {}", error.doing, describe_io(&error.source)))
                })?;
            }
            drop_capabilities(&keep)?;
        }
        Identity::Root | Identity::Range { .. } => {
            drop_capabilities(&keep)?;
            let groups: Vec<Gid> = additional_gids.iter().copied().map(Gid::from_raw).collect();
            let (user, group) = (Uid::from_raw(*uid), Gid::from_raw(*gid));
            setgroups(&groups)
                .and_then(|()| setresgid(group, group, group))
                .and_then(|()| setresuid(user, user, user))
                .map_err(|errno| refused(unmapped(errno, identity)))?;
        }
    }
    if program.no_new_privileges {
        set_no_new_privs().map_err(step("refuse new privileges"))?;
    }
    Ok(())
}

/// Makes a stream or terminal the user's, so that the program can open it again by name.
pub(super) fn give_away(fd: BorrowedFd<'_>, user: &User) -> nix::Result<()> {
    use std::os::unix::fs::FileTypeExt;
    let found = std::fs::metadata(sys::path_of(fd)).map_err(|_| Errno::EBADF)?;
    let kind = found.file_type();
    // Never /dev/null nor a file of the host's.
    if kind.is_fifo() || kind.is_socket() || is_terminal(fd) {
        fchown(fd, Some(Uid::from_raw(user.uid)), None)?;
    }
    Ok(())
}

fn is_terminal(fd: BorrowedFd<'_>) -> bool {
    std::io::IsTerminal::is_terminal(&fd)
}

/// The numbers of the capabilities to keep.
fn kept(names: Option<&[String]>) -> Result<BTreeSet<u32>, LaunchError> {
    let number = |name: &str| {
        let name = name.strip_prefix("CAP_").unwrap_or(name);
        let position = capabilities::ALL.iter().position(|known| *known == name)?;
        u32::try_from(position).ok()
    };
    let find = |name: &str| {
        number(name).ok_or_else(|| LaunchError::UnknownCapability {
            name: name.to_owned(),
        })
    };
    match names {
        None => capabilities::DEFAULT
            .iter()
            .map(|name| find(name))
            .collect(),
        Some(names) => names.iter().map(|name| find(name)).collect(),
    }
}

/// A program that is executed has no more than the bounding set.
fn drop_capabilities(keep: &BTreeSet<u32>) -> Result<(), LaunchError> {
    for number in (0..u64::BITS).filter(|number| !keep.contains(number)) {
        match sys::drop_bounding_capability(number) {
            Ok(()) => {}
            // Past the kernel's last one.
            Err(Errno::EINVAL) => return Ok(()),
            Err(errno) => return Err(step("drop capabilities")(errno)),
        }
    }
    Ok(())
}

fn unmapped(errno: Errno, identity: &Identity) -> String {
    match (errno, identity) {
        (Errno::EINVAL, Identity::Range { uids, .. }) => format!(
            "the id is outside the {} subordinate ids of this user; /etc/subuid and /etc/subgid can grant more",
            uids.count,
        ),
        _ => describe(errno),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_known_with_and_without_prefix() {
        let names = ["CAP_NET_ADMIN".to_owned(), "CHECKPOINT_RESTORE".to_owned()];
        assert_eq!(kept(Some(&names)), Ok(BTreeSet::from([12, 40])));
    }

    #[test]
    fn an_unknown_capability_is_named() {
        let error = kept(Some(&["CAP_FLY".to_owned()])).unwrap_err();
        assert_eq!(error.to_string(), "unknown capability \"CAP_FLY\"");
    }
}
