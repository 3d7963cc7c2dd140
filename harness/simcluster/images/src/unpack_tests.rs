//! Archives that mean well, and archives that do not.

use tar::{Builder, Header};

use super::*;

enum Part {
    Dir(&'static str),
    File(&'static str, &'static str),
    Link(&'static str, &'static str),
    Hard(&'static str, &'static str),
}
use Part::{Dir, File as Regular, Hard, Link};

fn archive(parts: &[Part]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for part in parts {
        let mut header = Header::new_gnu();
        header.set_mode(0o644);
        let (path, kind, body) = match part {
            Dir(path) => (path, EntryType::Directory, ""),
            Regular(path, body) => (path, EntryType::Regular, *body),
            Link(path, to) => (path, EntryType::Symlink, *to),
            Hard(path, to) => (path, EntryType::Link, *to),
        };
        header.set_entry_type(kind);
        // The checked setters refuse what a hostile archive has.
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        if matches!(part, Regular(..)) {
            header.set_size(body.len() as u64);
        } else {
            header.set_size(0);
            header.as_old_mut().linkname[..body.len()].copy_from_slice(body.as_bytes());
        }
        header.set_cksum();
        let body = if matches!(part, Regular(..)) {
            body
        } else {
            ""
        };
        builder
            .append(&header, body.as_bytes())
            .expect("memory takes it");
    }
    builder.into_inner().expect("memory takes it")
}

fn over(root: &Path, parts: &[Part]) -> io::Result<()> {
    unpack(
        archive(parts).as_slice(),
        root,
        Policy {
            whiteouts: true,
            owners: false,
            wanted: &|_| true,
        },
    )
}

fn fresh(parts: &[Part]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a temporary directory");
    over(dir.path(), parts).expect("it unpacks");
    dir
}

fn text(dir: &tempfile::TempDir, path: &str) -> String {
    fs::read_to_string(dir.path().join(path)).expect(path)
}

#[test]
fn links_to_directories_are_followed_inside() {
    let dir = fresh(&[
        Dir("usr/bin"),
        Link("bin", "usr/bin"),
        Link("sbin", "/usr/bin"),
        Dir("./bin/"),
        Regular("bin/a", "1"),
        Regular("sbin/b", "2"),
    ]);
    assert_eq!(text(&dir, "usr/bin/a"), "1");
    assert_eq!(text(&dir, "usr/bin/b"), "2");
    assert!(dir.path().join("bin").is_symlink());
}

#[test]
fn nothing_reaches_outside() {
    let outside = tempfile::tempdir().expect("a temporary directory");
    let victim = outside.path().join("victim");
    fs::write(&victim, "whole").expect("it is writable");
    let target: &'static str = outside.path().to_str().expect("plain").to_owned().leak();
    let dir = tempfile::tempdir_in(outside.path()).expect("a temporary directory");
    for parts in [
        vec![Regular("../victim", "broken")],
        vec![Regular("/../../victim", "broken")],
        vec![Link("out", ".."), Regular("out/victim", "broken")],
        vec![Link("abs", target), Regular("abs/victim", "broken")],
        vec![Link("up", "x/../../.."), Regular("up/victim", "broken")],
        vec![Link("loop", "loop"), Regular("loop/victim", "broken")],
        vec![Link("w", ".."), Regular("w/.wh.victim", "")],
        vec![Hard("stolen", "../victim"), Regular("stolen", "broken")],
    ] {
        // Refused or kept inside: either will do.
        let _ = over(dir.path(), &parts);
        assert_eq!(fs::read_to_string(&victim).expect("still there"), "whole");
    }
}

#[test]
fn whiteouts_delete_what_is_below() {
    let dir = fresh(&[
        Regular("a/gone", "1"),
        Regular("a/kept", "2"),
        Regular("b/gone/x", "3"),
        Regular("b/y", "4"),
    ]);
    over(
        dir.path(),
        &[
            Regular("a/.wh.gone", ""),
            Regular("b/new", "5"),
            Regular("b/.wh..wh..opq", ""),
        ],
    )
    .expect("it unpacks");
    assert!(!dir.path().join("a/gone").exists());
    assert_eq!(text(&dir, "a/kept"), "2");
    assert!(!dir.path().join("b/gone").exists());
    assert!(!dir.path().join("b/y").exists());
    assert_eq!(text(&dir, "b/new"), "5");
}

#[test]
fn a_later_entry_replaces_an_earlier_one_of_another_kind() {
    let dir = fresh(&[Regular("a/x", "1"), Regular("b", "2")]);
    over(
        dir.path(),
        &[Regular("a", "3"), Dir("b"), Regular("b/y", "4")],
    )
    .expect("it unpacks");
    assert_eq!(text(&dir, "a"), "3");
    assert_eq!(text(&dir, "b/y"), "4");
}

#[test]
fn hard_links_share_their_content() {
    let dir = fresh(&[Regular("a", "1"), Hard("b/c", "a")]);
    assert_eq!(text(&dir, "b/c"), "1");
}

#[test]
fn an_unreadable_directory_can_still_be_removed() {
    let dir = fresh(&[Dir("locked"), Regular("locked/x", "1")]);
    let mode = fs::metadata(dir.path().join("locked"))
        .expect("there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o700, 0o700);
}
