//! What must be true at every moment of every scenario, watched for as long as the scenario runs.
//!
//! | module | invariants of `docs/operation.md` |
//! |---|---|
//! | [`acknowledged`] | 1: what clients saw is in the last backup, and the next life begins with it |
//! | [`backups`] | 2: once there was a verified generation, there is one |
//! | [`restores`] | 3: no life is filled twice |
//! | [`gate`] | 4: no service leads to a server whose rows are not back |
//! | [`credentials`] | 5: a credential of the instance's own Secret opens its server |
//! | [`secrets`], [`processes`] | 6: no password in a status, event, log, command line or specification |
//! | [`convergence`] | 7: everybody comes to rest, and who is Blocked says why |
//! | [`release`] | 8: a resource goes after a verified backup or by an explicit wish |
//! | [`single`] | 9: never two servers on one data directory, never two operations on one server |
//! | [`foreign`] | 10: objects and finalizers of others are not touched |
//!
//! A check is a pure function of what was seen, with a test that makes it fire; the watching is here. Each
//! module says what of its invariant cannot be seen from outside, and who holds that.

pub mod acknowledged;
pub mod backups;
pub mod convergence;
pub mod credentials;
pub mod foreign;
pub mod gate;
pub mod processes;
pub mod release;
pub mod restores;
pub mod secrets;
pub mod single;
mod watch;

pub use watch::Watch;

use std::sync::{Arc, Mutex, PoisonError};

use kube::{Resource, ResourceExt as _};

/// What was seen and must never be; empty is good.
#[derive(Clone, Debug, Default)]
pub struct Violations(Arc<Mutex<Vec<String>>>);

impl Violations {
    /// Adds each of them once.
    pub fn add(&self, texts: impl IntoIterator<Item = String>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for text in texts {
            if !all.contains(&text) {
                all.push(text);
            }
        }
    }

    fn all(&self) -> Vec<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Namespace and name.
fn key<K: Resource>(object: &K) -> String {
    format!(
        "{}/{}",
        object.namespace().unwrap_or_default(),
        object.name_any()
    )
}
