//! The same promises to a user without rights.

use std::{fs, os::unix::fs::PermissionsExt, process::Command};

const NOBODY: &str = "65534";

#[test]
fn every_promise_holds_for_an_ordinary_user_too() {
    let me = Command::new("id")
        .arg("-u")
        .output()
        .expect("id is everywhere");
    if me.stdout != b"0\n" {
        return;
    }
    // Where root's program and temporary directories may be closed to others.
    let directory = tempfile::tempdir().expect("the test may write to the temporary directory");
    let temporary = directory.path().join("tmp");
    fs::create_dir(&temporary).expect("the directory is new");
    for (path, mode) in [(directory.path(), 0o755), (&temporary, 0o777)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
    }
    let program = directory.path().join("test");
    fs::copy(std::env::current_exe().expect("/proc is there"), &program).expect("there is space");
    let output = Command::new("setpriv")
        .args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"])
        .arg(&program)
        .args(["--skip", "ordinary_user"])
        .env("TMPDIR", &temporary)
        .env("HOME", "/")
        .current_dir(&temporary)
        .output()
        .expect("setpriv is part of util-linux");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    let left = Command::new("find")
        .arg(&temporary)
        .args(["-mindepth", "1", "-ls"])
        .output()
        .expect("find is everywhere");
    let left = String::from_utf8_lossy(&left.stdout);
    assert!(left.is_empty(), "{left}");
}
