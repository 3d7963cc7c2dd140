//! Short hashes of pod templates, as names and labels carry them. Pure.
//!
//! The letters are those that Kubernetes uses, which make no words; the hash itself is ours, so that a ReplicaSet
//! made by a real controller is found by comparing templates, never by its hash.

use serde::Serialize;
use sha2::{Digest, Sha256};

const LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// A hash of up to ten letters over the JSON of `value`, and a number that tells collisions apart.
pub(crate) fn short(value: &impl Serialize, collisions: Option<i32>) -> String {
    let mut digest = Sha256::new();
    // What came from the API server as JSON can be written as JSON.
    digest.update(serde_json::to_vec(value).unwrap_or_default());
    if let Some(collisions) = collisions {
        digest.update(collisions.to_le_bytes());
    }
    let digest = digest.finalize();
    let number = u32::from_le_bytes([digest[0], digest[1], digest[2], digest[3]]);
    spell(&number.to_string())
}

fn spell(digits: &str) -> String {
    digits
        .bytes()
        .map(|digit| char::from(LETTERS[usize::from(digit) % LETTERS.len()]))
        .collect()
}

/// The same with a first letter that grows with `revision`, so that what belongs together is listed in the order in
/// which it came, as far as one letter goes.
pub(crate) fn in_order(revision: i64, value: &impl Serialize, collisions: Option<i32>) -> String {
    let mut letters = *LETTERS;
    letters.sort_unstable();
    let place = usize::try_from(revision.max(1) - 1).unwrap_or_default() % letters.len();
    let mut hash = short(value, collisions);
    // Ten letters in all, as many as Kubernetes' hashes have at most.
    hash.truncate(9);
    hash.insert(0, char::from(letters[place]));
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_hash_alike_and_a_collision_count_changes_it() {
        assert_eq!(short(&"a", None), short(&"a", None));
        assert_ne!(short(&"a", None), short(&"b", None));
        assert_ne!(short(&"a", Some(0)), short(&"a", Some(1)));
        assert!(short(&"a", None).len() <= 10);
    }

    #[test]
    fn later_revisions_sort_after_earlier_ones() {
        let hashes: Vec<_> = (1..=27)
            .map(|revision| in_order(revision, &"a", None))
            .collect();
        assert!(hashes.is_sorted());
    }
}
