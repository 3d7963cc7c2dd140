//! The identities of errands: what one was for can be read off it. Pure.

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::controller::plan::View;

/// What an operation is for.
pub(super) enum Kind {
    Probe,
    Backup,
    RestoreTest,
    CheckPassword,
}

/// Reads it off.
pub(super) fn kind(operation: &str) -> Option<Kind> {
    Some(match operation.split('-').next()? {
        "probe" => Kind::Probe,
        "asked" | "scheduled" | "upgrade" | "replaced" => Kind::Backup,
        "test" => Kind::RestoreTest,
        "check" => Kind::CheckPassword,
        _ => return None,
    })
}

/// It touches neither the server nor the backups.
pub(super) fn may_be_broken_off(operation: &str) -> bool {
    matches!(kind(operation), Some(Kind::Probe))
}

/// The moment of the schedule that it is for.
pub(super) fn moment_of(operation: &str) -> Option<i64> {
    operation.strip_prefix("scheduled-")?.parse().ok()
}

/// A look at an image.
pub(super) fn probe(view: View<'_>, image: &str) -> String {
    // Another generation of the spec asks anew: a tag may have moved.
    let generation = view.validated.generation.unwrap_or_default();
    format!("probe-{}-{generation}", short_hash(image))
}

/// The backup before this image takes over.
pub(super) fn upgrade(image: &str) -> String {
    format!("upgrade-{}", short_hash(image))
}

/// A backup that was wished for.
pub(super) fn asked(wish: &str) -> String {
    format!("asked-{}", short_hash(wish))
}

/// A restore test that was wished for.
pub(super) fn test(wish: &str) -> String {
    format!("test-{}", short_hash(wish))
}

/// A backup by the schedule.
pub(super) fn scheduled(moment: Timestamp) -> String {
    format!("scheduled-{}", moment.as_second())
}

/// A backup because the claim with the earlier ones is gone.
pub(super) fn replaced(claim: &str) -> String {
    format!("replaced-{}", short_hash(claim))
}

/// A look after the password.
pub(super) fn check(due: Timestamp) -> String {
    format!("check-{}", due.as_second())
}

fn short_hash(text: &str) -> String {
    use std::fmt::Write as _;
    Sha256::digest(text)
        .iter()
        .take(4)
        .fold(String::new(), |mut hash, byte| {
            write!(hash, "{byte:02x}").expect("writing to a string cannot fail");
            hash
        })
}
