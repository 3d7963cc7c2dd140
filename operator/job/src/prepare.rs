//! What init containers do: put this program where another image can run it, and make a data volume
//! ready for the server.
//!
//! The image initialises an empty data directory once; if it is killed in the middle, its next start
//! takes the half for the whole and comes up without accounts. So the last initialisation script
//! leaves a mark beside the data directory, and a directory without that mark is begun again, as long
//! as the instance has never been ready.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, fcntl};

use crate::arguments::{Install, Prepare};
use crate::report::Failure;
use crate::say;

/// The data directory, below the volume's root (so that `lost+found` is not in it).
pub const DATA: &str = "data";
/// Every server has a directory of this name, with the tables that tell it what else there is.
const SYSTEM_TABLES: &str = "mysql";
/// Beside it: what the image's initialisation leaves for us.
pub const STATE: &str = "state";
/// The mark: the initialisation ran to its end.
pub const INITIALIZED: &str = "initialized";

/// Why a server is not started: its rows are gone.
pub const DATA_LOST: &str = "DataLost";

/// Why a server is not started: its volume cannot be written to.
pub const UNUSABLE: &str = "DataVolumeUnusable";

/// Longer than a server is given to end itself.
const SHUTDOWN: Duration = Duration::from_secs(180);
const POLL: Duration = Duration::from_millis(100);

/// Copies this program.
pub fn install(task: &Install) -> Result<(), Failure> {
    let failed = |error: io::Error| {
        Failure::permanent(
            "InstallFailed",
            format!("cannot copy this program to {}: {error}", task.to.display()),
        )
    };
    let program = std::env::current_exe().map_err(failed)?;
    fs::copy(program, &task.to).map_err(failed)?;
    fs::set_permissions(&task.to, fs::Permissions::from_mode(0o755)).map_err(failed)?;
    if let (Some(directory), Some(owner)) = (&task.own, task.owner) {
        own(directory, owner);
    }
    Ok(())
}

/// Makes the data volume ready.
pub fn prepare(task: &Prepare) -> Result<(), Failure> {
    let data = task.volume.join(DATA);
    let state = task.volume.join(STATE);
    let failed = |error: io::Error| {
        Failure::permanent(
            UNUSABLE,
            format!(
                "cannot prepare {}: {error}; the volume must be writable for the user that runs \
                 the server",
                task.volume.display()
            ),
        )
    };
    wait_for_another_server(&data)?;
    let ready_before = fs::read(&task.initialized).is_ok_and(|content| !content.is_empty());
    let complete = state.join(INITIALIZED).exists();
    let without_tables = !data.join(SYSTEM_TABLES).is_dir();
    let is_empty = is_empty(&data).map_err(failed)?;
    if ready_before && without_tables {
        return Err(lost(&data));
    }
    if !ready_before && !complete && !is_empty {
        say("the initialisation did not run to its end: the data directory is begun again");
        fs::remove_dir_all(&data).map_err(failed)?;
    } else if without_tables && !is_empty {
        let aside = put_aside(&task.volume, &data).map_err(failed)?;
        say(&format!(
            "files without the tables of a server's own are left of an earlier life; they are in {} now",
            aside.display()
        ));
    }
    for directory in [&data, &state] {
        fs::create_dir_all(directory).map_err(failed)?;
        fs::set_permissions(directory, fs::Permissions::from_mode(0o750))
            .or_else(not_ours)
            .map_err(failed)?;
        if let Some(owner) = task.owner {
            own(directory, owner);
        }
    }
    Ok(())
}

/// The image would make an empty server of it, and clients would be let in to that.
fn lost(data: &Path) -> Failure {
    Failure::permanent(
        DATA_LOST,
        format!(
            "{} has no tables of a server, and this instance has had rows: its volume was emptied or replaced. Bring the volume \
             back; or, to begin again with the newest backup, annotate the resource with \
             otus.homework/skip-final-backup=true, delete it and make it again",
            data.display()
        ),
    )
}

/// No image begins in a directory with somebody's files, and they are nobody's to remove.
fn put_aside(volume: &Path, data: &Path) -> io::Result<PathBuf> {
    let mut names = (1..).map(|number: u32| volume.join(format!("{DATA}-left-{number}")));
    let free = names
        .find(|path| !path.exists())
        .ok_or_else(|| io::Error::other("every name is taken"))?;
    fs::rename(data, &free)?;
    Ok(free)
}

/// Waits until no server has the data directory open. A pod that was deleted has a successor at once, while
/// its server still brings its pages to disk; two of them on one directory would destroy it.
fn wait_for_another_server(data: &Path) -> Result<(), Failure> {
    let deadline = Instant::now() + SHUTDOWN;
    let mut told = false;
    while is_in_use(data) {
        if !std::mem::replace(&mut told, true) {
            say("another server still has the data directory open: waiting for its end");
        }
        if Instant::now() >= deadline {
            return Err(Failure::retry(
                "DataDirectoryInUse",
                format!(
                    "another server has had {} open for {} s; look for a pod that does not end",
                    data.display(),
                    SHUTDOWN.as_secs()
                ),
            ));
        }
        thread::sleep(POLL);
    }
    Ok(())
}

/// Every server holds a lock on the first file of its shared tablespace for as long as it runs.
fn is_in_use(data: &Path) -> bool {
    let Ok(file) = fs::File::open(data.join("ibdata1")) else {
        return false;
    };
    let mut lock = whole_file(WRITE_LOCK);
    match fcntl(&file, FcntlArg::F_GETLK(&mut lock)) {
        Ok(_) => lock.l_type != NO_LOCK,
        // A file system without locks cannot tell.
        Err(_) => false,
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the constants are 1 and 2; the C interface has them in two types"
)]
const WRITE_LOCK: nix::libc::c_short = nix::libc::F_WRLCK as nix::libc::c_short;
#[expect(clippy::cast_possible_truncation, reason = "as above")]
const NO_LOCK: nix::libc::c_short = nix::libc::F_UNLCK as nix::libc::c_short;

fn whole_file(l_type: nix::libc::c_short) -> nix::libc::flock {
    nix::libc::flock {
        l_type,
        // From the beginning of the file to its end.
        l_whence: 0,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

/// Directories that another user owns keep their mode; whether it suffices shows when they are used.
fn not_ours(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::PermissionDenied {
        Ok(())
    } else {
        Err(error)
    }
}

/// Gives a directory to the user that runs the server, where that is needed and possible. Where it is
/// not possible (no such user in this user namespace), whether it was needed shows when it is used.
fn own(directory: &Path, (user, group): (u32, u32)) {
    let owned = fs::metadata(directory)
        .is_ok_and(|metadata| metadata.uid() == user && metadata.gid() == group);
    if owned {
        return;
    }
    if let Err(error) = chown(directory, Some(user), Some(group)) {
        say(&format!(
            "{} stays with its owner: {error}",
            directory.display()
        ));
    }
}

fn is_empty(directory: &Path) -> io::Result<bool> {
    match fs::read_dir(directory) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(initialized: bool, once_ready: bool) -> (tempfile::TempDir, Prepare) {
        let root = tempfile::tempdir().unwrap();
        let volume = root.path().join("volume");
        fs::create_dir_all(volume.join(DATA).join("mysql")).unwrap();
        fs::create_dir_all(volume.join(STATE)).unwrap();
        if initialized {
            fs::write(volume.join(STATE).join(INITIALIZED), "").unwrap();
        }
        let ready = root.path().join("ready");
        if once_ready {
            fs::write(&ready, "restore-1").unwrap();
        }
        (
            root,
            Prepare {
                volume,
                initialized: ready,
                owner: None,
            },
        )
    }

    fn rows_are_left(task: &Prepare) -> bool {
        task.volume.join(DATA).join("mysql").exists()
    }

    #[test]
    fn an_interrupted_initialisation_is_begun_again() {
        let (_root, task) = volume(false, false);
        prepare(&task).unwrap();
        assert!(!rows_are_left(&task));
        assert!(task.volume.join(DATA).is_dir());
    }

    #[test]
    fn data_of_an_instance_that_was_ready_is_never_wiped() {
        for (initialized, once_ready) in [(true, false), (false, true), (true, true)] {
            let (_root, task) = volume(initialized, once_ready);
            prepare(&task).unwrap();
            assert!(
                rows_are_left(&task),
                "initialized={initialized} ready={once_ready}"
            );
        }
    }

    #[test]
    fn an_instance_that_had_rows_does_not_come_up_on_an_empty_volume() {
        for initialized in [true, false] {
            let (_root, task) = volume(initialized, true);
            fs::remove_dir_all(task.volume.join(DATA)).unwrap();
            assert_eq!(prepare(&task).unwrap_err().reason, DATA_LOST);
            assert!(
                !rows_are_left(&task),
                "the test says nothing about an empty one"
            );
        }
        let (_root, task) = volume(false, false);
        fs::remove_dir_all(task.volume.join(DATA)).unwrap();
        prepare(&task).unwrap();
    }

    #[test]
    fn files_without_a_server_of_an_earlier_life_are_put_aside() {
        for round in 1..3 {
            let (_root, task) = volume(true, false);
            let data = task.volume.join(DATA);
            for earlier in 1..round {
                fs::create_dir(task.volume.join(format!("data-left-{earlier}"))).unwrap();
            }
            fs::remove_dir(data.join(SYSTEM_TABLES)).unwrap();
            fs::write(data.join("shop.ibd"), "rows").unwrap();
            prepare(&task).unwrap();
            assert!(is_empty(&data).unwrap());
            let aside = task.volume.join(format!("data-left-{round}/shop.ibd"));
            assert_eq!(fs::read_to_string(aside).unwrap(), "rows");
        }
    }

    #[test]
    fn a_data_directory_is_in_use_as_long_as_a_server_holds_its_lock() {
        let (_root, task) = volume(true, true);
        let data = task.volume.join(DATA);
        assert!(!is_in_use(&data), "there is no tablespace yet");
        let file = fs::File::create(data.join("ibdata1")).unwrap();
        assert!(!is_in_use(&data));
        // Such a lock belongs to the open file and not to the process, so this process sees it, too.
        fcntl(&file, FcntlArg::F_OFD_SETLK(&whole_file(WRITE_LOCK))).unwrap();
        assert!(is_in_use(&data));
        drop(file);
        assert!(!is_in_use(&data));
    }

    #[test]
    fn the_copy_can_be_executed() {
        let root = tempfile::tempdir().unwrap();
        let to = root.path().join("mysql-job");
        install(&Install {
            to: to.clone(),
            own: None,
            owner: None,
        })
        .unwrap();
        assert_eq!(
            fs::metadata(to).unwrap().permissions().mode() & 0o777,
            0o755
        );
    }
}
