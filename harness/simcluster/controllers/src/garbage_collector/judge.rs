//! What becomes of an object, given what its owners are. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

/// What an owner is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// It is there.
    Lives,
    /// It goes, after its dependents.
    Waits,
    /// It is not there.
    Gone,
    /// It cannot be told; it counts as being there.
    Unknown,
}

/// What becomes of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sentence {
    Stays,
    /// It stays with the owners that live; these uids are dropped.
    LosesReferences(Vec<String>),
    /// It goes, after its own dependents.
    GoesInForeground,
    Goes,
}

/// An object stays as long as one owner lives.
pub(super) fn judge(owners: &[(OwnerReference, Owner)], has_dependents: bool) -> Sentence {
    let any = |state| owners.iter().any(|(_, owner)| *owner == state);
    if owners.is_empty() {
        Sentence::Stays
    } else if any(Owner::Lives) || any(Owner::Unknown) {
        let lost: Vec<_> = owners
            .iter()
            .filter(|(_, owner)| matches!(owner, Owner::Gone | Owner::Waits))
            .map(|(reference, _)| reference.uid.clone())
            .collect();
        if lost.is_empty() {
            Sentence::Stays
        } else {
            Sentence::LosesReferences(lost)
        }
    } else if any(Owner::Waits) && has_dependents {
        Sentence::GoesInForeground
    } else {
        Sentence::Goes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_goes_when_no_owner_lives() {
        use Owner::{Gone, Lives, Unknown, Waits};
        let lost = |uids: &[&str]| {
            Sentence::LosesReferences(uids.iter().map(|uid| (*uid).to_owned()).collect())
        };
        for (owners, has_dependents, expected) in [
            (&[][..], false, Sentence::Stays),
            (&[Lives], false, Sentence::Stays),
            (&[Gone], false, Sentence::Goes),
            (&[Gone, Lives], false, lost(&["0"])),
            (&[Waits, Lives, Gone], true, lost(&["0", "2"])),
            (&[Waits], false, Sentence::Goes),
            (&[Waits, Gone], true, Sentence::GoesInForeground),
            (&[Unknown], false, Sentence::Stays),
        ] {
            let owners: Vec<_> = owners
                .iter()
                .enumerate()
                .map(|(number, owner)| {
                    let reference = OwnerReference {
                        uid: number.to_string(),
                        ..OwnerReference::default()
                    };
                    (reference, *owner)
                })
                .collect();
            assert_eq!(judge(&owners, has_dependents), expected, "{owners:?}");
        }
    }
}
