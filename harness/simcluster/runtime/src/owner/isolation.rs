//! How containers are kept apart here: as root, or in a user namespace, and with how many ids.
//!
//! Reading the machine's settings is apart from judging them; nothing is changed.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    unistd::{User, getegid, geteuid},
};

use crate::{
    error::ProbeError,
    protocol::{IdRange, Identity},
};

/// How containers are kept apart from the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// The owner is root: no user namespace, and every user id can be had.
    Root,
    /// A user namespace with one id: each container has one user, whichever it asks for.
    UserNamespaceSingle,
    /// A user namespace with subordinate ids of the owner.
    UserNamespaceRange {
        /// User ids from 1 on that containers can have.
        ids: u32,
    },
}

impl fmt::Display for Isolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => write!(f, "namespaces made by root"),
            Self::UserNamespaceSingle => {
                write!(
                    f,
                    "user namespace with one id: a container's files all belong to its one user"
                )
            }
            Self::UserNamespaceRange { ids } => {
                write!(f, "user namespace with {ids} subordinate ids")
            }
        }
    }
}

impl From<&Identity> for Isolation {
    fn from(identity: &Identity) -> Self {
        match identity {
            Identity::Root => Self::Root,
            Identity::Single { .. } => Self::UserNamespaceSingle,
            Identity::Range { uids, gids, .. } => Self::UserNamespaceRange {
                ids: uids.count.min(gids.count),
            },
        }
    }
}

/// Whose ids containers get when this process makes a node.
pub(super) fn identity() -> Result<Identity, ProbeError> {
    let status = fs::read_to_string("/proc/self/status").map_err(|source| ProbeError {
        doing: "read /proc/self/status".to_owned(),
        source: Some(source),
        advice: vec!["mount /proc".to_owned()],
    })?;
    if rules_the_machine(&status) {
        return Ok(Identity::Root);
    }
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    let name = User::from_uid(geteuid())
        .ok()
        .flatten()
        .map(|user| user.name);
    let range = |program: &str, list: &str| {
        let program = find_program(program)?;
        let text = fs::read_to_string(list).ok()?;
        let (start, count) = subordinate_ids(&text, name.as_deref(), uid)?;
        Some(IdRange {
            program,
            start,
            count,
        })
    };
    match (
        range("newuidmap", "/etc/subuid"),
        range("newgidmap", "/etc/subgid"),
    ) {
        (Some(uids), Some(gids)) => Ok(Identity::Range {
            uid,
            gid,
            uids,
            gids,
        }),
        _ => Ok(Identity::Single { uid, gid }),
    }
}

/// Whether `/proc/self/status` shows the capabilities that root has outside of containers: those to make
/// namespaces, to configure networks, and to become other users.
fn rules_the_machine(status: &str) -> bool {
    const SETGID: u32 = 6;
    const SETUID: u32 = 7;
    const NET_ADMIN: u32 = 12;
    const SYS_ADMIN: u32 = 21;
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or(0);
    [SETGID, SETUID, NET_ADMIN, SYS_ADMIN]
        .iter()
        .all(|number| effective & (1 << number) != 0)
}

/// The first range of a user in the text of `/etc/subuid`: its start and its count.
fn subordinate_ids(text: &str, name: Option<&str>, uid: u32) -> Option<(u32, u32)> {
    let number = uid.to_string();
    text.lines().find_map(|line| {
        let mut fields = line.trim().split(':');
        let user = fields.next()?;
        if Some(user) != name && user != number {
            return None;
        }
        let start = fields.next()?.parse().ok()?;
        let count: u32 = fields.next()?.parse().ok()?;
        (count > 0).then_some((start, count))
    })
}

fn find_program(name: &str) -> Option<PathBuf> {
    [
        "/usr/bin",
        "/bin",
        "/usr/local/bin",
        "/usr/sbin",
        "/run/wrappers/bin",
    ]
    .iter()
    .map(|directory| Path::new(directory).join(name))
    .find(|path| path.is_file())
}

/// The settings of this machine that can forbid namespaces; `None` where the kernel has no such setting.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Settings {
    max_user_namespaces: Option<u64>,
    unprivileged_clone: Option<u64>,
    apparmor_restriction: Option<u64>,
    in_container: bool,
}

impl Settings {
    /// As they are now.
    pub(super) fn read() -> Self {
        let number = |path: &str| fs::read_to_string(path).ok()?.trim().parse().ok();
        Self {
            max_user_namespaces: number("/proc/sys/user/max_user_namespaces"),
            unprivileged_clone: number("/proc/sys/kernel/unprivileged_userns_clone"),
            apparmor_restriction: number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
            in_container: Path::new("/.dockerenv").exists()
                || Path::new("/run/.containerenv").exists(),
        }
    }
}

/// What to change after a step failed with that error number.
pub(super) fn advise(errno: i32, settings: &Settings) -> Vec<String> {
    let mut advice = Vec::new();
    let errno = Errno::from_raw(errno);
    if !matches!(
        errno,
        Errno::EPERM
            | Errno::EACCES
            | Errno::ENOSPC
            | Errno::EUSERS
            | Errno::EINVAL
            | Errno::ENOSYS
    ) {
        return advice;
    }
    if settings.max_user_namespaces == Some(0) {
        advice.push(
            "user namespaces are switched off: `sudo sysctl user.max_user_namespaces=15000`"
                .to_owned(),
        );
    }
    if settings.unprivileged_clone == Some(0) {
        advice.push(
            "only root may make user namespaces: `sudo sysctl kernel.unprivileged_userns_clone=1`"
                .to_owned(),
        );
    }
    if settings
        .apparmor_restriction
        .is_some_and(|value| value != 0)
    {
        advice.push(
            "AppArmor takes the rights from user namespaces: \
             `sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0`"
                .to_owned(),
        );
    }
    if settings.in_container && !matches!(errno, Errno::ENOSPC | Errno::EUSERS) {
        advice.push("this is a container: give it `--privileged`, or at least \
             `--security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined`".to_owned());
    }
    if matches!(errno, Errno::ENOSPC | Errno::EUSERS) && settings.max_user_namespaces != Some(0) {
        advice.push(
            "the limit of namespaces is reached: raise the sysctls user.max_*_namespaces"
                .to_owned(),
        );
    }
    if errno == Errno::ENOSYS || errno == Errno::EINVAL {
        advice.push("the kernel must be Linux 5.11 or newer with user, pid, network, mount, ipc and uts namespaces".to_owned());
    }
    if advice.is_empty() {
        advice.push("the system forbids namespaces for this user: run as root, or let ordinary users make user namespaces".to_owned());
    }
    advice
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_without_rights_is_no_root() {
        assert!(rules_the_machine("Name:\tx\nCapEff:\t000001fffeffffff\n"));
        // What container engines leave.
        assert!(!rules_the_machine("CapEff:\t00000000a80425fb\n"));
        assert!(!rules_the_machine(""));
    }

    #[test]
    fn subordinate_ids_are_found_by_name_and_by_number() {
        let text = "ann:100000:65536\n1001:165536:1000\nempty:1:0\n";
        assert_eq!(
            subordinate_ids(text, Some("ann"), 1000),
            Some((100_000, 65_536))
        );
        assert_eq!(
            subordinate_ids(text, Some("bob"), 1001),
            Some((165_536, 1_000))
        );
        assert_eq!(subordinate_ids(text, Some("empty"), 7), None);
    }

    #[test]
    fn advice_names_the_setting_that_forbids() {
        let permission = nix::libc::EPERM;
        let apparmor = Settings {
            apparmor_restriction: Some(1),
            ..Settings::default()
        };
        assert!(
            advise(permission, &apparmor)[0].contains("apparmor_restrict_unprivileged_userns=0")
        );
        let off = Settings {
            max_user_namespaces: Some(0),
            ..Settings::default()
        };
        assert!(advise(nix::libc::ENOSPC, &off)[0].contains("user.max_user_namespaces"));
        let debian = Settings {
            unprivileged_clone: Some(0),
            ..Settings::default()
        };
        assert!(advise(permission, &debian)[0].contains("unprivileged_userns_clone=1"));
        assert!(!advise(permission, &Settings::default()).is_empty());
        assert!(advise(nix::libc::ENOENT, &Settings::default()).is_empty());
    }
}
